//! Requests in, answers out: every status that the worker gives itself, and the plain way through.

use std::time::Duration;

use crate::support::backend::{Echo, refusing};
use crate::support::client::{get, send_h2, send_raw};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, listener, prefix, route, rule, to, weighted};
use crate::support::{Running, Setup};
use tidegate_ir::{Action, Part, Target, Timeouts, WeightedBackend};
use tidegate_worker::Limits;

async fn serving(rules: Vec<tidegate_ir::Rule>, backends: Vec<Vec<Part>>) -> Running {
    let running = Running::start().await;
    let parts = [Part::from(listener()), Part::Route(route("r", rules))];
    let parts = parts.into_iter().chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    running
}

fn fault(path: &str) -> tidegate_ir::Rule {
    rule(
        vec![prefix(path)],
        Action::Fault("Service shop/cart has no port 81".into()),
    )
}

#[tokio::test]
async fn a_request_reaches_the_backend_of_its_rule() {
    let (cart, rest) = (Echo::start("cart").await, Echo::start("rest").await);
    let backends = vec![
        backend("cart", &[cart.address]),
        backend("rest", &[rest.address]),
    ];
    let running = serving(vec![to("/cart", "cart"), to("/", "rest")], backends).await;
    let address = running.address("http");
    let answer = get(address, "shop.example", "/cart/1?x=y").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"cart"[..])
    );
    assert_eq!(cart.last().uri, "/cart/1?x=y");
    assert_eq!(
        &get(address, "shop.example", "/other").await.body()[..],
        b"rest"
    );
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_how() {
    let echo = Echo::start("a").await;
    let running = serving(vec![to("/", "a")], vec![backend("a", &[echo.address])]).await;
    let request = crate::support::client::request("GET", "shop.example:81", "/")
        .header("x-forwarded-for", "6.6.6.6")
        .header("connection", "x-secret")
        .header("x-secret", "1");
    let request = request.body(Default::default()).unwrap();
    crate::support::client::send(running.address("http"), request).await;
    let seen = echo.last();
    assert_eq!(seen.host, "shop.example:81");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    assert_eq!(seen.headers["x-forwarded-host"], "shop.example:81");
    assert!(!seen.headers.contains_key("x-secret"));
}

#[tokio::test]
async fn what_cannot_be_forwarded_gets_its_status_and_reason() {
    let broken = WeightedBackend {
        weight: 1,
        target: Target::Fault("Service shop/gone does not exist".into()),
        filters: vec![],
    };
    let rules = vec![
        fault("/fault"),
        rule(vec![prefix("/gone")], Action::Forward(vec![broken])),
        to("/refused", "refusing"),
        to("/empty", "empty"),
    ];
    let backends = vec![
        backend("refusing", &[refusing().await]),
        backend("empty", &[]),
    ];
    let running = serving(rules, backends).await;
    let address = running.address("http");
    for (path, status, reason) in [
        ("/nowhere", 404, "no route matches this request"),
        ("/fault", 500, "Service shop/cart has no port 81"),
        ("/gone", 500, "Service shop/gone does not exist"),
        ("/refused", 502, "the backend refuses connections"),
        ("/empty", 503, "the backend has no endpoint"),
    ] {
        let answer = get(address, "shop.example", path).await;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!(
            (answer.status().as_u16(), body.trim_end()),
            (status, reason),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_slow_backend_gets_504_by_either_timeout() {
    let slow = Echo::start_slow("slow", Duration::from_secs(20)).await;
    let mut by_request = to("/request", "slow");
    by_request.timeouts = Timeouts {
        request_ms: Some(50),
        backend_request_ms: None,
    };
    let mut by_backend = to("/backend", "slow");
    by_backend.timeouts = Timeouts {
        request_ms: None,
        backend_request_ms: Some(50),
    };
    let backends = vec![backend("slow", &[slow.address])];
    let running = serving(vec![by_request, by_backend], backends).await;
    for path in ["/request", "/backend"] {
        assert_eq!(
            get(running.address("http"), "h", path).await.status(),
            504,
            "{path}"
        );
    }
}

#[tokio::test]
async fn malformed_requests_get_400_and_large_headers_431() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        header_bytes_max: 4096,
        ..Limits::default()
    };
    let running = Running::start_with(Setup {
        limits,
        ..Setup::default()
    })
    .await;
    let parts = [
        Part::from(listener()),
        Part::Route(route("r", vec![to("/", "a")])),
    ];
    let parts = parts.into_iter().chain(backend("a", &[echo.address]));
    running.configd.apply(&snapshot(1, parts)).await;
    let large = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
        "y".repeat(8000)
    );
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            "400",
        ),
        (&*large, "431"),
    ] {
        let answer = send_raw(running.address("http"), bytes.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{bytes:.40} → {answer}"
        );
    }
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn two_lengths_cannot_smuggle_a_request() {
    let echo = Echo::start("a").await;
    let running = serving(vec![to("/", "a")], vec![backend("a", &[echo.address])]).await;
    let both = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n\
                0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let answer = send_raw(running.address("http"), both.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn connections_are_tried_at_other_endpoints() {
    let echo = Echo::start("a").await;
    let addresses = [refusing().await, echo.address];
    let running = serving(vec![to("/", "a")], vec![backend("a", &addresses)]).await;
    for _ in 0..4 {
        assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
    }
}

#[tokio::test]
async fn prior_knowledge_http2_is_served_on_the_same_port() {
    let echo = Echo::start("a").await;
    let running = serving(vec![to("/", "a")], vec![backend("a", &[echo.address])]).await;
    let address = running.address("http");
    let request = http::Request::builder().uri(format!("http://{address}/x"));
    let answer = send_h2(address, request.body(Default::default()).unwrap()).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (200, &b"a"[..])
    );
    assert_eq!(echo.last().host, address.to_string());
}

#[tokio::test]
async fn weights_are_kept_exactly() {
    let (old, new) = (Echo::start("old").await, Echo::start("new").await);
    let forward = Action::Forward(vec![weighted("old", 90), weighted("new", 10)]);
    let backends = vec![
        backend("old", &[old.address]),
        backend("new", &[new.address]),
    ];
    let running = serving(vec![rule(vec![prefix("/")], forward)], backends).await;
    for _ in 0..100 {
        assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
    }
    assert_eq!((old.count(), new.count()), (90, 10));
}
