//! `tidegate coverage`: the rules that no request reaches.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};
use tidegate_proto::explain::v1::{GetCoverageRequest, GetCoverageResponse, Unreachable};

use super::explain::{VersionArgs, report, rule_json};
use super::output::{Output, info_json, json_text};
use super::write_out;
use crate::api::failure;

const EXAMPLES: &str = "\
Examples:
  tidegate coverage -f manifests/
  tidegate coverage --server http://127.0.0.1:15010 -o json
";

/// Of which version.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct CoverageArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    about: VersionArgs,
}

/// Lists them.
pub(crate) async fn run(args: CoverageArgs) -> anyhow::Result<()> {
    let coverage = match args.about.offline()? {
        Some(offline) => tidegate_configd::explain::coverage(&offline.snapshot()),
        None => {
            let mut api = args.about.server.connect().await?;
            let request = GetCoverageRequest {
                pool: args.about.pool,
                version: args.about.version,
            };
            let answer = api.explain.get_coverage(request).await;
            answer.map_err(failure)?.into_inner()
        }
    };
    let text = match args.output {
        Output::Table => text(&coverage),
        Output::Json => json_text(json(&coverage)),
    };
    Ok(write_out(&text)?)
}

fn text(coverage: &GetCoverageResponse) -> String {
    let origin = report::origin(coverage.snapshot.as_ref());
    let (total, of) = (coverage.unreachable_total, coverage.looked_at);
    let mut text = format!("{total} of {of} matches of rules are never reached in {origin}\n");
    for found in &coverage.unreachable {
        let (rule, by) = (name(found.rule.as_ref()), name(found.by.as_ref()));
        let whole = if found.whole_rule {
            ", the whole rule"
        } else {
            ""
        };
        let host = found.rule.as_ref().map_or("*", |rule| &rule.host);
        let listener = &found.listener;
        let _ = writeln!(
            text,
            "  {rule}{whole}\n    for host {host} on {listener}, {by} comes before it"
        );
    }
    let more = total.saturating_sub(coverage.unreachable.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

fn name(rule: Option<&tidegate_proto::explain::v1::RuleName>) -> String {
    let rule = rule.cloned().unwrap_or_default();
    report::rule_text(&rule, rule.conditions.is_empty())
}

fn json(coverage: &GetCoverageResponse) -> Value {
    json!({
        "snapshot": coverage.snapshot.as_ref().map(info_json),
        "lookedAt": coverage.looked_at,
        "unreachable": coverage.unreachable.iter().map(unreachable_json).collect::<Vec<_>>(),
        "unreachableTotal": coverage.unreachable_total,
    })
}

fn unreachable_json(found: &Unreachable) -> Value {
    json!({
        "rule": found.rule.as_ref().map(rule_json),
        "listener": found.listener,
        "by": found.by.as_ref().map(rule_json),
        "wholeRule": found.whole_rule,
    })
}
