//! Whether what is there says all that is wanted.

use serde_json::Value;

/// Whether a value says all that another one says; the API server adds defaults.
pub(crate) fn covers(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, wanted)| value.get(field).is_some_and(|value| covers(value, wanted))),
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len() && value.iter().zip(wanted).all(|(a, b)| covers(a, b))
        }
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn more_fields_are_fine_and_more_items_are_not() {
        let wanted = json!({"a": [{"b": 1}]});
        assert!(covers(&json!({"a": [{"b": 1, "c": 2}], "d": 3}), &wanted));
        assert!(!covers(&json!({"a": [{"b": 1}, {"b": 2}]}), &wanted));
        assert!(!covers(&json!({"a": [{"b": 2}]}), &wanted));
        assert!(!covers(&Value::Null, &wanted));
    }
}
