//! Compares JSON with what a case says about it.
//!
//! An object says what its keys must be and nothing of others; `null` stands for absent. A list fits a
//! list of the same length in any order. A text that begins with `~` is an expression for the whole
//! text. `conditions` are told by type: `Accepted: true`, `ResolvedRefs: false BackendNotFound`.

use serde_json::{Value, json};

/// The pattern that a value must fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern<'a> {
    expected: &'a Value,
    /// What every condition must have observed.
    generation: Option<i64>,
}

impl<'a> Pattern<'a> {
    /// A pattern for any JSON.
    pub(crate) fn new(expected: &'a Value) -> Self {
        Self {
            expected,
            generation: None,
        }
    }

    /// Also asks of each condition in the pattern that it has observed that generation.
    pub(crate) fn observing(self, generation: i64) -> Self {
        Self {
            generation: Some(generation),
            ..self
        }
    }

    /// Says at which path the value differs, and how.
    pub(crate) fn check(self, actual: &Value) -> Result<(), String> {
        self.at("", self.expected, Some(actual))
    }

    fn at(self, path: &str, expected: &Value, actual: Option<&Value>) -> Result<(), String> {
        match (expected, actual.unwrap_or(&Value::Null)) {
            (Value::Null, Value::Null) => Ok(()),
            (Value::Object(expected), Value::Object(actual)) => {
                expected.iter().try_for_each(|(key, value)| {
                    let path = format!("{path}.{key}");
                    match (key.as_str(), actual.get(key)) {
                        ("conditions", Some(Value::Array(conditions))) if value.is_object() => {
                            self.conditions(&path, value, conditions)
                        }
                        (_, actual) => self.at(&path, value, actual),
                    }
                })
            }
            (Value::Array(expected), Value::Array(actual)) => self.list(path, expected, actual),
            (Value::String(expected), Value::String(actual)) if expected.starts_with('~') => {
                let whole = format!("^(?:{})$", &expected[1..]);
                let expression = regex::Regex::new(&whole).map_err(|error| error.to_string())?;
                let fits = expression.is_match(actual);
                let differs = || format!("{path} is {actual:?}, not like {expected:?}");
                fits.then_some(()).ok_or_else(differs)
            }
            (expected, actual) if expected == actual => Ok(()),
            (expected, actual) => Err(format!("{path} is {actual}, not {expected}")),
        }
    }

    fn list(self, path: &str, expected: &[Value], actual: &[Value]) -> Result<(), String> {
        if expected.len() != actual.len() {
            let (found, wanted) = (actual.len(), expected.len());
            let all = Value::Array(actual.to_vec());
            return Err(format!("{path} has {found} elements, not {wanted}: {all}"));
        }
        let mut left: Vec<(usize, &Value)> = actual.iter().enumerate().collect();
        for (index, wanted) in expected.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let fits = |(_, value): &(usize, &Value)| self.at(&path, wanted, Some(value)).is_ok();
            let Some(place) = left.iter().position(fits) else {
                let reasons = left.iter().map(|(_, value)| {
                    let reason = self.at(&path, wanted, Some(value)).err();
                    reason.unwrap_or_default()
                });
                let reasons: Vec<_> = reasons.collect();
                return Err(format!("no element fits {path}: {}", reasons.join("; ")));
            };
            left.remove(place);
        }
        Ok(())
    }

    fn conditions(self, path: &str, expected: &Value, actual: &[Value]) -> Result<(), String> {
        let expected = expected.as_object().into_iter().flatten();
        for (name, wanted) in expected {
            let condition = actual.iter().find(|condition| condition["type"] == **name);
            if wanted.is_null() {
                if let Some(condition) = condition {
                    return Err(format!("{path} must not have {condition}"));
                }
                continue;
            }
            let Some(condition) = condition else {
                let all = Value::Array(actual.to_vec());
                return Err(format!("{path} has no {name}: {all}"));
            };
            self.condition(path, &wanted_words(wanted), condition)?;
        }
        Ok(())
    }

    fn condition(self, path: &str, wanted: &str, condition: &Value) -> Result<(), String> {
        let (status, reason) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let is_status = condition["status"]
            .as_str()
            .is_some_and(|actual| actual.eq_ignore_ascii_case(status));
        let is_reason = reason.is_empty() || condition["reason"] == reason;
        if !is_status || !is_reason {
            return Err(format!("{path} is {condition}, not {wanted}"));
        }
        let observed = condition["observedGeneration"].as_i64();
        match self.generation {
            Some(generation) if observed != Some(generation) => Err(format!(
                "{path} is {condition}, which is not about generation {generation}"
            )),
            _ => Ok(()),
        }
    }
}

/// `true`, `"false"`, or status and reason, as words.
fn wanted_words(wanted: &Value) -> String {
    match wanted {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Shows on examples that a pattern refuses what it should, for a suite that never does shows nothing.
pub(crate) fn examples() -> Result<(), libtest_mimic::Failed> {
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "observedGeneration": 2,
    });
    let status = json!({"parents": [{"name": "a", "conditions": [condition]}], "empty": []});
    let parent = |value: Value| json!({"parents": [value]});
    let fits = [
        json!({}),
        parent(json!({"name": "a"})),
        parent(json!({"name": "~[a-c]"})),
        parent(json!({"conditions": {"Accepted": true, "Other": null}})),
        parent(json!({"conditions": {"Accepted": "true Accepted"}})),
        json!({"empty": [], "missing": null}),
    ];
    let differs = [
        json!({"parents": []}),
        json!({"parents": null}),
        json!({"missing": 1}),
        parent(json!({"name": "b"})),
        parent(json!({"name": "~[b-c]"})),
        parent(json!({"conditions": {"Accepted": false}})),
        parent(json!({"conditions": {"Accepted": null}})),
        parent(json!({"conditions": {"Accepted": "true Other"}})),
        parent(json!({"conditions": {"Other": true}})),
    ];
    for pattern in &fits {
        Pattern::new(pattern).observing(2).check(&status)?;
    }
    let old = &fits[3];
    let stale = Pattern::new(old).observing(3).check(&status);
    let missed = differs
        .iter()
        .filter(|pattern| Pattern::new(pattern).check(&status).is_ok());
    let missed: Vec<_> = missed.collect();
    if stale.is_ok() || !missed.is_empty() {
        return Err(
            format!("these fit and must not: {missed:?}; {old} with stale {stale:?}").into(),
        );
    }
    Ok(())
}
