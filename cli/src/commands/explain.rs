//! `tidegate explain`: what happens to a request, connection or datagram, and why nothing else does.

mod question;
pub(crate) mod report;

use std::path::PathBuf;

use clap::Args;
use http::Uri;
use serde_json::{Value, json};
use tidegate_proto::explain::v1::{
    Candidate, CandidateVerdict, ExplainRouteRequest, ExplainRouteResponse, ListenerChoice,
    ListenerVerdict, RuleName, Share,
};

use super::output::{Output, info_json, json_text};
use super::write_out;
use crate::api::{ServerArgs, failure};
use crate::offline::Offline;
use crate::style::Style;

const EXAMPLES: &str = "\
Examples:
  tidegate explain GET http://shop.example.com/cart -f manifests/
  tidegate explain GET http://localhost:8080/cart -H 'x-canary: always'
  tidegate explain POST https://shop.example.com:8443/orders --server http://127.0.0.1:15010
  tidegate explain GET http://shop.example.com/cart --plan 4f1c0a2b9d3e5f60
  tidegate explain tls://db.example.com:5432
  tidegate explain tcp://:5432
  tidegate explain udp://:53
";

/// Which request.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// Method of a request, such as GET; or a connection or datagram, such as tls://db.example.com:5432,
    /// tcp://:5432 or udp://:53
    #[arg(value_name = "METHOD|FLOW")]
    what: String,
    /// URL with scheme and host: http://shop.example.com/cart?size=2
    url: Option<Uri>,
    /// Request header, as in curl; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Explain what would become of it after this plan of `tidegate plan`
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, conflicts_with_all = ["version", "files"])]
    plan: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    about: VersionArgs,
}

/// Files, or a version that a configd has.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Look at what these files would do, instead of asking a configd; `-` is standard input
    #[arg(short, long = "file", value_name = "PATH", conflicts_with_all = ["server", "data_dir"])]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Version to look at; the newest without it
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) version: u64,
    /// Pool of workers; needed where there are several
    #[arg(long, default_value = "")]
    pub(crate) pool: String,
}

impl VersionArgs {
    /// What the files say, with what is wrong with them on standard error; `None` where a configd is to be asked.
    pub(crate) fn offline(&self) -> anyhow::Result<Option<Offline>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let offline = Offline::load(&self.files)?;
        for finding in &offline.contents.findings {
            eprintln!("{}", super::lint::line(finding, Style::stderr()));
        }
        Ok(Some(offline))
    }
}

/// Explains the request, connection or datagram.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let asked = question::parse(&args.what, args.url.as_ref(), &args.headers)?;
    let question = ExplainRouteRequest {
        pool: args.about.pool.clone(),
        version: args.about.version,
        plan: args.plan.clone(),
        ..asked
    };
    let explained = match args.about.offline()? {
        Some(offline) => tidegate_configd::explain::route(&offline.snapshot(), &question, &[])?,
        None => {
            let mut api = args.about.server.connect().await?;
            let answer = api.explain.explain_route(question).await;
            answer.map_err(failure)?.into_inner()
        }
    };
    let text = match args.output {
        Output::Table => {
            let url = args.url.as_ref().map(|url| format!(" {url}"));
            let title = format!("{}{}", args.what, url.unwrap_or_default());
            let origin = match args.plan.as_str() {
                "" => report::origin(explained.snapshot.as_ref()),
                plan => format!("plan {plan}, if it were applied"),
            };
            report::text(&explained, &title, &origin, Style::stdout())
        }
        Output::Json => json_text(json(&explained)),
    };
    Ok(write_out(&text)?)
}

fn json(explained: &ExplainRouteResponse) -> Value {
    let outcome = explained.outcome.clone().unwrap_or_default();
    json!({
        "snapshot": explained.snapshot.as_ref().map(info_json),
        "layer4": explained.layer4,
        "listeners": explained.listeners.iter().map(listener_json).collect::<Vec<_>>(),
        "candidates": explained.candidates.iter().map(candidate_json).collect::<Vec<_>>(),
        "answer": outcome.answer,
        "filters": outcome.filters,
        "requestTimeoutMs": outcome.request_timeout_ms,
        "attemptTimeoutMs": outcome.attempt_timeout_ms,
        "shares": outcome.shares.iter().map(share_json).collect::<Vec<_>>(),
    })
}

fn listener_json(choice: &ListenerChoice) -> Value {
    let verdict = match choice.verdict() {
        ListenerVerdict::Unspecified => "",
        ListenerVerdict::Chosen => "chosen",
        ListenerVerdict::OtherPort => "otherPort",
        ListenerVerdict::OtherProtocol => "otherProtocol",
        ListenerVerdict::OtherHost => "otherHost",
        ListenerVerdict::LessSpecific => "lessSpecific",
    };
    json!({"name": choice.name, "verdict": verdict, "why": choice.why})
}

fn candidate_json(candidate: &Candidate) -> Value {
    let verdict = match candidate.verdict() {
        CandidateVerdict::Unspecified => "",
        CandidateVerdict::Won => "won",
        CandidateVerdict::Lost => "lost",
        CandidateVerdict::Outranked => "outranked",
        CandidateVerdict::LessSpecific => "lessSpecific",
        CandidateVerdict::Younger => "younger",
    };
    json!({
        "rule": candidate.rule.as_ref().map(rule_json),
        "verdict": verdict,
        "why": candidate.why,
    })
}

/// A match of a rule.
pub(crate) fn rule_json(rule: &RuleName) -> Value {
    json!({
        "kind": rule.kind,
        "route": rule.route,
        "rule": rule.rule,
        "match": rule.match_index,
        "conditions": rule.conditions,
        "host": rule.host,
        "claimed": rule.claimed,
    })
}

fn share_json(share: &Share) -> Value {
    json!({
        "percent": share.percent,
        "backend": share.backend,
        "problem": share.problem,
        "addresses": share.addresses,
        "addressesTotal": share.addresses_total,
        "dnsName": share.dns_name,
        "filters": share.filters,
    })
}
