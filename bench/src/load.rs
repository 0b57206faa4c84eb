//! What makes work for the peers: wrk and h2load, and tasks of this process where those cannot.

pub(crate) mod datagrams;
pub(crate) mod h2load;
pub(crate) mod streams;
pub(crate) mod wrk;

use std::process::Command;

use anyhow::Context as _;

/// What was done in the time of one measurement.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    /// Requests, round trips, connections or datagrams.
    pub(crate) count: u64,
    /// Bytes that arrived, where they count.
    pub(crate) bytes: u64,
}

/// What a load generator prints, run on core 1 before anybody else there.
fn output(program: &str, arguments: &[String]) -> anyhow::Result<String> {
    let output = Command::new("nice")
        .args(["-n", "-10", "taskset", "-c", "1", program])
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}; bench/setup installs it"))?;
    let texts =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(texts.concat())
}
