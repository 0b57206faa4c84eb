//! What is tried again, where, and when not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tidegate_ir::{Backend, BackendProtocol, ObjectName, Part, Retry, RetryBudget, Rule, Timeouts};
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::backend::{Echo, refusing};
use crate::support::client::{Multiplexed, get, request, send};
use crate::support::parts::{backend, backend_of, listener, to};
use crate::support::scripted::{Reply, Scripted};
use crate::support::{Running, Setup};

fn retry(attempts: u32, codes: &[u16]) -> Retry {
    Retry {
        attempts,
        codes: codes.to_vec(),
        backoff_ms: 0,
    }
}

fn with(retry: Retry, mut rule: Rule) -> Rule {
    rule.retry = Some(retry.into());
    rule
}

/// A backend that fails with a status, and recovers after as many requests.
async fn recovering(after: usize, status: u16) -> Scripted {
    Scripted::start(move |seen, number| {
        let status = if number < after { status } else { 200 };
        Reply::status(status).body(seen.body.clone())
    })
    .await
}

async fn status_of(running: &Running, path: &str) -> u16 {
    get(running.address("http"), "h", path)
        .await
        .status()
        .as_u16()
}

#[tokio::test]
async fn listed_codes_are_tried_again_as_often_as_the_rule_says() {
    for (fails, status, attempts, codes, expected, requests) in [
        (2, 500, 3, &[500][..], 200, 3),
        (4, 500, 3, &[500], 500, 4),
        (2, 503, 3, &[500], 503, 1),
        (1, 502, 2, &[500, 502, 503, 504], 200, 2),
        (3, 504, 2, &[500, 502, 503, 504], 504, 3),
        (1, 500, 0, &[500], 500, 1),
        (1, 404, 1, &[404], 200, 2),
    ] {
        let server = recovering(fails, status).await;
        let rule = with(retry(attempts, codes), to("/", "a"));
        let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
        let case = format!("{fails} × {status}, {attempts} of {codes:?}");
        assert_eq!(status_of(&running, "/").await, expected, "{case}");
        assert_eq!(server.count(), requests, "{case}");
    }
}

#[tokio::test]
async fn retries_are_counted() {
    let server = recovering(2, 500).await;
    let rule = with(retry(3, &[500]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
    assert_eq!(status_of(&running, "/").await, 200);
    let counted = "tidegate_upstream_retries_total{backend=\"a\"} 2";
    running.wait_for_metric(counted).await;
}

#[tokio::test]
async fn each_attempt_goes_to_another_endpoint() {
    let broken = recovering(usize::MAX, 503).await;
    let good = Echo::start("good").await;
    let rule = with(retry(1, &[503]), to("/", "a"));
    let endpoints = backend("a", &[broken.address, good.address]);
    let running = Running::serving(vec![rule], vec![endpoints]).await;
    for _ in 0..6 {
        assert_eq!(status_of(&running, "/").await, 200);
    }
    assert_eq!(good.count(), 6);
}

#[tokio::test]
async fn refused_connections_are_tried_elsewhere_without_a_code() {
    let good = Echo::start("good").await;
    let rule = with(retry(100, &[]), to("/", "a"));
    let dead = with(retry(2, &[]), to("/dead", "dead"));
    let endpoints = backend("a", &[refusing().await, good.address]);
    let backends = vec![endpoints, backend("dead", &[refusing().await])];
    let running = Running::serving(vec![dead, rule], backends).await;
    for _ in 0..10 {
        assert_eq!(status_of(&running, "/").await, 200);
    }
    assert_eq!(status_of(&running, "/dead").await, 502);
}

#[tokio::test]
async fn a_body_within_the_bound_is_sent_again_whole() {
    let server = recovering(2, 503).await;
    let rule = with(retry(2, &[503]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
    let body = "x".repeat(40_000);
    let asked = request("POST", "h", "/").body(body.clone().into()).unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!(
        (answer.status().as_u16(), answer.body().len()),
        (200, 40_000)
    );
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_body_above_the_bound_is_sent_once() {
    let server = recovering(1, 503).await;
    let rule = with(retry(2, &[503]), to("/", "a"));
    let setup = Setup {
        limits: Limits {
            retry_body_bytes_max: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    };
    let backends = vec![backend("a", &[server.address])];
    let running = Running::serving_with(setup, listener(), vec![rule], backends).await;
    let asked = request("POST", "h", "/")
        .body("x".repeat(2000).into())
        .unwrap();
    assert_eq!(send(running.address("http"), asked).await.status(), 503);
    assert_eq!(server.count(), 1);
    let asked = request("POST", "h", "/")
        .body("x".repeat(2000).into())
        .unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 2000));
}

#[tokio::test]
async fn a_stream_is_not_held_up_by_retries() {
    let server = Scripted::start(|seen, _| Reply::status(200).body(seen.body.clone())).await;
    let rule = with(retry(2, &[503]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
    let client = Multiplexed::open(running.address("http")).await;
    let frames: Vec<Result<_, std::convert::Infallible>> = (0..200)
        .map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 1000]))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let asked = Request::post(format!("http://{}/", running.address("http")));
    let answer = client.send(asked.body(body).unwrap()).await;
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes().len(),
        200_000
    );
}

#[tokio::test]
async fn the_request_timeout_bounds_all_attempts_together() {
    let server = Scripted::start(|_, _| Reply::status(500).after(150)).await;
    let mut rule = with(retry(20, &[500]), to("/", "a"));
    rule.timeouts.request_ms = Some(400);
    let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
    assert_eq!(status_of(&running, "/").await, 504);
    assert!((2..=3).contains(&server.count()), "{}", server.count());
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up_for_another() {
    let slow_once = |_: &crate::support::backend::Seen, number: usize| match number {
        0 => Reply::status(200).after(20_000),
        _ => Reply::status(200),
    };
    let timeouts = Timeouts {
        request_ms: Some(10_000),
        backend_request_ms: Some(200),
    };
    for (method, codes, expected) in [
        ("GET", &[][..], 200),
        ("POST", &[], 504),
        ("POST", &[504], 200),
    ] {
        let server = Scripted::start(slow_once).await;
        let mut rule = with(retry(1, codes), to("/", "a"));
        rule.timeouts = timeouts;
        let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
        let asked = request(method, "h", "/").body(Default::default()).unwrap();
        let answer = send(running.address("http"), asked).await;
        assert_eq!(answer.status().as_u16(), expected, "{method} {codes:?}");
    }
}

#[tokio::test]
async fn at_least_the_backoff_passes_between_attempts() {
    let server = recovering(2, 500).await;
    let mut terms = retry(2, &[500]);
    terms.backoff_ms = 100;
    let rule = with(terms, to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[server.address])]).await;
    let started = std::time::Instant::now();
    assert_eq!(status_of(&running, "/").await, 200);
    // 100 ms, then 200 ms: the least that the rule asks for.
    assert!(started.elapsed() >= Duration::from_millis(300));
}

/// A backend that reads a request and closes the connection without an answer.
async fn closing(requests: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::task::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                requests.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    address
}

#[tokio::test]
async fn what_may_have_been_seen_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let address = closing(requests.clone()).await;
    let rule = with(retry(5, &[500, 502, 503]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[address])]).await;
    assert_eq!(status_of(&running, "/").await, 502);
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counts = requests.clone();
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            counts.fetch_add(1, Ordering::Relaxed);
            let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            let _ = stream.write_all(half).await;
        }
    });
    let rule = with(retry(5, &[500]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![backend("a", &[address])]).await;
    let raw = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let answer = crate::support::client::send_raw(running.address("http"), raw).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("half"),
        "{answer}"
    );
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refused_stream_and_grpcs_unavailable_are_tried_again() {
    let refusing = refusing_streams().await;
    let grpc = Scripted::start(|_, number| {
        let status = if number == 0 { "14" } else { "0" };
        Reply::status(200)
            .header("content-type", "application/grpc")
            .header("grpc-status", status)
    })
    .await;
    let rules = vec![
        with(retry(1, &[]), to("/refused", "refusing")),
        with(retry(1, &[]), to("/", "grpc")),
    ];
    let backends = vec![
        backend_of("refusing", &[refusing], BackendProtocol::Http2),
        backend_of("grpc", &[grpc.address], BackendProtocol::Http2),
    ];
    let running = Running::serving(rules, backends).await;
    let asked = request("POST", "h", "/refused")
        .body("payload".into())
        .unwrap();
    assert_eq!(send(running.address("http"), asked).await.status(), 200);
    let client = Multiplexed::open(running.address("http")).await;
    assert_eq!(client.call(client.grpc("/a.B/C"), b"x").await.status, "0");
    assert_eq!(grpc.count(), 2);
}

/// An HTTP/2 backend that refuses its first stream.
async fn refusing_streams() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let mut first = true;
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if std::mem::take(&mut first) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond
                        .send_response(http::Response::new(()), true)
                        .unwrap();
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_backends_budget_bounds_retries() {
    let server = recovering(usize::MAX, 500).await;
    let mut parts = backend("a", &[server.address]);
    parts[0] = Part::Backend(Box::new(Backend {
        retry_budget: Some(RetryBudget {
            percent: 0,
            interval_ms: 60_000,
            min_retries: 2,
            min_interval_ms: 60_000,
        }),
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    }));
    let rule = with(retry(1, &[500]), to("/", "a"));
    let running = Running::serving(vec![rule], vec![parts]).await;
    for expected in [500, 500, 503, 503, 503] {
        assert_eq!(status_of(&running, "/").await, expected);
    }
    assert_eq!(server.count(), 5 + 2);
}

#[tokio::test]
async fn a_rule_without_retry_sends_once() {
    let server = recovering(1, 503).await;
    let rules = vec![to("/", "a")];
    let running = Running::serving(rules, vec![backend("a", &[server.address])]).await;
    assert_eq!(status_of(&running, "/").await, 503);
    assert_eq!(server.count(), 1);
}
