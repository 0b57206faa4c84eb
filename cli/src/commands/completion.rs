//! `tidegate completion`: what shells need to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  source <(tidegate completion bash)
  tidegate completion zsh > \"${fpath[1]}/_tidegate\"
";

/// Which shell.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Writes the completions.
pub(crate) fn run<C: CommandFactory>(args: &CompletionArgs) {
    clap_complete::generate(
        args.shell,
        &mut C::command(),
        "tidegate",
        &mut std::io::stdout(),
    );
}
