//! `tidegate wait`: returns when a change has come as far as asked.

use clap::{Args, ValueEnum};
use serde_json::json;
use tidegate_proto::objects::v1::WaitFor;
use tidegate_proto::snapshots::v1::{SnapshotInfo, WaitRequest};

use super::output::{Output, info_json, json_text};
use super::write_out;
use crate::api::{Api, ServerArgs, failure};

const EXAMPLES: &str = "\
Examples:
  tidegate wait                          every worker serves what is configured now
  tidegate wait --revision 42            the same for what `tidegate apply` stored as revision 42
  tidegate snapshots rollback && tidegate wait --timeout 20
";

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reached {
    /// It is stored
    Committed,
    /// Snapshots and statuses contain it
    Compiled,
    /// Every connected worker, and at least one of each pool, serves it
    Converged,
}

/// What to wait for.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct WaitArgs {
    /// Revision that must have come so far; what is there now without it
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    revision: u64,
    /// How far
    #[arg(long = "for", value_enum, value_name = "STATE", default_value_t = Reached::Converged)]
    reached: Reached,
    /// Pool of workers; all pools without it
    #[arg(long, default_value = "")]
    pool: String,
    /// Seconds to wait at most; then the exit code is 5
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u32,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Waits, and says which snapshots were waited for.
pub(crate) async fn run(args: WaitArgs) -> anyhow::Result<()> {
    let api = args.server.connect().await?;
    let request = WaitRequest {
        pool: args.pool,
        revision: args.revision,
        wait_for: args.reached.wire().into(),
        timeout_ms: millis(args.timeout),
    };
    let newest = wait(&api, request).await?;
    let text = match args.output {
        Output::Table => newest.iter().map(line).collect(),
        Output::Json => {
            let newest: Vec<_> = newest.iter().map(info_json).collect();
            json_text(json!({"newest": newest}))
        }
    };
    Ok(write_out(&text)?)
}

/// Waits until a revision has come so far.
pub(crate) async fn until(
    api: &Api,
    reached: Reached,
    revision: u64,
    timeout_s: u32,
) -> anyhow::Result<()> {
    if reached == Reached::Committed {
        return Ok(());
    }
    let request = WaitRequest {
        pool: String::new(),
        revision,
        wait_for: reached.wire().into(),
        timeout_ms: millis(timeout_s),
    };
    for info in wait(api, request).await? {
        eprint!("{}", line(&info));
    }
    Ok(())
}

async fn wait(api: &Api, request: WaitRequest) -> anyhow::Result<Vec<SnapshotInfo>> {
    let answer = api.snapshots.clone().wait(request).await;
    Ok(answer.map_err(failure)?.into_inner().newest)
}

fn line(info: &SnapshotInfo) -> String {
    let id = info.id.clone().unwrap_or_default();
    format!("pool {}: snapshot {}\n", id.pool, id.version)
}

/// 0 would mean the server's own time.
fn millis(seconds: u32) -> u32 {
    seconds.saturating_mul(1_000).max(1)
}

impl Reached {
    fn wire(self) -> WaitFor {
        match self {
            Self::Committed => WaitFor::Committed,
            Self::Compiled => WaitFor::Compiled,
            Self::Converged => WaitFor::Converged,
        }
    }
}
