//! Who may depend on whom, read from the manifests.

use tidegate_tidy::{Package, assert_none, packages};

/// Which of our packages each package may use; `None` stands for all of them.
///
/// Source: the layout table of the architecture.
const MAY_USE: [(&str, Option<&[&str]>); 17] = [
    ("proto", Some(&[])),
    ("ir", Some(&["proto"])),
    ("compiler", Some(&["ir"])),
    ("codec", Some(&[])),
    ("router", Some(&["ir"])),
    ("runtime", Some(&[])),
    ("store", Some(&["ir", "proto"])),
    (
        "configd",
        Some(&[
            "codec", "compiler", "ir", "proto", "router", "runtime", "store",
        ]),
    ),
    (
        "worker",
        Some(&["codec", "ir", "proto", "router", "runtime"]),
    ),
    ("operator", Some(&["proto", "runtime"])),
    ("cli", None),
    ("tidy", Some(&[])),
    ("bench", None),
    ("behaviour", None),
    ("edge-tests", None),
    ("chaos-tests", None),
    ("conformance", None),
];

/// Third-party packages that only some of ours may name, in tests too.
const SOLE_USERS: [(&str, &[&str]); 10] = [
    ("openraft", &["store"]),
    ("kube", &["operator"]),
    ("k8s-openapi", &["operator"]),
    (
        "clap",
        &[
            "cli",
            "configd",
            "worker",
            "operator",
            "runtime",
            "bench",
            "chaos-tests",
        ],
    ),
    ("prost-build", &["proto"]),
    ("tonic-prost-build", &["proto"]),
    ("protox", &["proto", "tidy"]),
    ("opentelemetry_sdk", &["runtime"]),
    ("opentelemetry-otlp", &["runtime"]),
    ("tracing-subscriber", &["runtime"]),
];

/// The packages without clock, I/O, randomness, logging and async code.
const PURE: [&str; 4] = ["codec", "compiler", "ir", "router"];

/// What a pure package must not name, outside of its tests.
const IMPURE: [&str; 13] = [
    "futures-util",
    "hyper",
    "hyper-util",
    "jiff",
    "log",
    "rand",
    "rustls",
    "socket2",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tracing",
];

fn ours(package: &Package) -> impl Iterator<Item = &str> {
    let ours = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.is_ours);
    ours.map(|dependency| dependency.name.as_str())
}

#[test]
fn every_package_has_a_row_in_the_table() {
    let is_new = |package: &Package| !MAY_USE.iter().any(|(name, _)| *name == package.name);
    let new: Vec<_> = packages()
        .into_iter()
        .filter(is_new)
        .map(|package| package.name)
        .collect();
    assert_none(
        "every package says what it may use: add a row to MAY_USE for",
        &new,
    );
}

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for package in packages() {
        let row = MAY_USE.iter().find(|(name, _)| *name == package.name);
        let Some((_, Some(allowed))) = row else {
            continue;
        };
        for used in ours(&package).filter(|used| !allowed.contains(used) && *used != package.name) {
            let may = if allowed.is_empty() {
                "none of ours".to_owned()
            } else {
                allowed.join(", ")
            };
            findings.push(format!(
                "{} must not depend on {used}: it may use {may}",
                package.name
            ));
        }
    }
    assert_none("dependencies point one way", &findings);
}

#[test]
fn some_packages_have_sole_users() {
    let mut findings = Vec::new();
    for package in packages() {
        for used in package
            .dependencies
            .iter()
            .filter(|dependency| !dependency.is_ours)
        {
            let rule = SOLE_USERS.iter().find(|(name, _)| *name == used.name);
            if let Some((name, users)) = rule.filter(|(_, users)| !users.contains(&&*package.name))
            {
                let users = users.join(", ");
                findings.push(format!(
                    "{} must not name {name}: only {users} may",
                    package.name
                ));
            }
        }
    }
    assert_none("some packages have sole users", &findings);
}

#[test]
fn pure_packages_stay_pure() {
    let mut findings = Vec::new();
    for package in packages()
        .iter()
        .filter(|package| PURE.contains(&&*package.name))
    {
        for used in package
            .dependencies
            .iter()
            .filter(|dependency| !dependency.is_dev)
        {
            let name = used.name.as_str();
            if IMPURE.contains(&name) {
                findings.push(format!(
                    "{} must not depend on {name}: it is pure",
                    package.name
                ));
            }
            if name == "proto" && used.features.iter().any(|feature| feature == "grpc") {
                let text = "must use the messages of proto only, without its feature grpc";
                findings.push(format!("{} {text}", package.name));
            }
        }
    }
    assert_none(
        "pure packages have no clock, I/O, randomness, logging or async code",
        &findings,
    );
}

#[test]
fn every_package_carries_the_prefix() {
    let manifests = tidegate_tidy::files("Cargo.toml");
    let unprefixed = manifests.iter().filter_map(|manifest| {
        let name = manifest
            .text
            .split("[package]")
            .nth(1)?
            .split("name = \"")
            .nth(1)?;
        (!name.starts_with("tidegate-")).then(|| manifest.path.clone())
    });
    let unprefixed: Vec<_> = unprefixed.collect();
    assert_none("packages are named tidegate-<folder>", &unprefixed);
}
