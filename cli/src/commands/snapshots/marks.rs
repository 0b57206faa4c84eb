//! Freezing a pool, and keeping and naming its snapshots.

use std::convert::Infallible;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};
use tidegate_proto::history::v1::{
    FreezeRequest, LabelRequest, ListPoolsRequest, PinRequest, Pool, UnfreezeRequest,
    UnlabelRequest, UnpinRequest, VersionRef, version_ref,
};
use tidegate_proto::snapshots::v1::SnapshotInfo;

use super::super::get::short_duration;
use super::super::output::{Output, info_json, json_text, time};
use super::super::pool::PoolArgs;
use super::{marks_text, version_of};
use crate::api::{Api, failure};

/// A version by its place in the chain, or by a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VersionArg {
    /// Digits.
    Number(u64),
    /// Anything else.
    Label(String),
}

impl FromStr for VersionArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let label = |_| Self::Label(text.to_owned());
        Ok(text.parse().map_or_else(label, Self::Number))
    }
}

impl VersionArg {
    fn in_pool(self, pool: String) -> VersionRef {
        let version = Some(match self {
            Self::Number(number) => version_ref::Version::Number(number),
            Self::Label(label) => version_ref::Version::Label(label),
        });
        VersionRef { pool, version }
    }
}

/// Who asks for something, and why.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// Why, for the history
    #[arg(short = 'm', long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// Who asks, for the history
    #[arg(
        long,
        env = "USER",
        default_value = "somebody",
        value_name = "NAME",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub(crate) by: String,
}

/// Which pool, and why.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Only if this version is the newest; exit code 4 if not
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "VERSION"
    )]
    expect: u64,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    at: PoolArgs,
}

/// Which snapshot.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Version or label
    #[arg(value_name = "VERSION|LABEL")]
    version: VersionArg,
    #[command(flatten)]
    at: PoolArgs,
}

/// Which snapshot gets which name.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Version, or another label of it
    #[arg(value_name = "VERSION|LABEL")]
    version: VersionArg,
    /// The name, such as known-good; it moves if another snapshot has it
    name: String,
    #[command(flatten)]
    at: PoolArgs,
}

/// Which name goes.
#[derive(Debug, Args)]
pub(crate) struct UnlabelArgs {
    /// The name
    name: String,
    #[command(flatten)]
    at: PoolArgs,
}

pub(super) async fn freeze(args: HoldArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = FreezeRequest {
        pool: args.at.pool,
        expected_version: args.expect,
        reason: args.why.reason,
        requested_by: args.why.by,
    };
    let answer = api.history.freeze(request).await.map_err(failure)?;
    Ok(pool_text(answer.into_inner().pool, args.at.output))
}

pub(super) async fn unfreeze(args: HoldArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = UnfreezeRequest {
        pool: args.at.pool,
        expected_version: args.expect,
        reason: args.why.reason,
        requested_by: args.why.by,
    };
    let answer = api.history.unfreeze(request).await.map_err(failure)?;
    Ok(pool_text(answer.into_inner().pool, args.at.output))
}

pub(super) async fn pin(args: PinArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let version = Some(args.version.in_pool(args.at.pool));
    let answer = api.history.pin(PinRequest { version }).await;
    let snapshot = answer.map_err(failure)?.into_inner().snapshot;
    Ok(snapshot_text(snapshot, args.at.output))
}

pub(super) async fn unpin(args: PinArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let version = Some(args.version.in_pool(args.at.pool));
    let answer = api.history.unpin(UnpinRequest { version }).await;
    let snapshot = answer.map_err(failure)?.into_inner().snapshot;
    Ok(snapshot_text(snapshot, args.at.output))
}

pub(super) async fn label(args: LabelArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = LabelRequest {
        version: Some(args.version.in_pool(args.at.pool)),
        label: args.name,
    };
    let answer = api.history.label(request).await.map_err(failure)?;
    Ok(snapshot_text(answer.into_inner().snapshot, args.at.output))
}

pub(super) async fn unlabel(args: UnlabelArgs) -> anyhow::Result<String> {
    let mut api = args.at.server.connect().await?;
    let request = UnlabelRequest {
        pool: args.at.pool,
        label: args.name,
    };
    let answer = api.history.unlabel(request).await.map_err(failure)?;
    Ok(snapshot_text(answer.into_inner().snapshot, args.at.output))
}

/// A line for each frozen pool among the asked ones.
pub(crate) async fn frozen(api: &Api, pool: &str) -> anyhow::Result<Vec<String>> {
    let mut client = api.history.clone();
    let answer = client.list_pools(ListPoolsRequest {}).await;
    let pools = answer.map_err(failure)?.into_inner().pools;
    let asked = pools
        .iter()
        .filter(|listed| pool.is_empty() || *listed.name == *pool);
    let frozen = asked.filter(|pool| pool.freeze.is_some());
    Ok(frozen.map(state).collect())
}

fn pool_text(pool: Option<Pool>, output: Output) -> String {
    let pool = pool.unwrap_or_default();
    match output {
        Output::Table => state(&pool) + "\n",
        Output::Json => json_text(json!({"pool": pool_json(&pool)})),
    }
}

/// "pool default is frozen at snapshot 8 since 5m by anna: the checkout answers 500".
fn state(pool: &Pool) -> String {
    let (name, version) = (&pool.name, version_of(pool.newest.as_ref()));
    let Some(freeze) = &pool.freeze else {
        return format!("pool {name} follows its objects from snapshot {version} on");
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let since = short_duration(now.saturating_sub(freeze.since_unix_ms).max(0) / 1_000);
    let text = format!(
        "pool {name} is frozen at snapshot {version} since {since} by {}",
        freeze.by
    );
    match freeze.reason.as_str() {
        "" => text,
        reason => format!("{text}: {reason}"),
    }
}

fn pool_json(pool: &Pool) -> Value {
    let freeze = pool.freeze.as_ref().map(|freeze| {
        json!({
            "by": freeze.by,
            "reason": freeze.reason,
            "since": time(freeze.since_unix_ms),
        })
    });
    json!({
        "name": pool.name,
        "newest": pool.newest.as_ref().map(info_json),
        "freeze": freeze,
        "workers": pool.workers,
        "converged": pool.converged,
    })
}

fn snapshot_text(snapshot: Option<SnapshotInfo>, output: Output) -> String {
    let info = snapshot.unwrap_or_default();
    if output == Output::Json {
        return json_text(json!({"snapshot": info_json(&info)}));
    }
    let marks = match marks_text(&info) {
        marks if marks.is_empty() => "kept as long as it is among the newest".to_owned(),
        marks => marks,
    };
    let id = info.id.unwrap_or_default();
    format!("snapshot {} of pool {}: {marks}\n", id.version, id.pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_version_and_all_else_is_a_label() {
        assert_eq!("7".parse(), Ok(VersionArg::Number(7)));
        let label = VersionArg::Label("known-good".to_owned());
        assert_eq!("known-good".parse(), Ok(label));
        let label = VersionArg::Label("7a".to_owned());
        assert_eq!("7a".parse(), Ok(label));
    }
}
