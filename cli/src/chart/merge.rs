//! How values go over other values.

use serde_json::{Map, Value};

/// Puts values over those that are there: maps field by field, everything else whole. `null` takes a field out, as in
/// Helm.
pub(super) fn merge(below: &mut Value, over: Value) {
    let Value::Object(fields) = over else {
        *below = over;
        return;
    };
    if !below.is_object() {
        *below = Value::Object(Map::new());
    }
    let Some(below) = below.as_object_mut() else {
        return;
    };
    for (field, value) in fields {
        if value.is_null() {
            below.remove(&field);
        } else {
            merge(below.entry(field).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_everything_else_is_replaced() {
        let mut below = json!({"a": {"b": 1, "c": [1, 2]}, "d": true, "e": "x"});
        merge(
            &mut below,
            json!({"a": {"c": [3], "f": 4}, "d": null, "e": {"g": 5}}),
        );
        assert_eq!(
            below,
            json!({"a": {"b": 1, "c": [3], "f": 4}, "e": {"g": 5}})
        );
    }
}
