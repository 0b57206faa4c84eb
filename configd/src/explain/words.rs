//! Listeners, conditions and filters in words.

use tidegate_ir::{
    Filter, HeaderEdits, Match, PartName, PathEdit, PathMatch, Redirect, StringMatch, Target,
    ValueMatch,
};
use tidegate_proto::explain::v1::{ListenerChoice, ListenerVerdict as WireVerdict};
use tidegate_router::{ListenerVerdict, Mismatch};

/// A listener, and why it was chosen or not.
pub(super) fn listener_choice((name, verdict): &(PartName, ListenerVerdict)) -> ListenerChoice {
    let (verdict, why) = match verdict {
        ListenerVerdict::Chosen => (WireVerdict::Chosen, "chosen".to_owned()),
        ListenerVerdict::OtherPort { port } => {
            (WireVerdict::OtherPort, format!("listens on port {port}"))
        }
        ListenerVerdict::OtherProtocol { protocol } => {
            (WireVerdict::OtherProtocol, format!("is for {protocol}"))
        }
        ListenerVerdict::OtherHost { hostname } => {
            (WireVerdict::OtherHost, format!("is for {hostname}"))
        }
        ListenerVerdict::LessSpecific { hostname } => (
            WireVerdict::LessSpecific,
            format!("{hostname} is less specific"),
        ),
    };
    ListenerChoice {
        name: name.to_string(),
        verdict: verdict.into(),
        why,
    }
}

pub(super) fn match_text(conditions: &Match) -> String {
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

pub(super) fn mismatch_text(mismatch: &Mismatch) -> String {
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

pub(super) fn filter_text(filter: &Filter) -> String {
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

fn edits_text(edits: &HeaderEdits) -> String {
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

fn path_edit_text(edit: &PathEdit) -> String {
    match edit {
        PathEdit::Full(path) => format!("path {path}"),
        PathEdit::Prefix(path) => format!("path prefix becomes {path}"),
    }
}

pub(super) fn changes(redirect: &Redirect) -> String {
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
