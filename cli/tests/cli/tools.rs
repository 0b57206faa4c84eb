//! The commands that look: lint, explain, get, describe, snapshots.

use std::fs;

use serde_json::Value;

use super::process::{Up, example, run, tidegate};

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
";

/// What is wrong, and how the message about it begins and ends.
const BAD_INPUT: &[(&str, &str, &str)] = &[
    (
        "spec:\n  rules:\n  - matchs: []\n",
        "bad.yaml:6:5: HTTPRoute shop/cart spec.rules[0].matchs: ",
        "matches",
    ),
    (
        "spec:\n  hostnames: shop\n",
        "bad.yaml:5:3: HTTPRoute shop/cart spec.hostnames: ",
        "",
    ),
    (
        "spec:\n  rules:\n  - backendRefs:\n    - name: cart\n      port: 70000\n",
        "bad.yaml:8:7: HTTPRoute shop/cart spec.rules[0].backendRefs[0].port: ",
        "",
    ),
    ("spec:\n  rules: [\n", "bad.yaml:", "not valid YAML"),
    ("spec: {}\nspec: {}\n", "bad.yaml:5:1: ", "twice"),
    (
        "spec:\n  rules:\n  - matches:\n    - path: {type: RegularExpression, value: \"(\"}\n",
        "bad.yaml:",
        "HTTPRoute shop/cart spec.rules[0].matches[0].path",
    ),
];

#[test]
fn bad_input_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    for (text, begins, contains) in BAD_INPUT {
        fs::write(&path, format!("{ROUTE}{text}")).unwrap();
        let output = tidegate()
            .arg("lint")
            .arg("bad.yaml")
            .current_dir(folder.path())
            .output()
            .unwrap();
        let findings = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{text}: {findings}");
        let found = findings.lines().any(|line| {
            line.strip_prefix("error")
                .is_some_and(|line| line.trim_start().starts_with(begins))
                && line.contains(contains)
        });
        assert!(
            found,
            "{text}\nwanted {begins} … {contains}\ngot {findings}"
        );
    }
}

#[test]
fn a_certificate_without_its_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(example("secure-gateway").join("certificates.yaml")).unwrap();
    let without_key = text.split_once("  tls.key: |").unwrap().0;
    let grant = text.rsplit_once("---\n").unwrap().1;
    fs::write(
        folder.path().join("certificates.yaml"),
        format!("{without_key}---\n{grant}"),
    )
    .unwrap();
    fs::copy(
        example("secure-gateway").join("infra.yaml"),
        folder.path().join("infra.yaml"),
    )
    .unwrap();
    let output = run(&["lint", folder.path().to_str().unwrap()]);
    let findings = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{findings}");
    assert!(findings.contains("tls.key"), "{findings}");
}

#[test]
fn lint_ends_by_fail_on_and_speaks_json() {
    let path = example("cross-namespace");
    let path = path.to_str().unwrap();
    assert_eq!(run(&["lint", path]).status.code(), Some(3));
    assert_eq!(
        run(&["lint", path, "--fail-on", "never"]).status.code(),
        Some(0)
    );
    assert_eq!(
        run(&["lint", example("quickstart").to_str().unwrap()])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(run(&["lint"]).status.code(), Some(2), "a path is needed");
    let report: Value = serde_json::from_str(&stdout(&run(&["lint", path, "-o", "json"]))).unwrap();
    assert_eq!(report["schemaVersion"], 1);
    assert_eq!(report["errors"], 1);
    assert_eq!(report["findings"][0]["code"], "TG2303");
    assert_eq!(report["findings"][0]["line"], 25);
    let code = stdout(&run(&["explain-code", "TG2303"]));
    assert!(code.contains("ReferenceGrant"), "{code}");
    assert_eq!(run(&["explain-code", "TG0"]).status.code(), Some(1));
}

#[test]
fn explain_says_why_rules_lose() {
    let path = example("canary");
    let output = run(&[
        "explain",
        "GET",
        "http://localhost:8080/",
        "-f",
        path.to_str().unwrap(),
    ]);
    let text = stdout(&output);
    assert!(
        text.contains("needs header x-canary = always; the request has none"),
        "{text}"
    );
    assert!(
        text.contains("→ HTTPRoute shop/cart rule everybody (path prefix /): wins"),
        "{text}"
    );
    assert!(
        text.contains(" 90.0 %  Service shop/cart-v1 port 80"),
        "{text}"
    );
    let output = run(&[
        "explain",
        "GET",
        "http://localhost:81/",
        "-f",
        path.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are 8080"));
}

#[test]
fn explain_reads_paths_as_the_listener_does() {
    let files = tempfile::tempdir().unwrap();
    let example = example("behind-a-balancer");
    for name in ["gateway.yaml", "shop.yaml"] {
        fs::copy(example.join(name), files.path().join(name)).unwrap();
    }
    let explained = || {
        let folder = files.path().to_str().unwrap();
        let url = "http://localhost:8080//cart";
        stdout(&run(&["explain", "GET", url, "-f", folder]))
    };
    let shop = files.path().join("shop.yaml");
    let exact = "  - matches: [{path: {type: Exact, value: /cart}}]\n    backendRefs:";
    let text = fs::read_to_string(&shop).unwrap();
    fs::write(&shop, text.replacen("  - backendRefs:", exact, 1)).unwrap();
    let text = explained();
    assert!(text.contains("wins"), "{text}");
    let gateway = files.path().join("gateway.yaml");
    let text = fs::read_to_string(&gateway).unwrap();
    let kept = "  paths: {mergeSlashes: false}\n  limits:";
    fs::write(&gateway, text.replacen("  limits:", kept, 1)).unwrap();
    let text = explained();
    assert!(!text.contains("wins"), "{text}");
}

#[test]
fn a_running_tidegate_answers_questions() {
    let up = Up::start(&[&example("canary")], &[]);
    let ask = |args: &[&str]| {
        let output = run(&[args, &["--server", &up.server]].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        stdout(&output)
    };
    let table = ask(&["get", "httproutes", "-n", "shop"]);
    assert!(table.starts_with("NAME   HOSTNAMES"), "{table}");
    assert!(
        table.contains("cart   <none>      web       True       True"),
        "{table}"
    );
    assert_eq!(
        ask(&["get", "hr", "cart", "-n", "shop", "-o", "name"]),
        "httproute/cart\n"
    );
    let json: Value =
        serde_json::from_str(&ask(&["get", "gateway", "web", "-n", "shop", "-o", "json"])).unwrap();
    let conditions = json["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "Programmed" && c["status"] == "True")
    );
    assert!(ask(&["get", "svc", "-n", "shop", "-o", "yaml"]).contains("kind: List"));
    let text = ask(&["describe", "gateway/web", "-n", "shop"]);
    assert!(
        text.contains("shop/cart") && text.contains("Programmed"),
        "{text}"
    );
    assert!(ask(&["snapshots", "list"]).contains("default   1"));
    assert!(ask(&["snapshots", "show"]).contains("weight: 90/10"));
    let url = format!("http://localhost:{}/", up.port("http"));
    let text = ask(&["explain", "GET", &url, "-H", "x-canary: always"]);
    assert!(
        text.contains("→ HTTPRoute shop/cart rule testers"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&ask(&["explain", "GET", &url, "-o", "json"])).unwrap();
    assert_eq!(
        (&json["schemaVersion"], &json["layer4"]),
        (&1.into(), &false.into())
    );
    assert_eq!(json["candidates"][0]["verdict"], "lost");
    assert_eq!(json["shares"][0]["percent"], 90.0);
    assert!(
        ask(&["coverage"]).starts_with("0 of 2 matches of rules are never reached in snapshot 1")
    );
}

#[test]
fn a_missing_server_is_named_with_the_way_out() {
    let port = super::process::free_port();
    let output = run(&["get", "gateways", "--server", &format!("127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("start `tidegate up`"), "{error}");
}

#[test]
fn completions_and_version_come_without_a_server() {
    assert!(stdout(&run(&["completion", "bash"])).contains("explain-code"));
    assert!(stdout(&run(&["version"])).starts_with("tidegate 0."));
}

#[test]
fn explain_says_which_route_gets_a_connection_or_datagram() {
    let path = example("layer4");
    let explain = |what: &[&str]| {
        let file = ["-f", path.to_str().unwrap()];
        stdout(&run(&[&["explain"], what, &file].concat()))
    };
    let tls = explain(&["tls://vault.example.com:8443"]);
    for line in [
        "→ infra/edge/tls: chosen",
        "  infra/edge/postgres: listens on port 5432",
        "→ TLSRoute data/vault: wins",
        "the bytes go on as they came",
        "100.0 %  Service data/vault port 8200",
    ] {
        assert!(tls.contains(line), "{line} is not in\n{tls}");
    }
    let other = explain(&["tls://other.example.com:8443"]);
    let lost = "closed without an alert: no route of the listener has a hostname";
    assert!(other.contains(lost), "{other}");
    let tcp = explain(&["tcp://:5300"]);
    assert!(tcp.contains("→ TCPRoute dns/resolver: wins"), "{tcp}");
    assert!(tcp.contains("  infra/edge/dns: is for UDP"), "{tcp}");
    let udp = explain(&["udp://:5300"]);
    assert!(udp.contains("→ UDPRoute dns/resolver: wins"), "{udp}");
    assert!(udp.contains("dropped: it has no endpoint"), "{udp}");
    let https = explain(&["GET", "https://vault.example.com:8443/v1"]);
    assert!(https.contains("→ TLSRoute data/vault: wins"), "{https}");
    let bad = run(&["explain", "http://localhost:8080/"]);
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("GET http://localhost:8080/"), "{said}");
}

#[test]
fn coverage_lists_what_no_request_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    let mut text = String::new();
    for file in fs::read_dir(example("quickstart")).unwrap() {
        let file = file.unwrap().path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            text += &format!("---\n{}\n", fs::read_to_string(file).unwrap());
        }
    }
    let route = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
                 metadata: {name: twice, namespace: shop}\nspec:\n  parentRefs: [{name: web}]\n  rules:\n  \
                 - matches: [{path: {type: PathPrefix, value: /cart}}]\n    backendRefs: [{name: cart, port: 80}]\n";
    fs::write(&path, text + route).unwrap();
    let file = path.to_str().unwrap();
    let text = stdout(&run(&["coverage", "-f", file]));
    assert!(
        text.contains("HTTPRoute shop/twice rule 0 (path prefix /cart), the whole rule"),
        "{text}"
    );
    assert!(
        text.contains("HTTPRoute shop/shop rule 0 (path prefix /cart) comes before it"),
        "{text}"
    );
    let json: Value =
        serde_json::from_str(&stdout(&run(&["coverage", "-f", file, "-o", "json"]))).unwrap();
    assert_eq!(
        (&json["schemaVersion"], &json["unreachableTotal"]),
        (&1.into(), &1.into())
    );
    assert_eq!(json["unreachable"][0]["by"]["route"], "shop/shop");
}
