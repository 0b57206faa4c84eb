//! What the schemas and rules of v1.7 reject is rejected here, too, with the path of the field.
//!
//! `validation/<kind>.yaml` holds a valid object, and cases that each set fields of it, by JSON pointer.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_compiler::validate;

/// Paths of the fields that `validate` names.
fn errors(object: &Value) -> BTreeSet<String> {
    let api_version = object["apiVersion"].as_str().unwrap();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = object["kind"].as_str().unwrap();
    let content = serde_json::to_vec(object).unwrap();
    match validate(group, kind, &content) {
        Ok(()) => BTreeSet::new(),
        Err(invalid) => invalid.into_iter().map(|invalid| invalid.path).collect(),
    }
}

/// Sets a field, in a list or an object that is there; `null` takes it away.
fn set(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = object
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{pointer} has no parent"));
    match parent {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value.clone())),
        Value::Array(items) => items.push(value.clone()),
        _ => panic!("{pointer} stands in a value"),
    }
}

/// A number stands for a text of that many letters, where a case needs a long one.
fn expand(value: &Value) -> Value {
    match value {
        Value::Object(fields) => match fields.get("letters").and_then(Value::as_u64) {
            Some(count) => json!("a".repeat(usize::try_from(count).unwrap())),
            None => match (
                fields.get("times").and_then(Value::as_u64),
                fields.get("of"),
            ) {
                (Some(times), Some(of)) => (0..times).map(|_| expand(of)).collect(),
                _ => fields
                    .iter()
                    .map(|(name, field)| (name.clone(), expand(field)))
                    .collect(),
            },
        },
        Value::Array(items) => items.iter().map(expand).collect(),
        other => other.clone(),
    }
}

#[test]
fn objects_that_break_a_rule_are_rejected_with_the_path_of_the_field() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validation");
    let (mut wrong, mut count) = (vec![], 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let file_name = path.file_name().unwrap().to_string_lossy().into_owned();
        let found = errors(&file["valid"]);
        assert!(
            found.is_empty(),
            "{file_name}: the valid object has {found:?}"
        );
        for (name, case) in file["cases"].as_object().unwrap() {
            count += 1;
            let mut object = file["valid"].clone();
            for (pointer, value) in case["set"].as_object().unwrap() {
                set(&mut object, pointer, &expand(value));
            }
            let expected = case["errors"].as_array().into_iter().flatten();
            let expected: BTreeSet<_> = expected
                .map(|path| path.as_str().unwrap().to_owned())
                .collect();
            let found = errors(&object);
            if found != expected {
                wrong.push(format!("{file_name}: {name}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "only {count} cases were found");
}
