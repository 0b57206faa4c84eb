//! `tidegate install`: what the Helm chart renders, without Helm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::process::run;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/install")
}

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

fn objects(yaml: &str) -> Objects {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let documents = documents.into_iter().filter(|one| !one.is_null());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let keyed = documents.map(|object| {
        let metadata = &object["metadata"];
        let key = (
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        (key, object)
    });
    let all: Vec<_> = keyed.collect();
    let count = all.len();
    let objects = Objects::from_iter(all);
    assert_eq!(objects.len(), count, "an object is there twice");
    objects
}

fn install(args: &[&str]) -> String {
    let output = run(&[&["install"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Takes the schema out of the definition of a kind, which must be the one in `deploy/crds`.
fn cut_schema(object: &mut Value) {
    if object["kind"] != "CustomResourceDefinition" {
        return;
    }
    let plural = object["spec"]["names"]["plural"].as_str().unwrap();
    let file = format!("../deploy/crds/{plural}.yaml");
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let definition: Value = serde_saphyr::from_str(&file).unwrap();
    assert_eq!(object["spec"], definition["spec"]);
    object.as_object_mut().unwrap().remove("spec");
}

#[test]
fn it_renders_what_helm_renders() {
    let list = fs::read_to_string(cases().join("cases")).unwrap();
    let list = list.lines().filter(|line| !line.starts_with('#'));
    let mut compared = 0;
    for line in list {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [case, name, namespace] = words[..] else {
            panic!("a case is a file, a name and a namespace: {line}");
        };
        let values = cases().join(format!("{case}.values.yaml"));
        let rendered = install(&[
            "--name",
            name,
            "--namespace",
            namespace,
            "--without-namespace",
            "--values",
            values.to_str().unwrap(),
        ]);
        let by_helm = fs::read_to_string(cases().join(format!("{case}.helm.yaml"))).unwrap();
        let (mut rendered, by_helm) = (objects(&rendered), objects(&by_helm));
        rendered.values_mut().for_each(cut_schema);
        similar_asserts::assert_eq!(by_helm, rendered, "{case}");
        compared += 1;
    }
    assert!(compared >= 5, "the cases are gone");
}

#[test]
fn the_namespace_comes_first_and_settings_count_more_than_files() {
    let values = cases().join("single.values.yaml");
    let values = values.to_str().unwrap();
    let set = "operator.replicas=2";
    let rendered = install(&["-n", "edge", "-f", values, "--set", set]);
    let first = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: edge\n---\n";
    assert!(rendered.starts_with(first), "{rendered}");
    let objects = objects(&rendered);
    let operator = (
        "Deployment".to_owned(),
        "edge".to_owned(),
        "tidegate-operator".to_owned(),
    );
    assert_eq!(objects[&operator]["spec"]["replicas"], 2);
    let everywhere = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
    for (kind, namespace, name) in objects.keys() {
        let is_global = everywhere.contains(&kind.as_str());
        assert_eq!(namespace.is_empty(), is_global, "{kind} {name}");
    }
}

#[test]
fn values_that_are_none_are_refused_with_their_paths() {
    let output = run(&[
        "install",
        "--set",
        "configd.replicas=2",
        "--set",
        "operator.replica=1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("configd.replicas: must be one of 1, 3, 5, not 2"),
        "{errors}"
    );
    assert!(
        errors.contains("operator.replica: there is no such value"),
        "{errors}"
    );
}

#[test]
fn every_value_can_be_seen() {
    let values = install(&["--show-values"]);
    assert!(
        values.contains("controllerName: tidegate.dev/gateway-controller"),
        "{values}"
    );
}
