//! What the object set of files holds, and what it says.

use std::fs;

use super::*;

const SCHEMA: Schema = Schema {
    kind: |_, kind| match kind {
        "HTTPRoute" | "GatewayClass" | "Secret" | "Gateway" => KindIs::Read,
        "HTTPRout" => KindIs::Mistaken("did you mean HTTPRoute?".to_owned()),
        _ => KindIs::Foreign,
    },
    check: |_, content| {
        let value: Value = serde_json::from_slice(content).expect("the content is JSON");
        let unknown = value["spec"].get("rulez").is_some();
        let problem = (
            "spec.rulez".to_owned(),
            "unknown field; did you mean \"rules\"?".to_owned(),
        );
        if unknown { vec![problem] } else { Vec::new() }
    },
};

fn route(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n  {spec}\n"
    )
}

fn load(files: &mut FileSet) -> Contents {
    files.refresh(&BTreeSet::new());
    files.contents()
}

fn set_of(folder: &tempfile::TempDir) -> FileSet {
    FileSet::new(vec![folder.path().to_owned()], SCHEMA)
}

fn messages(contents: &Contents, folder: &tempfile::TempDir) -> Vec<String> {
    let prefix = format!("{}/", folder.path().display());
    contents
        .findings
        .iter()
        .map(|f| f.to_string().replace(&prefix, ""))
        .collect()
}

fn text_findings(text: &str) -> Vec<String> {
    let mut files = FileSet::new(Vec::new(), SCHEMA);
    files.add_text("shop.yaml", text.to_owned());
    load(&mut files)
        .findings
        .iter()
        .map(Finding::to_string)
        .collect()
}

#[test]
fn an_unknown_field_names_file_line_and_way_out() {
    let findings = text_findings(&route("cart", "rulez: []"));
    assert_eq!(
        findings,
        ["shop.yaml:5:3: HTTPRoute shop/cart spec.rulez: unknown field; did you mean \"rules\"?"]
    );
}

#[test]
fn documents_that_are_no_objects_are_named() {
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: shop}\n";
    for (text, expected) in [
        ("kind: HTTPRoute\n", "shop.yaml:1:1: apiVersion is missing"),
        ("- 1\n", "shop.yaml:1:1: expected an object"),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {}\n",
            "shop.yaml:3:1: Secret has no metadata.name",
        ),
        ("a: [\n", "shop.yaml:2:1: not valid YAML"),
        (
            "apiVersion: v1\nkind: HTTPRout\nmetadata: {name: x}\n",
            "shop.yaml:2:1: HTTPRout default/x: did you mean HTTPRoute?",
        ),
        (
            deployment,
            "shop.yaml:1:1: ignored: Deployment shop/x: Tidegate does not read this kind",
        ),
    ] {
        let findings = text_findings(text);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0].starts_with(expected),
            "{findings:?} for {text:?}"
        );
    }
}

#[test]
fn a_five_megabyte_object_is_refused_and_the_others_are_not() {
    let large = route("large", &format!("note: {}", "x".repeat(5 << 20)));
    let mut files = FileSet::new(Vec::new(), SCHEMA);
    files.add_text(
        "shop.yaml",
        format!("{large}---\n{}", route("cart", "rules: []")),
    );
    let contents = load(&mut files);
    assert_eq!(contents.objects.len(), 1);
    let finding = contents.findings[0].to_string();
    assert!(
        finding.starts_with("shop.yaml:1:1: HTTPRoute shop/large has 52"),
        "{finding}"
    );
}

#[test]
fn the_first_of_two_definitions_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("a.yaml"),
        route("cart", "hostnames: [a]"),
    )
    .expect("written");
    fs::write(
        folder.path().join("b.yaml"),
        route("cart", "hostnames: [b]"),
    )
    .expect("written");
    let contents = load(&mut set_of(&folder));
    let object = contents.objects.values().next().expect("one object");
    assert_eq!(object.object.value["spec"]["hostnames"][0], "a");
    let messages = messages(&contents, &folder);
    assert!(
        messages[0].starts_with("b.yaml:1:1: HTTPRoute shop/cart: defined twice"),
        "{messages:?}"
    );
}

#[test]
fn a_broken_file_keeps_its_last_good_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.yaml");
    let mut files = set_of(&folder);
    fs::write(&path, route("cart", "rules: []")).expect("written");
    assert_eq!(load(&mut files).objects.len(), 1);

    for broken in ["kind: [", &route("cart", "rulez: []")] {
        fs::write(&path, broken).expect("written");
        let contents = load(&mut files);
        assert_eq!(contents.findings.len(), 1, "{broken}");
        let object = contents
            .objects
            .values()
            .next()
            .expect("the last good version");
        assert!(object.object.value["spec"].get("rules").is_some());
        assert_eq!(object.generation, 1);
    }

    fs::remove_file(&path).expect("removed");
    assert!(load(&mut files).objects.is_empty());
}

#[test]
fn a_document_that_could_be_any_object_takes_none_of_the_file_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.yaml");
    let other = folder.path().join("other.yaml");
    let mut files = set_of(&folder);
    let (cart, help) = (route("cart", "rules: []"), route("help", "rules: []"));
    let without_name = help.replace("name: help, ", "");
    let without_kind = help.replace("kind: HTTPRoute\n", "");
    let of_another_kind = help.replace("kind: HTTPRoute", "kind: HTTPRout");
    let large = route("help", &format!("note: {}", "x".repeat(2 << 20)));
    for broken in [without_name, without_kind, of_another_kind, large] {
        fs::write(&path, format!("{cart}---\n{help}")).expect("written");
        fs::write(&other, route("other", "rules: []")).expect("written");
        assert_eq!(load(&mut files).objects.len(), 3);
        // The other document is read as it is, and files that are whole may lose objects.
        let changed = route("cart", "rules: [{}]");
        fs::write(&path, format!("{changed}---\n{broken}")).expect("written");
        fs::remove_file(&other).expect("removed");
        let contents = load(&mut files);
        assert_eq!(contents.findings.len(), 1, "{:?}", contents.findings);
        let value = |index: usize| &contents.objects.values().nth(index).unwrap().object.value;
        assert_eq!(contents.objects.len(), 2);
        assert_eq!(value(0)["spec"]["rules"].as_array().map(Vec::len), Some(1));
        assert_eq!(value(1)["metadata"]["name"], "help");
        // What is really taken away goes.
        fs::write(&path, &cart).expect("written");
        assert_eq!(load(&mut files).objects.len(), 1);
    }
}

#[test]
fn generation_counts_changes_of_the_spec_only() {
    let mut files = FileSet::new(Vec::new(), SCHEMA);
    let generation = |files: &mut FileSet, text: String| {
        files.add_text("shop.yaml", text);
        files.refresh(&BTreeSet::from(["shop.yaml".into()]));
        let contents = files.contents();
        let object = contents
            .objects
            .values()
            .next()
            .expect("one object")
            .clone();
        (object.generation, object.uid)
    };
    let first = generation(&mut files, route("cart", "rules: []"));
    let labelled = route("cart", "rules: []").replace("name: cart", "name: cart, labels: {a: b}");
    assert_eq!(generation(&mut files, labelled), first);
    assert_eq!(
        generation(&mut files, route("cart", "rules: [{}]")),
        (2, first.1)
    );
}

#[test]
fn defaults_are_those_of_a_cluster() {
    let mut files = FileSet::new(Vec::new(), SCHEMA);
    let text = "apiVersion: v1\nkind: List\nitems:\n\
        - {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {user: me}}\n\
        - {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: t, creationTimestamp: \"1970-01-01T01:00:00Z\"}}\n";
    files.add_text("list.yaml", text.to_owned());
    let contents = load(&mut files);
    let objects: Vec<_> = contents.objects.values().collect();
    assert_eq!(objects[0].object.key.title(), "Secret default/s");
    assert_eq!(objects[0].object.value["data"]["user"], "bWU=");
    assert_eq!(
        objects[0].object.place("stringData").to_string(),
        "list.yaml:4:55"
    );
    assert_eq!(objects[1].object.key.title(), "GatewayClass t");
    assert_eq!(objects[1].created_at_unix_s, 3600);
}
