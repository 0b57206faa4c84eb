//! Puts our part of a status into the whole of it; what belongs to others stays as it is, and where it is.

use serde_json::{Map, Value, json};

use crate::covers::covers;

/// Conditions that are ours wherever they stand; those of other types are left alone.
const OWN_CONDITIONS: [&str; 8] = [
    "Accepted",
    "Programmed",
    "ResolvedRefs",
    "Conflicted",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "InsecureFrontendValidationMode",
    "SupportedVersion",
];

/// Domain of the conditions that only we have.
const OWN_DOMAIN: &str = "tidegate.dev/";

/// Fields that are ours alone, so that they go when we do not want them.
const OWN_FIELDS: [&str; 2] = ["addresses", "attachedListenerSets"];

/// Lists with an entry for each controller, and the field that says what the entry is about.
const SHARED_LISTS: [(&str, &str); 2] = [("parents", "parentRef"), ("ancestors", "ancestorRef")];

/// The change that makes a status what is wanted, as a merge patch of `status`; `None` where nothing differs but
/// times. `now` is the time of conditions that change.
pub(super) fn merge(current: &Value, wanted: &Value, controller: &str, now: &str) -> Option<Value> {
    let mut patch = Map::new();
    for (field, value) in wanted.as_object().into_iter().flatten() {
        let before = &current[field.as_str()];
        let shared = SHARED_LISTS.iter().find(|(list, _)| list == field);
        let after = match (field.as_str(), shared) {
            (_, Some((_, about))) => entries(before, value, about, controller, now),
            ("conditions", _) => conditions(before, value, now),
            ("listeners", _) => listeners(before, value, now),
            _ => value.clone(),
        };
        if !covers(before, &after) {
            patch.insert(field.clone(), after);
        }
    }
    for field in OWN_FIELDS {
        let is_there = !current[field].is_null();
        if is_there && wanted[field].is_null() {
            patch.insert(field.to_owned(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The change that takes our entries out of a status; `None` where there are none.
pub(super) fn withdraw(current: &Value, controller: &str) -> Option<Value> {
    let mut patch = Map::new();
    for (list, _) in SHARED_LISTS {
        let entries = current[list].as_array().into_iter().flatten();
        let foreign = entries.filter(|entry| entry["controllerName"] != controller);
        let foreign: Vec<&Value> = foreign.collect();
        if foreign.len() < current[list].as_array().map_or(0, Vec::len) {
            patch.insert(list.to_owned(), json!(foreign));
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Whether a change of a status is one of the number of routes, and of nothing else.
pub(super) fn is_of_counts(current: &Value, patch: &Value) -> bool {
    let mut fields = patch.as_object().into_iter().flatten();
    fields.all(|(field, after)| {
        let (before, after) = (without_counts(&current[field]), without_counts(after));
        field == "listeners" && covers(&before, &after)
    })
}

fn without_counts(listeners: &Value) -> Value {
    let mut listeners = listeners.clone();
    for listener in listeners.as_array_mut().into_iter().flatten() {
        listener["attachedRoutes"] = Value::Null;
    }
    listeners
}

/// Ours are replaced where they stand, new ones come last, those of other controllers stay.
fn entries(before: &Value, wanted: &Value, about: &str, controller: &str, now: &str) -> Value {
    let mut wanted: Vec<Value> = wanted.as_array().cloned().unwrap_or_default();
    let mut after = vec![];
    for entry in before.as_array().into_iter().flatten() {
        if entry["controllerName"] != controller {
            after.push(entry.clone());
            continue;
        }
        let same = |own: &Value| covers(&entry[about], &own[about]);
        if let Some(place) = wanted.iter().position(same) {
            after.push(with_conditions(entry, wanted.remove(place), now));
        }
    }
    let new = wanted.into_iter();
    after.extend(new.map(|entry| with_conditions(&Value::Null, entry, now)));
    Value::Array(after)
}

/// All of ours, in our order; what others say about a listener stays in its entry.
fn listeners(before: &Value, wanted: &Value, now: &str) -> Value {
    let known = |name: &Value| {
        let mut known = before.as_array().into_iter().flatten();
        known.find(|entry| entry["name"] == *name).cloned()
    };
    let wanted = wanted.as_array().cloned().unwrap_or_default().into_iter();
    let after = wanted.map(|entry| {
        let before = known(&entry["name"]).unwrap_or_default();
        with_conditions(&before, entry, now)
    });
    Value::Array(after.collect())
}

fn with_conditions(before: &Value, mut entry: Value, now: &str) -> Value {
    let merged = conditions(&before["conditions"], &entry["conditions"], now);
    entry["conditions"] = merged;
    entry
}

fn conditions(before: &Value, wanted: &Value, now: &str) -> Value {
    let mut wanted: Vec<Value> = wanted.as_array().cloned().unwrap_or_default();
    let mut after = vec![];
    for known in before.as_array().into_iter().flatten() {
        match wanted.iter().position(|own| own["type"] == known["type"]) {
            Some(place) => after.push(timed(Some(known), wanted.remove(place), now)),
            None if is_own(&known["type"]) => {}
            None => after.push(known.clone()),
        }
    }
    after.extend(wanted.into_iter().map(|own| timed(None, own, now)));
    Value::Array(after)
}

/// With the time since when it has its status.
fn timed(before: Option<&Value>, mut condition: Value, now: &str) -> Value {
    let since = before.filter(|before| before["status"] == condition["status"]);
    let since = since.and_then(|before| before["lastTransitionTime"].as_str());
    condition["lastTransitionTime"] = json!(since.unwrap_or(now));
    condition
}

fn is_own(type_: &Value) -> bool {
    let type_ = type_.as_str().unwrap_or_default();
    OWN_CONDITIONS.contains(&type_) || type_.starts_with(OWN_DOMAIN)
}

#[cfg(test)]
mod tests;
