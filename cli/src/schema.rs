//! What the compiler knows about kinds, for the file source.

use crate::commands::kinds::{GATEWAY, KINDS, Kind, OWN};
use crate::source::object::FileKey;
use crate::source::set::{KindIs, Schema};

/// Checks objects as configd will.
pub(crate) const COMPILER_SCHEMA: Schema = Schema {
    kind: kind_is,
    check: invalid_fields,
};

fn kind_is(group: &str, kind: &str) -> KindIs {
    if tidegate_compiler::is_known(group, kind) {
        return KindIs::Read;
    }
    let name = |group: &str, kind: &str| format!("{group}/{kind}");
    let given = name(group, kind);
    let edits = KINDS
        .iter()
        .map(|known| (distance(&given, &name(known.group, known.kind)), known));
    match edits.min_by_key(|(edits, _)| *edits) {
        Some((edits, known)) if edits <= slips_max(known.kind, kind) => {
            KindIs::Mistaken(meant(known, group))
        }
        _ if [GATEWAY, OWN].contains(&group) => KindIs::Mistaken(format!(
            "{group} has no kind of that name; see \"tidegate get --help\" for those that Tidegate reads"
        )),
        _ => KindIs::Foreign,
    }
}

/// Letters that may be wrong in a group and a kind, at most, for the kind that is known to be meant.
fn slips_max(known: &str, kind: &str) -> usize {
    match known == kind {
        // Then they are all in the group, which is longer.
        true => 5,
        // The letters of a short name say little: a Node is no Pod.
        false => known.len() / 4,
    }
}

fn meant(known: &Kind, group: &str) -> String {
    let kind = known.kind;
    match known.group {
        own if own == group => format!("there is no such kind; did you mean {kind}?"),
        "" => format!(
            "there is no such kind in \"{group}\"; did you mean {kind} of the core, \"apiVersion: v1\"?"
        ),
        other => {
            format!("there is no such kind in \"{group}\"; did you mean {kind} of \"{other}\"?")
        }
    }
}

fn invalid_fields(key: &FileKey, content: &[u8]) -> Vec<(String, String)> {
    match tidegate_compiler::validate(&key.group, &key.kind, content) {
        Ok(()) => Vec::new(),
        Err(fields) => fields
            .into_iter()
            .map(|f| (f.path, with_suggestion(&f.message)))
            .collect(),
    }
}

/// Turns "unknown field `matchs`, expected one of `name`, `matches`" into a question where one of the
/// expected names is close.
fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let is_about_name =
        message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some(unknown) = names.next().filter(|_| is_about_name) else {
        return message.to_owned();
    };
    let nearest = names.map(|name| (distance(unknown, name), name)).min();
    match nearest {
        Some((edits, name)) if edits <= 1 + unknown.len() / 4 => {
            let what = message.split(" `").next().unwrap_or_default();
            format!("{what} \"{unknown}\"; did you mean \"{name}\"?")
        }
        _ => message.to_owned(),
    }
}

/// How many letters must be added, removed or replaced; upper and lower case are the same.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let message = "unknown field `matchs`, expected one of `name`, `matches`, `filters`";
        assert_eq!(
            with_suggestion(message),
            "unknown field \"matchs\"; did you mean \"matches\"?"
        );
        let message = "unknown field `colour`, expected one of `name`, `matches`";
        assert_eq!(with_suggestion(message), message);
        assert_eq!(with_suggestion("must not be empty"), "must not be empty");
    }

    #[test]
    fn a_kind_that_nobody_has_is_a_mistake_and_one_of_others_is_not() {
        for (group, kind, meant) in [
            (GATEWAY, "HTTPRout", "HTTPRoute"),
            (GATEWAY, "HttpRoute", "HTTPRoute"),
            ("gateway.networking.k8s.oi", "TLSRoute", "TLSRoute"),
            ("gateway.network.k8s.io", "TLSRoute", "networking.k8s.io"),
            ("core", "Service", "apiVersion: v1"),
            (GATEWAY, "Route", "has no kind"),
            ("", "Secrets", "Secret"),
            (OWN, "BackendPolicies", "BackendPolicy?"),
            (OWN, "Policy", "has no kind"),
        ] {
            let is = kind_is(group, kind);
            let fits = matches!(&is, KindIs::Mistaken(message) if message.contains(meant));
            assert!(fits, "{kind}: {is:?}");
        }
        for (group, kind) in [
            ("", "Node"),
            ("", "ServiceAccount"),
            ("apps", "Deployment"),
            ("networking.istio.io", "Gateway"),
            ("policy.linkerd.io", "HTTPRoute"),
            ("serving.knative.dev", "Service"),
            ("networking.k8s.io", "Ingress"),
            ("gateway.networking.x-k8s.io", "XMesh"),
        ] {
            assert_eq!(kind_is(group, kind), KindIs::Foreign, "{kind}");
        }
        assert_eq!(kind_is(GATEWAY, "HTTPRoute"), KindIs::Read);
    }

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("matchs", "matches"), 1);
        assert_eq!(distance("backendRef", "backendrefs"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
