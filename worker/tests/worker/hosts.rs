//! Hosts and listeners: which of them a request belongs to.

use tidegate_ir::{Part, Route};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::get;
use crate::support::configd::snapshot;
use crate::support::parts::{attachment, backend, listener_at, route, to};

fn attached(name: &str, path: &str, listener: &str, host: &str) -> Route {
    let mut route = route(name, vec![to(path, name)]);
    route.attachments = vec![attachment(listener, &[host])];
    route
}

#[tokio::test]
async fn the_most_specific_listener_answers_and_no_other() {
    let (wide, narrow) = (Echo::start("wide").await, Echo::start("narrow").await);
    let parts = [
        Part::from(listener_at("wide", 80, "*.example.com")),
        Part::from(listener_at("narrow", 80, "*.shop.example.com")),
        Part::Route(attached("wide", "/", "infra/gw/wide", "*.example.com")),
        Part::Route(attached(
            "narrow",
            "/only",
            "infra/gw/narrow",
            "*.shop.example.com",
        )),
    ];
    let backends = [
        backend("wide", &[wide.address]),
        backend("narrow", &[narrow.address]),
    ];
    let running = Running::start().await;
    let parts = parts.into_iter().chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    let address = running.address("wide");
    for (host, path, status) in [
        ("a.example.com", "/", 200),
        ("A.Example.COM:8080", "/", 200),
        ("a.shop.example.com", "/only", 200),
        ("a.shop.example.com", "/", 404),
        ("example.com", "/", 404),
        ("other.org", "/", 404),
    ] {
        assert_eq!(
            get(address, host, path).await.status().as_u16(),
            status,
            "{host}{path}"
        );
    }
    assert_eq!((wide.count(), narrow.count()), (2, 1));
}

#[tokio::test]
async fn metrics_name_gateway_listener_and_route_and_never_the_path() {
    let echo = Echo::start("cart").await;
    let parts = [
        Part::from(listener_at("web", 80, "")),
        Part::Route(attached("cart", "/cart", "infra/gw/web", "")),
    ];
    let running = Running::start().await;
    let parts = parts.into_iter().chain(backend("cart", &[echo.address]));
    running.configd.apply(&snapshot(4, parts)).await;
    get(running.address("web"), "secret.example", "/cart/secret").await;
    get(running.address("web"), "secret.example", "/secret").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let text = running.metrics.encode();
    let lines = |parts: &[&str]| {
        text.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    };
    let count = "http_server_request_duration_seconds_count{";
    let matched = [
        count,
        "gateway=\"gw\"",
        "listener=\"web\"",
        "route=\"cart\"",
        "code=\"200\"} 1",
    ];
    assert_eq!(lines(&[count, "route=\"cart\"", "rule=\"0\""]), 1, "{text}");
    assert_eq!(lines(&matched[..4]), 1, "{text}");
    assert_eq!(
        lines(&[count, "route=\"__unmatched__\"", "reason=\"no_route\""]),
        1,
        "{text}"
    );
    let attempts = "http_client_request_duration_seconds_count{backend=\"cart\"} 1";
    assert_eq!(lines(&[attempts]), 1, "{text}");
    assert_eq!(lines(&["http_server_active_requests 0"]), 1, "{text}");
    assert_eq!(lines(&["tidegate_snapshot_version 4"]), 1, "{text}");
    assert!(!text.contains("secret"), "{text}");
}
