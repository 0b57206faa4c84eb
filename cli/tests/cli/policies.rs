//! Backends and the policies on them, as `get`, `describe`, `lint` and `explain` show them.

use std::fs;

use super::client::Client;
use super::process::{Up, run};

const OBJECTS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: tidegate
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: web}]
  rules:
    - matches: [{path: {value: /cart}}]
      backendRefs: [{name: cart, port: 80}]
    - matches: [{path: {value: /tls}}]
      backendRefs: [{name: tls, port: 443}]
    - matches: [{path: {value: /api}}]
      backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: api}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: tls, namespace: shop}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {name: api, namespace: shop}
spec:
  type: ExternalHostname
  port: {number: 443}
  externalHostname: {hostname: api.example.com}
  protocol: HTTP2
  tls: {mode: ServerOnly, validation: {hostname: api.example.com, wellKnownCACertificates: System}}
---
apiVersion: tidegate.dev/v1alpha1
kind: BackendPolicy
metadata: {name: cart, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  loadBalancing: {type: LeastRequest}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: tls, sectionName: https}]
  validation:
    hostname: tls.internal
    caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]
";

fn stdout(args: &[&str]) -> String {
    String::from_utf8_lossy(&run(args).stdout).into_owned()
}

#[test]
fn policies_are_shown_with_targets_gateways_and_faults() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), OBJECTS).unwrap();
    let up = Up::start(&[folder.path()], &[]);
    let ask = |args: &[&str]| stdout(&[args, &["-n", "shop", "--server", &up.server]].concat());
    let cells = |text: String| -> Vec<String> {
        let row = text.lines().nth(1).unwrap_or_default();
        row.split_whitespace().map(str::to_owned).collect()
    };
    let policy = cells(ask(&["get", "backendpolicies"]));
    assert_eq!(policy[..4], ["cart", "Service/cart", "web", "True"]);
    let policy = cells(ask(&["get", "btlspolicy"]));
    assert_eq!(policy[..4], ["tls", "Service/tls:https", "web", "False"]);
    assert!(
        policy.contains(&"(NoValidCACertificate)".to_owned()),
        "{policy:?}"
    );
    let backend = cells(ask(&["get", "xbackends"]));
    assert_eq!(
        backend[..5],
        ["api", "api.example.com:443", "ServerOnly", "web", "True"]
    );
    let text = ask(&["describe", "btlspolicy/tls"]);
    assert!(
        text.contains("ancestor web") && text.contains("TG2403"),
        "{text}"
    );
}

#[test]
fn a_backend_that_nothing_can_verify_answers_500() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), OBJECTS).unwrap();
    let up = Up::start(&[folder.path()], &[]);
    let mut client = Client::connect(up.port("http")).unwrap();
    assert_eq!(client.get("localhost", "/cart").unwrap().status, 200);
    assert_eq!(client.get("localhost", "/tls").unwrap().status, 500);
}

#[test]
fn explain_names_destination_protocol_and_trust_of_a_backend() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    fs::write(&file, OBJECTS).unwrap();
    let explain = |path: &str| {
        let url = format!("http://localhost{path}");
        stdout(&["explain", "GET", &url, "-f", file.to_str().unwrap()])
    };
    let text = explain("/api");
    let api = "XBackend shop/api port 443, HTTP/2, TLS as api.example.com trusting the system's authorities → api.example.com:443, looked up in the DNS";
    assert!(text.contains(api), "{text}");
    let text = explain("/tls");
    assert!(
        text.contains("500: BackendTLSPolicy shop/tls validation.caCertificateRefs[0]"),
        "{text}"
    );
    let findings = stdout(&["lint", file.to_str().unwrap()]);
    assert!(
        findings.contains("ConfigMap shop/gone does not exist"),
        "{findings}"
    );
}
