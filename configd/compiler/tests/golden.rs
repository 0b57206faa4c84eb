//! Golden pairs: `golden/<behaviour>.in.yaml` holds objects, `<behaviour>.out.yaml` what they compile to.
//!
//! `UPDATE_GOLDEN=1` writes the outputs anew. A first document of kind `Settings` chooses the pooling.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "fixture/objects.rs"]
mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_compiler::{Compilation, ObjectKey, compile};

#[test]
fn every_input_compiles_to_its_golden_output() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1");
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    inputs.sort();
    assert!(
        !inputs.is_empty(),
        "no golden pairs in {}",
        folder.display()
    );
    let mut differing = vec![];
    for input in inputs {
        let (settings, objects) = fixture::read(&fs::read_to_string(&input).unwrap());
        let compilation = compile(objects, &settings);
        let actual = serde_saphyr::to_string(&render(&compilation)).unwrap();
        let output = input.to_string_lossy().replace(".in.yaml", ".out.yaml");
        if update {
            fs::write(&output, &actual).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&output).unwrap_or_default();
        if expected != actual {
            let diff =
                similar_asserts::SimpleDiff::from_str(&expected, &actual, "golden", "actual");
            differing.push(format!("{output}\n{diff}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The key, with its source unless that is the usual one.
fn named(key: &ObjectKey) -> String {
    match &**key.source() {
        "c1" => key.to_string(),
        source => format!("{key} of {source}"),
    }
}

/// Leaves out what is not set.
fn drop_defaults(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_defaults);
            fields.retain(|name, value| {
                name == "endpoints"
                    || !(value.is_null() || *value == json!([]) || *value == json!({}))
            });
        }
        _ => {}
    }
}

/// Leaves out what is ordinary for a backend.
fn drop_ordinary(part: &mut Value) {
    let Some(fields) = part.as_object_mut() else {
        return;
    };
    if fields.contains_key("balancing") {
        let never = json!("Never");
        fields.entry("ejection").or_insert(never);
    }
    let own_endpoints = json!({ "Endpoints": fields.get("name") });
    let ejection = json!({
        "consecutive_errors": 5, "base_ms": 30_000, "max_percent": 50, "panic_percent": 50,
    });
    let ordinary = [
        ("ejection", ejection),
        ("kind", json!("Service")),
        ("security", json!("Plain")),
        ("balancing", json!("RoundRobin")),
        ("destination", own_endpoints),
    ];
    fields.retain(|name, value| !ordinary.contains(&(name.as_str(), value.clone())));
}

/// Compact, and only what differs from the ordinary: conditions as one line each.
fn render(compilation: &Compilation) -> Value {
    let pools = compilation.pools.iter().map(|(pool, parts)| {
        let parts = parts.values().map(|part| {
            let value = serde_json::to_value(&**part.part()).unwrap();
            let mut value = value.as_object().unwrap().values().next().unwrap().clone();
            drop_defaults(&mut value);
            drop_ordinary(&mut value);
            (part.key().to_string(), value)
        });
        (pool.clone(), parts.collect::<BTreeMap<_, _>>())
    });
    let statuses = compilation.statuses.values().map(|status| {
        let mut value = status.status.value();
        compact(&mut value);
        (named(&status.key), value)
    });
    let diagnostics = compilation.diagnostics.keys().map(|diagnostic| {
        format!(
            "{} {} {} {}: {}",
            diagnostic.code,
            diagnostic.severity.as_str(),
            named(&diagnostic.key),
            diagnostic.field,
            diagnostic.message
        )
    });
    json!({
        "pools": pools.collect::<BTreeMap<_, _>>(),
        "statuses": statuses.collect::<BTreeMap<_, _>>(),
        "diagnostics": diagnostics.collect::<Vec<_>>(),
    })
}

fn compact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(compact),
        Value::Object(fields) => {
            // The list of features has a test of its own.
            fields.remove("supportedFeatures");
            if let Some(Value::Array(kinds)) = fields.get_mut("supportedKinds") {
                for kind in kinds {
                    let text = |name: &str| kind[name].as_str().unwrap().to_owned();
                    *kind = json!(format!("{}/{}", text("group"), text("kind")));
                }
            }
            let ordinary = ["HTTPRoute", "GRPCRoute"];
            let ordinary = ordinary.map(|kind| format!("gateway.networking.k8s.io/{kind}"));
            if fields.get("supportedKinds") == Some(&json!(ordinary)) {
                fields.remove("supportedKinds");
            }
            if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
                for condition in conditions {
                    let text = |name: &str| condition[name].as_str().unwrap().to_owned();
                    *condition = json!(format!(
                        "{}={} {} @{}: {}",
                        text("type"),
                        text("status"),
                        text("reason"),
                        condition["observedGeneration"],
                        text("message")
                    ));
                }
            }
            fields.values_mut().for_each(compact);
        }
        _ => {}
    }
}
