//! gRPC: its own statuses, streams, deadlines, and routes beside those of HTTP.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tidegate_ir::{
    Action, BackendProtocol, GrpcMethod, Match, Part, PathMatch, Retry, Route, RouteKind, Rule,
    StringMatch, Target, Timeouts, WeightedBackend,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::Running;
use crate::support::backend::refusing;
use crate::support::client::{GrpcAnswer, Multiplexed, request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{
    backend, backend_of, listener, matching, prefix, route, rule, to, weighted,
};
use crate::support::scripted::{Reply, Scripted};

/// A backend that answers every call with a message and success.
async fn greeter(name: &'static str) -> Scripted {
    Scripted::start(move |_, _| {
        Reply::status(200)
            .header("content-type", "application/grpc")
            .header("x-backend", name)
            .body("message")
            .trailer("grpc-status", "0")
    })
    .await
}

fn h2(name: &str, address: std::net::SocketAddr) -> Vec<Part> {
    backend_of(name, &[address], BackendProtocol::Http2)
}

fn method(service: &str, method: Option<&str>) -> Match {
    matching(PathMatch::Method(GrpcMethod {
        service: Some(StringMatch::Exact(service.into())),
        method: method.map(|method| StringMatch::Exact(method.into())),
    }))
}

fn grpc_route(name: &str, rules: Vec<Rule>) -> Route {
    Route {
        kind: RouteKind::Grpc,
        ..route(name, rules)
    }
}

#[tokio::test]
async fn what_the_worker_says_itself_is_a_grpc_status_with_http_200() {
    let slow = Scripted::start(|_, _| Reply::status(200).after(20_000)).await;
    let broken = WeightedBackend {
        weight: 1,
        target: Target::Fault("Service shop/gone does not exist".into()),
        filters: vec![],
    };
    let mut late = to("/late.Service", "slow");
    late.timeouts.request_ms = Some(50);
    let mut late_backend = to("/latebackend.Service", "slow");
    late_backend.timeouts = Timeouts {
        request_ms: None,
        backend_request_ms: Some(50),
    };
    let rules = vec![
        rule(vec![prefix("/gone.Service")], Action::Forward(vec![broken])),
        rule(
            vec![prefix("/fault.Service")],
            Action::Fault("the rule is broken".into()),
        ),
        to("/empty.Service", "empty"),
        to("/dead.Service", "dead"),
        late,
        late_backend,
    ];
    let backends = vec![
        backend("empty", &[]),
        h2("dead", refusing().await),
        h2("slow", slow.address),
    ];
    let running = Running::serving(rules, backends).await;
    let client = Multiplexed::open(running.address("http")).await;
    for (path, status, message) in [
        (
            "/unknown.Service/Call",
            "12",
            "no route matches this request",
        ),
        (
            "/gone.Service/Call",
            "14",
            "Service shop/gone does not exist",
        ),
        ("/fault.Service/Call", "14", "the rule is broken"),
        ("/empty.Service/Call", "14", "the backend has no endpoint"),
        (
            "/dead.Service/Call",
            "14",
            "the backend refuses connections",
        ),
        ("/late.Service/Call", "4", "the request timeout passed"),
        (
            "/latebackend.Service/Call",
            "4",
            "the backend took too long to answer",
        ),
    ] {
        let answer = client.call(client.grpc(path), b"").await;
        assert_eq!(
            (&*answer.status, &*answer.message),
            (status, message),
            "{path}"
        );
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert!(answer.body.is_empty());
    }
    // Whoever does not speak gRPC gets HTTP's status.
    let asked = client.grpc("/unknown.Service/Call").header("x", "y");
    let mut asked = asked
        .body(http_body_util::Full::<Bytes>::default())
        .unwrap();
    asked
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    assert_eq!(client.send(asked).await.status(), 404);
}

#[tokio::test]
async fn trailers_and_statuses_of_backends_pass_through() {
    let failing = Scripted::start(|_, _| {
        Reply::status(200)
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .header("grpc-message", "no such thing")
    })
    .await;
    let greeter = greeter("a").await;
    let rules = vec![to("/good.Service", "a"), to("/", "failing")];
    let backends = vec![h2("a", greeter.address), h2("failing", failing.address)];
    let running = Running::serving(rules, backends).await;
    let client = Multiplexed::open(running.address("http")).await;
    let answer = client
        .call(client.grpc("/good.Service/Call"), b"hello")
        .await;
    assert_eq!((&*answer.status, &answer.body[..]), ("0", &b"message"[..]));
    assert_eq!(greeter.last().headers["te"], "trailers");
    let answer = client
        .call(client.grpc("/bad.Service/Call"), b"hello")
        .await;
    assert_eq!((&*answer.status, &*answer.message), ("5", "no such thing"));
}

#[tokio::test]
async fn statuses_of_failed_servers_count_as_errors_of_the_traffic() {
    let answering = |status: &'static str| {
        Scripted::start(move |_, _| {
            Reply::status(200)
                .header("content-type", "application/grpc")
                .body("message")
                .trailer("grpc-status", status)
        })
    };
    let failing_at_once = Scripted::start(|_, _| {
        Reply::status(200)
            .header("content-type", "application/grpc")
            .header("grpc-status", "13")
    })
    .await;
    let (good, missing) = (answering("0").await, answering("5").await);
    let (unavailable, lost) = (answering("14").await, answering("15").await);
    let backends = [
        ("good", good.address),
        ("missing", missing.address),
        ("unavailable", unavailable.address),
        ("lost", lost.address),
        ("at-once", failing_at_once.address),
    ];
    let rules = backends.map(|(name, _)| to(&format!("/{name}.Service"), name));
    let backends = backends.map(|(name, address)| h2(name, address));
    let running = Running::serving(rules.to_vec(), backends.to_vec()).await;
    let client = Multiplexed::open(running.address("http")).await;
    for name in [
        "good",
        "missing",
        "unavailable",
        "lost",
        "at-once",
        "no-route",
    ] {
        client
            .call(client.grpc(&format!("/{name}.Service/Call")), b"")
            .await;
    }
    // The same trailers mean nothing where no gRPC is spoken.
    let plain = request("GET", "h", "/unavailable.Service/Call");
    let plain = plain.body("".into()).unwrap();
    let status = send(running.address("http"), plain).await.status();
    assert_eq!(status, 200);
    let traffic = running.configd.traffic_of(7).await;
    assert_eq!((traffic.requests, traffic.errors), (7, 4));
}

#[tokio::test]
async fn messages_stream_both_ways_at_once() {
    let address = echoing().await;
    // What is kept for another attempt does not hold up the first.
    let mut retried = to("/retried", "a");
    let retry = Retry {
        attempts: 3,
        codes: vec![503],
        backoff_ms: 0,
    };
    retried.retry = Some(retry.into());
    let rules = vec![retried, to("/", "a")];
    let running = Running::serving(rules, vec![h2("a", address)]).await;
    let client = Multiplexed::open(running.address("http")).await;
    for path in ["/a.B/Chat", "/retried/Chat"] {
        chat(&client, path).await;
    }
}

async fn chat(client: &Multiplexed, path: &str) {
    let (sender, messages) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let body = StreamBody::new(ReceiverStream::new(messages));
    let response = client.send(client.grpc(path).body(body).unwrap()).await;
    let mut answers = response.into_body();
    for message in ["one", "two", "three"] {
        // Each is answered before the next is sent.
        sender.send(Ok(Frame::data(message.into()))).await.unwrap();
        let frame = answers.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(sender);
    let end = answers.frame().await.unwrap().unwrap();
    assert_eq!(end.into_trailers().unwrap()["grpc-status"], "0");
}

/// A backend that sends back every message as it comes, then trailers.
async fn echoing() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(
                |request: http::Request<hyper::body::Incoming>| async move {
                    let data = request.into_body().into_data_stream();
                    let data = data.filter_map(Result::ok).map(Frame::data);
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let end = tokio_stream::once(Frame::trailers(trailers));
                    let frames = data.chain(end).map(Ok::<_, Infallible>);
                    Ok::<_, Infallible>(http::Response::new(StreamBody::new(frames)))
                },
            );
            let executor = hyper_util::rt::TokioExecutor::new();
            let builder = hyper::server::conn::http2::Builder::new(executor);
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::task::spawn(builder.serve_connection(io, service));
        }
    });
    address
}

#[tokio::test]
async fn a_clients_deadline_is_carried_on_and_kept() {
    let slow = Scripted::start(|_, _| Reply::status(200).after(20_000)).await;
    let running = Running::serving(vec![to("/", "a")], vec![h2("a", slow.address)]).await;
    let client = Multiplexed::open(running.address("http")).await;
    let asked = client.grpc("/a.B/C").header("grpc-timeout", "50m");
    let answer = client.call(asked, b"").await;
    assert_eq!(answer.status, "4");
    assert_eq!(slow.last().headers["grpc-timeout"], "50m");
}

#[tokio::test]
async fn a_stream_that_is_cut_off_ends_with_a_status() {
    let (sender, messages) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let address = echoing().await;
    let mut rule = to("/", "a");
    rule.timeouts.request_ms = Some(300);
    let running = Running::serving(vec![rule], vec![h2("a", address)]).await;
    let client = Multiplexed::open(running.address("http")).await;
    sender.send(Ok(Frame::data("one".into()))).await.unwrap();
    let body = StreamBody::new(ReceiverStream::new(messages));
    let response = client
        .send(client.grpc("/a.B/Chat").body(body).unwrap())
        .await;
    let answer = tokio::time::timeout(Duration::from_secs(10), GrpcAnswer::read(response)).await;
    let answer = answer.unwrap();
    assert_eq!((&answer.body[..], &*answer.status), (&b"one"[..], "4"));
    running.wait_for_metric("reason=\"request_timeout\"").await;
    drop(sender);
}

#[tokio::test]
async fn routes_of_grpc_and_http_share_a_host() {
    let (exact, service) = (greeter("exact").await, greeter("service").await);
    let rest = greeter("rest").await;
    let forward = |name: &str| Action::Forward(vec![weighted(name, 1)]);
    let grpc = grpc_route(
        "grpc",
        vec![
            rule(vec![method("pkg.Echo", Some("Ping"))], forward("exact")),
            rule(vec![method("pkg.Echo", None)], forward("service")),
        ],
    );
    let parts = [
        Part::from(listener()),
        Part::Route(grpc),
        Part::Route(route(
            "http",
            vec![to("/pkg.Other", "rest"), to("/pkg.Echo", "rest")],
        )),
    ];
    let backends = [
        h2("exact", exact.address),
        h2("service", service.address),
        h2("rest", rest.address),
    ];
    let running = Running::start().await;
    let parts = parts.into_iter().chain(backends.into_iter().flatten());
    running.configd.apply(&snapshot(1, parts)).await;
    let client = Multiplexed::open(running.address("http")).await;
    for (path, backend) in [
        ("/pkg.Echo/Ping", "exact"),
        ("/pkg.Echo/Pong", "service"),
        ("/pkg.Other/Ping", "rest"),
    ] {
        let answer = client.call(client.grpc(path), b"").await;
        assert_eq!(answer.headers["x-backend"], backend, "{path}");
    }
    assert_eq!(
        client.call(client.grpc("/pkg.None/Ping"), b"").await.status,
        "12"
    );
    // The same path without gRPC is the HTTPRoute's.
    let asked = request("POST", "h", "/pkg.Echo/Ping")
        .body("x".into())
        .unwrap();
    let answer = send(running.address("http"), asked).await;
    assert_eq!(answer.headers()["x-backend"], "rest");
}
