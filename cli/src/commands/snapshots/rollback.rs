//! `tidegate snapshots rollback`: one command back after one bad change.

use clap::Args;
use serde_json::json;
use tidegate_proto::history::v1::{RollbackRequest, RollbackResponse, rollback_request::To};

use super::super::output::{Output, info_json, json_text};
use super::super::pool::PoolArgs;
use super::marks::{VersionArg, WhyArgs};
use super::{change_json, changes_text, version_of};
use crate::api::failure;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate snapshots rollback                          take the last change back
  tidegate snapshots rollback 7 -m 'carts are empty'   serve what version 7 served
  tidegate snapshots rollback known-good --dry-run     only show what would change
  tidegate snapshots unfreeze                          follow the objects again, when they are repaired
";

/// Where to go back to.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Version or label; without it the newest one before that differs in more than addresses
    #[arg(value_name = "VERSION|LABEL")]
    to: Option<VersionArg>,
    /// Only if this version is the newest; exit code 4 if not
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "VERSION"
    )]
    expect: u64,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    at: PoolArgs,
}

pub(super) async fn run(args: RollbackArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let to = args.to.map(|to| match to {
        VersionArg::Number(version) => To::Version(version),
        VersionArg::Label(label) => To::Label(label),
    });
    let request = RollbackRequest {
        pool: args.at.pool,
        to,
        expected_version: args.expect,
        reason: args.why.reason,
        requested_by: args.why.by,
        dry_run: args.dry_run,
    };
    let answer = api.history.rollback(request).await.map_err(failure)?;
    let answer = answer.into_inner();
    Ok(match args.at.output {
        Output::Table => text(&answer),
        Output::Json => json_text(json!({
            "from": answer.from.as_ref().map(info_json),
            "restored": answer.restored.as_ref().map(info_json),
            "snapshot": answer.snapshot.as_ref().map(info_json),
            "changes": answer.changes.iter().map(change_json).collect::<Vec<_>>(),
        })),
    })
}

fn text(answer: &RollbackResponse) -> String {
    let from = version_of(answer.from.as_ref());
    let restored = version_of(answer.restored.as_ref());
    let changes = changes_text(&answer.changes);
    if answer.snapshot.is_none() {
        return format!("a rollback from {from} to {restored} would change\n{changes}");
    }
    let made = version_of(answer.snapshot.as_ref());
    eprintln!(
        "note: the pool is frozen: changes of objects wait until `tidegate snapshots unfreeze`"
    );
    format!("snapshot {from} → {made}, the content of {restored}\n{changes}")
}
