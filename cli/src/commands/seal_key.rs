//! `tidegate seal-key`: the keys that seal private keys in a configd's data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidegate_runtime::seal::{Kms, SealKeys, add_key};

use super::write_out;

const EXAMPLES: &str = "\
Examples:
  tidegate seal-key add /etc/tidegate/seal.keys
  tidegate configd --data-dir /var/lib/tidegate --seal-key /etc/tidegate/seal.keys
  tidegate seal-key list /etc/tidegate/seal.keys
";

/// The first key of a file seals, all of them open.
#[derive(Debug, Subcommand)]
#[command(before_help = EXAMPLES)]
pub(crate) enum SealKeyCommand {
    /// Add a new random key behind those of a file, or make the file
    Add(KeyFileArgs),
    /// List the ids of a file's keys
    List(KeyFileArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct KeyFileArgs {
    /// The file of --seal-key
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Program that wraps and unwraps keys: `PROGRAM wrap` and `PROGRAM unwrap`
    #[arg(long, env = "TIDEGATE_SEAL_KMS", value_name = "PROGRAM")]
    seal_kms: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(command: SealKeyCommand) -> anyhow::Result<()> {
    match command {
        SealKeyCommand::Add(args) => add(args),
        SealKeyCommand::List(args) => list(args),
    }
}

fn add(args: KeyFileArgs) -> anyhow::Result<()> {
    let kms = args.seal_kms.map(Kms::new);
    add_key(&args.file, kms.as_ref())?;
    let ids = SealKeys::load(&args.file, kms.as_ref())?.ids();
    let file = args.file.display();
    if let ([.., added], true) = (&ids[..], ids.len() > 1) {
        eprintln!(
            "{file}: key {added} opens; once every configd has been started with the file, move its line to the front, \
             and it seals"
        );
    } else {
        eprintln!(
            "{file}: key {} seals; keep a copy: without it sealed keys are lost",
            ids[0]
        );
    }
    Ok(())
}

fn list(args: KeyFileArgs) -> anyhow::Result<()> {
    let kms = args.seal_kms.map(Kms::new);
    let ids = SealKeys::load(&args.file, kms.as_ref())?.ids();
    let lines = ids.iter().enumerate().map(|(index, id)| {
        let what = if index == 0 {
            "seals and opens"
        } else {
            "opens"
        };
        format!("{id}  {what}\n")
    });
    Ok(write_out(&lines.collect::<String>())?)
}
