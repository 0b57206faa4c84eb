//! An explanation as text.

use std::fmt::Write as _;

use tidegate_ir::{
    Action, Filter, Match, PartName, PathMatch, Rule, Snapshot, StringMatch, Target, ValueMatch,
};
use tidegate_router::{Candidate, Explanation, ListenerVerdict, Mismatch, Verdict};

use super::target::Targets;
use crate::style::Style;

/// An explanation and the snapshot that it is about.
pub(super) struct Report<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) explanation: &'a Explanation,
}

impl Report<'_> {
    /// Request, snapshot, listeners, rules, and what happens in the end.
    pub(super) fn text(&self, request: &str, origin: &str, style: Style) -> String {
        let mut text = format!("{}\n  in {origin}\n", style.bold(request));
        text.push_str(&listeners_text(&self.explanation.listeners, style));
        let _ = writeln!(
            text,
            "\n{}",
            style.bold("Rules, in the order in which they are tried")
        );
        if self.explanation.candidates.is_empty() {
            let _ = writeln!(text, "    none: no route of the listener claims this host");
        }
        for candidate in &self.explanation.candidates {
            let _ = writeln!(text, "  {}", self.candidate(candidate, style));
        }
        let _ = writeln!(text, "\n{}", style.bold("Result"));
        text.push_str(&self.result());
        text
    }

    fn candidate(&self, candidate: &Candidate, style: Style) -> String {
        let (mark, why) = match &candidate.verdict {
            Verdict::Won => ("→", "wins".to_owned()),
            Verdict::Lost(mismatch) => (" ", mismatch_text(mismatch)),
            Verdict::Outranked => (" ", "matches, but a rule above it wins".to_owned()),
        };
        let line = format!(
            "{mark} {} {} rule {} ({}): {why}",
            candidate.kind.object_kind(),
            candidate.route,
            candidate.rule,
            match_text(&candidate.conditions),
        );
        emphasise(style, mark, &line)
    }

    fn result(&self) -> String {
        let Some(winner) = self.explanation.winner() else {
            let no_listener = !self
                .explanation
                .listeners
                .iter()
                .any(|(_, verdict)| *verdict == ListenerVerdict::Chosen);
            let cause = if no_listener {
                "no listener of that port is for this host"
            } else {
                "no rule matches"
            };
            return format!("  404: {cause}\n");
        };
        let rule = self.rule(winner);
        rule.map_or_else(
            || "  the rule is not in the snapshot\n".to_owned(),
            |r| self.action(r),
        )
    }

    fn rule(&self, winner: &Candidate) -> Option<&Rule> {
        let is_it =
            |route: &&tidegate_ir::Route| route.kind == winner.kind && route.object == winner.route;
        self.snapshot
            .routes()
            .find(is_it)?
            .rules
            .get(winner.rule_index)
    }

    fn action(&self, rule: &Rule) -> String {
        let mut text = String::new();
        for filter in &rule.filters {
            let _ = writeln!(text, "  filter   {}", filter_text(filter));
        }
        if let Some(ms) = rule.timeouts.request_ms {
            let _ = writeln!(text, "  timeout  {ms} ms for the request");
        }
        if let Some(ms) = rule.timeouts.backend_request_ms {
            let _ = writeln!(text, "  timeout  {ms} ms for each attempt");
        }
        match &rule.action {
            Action::Fault(reason) => {
                let _ = writeln!(text, "  500: {reason}");
            }
            Action::Redirect(redirect) => {
                let _ = writeln!(
                    text,
                    "  {} redirect{}",
                    redirect.status_code,
                    changes(redirect)
                );
            }
            Action::Forward(choices) => {
                let sum: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
                let targets = Targets {
                    snapshot: self.snapshot,
                    refused: "500",
                    unavailable: "503",
                };
                for choice in choices {
                    let share = targets.share(choice.weight, sum, &choice.target);
                    let _ = writeln!(text, "  {share}");
                    for filter in &choice.filters {
                        let _ = writeln!(text, "           filter {}", filter_text(filter));
                    }
                }
            }
        }
        text
    }
}

/// Every listener, and why it was chosen or not.
pub(super) fn listeners_text(listeners: &[(PartName, ListenerVerdict)], style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold("Listeners"));
    for (name, verdict) in listeners {
        let (mark, why) = match verdict {
            ListenerVerdict::Chosen => ("→", "chosen".to_owned()),
            ListenerVerdict::OtherPort { port } => (" ", format!("listens on port {port}")),
            ListenerVerdict::OtherProtocol { protocol } => (" ", format!("is for {protocol}")),
            ListenerVerdict::OtherHost { hostname } => (" ", format!("is for {hostname}")),
            ListenerVerdict::LessSpecific { hostname } => {
                (" ", format!("{hostname} is less specific"))
            }
        };
        let line = format!("{mark} {name}: {why}");
        let _ = writeln!(text, "  {}", emphasise(style, mark, &line));
    }
    text
}

pub(super) fn emphasise(style: Style, mark: &str, line: &str) -> String {
    if mark == "→" {
        style.bold(line)
    } else {
        line.to_owned()
    }
}

fn match_text(conditions: &Match) -> String {
    let mut words: Vec<String> = conditions.method.iter().map(ToString::to_string).collect();
    words.push(path_text(&conditions.path));
    words.extend(
        conditions
            .headers
            .iter()
            .map(|h| format!("header {}", value_text(h))),
    );
    words.extend(
        conditions
            .query_params
            .iter()
            .map(|q| format!("query {}", value_text(q))),
    );
    words.join(", ")
}

fn path_text(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(path) => format!("path prefix {path}"),
        PathMatch::Regex(path) => format!("path ~ {path}"),
        PathMatch::Method(condition) => {
            let part = |name: &str, part: &Option<StringMatch>| match part {
                None => format!("any {name}"),
                Some(StringMatch::Exact(text)) => format!("{name} {text}"),
                Some(StringMatch::Regex(text)) => format!("{name} ~ {text}"),
            };
            let service = part("service", &condition.service);
            format!("gRPC {service}, {}", part("method", &condition.method))
        }
    }
}

fn value_text(value: &ValueMatch) -> String {
    match &value.value {
        StringMatch::Exact(text) => format!("{} = {text}", value.name),
        StringMatch::Regex(text) => format!("{} ~ {text}", value.name),
    }
}

fn mismatch_text(mismatch: &Mismatch) -> String {
    let found = |found: &Option<String>| match found {
        Some(found) => format!("the request has \"{found}\""),
        None => "the request has none".to_owned(),
    };
    match mismatch {
        Mismatch::Path { wanted } => format!("needs {}", path_text(wanted)),
        Mismatch::Method { wanted } => format!("needs method {wanted}"),
        Mismatch::Header {
            wanted,
            found: value,
        } => {
            format!("needs header {}; {}", value_text(wanted), found(value))
        }
        Mismatch::QueryParam {
            wanted,
            found: value,
        } => {
            format!("needs query {}; {}", value_text(wanted), found(value))
        }
    }
}

fn filter_text(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(edits) => format!("request headers: {}", edits_text(edits)),
        Filter::ResponseHeaders(edits) => format!("response headers: {}", edits_text(edits)),
        Filter::Rewrite(rewrite) => {
            let mut words = Vec::new();
            words.extend(rewrite.hostname.iter().map(|host| format!("host {host}")));
            words.extend(rewrite.path.iter().map(path_edit_text));
            format!("rewrite: {}", words.join(", "))
        }
        Filter::Mirror(mirror) => {
            let share = f64::from(mirror.numerator) * 100.0 / f64::from(mirror.denominator.max(1));
            format!("mirror {share:.1} % to {}", mirror.backend)
        }
        Filter::Cors(cors) => format!("CORS for {}", cors.allow_origins.join(", ")),
        Filter::ExternalAuth(auth) => match &auth.target {
            Target::Backend(name) => format!("asks {name} first"),
            Target::Fault(reason) => format!("refuses all: {reason}"),
        },
    }
}

fn edits_text(edits: &tidegate_ir::HeaderEdits) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(
        edits
            .set
            .iter()
            .map(|(name, value)| format!("set {name}: {value}")),
    );
    words.extend(
        edits
            .add
            .iter()
            .map(|(name, value)| format!("add {name}: {value}")),
    );
    words.extend(edits.remove.iter().map(|name| format!("remove {name}")));
    words.join(", ")
}

fn path_edit_text(edit: &tidegate_ir::PathEdit) -> String {
    match edit {
        tidegate_ir::PathEdit::Full(path) => format!("path {path}"),
        tidegate_ir::PathEdit::Prefix(path) => format!("path prefix becomes {path}"),
    }
}

fn changes(redirect: &tidegate_ir::Redirect) -> String {
    let mut words = Vec::new();
    words.extend(
        redirect
            .scheme
            .iter()
            .map(|scheme| format!("scheme {scheme}")),
    );
    words.extend(redirect.hostname.iter().map(|host| format!("host {host}")));
    words.extend(redirect.port.iter().map(|port| format!("port {port}")));
    words.extend(redirect.path.iter().map(path_edit_text));
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(", "))
    }
}
