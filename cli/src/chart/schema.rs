//! What values may be: as much of JSON Schema (draft 7) as the chart's `values.schema.json` says.

use regex::Regex;
use serde_json::Value;

/// The words of JSON Schema that are understood. Another one would be a rule that nobody checks.
#[cfg(test)]
const WORDS: [&str; 14] = [
    "additionalProperties",
    "description",
    "enum",
    "items",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "$ref",
];

/// Every rule that a value breaks, as a path and a clause.
pub(super) fn check(schema: &Value, value: &Value) -> Vec<(String, String)> {
    let mut checker = Checker {
        root: schema,
        broken: Vec::new(),
    };
    checker.check("", schema, value);
    checker.broken
}

struct Checker<'s> {
    root: &'s Value,
    broken: Vec<(String, String)>,
}

impl<'s> Checker<'s> {
    fn check(&mut self, path: &str, schema: &'s Value, value: &Value) {
        let schema = self.resolved(schema);
        if let Some(expected) = schema["type"].as_str()
            && !has_type(value, expected)
        {
            return self.refuse(path, format!("must be of type {expected}, not {value}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            self.refuse(
                path,
                format!("must be one of {}, not {value}", allowed.join(", ")),
            );
        }
        match value {
            Value::String(text) => self.check_text(path, schema, text),
            Value::Number(number) => self.check_number(path, schema, number.as_f64()),
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.check(&format!("{path}[{place}]"), &schema["items"], item);
                }
            }
            Value::Object(_) => self.check_object(path, schema, value),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Follows a reference within the schema.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let pointer = schema["$ref"]
            .as_str()
            .and_then(|all| all.strip_prefix('#'));
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(schema)
    }

    fn check_text(&mut self, path: &str, schema: &Value, text: &str) {
        let length = text.chars().count() as u64;
        if schema["minLength"]
            .as_u64()
            .is_some_and(|least| length < least)
        {
            self.refuse(path, "must not be empty".to_owned());
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.refuse(path, format!("has {length} characters, more than {most}"));
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            let fits = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
            if !fits {
                self.refuse(path, format!("\"{text}\" does not match {pattern}"));
            }
        }
    }

    fn check_number(&mut self, path: &str, schema: &Value, number: Option<f64>) {
        let Some(number) = number else { return };
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.refuse(path, format!("{number} is less than {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
            self.refuse(path, format!("{number} is more than {most}"));
        }
    }

    fn check_object(&mut self, path: &str, schema: &'s Value, value: &Value) {
        let fields = value.as_object().into_iter().flatten();
        for (field, value) in fields {
            let path = match path {
                "" => field.clone(),
                path => format!("{path}.{field}"),
            };
            match (
                schema["properties"].get(field),
                &schema["additionalProperties"],
            ) {
                (Some(schema), _) => self.check(&path, schema, value),
                (None, Value::Bool(false)) => {
                    self.refuse(&path, "there is no such value".to_owned());
                }
                (None, schema) => self.check(&path, schema, value),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        let required = required.filter_map(Value::as_str);
        for field in required.filter(|field| value.get(field).is_none()) {
            self.refuse(path, format!("{field} is missing"));
        }
    }

    fn refuse(&mut self, path: &str, clause: String) {
        self.broken.push((path.to_owned(), clause));
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chart::files;

    fn schema() -> Value {
        serde_json::from_str(files::SCHEMA).expect("the schema is JSON")
    }

    fn words_of(schema: &Value, found: &mut Vec<String>) {
        let Some(words) = schema.as_object() else {
            return;
        };
        for (word, value) in words {
            found.push(word.clone());
            match word.as_str() {
                "properties" => {
                    let fields = value.as_object().into_iter().flatten();
                    fields.for_each(|(_, schema)| words_of(schema, found));
                }
                "items" | "additionalProperties" => words_of(value, found),
                _ => {}
            }
        }
    }

    #[test]
    fn every_word_of_the_schema_is_understood() {
        let schema = schema();
        let mut words = Vec::new();
        words_of(&schema, &mut words);
        let definitions = schema["definitions"].as_object().into_iter().flatten();
        definitions.for_each(|(_, schema)| words_of(schema, &mut words));
        words.retain(|word| !WORDS.contains(&word.as_str()));
        assert_eq!(words, ["$schema", "definitions"]);
    }

    #[test]
    fn what_the_schema_forbids_is_named_with_its_path() {
        let cases = [
            (
                json!({"configd": {"replicas": 2}}),
                "configd.replicas",
                "one of 1, 3, 5",
            ),
            (
                json!({"configd": {"replica": 3}}),
                "configd.replica",
                "no such value",
            ),
            (
                json!({"controllerName": "tidegate"}),
                "controllerName",
                "does not match",
            ),
            (
                json!({"operator": {"replicas": 6}}),
                "operator.replicas",
                "more than 5",
            ),
            (
                json!({"image": {"repository": ""}}),
                "image.repository",
                "not be empty",
            ),
            (
                json!({"imagePullSecrets": [{}]}),
                "imagePullSecrets[0]",
                "name is missing",
            ),
            (
                json!({"configd": {"podLabels": {"a": 1}}}),
                "configd.podLabels.a",
                "type string",
            ),
            (json!({"crds": []}), "crds", "type object"),
        ];
        for (values, path, clause) in cases {
            let broken = check(&schema(), &values);
            let is_named = |(at, why): &(String, String)| at == path && why.contains(clause);
            assert!(broken.iter().any(is_named), "{values}: {broken:?}");
        }
        assert_eq!(check(&schema(), &json!({"configd": {"replicas": 5}})), []);
    }
}
