//! Prints how long a compilation takes at 1, 1,000 and 10,000 routes: the first one, and after one change.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_compiler::{Compiler, Object, ObjectKey, Pooling, Settings};

const GROUP: &str = "gateway.networking.k8s.io";

fn main() {
    for routes in [1, 1_000, 10_000] {
        measure(routes);
    }
}

fn measure(routes: usize) {
    let mut compiler = Compiler::new(Settings {
        addresses: vec![],
        controller_name: "tidegate.dev/gateway".to_owned(),
        pooling: Pooling::Single {
            pool: "default".to_owned(),
        },
    });
    let started = Instant::now();
    let class = json!({"controllerName": "tidegate.dev/gateway"});
    put(&mut compiler, GROUP, "GatewayClass", "tidegate", &class);
    let listener = json!({"name": "http", "port": 80, "protocol": "HTTP"});
    let gateway = json!({"gatewayClassName": "tidegate", "listeners": [listener]});
    put(&mut compiler, GROUP, "Gateway", "web", &gateway);
    for index in 0..routes {
        let service = json!({"ports": [{"port": 80}]});
        put(
            &mut compiler,
            "",
            "Service",
            &format!("app-{index}"),
            &service,
        );
        put_slice(&mut compiler, index);
        put_route(&mut compiler, index, 1);
    }
    let put_ms = started.elapsed().as_secs_f64() * 1e3;
    let started = Instant::now();
    let parts = compiler.compile().pools["default"].len();
    let first_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut one_change_ms = f64::MAX;
    for weight in 2..12 {
        put_route(&mut compiler, routes / 2, weight);
        let started = Instant::now();
        drop(compiler.compile());
        one_change_ms = one_change_ms.min(started.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "{routes:>6} routes, {parts:>6} parts: put all {put_ms:.2} ms, first compilation {first_ms:.2} ms, after one change {one_change_ms:.2} ms"
    );
}

fn put_route(compiler: &mut Compiler, index: usize, weight: i64) {
    let backend = json!({"name": format!("app-{index}"), "port": 80, "weight": weight});
    let path = json!({"value": format!("/app-{index}")});
    let rule = json!({"matches": [{ "path": path }], "backendRefs": [backend]});
    let hostname = format!("host-{}.example.com", index % 100);
    let route = json!({
        "parentRefs": [{"name": "web"}],
        "hostnames": [hostname],
        "rules": [rule],
    });
    put(
        compiler,
        GROUP,
        "HTTPRoute",
        &format!("app-{index}"),
        &route,
    );
}

fn put_slice(compiler: &mut Compiler, index: usize) {
    let name = format!("app-{index}");
    let content = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
        "ports": [{"port": 8080}],
    });
    put_content(
        compiler,
        "discovery.k8s.io",
        "EndpointSlice",
        &name,
        &content,
    );
}

fn put(compiler: &mut Compiler, group: &str, kind: &str, name: &str, spec: &Value) {
    let content = json!({"metadata": {"name": name}, "spec": spec});
    put_content(compiler, group, kind, name, &content);
}

fn put_content(compiler: &mut Compiler, group: &str, kind: &str, name: &str, content: &Value) {
    let namespace = if kind == "GatewayClass" { "" } else { "shop" };
    let object = Object {
        key: ObjectKey::new("local", group, kind, namespace, name),
        uid: name.to_owned(),
        generation: 1,
        created_at_unix_s: 0,
        content: Bytes::from(content.to_string()),
    };
    compiler.put(object).expect("the object is valid");
}
