//! Each file in `tests/cases` is a test of the whole: objects go in through configd, requests through
//! the sockets of a worker, and statuses come out of configd. No part is replaced by a fake.

mod authorizer;
mod backend;
mod case;
mod certificates;
mod client;
mod echo;
mod exchange;
mod features;
mod grpc;
mod manifest;
mod objects;
mod pattern;
mod play;
mod verdict;
mod websocket;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Cases at a time: they wait more than they compute.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = match files(&cases) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{} cannot be read: {error}", cases.display());
            return ExitCode::FAILURE;
        }
    };
    let mut trials = manifest::trials(files.iter().map(|(name, _)| name.clone()).collect());
    trials.push(Trial::test(
        "patterns_refuse_what_differs",
        pattern::examples,
    ));
    trials.extend(
        files
            .into_iter()
            .map(|(name, path)| Trial::test(name, move || run(&path))),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The case files by name.
fn files(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            files.push((name.into_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

fn run(path: &Path) -> Result<(), Failed> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    // Boxed: the future of a whole world is large.
    let played = runtime.block_on(Box::pin(play::play(path)));
    played.map_err(|error| Failed::from(format!("{error:#}")))
}
