//! What YAML means, and where it stands.

use serde_json::json;

use super::*;

fn one(text: &str) -> Value {
    let mut documents = parse_yaml(text).expect("the text is YAML");
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0).value
}

#[test]
fn plain_scalars_follow_the_core_schema() {
    let text = "a: 1\nb: -2\nc: 1.5\nd: true\ne: no\nf: ~\ng: \"1\"\nh: 0x1F\ni: 10s\nj: 1.2.3\nk: 0o17\nl: !!str 5\nm: 127.0.0.1\nn: e\no: 1e3\n";
    let expected = json!({
        "a": 1, "b": -2, "c": 1.5, "d": true, "e": "no", "f": null, "g": "1", "h": 31,
        "i": "10s", "j": "1.2.3", "k": 15, "l": "5", "m": "127.0.0.1", "n": "e", "o": 1000.0,
    });
    assert_eq!(one(text), expected);
}

#[test]
fn every_field_knows_its_place() {
    let text = "metadata:\n  name: cart\nspec:\n  rules:\n  - matchs:\n    - path: {value: /}\n";
    let documents = parse_yaml(text).expect("the text is YAML");
    let positions = &documents[0].positions;
    let at = |path: &str| positions.nearest(path).expect("recorded").to_string();
    assert_eq!(at("metadata.name"), "2:3");
    assert_eq!(at("spec.rules[0].matchs"), "5:5");
    assert_eq!(at("spec.rules[0].matchs[0].path.value"), "6:14");
    assert_eq!(at("spec.rules[0].backendRefs"), "5:5");
}

#[test]
fn documents_are_read_one_by_one() {
    let documents = parse_yaml("---\na: 1\n---\n---\nb: 2\n").expect("the text is YAML");
    let values: Vec<_> = documents
        .into_iter()
        .map(|document| document.value)
        .collect();
    assert_eq!(values, [json!({"a": 1}), Value::Null, json!({"b": 2})]);
}

#[test]
fn a_repeated_field_is_refused_with_its_place() {
    let error = parse_yaml("a: 1\nb: 2\na: 3\n").expect_err("a stands twice");
    assert_eq!(error.position, Position { line: 3, column: 1 });
    assert!(error.message.contains("\"a\""), "{error}");
}

#[test]
fn broken_yaml_names_line_and_column() {
    let error = parse_yaml("a: 1\nb: [1, 2\nc: 3\n").expect_err("the list is open");
    assert!(error.position.line >= 2, "{error:?}");
}

#[test]
fn aliases_are_expanded() {
    assert_eq!(
        one("a: &x {b: 1}\nc: *x\n"),
        json!({"a": {"b": 1}, "c": {"b": 1}})
    );
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    let error = parse_yaml(&text).expect_err("too many values");
    assert!(error.message.contains("aliases"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let error = parse_yaml(&"[".repeat(100)).expect_err("too deep");
    parse_yaml(&"[".repeat(10_000)).expect_err("much too deep");
    assert!(error.message.contains("deeper"), "{error}");
}

#[test]
fn json_is_read_with_places() {
    let documents = parse_json("{\n\t\"a\": {\"b\": 1}\n}").expect("the text is JSON");
    assert_eq!(documents[0].value, json!({"a": {"b": 1}}));
    let error = parse_json("{\n \"a\": }\n").expect_err("no value");
    assert_eq!(error.position.line, 2);
}
