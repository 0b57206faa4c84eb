//! The commands that look at configuration, one file each.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod certs;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod coverage;
pub(crate) mod describe;
pub(crate) mod explain;
pub(crate) mod explain_code;
pub(crate) mod get;
pub(crate) mod install;
pub(crate) mod kinds;
pub(crate) mod lint;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod rollout;
pub(crate) mod seal_key;
pub(crate) mod snapshots;
pub(crate) mod sources;
pub(crate) mod wait;
pub(crate) mod workers;

use std::io::Write as _;

/// Writes data to standard output; a closed pipe is an error that `main` takes for the end.
pub(crate) fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
