//! What differs between two snapshots, in words that people use.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Action, Attachment, Backend, Digest, EncodedPart, Filter, HostClaim, L4Choice, L4Route,
    Listener, Match, Part, PartKey, PathMatch, Route, Rule, Snapshot, StringMatch, Target,
    WeightedBackend,
};

/// What differs in one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartChange {
    /// Which part.
    pub part: PartKey,
    /// Whether it is new, gone or changed.
    pub change: ChangeType,
    /// What differs inside, ordered by field; empty for private keys.
    pub fields: Vec<FieldChange>,
}

/// Whether something is new, gone or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ChangeType {
    /// New.
    Added,
    /// Gone.
    Removed,
    /// Changed.
    Modified,
}

/// What differs in one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Path of the field inside the part, such as `rules[2] weights`.
    pub field: String,
    /// Value before, empty where there was none.
    pub before: String,
    /// Value after, empty where there is none.
    pub after: String,
}

/// The parts that differ, ordered by kind and name.
pub fn diff(before: &Snapshot, after: &Snapshot) -> Vec<PartChange> {
    let delta = before.manifest().delta_to(&after.manifest());
    let mut changes: Vec<_> = delta
        .put
        .into_iter()
        .map(|(key, _)| change(before.get(&key), after.get(&key), key))
        .chain(
            delta
                .removed
                .into_iter()
                .map(|key| change(before.get(&key), None, key)),
        )
        .collect();
    changes.sort_by(|a, b| a.part.cmp(&b.part));
    changes
}

fn change(before: Option<&EncodedPart>, after: Option<&EncodedPart>, part: PartKey) -> PartChange {
    let change = match (before, after) {
        (None, _) => ChangeType::Added,
        (_, None) => ChangeType::Removed,
        (Some(_), Some(_)) => ChangeType::Modified,
    };
    let facts = |part: Option<&EncodedPart>| part.map(|part| fields(part.part()));
    let (before, after) = (
        facts(before).unwrap_or_default(),
        facts(after).unwrap_or_default(),
    );
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let value = |map: &BTreeMap<String, String>, name| map.get(name).cloned().unwrap_or_default();
    let fields = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            before: value(&before, name),
            after: value(&after, name),
        })
        .collect();
    PartChange {
        part,
        change,
        fields,
    }
}

/// A part as named values, as people would write them down. Nothing secret is among them.
pub fn fields(part: &Part) -> BTreeMap<String, String> {
    match part {
        Part::Listener(listener) => listener_fields(listener),
        Part::Route(route) => route_fields(route),
        Part::L4Route(route) => l4_route_fields(route),
        Part::Backend(backend) => backend_fields(backend),
        Part::EndpointSet(set) => {
            let address = |endpoint: &crate::Endpoint| match endpoint.draining {
                true => format!("{} (draining)", endpoint.address),
                false => endpoint.address.to_string(),
            };
            BTreeMap::from([(
                "endpoints".to_owned(),
                list(set.endpoints.iter().map(address)),
            )])
        }
        Part::Certificate(certificate) => [
            (
                "names",
                list(certificate.dns_names.iter().map(ToString::to_string)),
            ),
            ("valid until", certificate.not_after_unix_s.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        Part::TrustBundle(bundle) => BTreeMap::from([(
            "authorities".to_owned(),
            list(
                bundle
                    .certificates
                    .iter()
                    .map(|der| Digest::of(der).short()),
            ),
        )]),
        Part::PrivateKey(_) => BTreeMap::new(),
    }
}

fn listener_fields(listener: &Listener) -> BTreeMap<String, String> {
    let certificate = listener.backend_client_certificate.as_deref();
    let fields = [
        ("hostname", listener.hostname.to_string()),
        ("port", listener.port.to_string()),
        ("bind port", listener.bind_port.to_string()),
        ("protocol", format!("{:?}", listener.protocol)),
        ("filters", list(listener.filters.iter().map(filter_text))),
        (
            "backend client certificate",
            certificate.unwrap_or_default().to_owned(),
        ),
    ];
    let fields = fields.into_iter().chain(listener.edge.fields());
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What was left at its default says nothing.
fn backend_fields(backend: &Backend) -> BTreeMap<String, String> {
    fn debug<T: std::fmt::Debug + PartialEq>(value: &T, default: &T) -> String {
        if value == default {
            String::new()
        } else {
            format!("{value:?}")
        }
    }
    let default = Backend::of_service("", backend.object.clone(), backend.port);
    let fields = [
        ("protocol", format!("{:?}", backend.protocol)),
        ("destination", format!("{:?}", backend.destination)),
        ("security", debug(&backend.security, &default.security)),
        ("balancing", debug(&backend.balancing, &default.balancing)),
        ("limits", debug(&backend.limits, &default.limits)),
        ("ejection", debug(&backend.ejection, &None)),
        ("retry budget", debug(&backend.retry_budget, &None)),
        ("session", debug(&backend.session, &None)),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn route_fields(route: &Route) -> BTreeMap<String, String> {
    let mut fields = attachment_fields(&route.attachments);
    for (index, rule) in route.rules.iter().enumerate() {
        let at = if route.rules.len() == 1 {
            String::new()
        } else {
            format!("rules[{index}] ")
        };
        for (name, value) in rule_fields(rule) {
            fields.insert(format!("{at}{name}"), value);
        }
    }
    fields
}

fn l4_route_fields(route: &L4Route) -> BTreeMap<String, String> {
    let mut fields = attachment_fields(&route.attachments);
    let target = |choice: &L4Choice| match &choice.target {
        Target::Backend(name) => name.to_string(),
        Target::Fault(reason) => format!("refused ({reason})"),
    };
    let backends = list(route.choices.iter().map(target));
    let weights = weights(route.choices.iter().map(|choice| choice.weight));
    fields.insert("backends".to_owned(), backends);
    fields.insert("weight".to_owned(), weights);
    fields
}

fn attachment_fields(attachments: &[Attachment]) -> BTreeMap<String, String> {
    let fields = attachments.iter().map(|attachment| {
        let hosts = attachment.hosts.iter();
        let hosts = hosts.map(|claim: &HostClaim| claim.host.to_string());
        (format!("hosts on {}", attachment.listener), list(hosts))
    });
    fields.collect()
}

fn weights(weights: impl Iterator<Item = u32>) -> String {
    let weights = weights.map(|weight| weight.to_string());
    weights.collect::<Vec<_>>().join("/")
}

fn rule_fields(rule: &Rule) -> Vec<(&'static str, String)> {
    let mut fields = vec![(
        "matches",
        rule.matches
            .iter()
            .map(match_text)
            .collect::<Vec<_>>()
            .join(" or "),
    )];
    match &rule.action {
        Action::Forward(choices) => {
            fields.push(("backends", list(choices.iter().map(target_text))));
            let weights = weights(choices.iter().map(|choice| choice.weight));
            fields.push(("weight", weights));
        }
        Action::Redirect(redirect) => fields.push(("redirect", format!("{redirect:?}"))),
        Action::Fault(reason) => fields.push(("fault", reason.to_string())),
    }
    if !rule.filters.is_empty() {
        fields.push(("filters", list(rule.filters.iter().map(filter_text))));
    }
    let milliseconds = |name, limit: Option<u64>| limit.map(|ms| (name, format!("{ms} ms")));
    fields.extend(milliseconds("request timeout", rule.timeouts.request_ms));
    fields.extend(milliseconds(
        "backend request timeout",
        rule.timeouts.backend_request_ms,
    ));
    fields.extend(
        rule.retry
            .iter()
            .map(|retry| ("retry", format!("{retry:?}"))),
    );
    fields.extend(
        rule.session
            .iter()
            .map(|session| ("session", format!("{session:?}"))),
    );
    fields
}

fn match_text(condition: &Match) -> String {
    let path = match &condition.path {
        PathMatch::Exact(path) => format!("={path}"),
        PathMatch::Prefix(path) => format!("{}*", path.trim_end_matches('/').to_owned() + "/"),
        PathMatch::Regex(path) => format!("~{path}"),
        PathMatch::Method(condition) => {
            let part = |part: &Option<StringMatch>| match part {
                None => "*".to_owned(),
                Some(StringMatch::Exact(text)) => text.to_string(),
                Some(StringMatch::Regex(text)) => format!("~{text}"),
            };
            format!(
                "gRPC {}/{}",
                part(&condition.service),
                part(&condition.method)
            )
        }
    };
    let value = |sign: &str, condition: &crate::ValueMatch| match &condition.value {
        StringMatch::Exact(text) => format!("{sign}{}={text}", condition.name),
        StringMatch::Regex(text) => format!("{sign}{}~{text}", condition.name),
    };
    let mut words: Vec<String> = condition.method.iter().map(ToString::to_string).collect();
    words.push(path);
    words.extend(
        condition
            .headers
            .iter()
            .map(|header| value("header ", header)),
    );
    words.extend(
        condition
            .query_params
            .iter()
            .map(|query| value("query ", query)),
    );
    words.join(" ")
}

fn target_text(choice: &WeightedBackend) -> String {
    let target = match &choice.target {
        Target::Backend(name) => name.to_string(),
        Target::Fault(reason) => format!("500 ({reason})"),
    };
    match choice.filters.len() {
        0 => target,
        _ => format!(
            "{target} with {}",
            list(choice.filters.iter().map(filter_text))
        ),
    }
}

fn filter_text(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(edits) => format!("request headers {edits:?}"),
        Filter::ResponseHeaders(edits) => format!("response headers {edits:?}"),
        Filter::Rewrite(rewrite) => format!("rewrite {rewrite:?}"),
        Filter::Mirror(mirror) => {
            format!(
                "mirror {}/{} to {}",
                mirror.numerator, mirror.denominator, mirror.backend
            )
        }
        Filter::Cors(cors) => format!("CORS {cors:?}"),
        Filter::ExternalAuth(auth) => format!("external auth {auth:?}"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ObjectName, RouteKind, Timeouts};

    fn snapshot(version: u64, weights: &[u32]) -> Snapshot {
        let choice = |weight: &u32| WeightedBackend {
            weight: *weight,
            target: Target::Fault("none".into()),
            filters: vec![],
        };
        let path = PathMatch::Prefix("/".into());
        let rule = Rule {
            name: None,
            matches: vec![Match {
                path,
                method: None,
                headers: vec![],
                query_params: vec![],
            }],
            filters: vec![],
            action: Action::Forward(weights.iter().map(choice).collect()),
            timeouts: Timeouts::default(),
            retry: None,
            session: None,
        };
        let route = Route {
            kind: RouteKind::Http,
            object: ObjectName::new("shop", "cart"),
            created_at_unix_s: 0,
            attachments: vec![],
            rules: vec![rule],
        };
        Snapshot::new("p", version, [EncodedPart::encode(Part::Route(route))])
    }

    #[test]
    fn a_shifted_weight_is_one_field() {
        let changes = diff(&snapshot(1, &[90, 10]), &snapshot(2, &[50, 50]));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].change, ChangeType::Modified);
        assert_eq!(
            changes[0].fields,
            [FieldChange {
                field: "weight".into(),
                before: "90/10".into(),
                after: "50/50".into()
            }]
        );
    }

    #[test]
    fn equal_snapshots_do_not_differ() {
        assert_eq!(diff(&snapshot(1, &[1]), &snapshot(2, &[1])), []);
    }
}
