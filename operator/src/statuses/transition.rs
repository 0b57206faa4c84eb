//! Which changes of conditions are worth an event.

use serde_json::Value;

/// Conditions that are good when they are false.
const GOOD_WHEN_FALSE: [&str; 3] = [
    "Conflicted",
    "PartiallyInvalid",
    "InsecureFrontendValidationMode",
];

/// States that pass by themselves.
const PASSING: [&str; 2] = ["Pending", "AddressNotAssigned"];

/// A condition that became good or bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) is_good: bool,
    pub(super) reason: String,
    pub(super) note: String,
}

/// The transitions from one status to another: what became bad, and what is good again.
pub(super) fn between(before: &Value, after: &Value) -> Vec<Transition> {
    let mut transitions = vec![];
    compare(
        &before["conditions"],
        &after["conditions"],
        "",
        &mut transitions,
    );
    for (list, name) in [
        ("listeners", "name"),
        ("parents", "parentRef"),
        ("ancestors", "ancestorRef"),
    ] {
        for entry in after[list].as_array().into_iter().flatten() {
            let mut known = before[list].as_array().into_iter().flatten();
            let same = |other: &&Value| {
                other[name] == entry[name] && other["controllerName"] == entry["controllerName"]
            };
            let known = known.find(same).unwrap_or(&Value::Null);
            let title = title(&entry[name]);
            compare(
                &known["conditions"],
                &entry["conditions"],
                &title,
                &mut transitions,
            );
        }
    }
    transitions
}

fn compare(before: &Value, after: &Value, title: &str, transitions: &mut Vec<Transition>) {
    for condition in after.as_array().into_iter().flatten() {
        let mut known = before.as_array().into_iter().flatten();
        let known = known.find(|one| one["type"] == condition["type"]);
        let known = known.unwrap_or(&Value::Null);
        let was = |field: &str| known[field] == condition[field];
        if was("status") && was("reason") {
            continue;
        }
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let is_good = is_good(condition);
        let was_bad =
            known["status"].is_string() && known["status"] != "Unknown" && !is_good_known(known);
        if PASSING.contains(&text("reason")) || (is_good && !was_bad) {
            continue;
        }
        transitions.push(Transition {
            is_good,
            reason: text("reason").to_owned(),
            note: format!(
                "{title}{} is {}: {}",
                text("type"),
                text("status"),
                text("message")
            ),
        });
    }
}

fn is_good(condition: &Value) -> bool {
    let type_ = condition["type"].as_str().unwrap_or_default();
    let good = match GOOD_WHEN_FALSE.contains(&type_) {
        true => "False",
        false => "True",
    };
    condition["status"] == good
}

/// A state that passes is not bad.
fn is_good_known(condition: &Value) -> bool {
    let reason = condition["reason"].as_str().unwrap_or_default();
    is_good(condition) || PASSING.contains(&reason)
}

fn title(name: &Value) -> String {
    match name {
        Value::String(name) => format!("listener {name}: "),
        reference => format!(
            "{} {}: ",
            reference["kind"].as_str().unwrap_or("Gateway"),
            reference["name"].as_str().unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(type_: &str, status: &str, reason: &str) -> Value {
        json!({"conditions": [{"type": type_, "status": status, "reason": reason, "message": "m"}]})
    }

    #[test]
    fn what_becomes_bad_and_what_is_good_again_is_told_once() {
        let good = status("Accepted", "True", "Accepted");
        let bad = status("Accepted", "False", "InvalidParameters");
        assert_eq!(between(&Value::Null, &good), []);
        let told = between(&good, &bad);
        assert_eq!(told.len(), 1);
        assert!(!told[0].is_good);
        assert_eq!(told[0].note, "Accepted is False: m");
        assert_eq!(between(&bad, &bad), []);
        assert!(between(&bad, &good)[0].is_good);
    }

    #[test]
    fn what_passes_by_itself_is_not_told() {
        let pending = status("Programmed", "False", "Pending");
        let good = status("Programmed", "True", "Programmed");
        assert_eq!(between(&Value::Null, &pending), []);
        assert_eq!(between(&pending, &good), []);
        let conflict = status("Conflicted", "False", "NoConflicts");
        assert_eq!(between(&Value::Null, &conflict), []);
    }

    #[test]
    fn listeners_and_parents_are_named() {
        let bad = status("ResolvedRefs", "False", "BackendNotFound");
        let mut parent = bad.clone();
        parent["parentRef"] = json!({"name": "web"});
        let told = between(&Value::Null, &json!({"parents": [parent]}));
        assert_eq!(told[0].note, "Gateway web: ResolvedRefs is False: m");
        let mut listener = bad;
        listener["name"] = json!("https");
        let told = between(&Value::Null, &json!({"listeners": [listener]}));
        assert_eq!(told[0].note, "listener https: ResolvedRefs is False: m");
    }
}
