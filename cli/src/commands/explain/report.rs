//! An explanation as text.

use std::fmt::Write as _;

use tidegate_proto::explain::v1::{
    Candidate, CandidateVerdict, ExplainRouteResponse, ListenerVerdict, Outcome, RuleName, Share,
};
use tidegate_proto::snapshots::v1::SnapshotInfo;

use crate::desired::ECHO_PLACEHOLDER;
use crate::style::Style;

/// What was asked, the snapshot, listeners, rules, and what happens in the end.
pub(super) fn text(
    explained: &ExplainRouteResponse,
    title: &str,
    origin: &str,
    style: Style,
) -> String {
    let mut text = format!("{}\n  in {origin}\n", style.bold(title));
    let _ = writeln!(text, "\n{}", style.bold("Listeners"));
    for choice in &explained.listeners {
        let is_chosen = choice.verdict() == ListenerVerdict::Chosen;
        let line = format!("{}: {}", choice.name, choice.why);
        let _ = writeln!(text, "  {}", marked(is_chosen, &line, style));
    }
    let (tried, none) = match explained.layer4 {
        true => ("Routes, in the order in which they win", "none"),
        false => (
            "Rules, in the order in which they are tried",
            "none: no route of the listener claims this host",
        ),
    };
    let _ = writeln!(text, "\n{}", style.bold(tried));
    if explained.candidates.is_empty() {
        let _ = writeln!(text, "    {none}");
    }
    for candidate in &explained.candidates {
        let _ = writeln!(
            text,
            "  {}",
            candidate_text(candidate, explained.layer4, style)
        );
    }
    let _ = writeln!(text, "\n{}", style.bold("Result"));
    text.push_str(&outcome_text(
        &explained.outcome.clone().unwrap_or_default(),
    ));
    text
}

/// What was looked at.
pub(crate) fn origin(snapshot: Option<&SnapshotInfo>) -> String {
    let Some(info) = snapshot else {
        return "the files as they are now".to_owned();
    };
    let version = info.id.as_ref().map_or(0, |id| id.version);
    format!("snapshot {version} (last change: {})", info.cause)
}

fn candidate_text(candidate: &Candidate, layer4: bool, style: Style) -> String {
    let rule = candidate.rule.clone().unwrap_or_default();
    let line = format!("{}: {}", rule_text(&rule, layer4), candidate.why);
    marked(candidate.verdict() == CandidateVerdict::Won, &line, style)
}

/// "HTTPRoute shop/cart rule testers (path prefix /)".
pub(crate) fn rule_text(rule: &RuleName, layer4: bool) -> String {
    let mut text = format!("{} {}", rule.kind, rule.route);
    if !layer4 || rule.rule != "0" {
        let _ = write!(text, " rule {}", rule.rule);
    }
    if !rule.conditions.is_empty() {
        let _ = write!(text, " ({})", rule.conditions);
    }
    text
}

fn marked(is_chosen: bool, line: &str, style: Style) -> String {
    match is_chosen {
        true => style.bold(&format!("→ {line}")),
        false => format!("  {line}"),
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    let mut text = String::new();
    for filter in &outcome.filters {
        let _ = writeln!(text, "  filter   {filter}");
    }
    if let Some(ms) = outcome.request_timeout_ms {
        let _ = writeln!(text, "  timeout  {ms} ms for the request");
    }
    if let Some(ms) = outcome.attempt_timeout_ms {
        let _ = writeln!(text, "  timeout  {ms} ms for each attempt");
    }
    if !outcome.answer.is_empty() {
        let _ = writeln!(text, "  {}", outcome.answer);
    }
    for share in &outcome.shares {
        let _ = writeln!(text, "  {:>5.1} %  {}", share.percent, share_text(share));
        for filter in &share.filters {
            let _ = writeln!(text, "           filter {filter}");
        }
    }
    text
}

fn share_text(share: &Share) -> String {
    let rest = if !share.problem.is_empty() {
        share.problem.clone()
    } else if !share.dns_name.is_empty() {
        format!("{}, looked up in the DNS", share.dns_name)
    } else {
        addresses_text(share)
    };
    match (&*share.backend, &*rest) {
        ("", rest) => rest.to_owned(),
        (backend, "") => backend.to_owned(),
        (backend, rest) => format!("{backend} → {rest}"),
    }
}

fn addresses_text(share: &Share) -> String {
    let echo = ECHO_PLACEHOLDER.to_string();
    let named = share
        .addresses
        .iter()
        .map(|address| match *address == echo {
            true => "the built-in echo backend",
            false => address,
        });
    let named: Vec<_> = named.collect();
    let named_count = u32::try_from(named.len()).unwrap_or(u32::MAX);
    match share.addresses_total.saturating_sub(named_count) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}
