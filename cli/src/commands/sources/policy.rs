//! `tidegate sources policy`: the bounds of a source, and what becomes of it when it is silent.

use clap::Args;
use serde_json::json;
use tidegate_proto::sources::v1::{SetSourcePolicyRequest, SourcePolicy};

use super::super::output::{Output, json_text};
use super::super::snapshots::marks::WhyArgs;
use super::{source_json, table};
use crate::api::{ServerArgs, failure};

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate sources policy eu-1 --objects-max 500000     a larger quota, all else by default
  tidegate sources policy eu-1 --withdraw-after 86400   delete what it has when it is stale for a day
  tidegate sources policy eu-1 --hold-percent 100       hold no deletions
  tidegate sources policy eu-1                          all by default again
";

/// All of a source's policy: what is left out has its default again.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The source; it need not have objects yet
    source: String,
    /// Objects, at most [default: 200000]
    #[arg(long, value_name = "COUNT")]
    objects_max: Option<u64>,
    /// Bytes of their contents together, at most [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    bytes_max: Option<u64>,
    /// Part of its objects that a full set may delete without being held [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    hold_percent: Option<u32>,
    /// As many objects a full set may delete in any case [default: 10]
    #[arg(long, value_name = "COUNT")]
    hold_min: Option<u64>,
    /// Seconds that it may be stale before its objects are deleted [default: they are kept]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=31_536_000))]
    withdraw_after: Option<u32>,
    #[command(flatten)]
    why: WhyArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn set(args: PolicyArgs) -> anyhow::Result<String> {
    let mut api = args.server.connect().await?;
    let policy = SourcePolicy {
        objects_max: args.objects_max,
        bytes_max: args.bytes_max,
        hold_percent: args.hold_percent,
        hold_min: args.hold_min,
        withdraw_after_ms: args
            .withdraw_after
            .map(|seconds| u64::from(seconds) * 1_000),
    };
    let request = SetSourcePolicyRequest {
        source: args.source,
        policy: Some(policy),
        requested_by: args.why.by,
        reason: args.why.reason,
    };
    let answer = api.sources.set_source_policy(request).await;
    let source = answer.map_err(failure)?.into_inner().source;
    let source = source.unwrap_or_default();
    Ok(match args.output {
        Output::Json => json_text(json!({"source": source_json(&source)})),
        Output::Table => table(&[source]),
    })
}
