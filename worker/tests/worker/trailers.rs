//! Trailers of requests and answers, whatever version of HTTP each side speaks.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tidegate_ir::BackendProtocol;

use crate::support::Running;
use crate::support::client::Multiplexed;
use crate::support::parts::{backend_of, to};
use crate::support::scripted::{Reply, Scripted};
use crate::support::wire::{Wire, backend_that};

/// By HTTP/1, with a field that may stand in trailers, one twice, and three that may not.
const TRAILERS: &str = "x-sum: 7\r\nx-more: a\r\nx-more: b\r\ncontent-length: 5\r\nhost: evil\r\nset-cookie: c=1\r\n\r\n";

/// The same by HTTP/2.
fn trailers() -> HeaderMap {
    let fields = [
        ("x-sum", "7"),
        ("x-more", "a"),
        ("x-more", "b"),
        ("content-length", "5"),
        ("host", "evil"),
        ("set-cookie", "c=1"),
    ];
    let mut trailers = HeaderMap::new();
    for (name, value) in fields {
        trailers.append(name, HeaderValue::from_static(value));
    }
    trailers
}

/// The reply of an HTTP/2 backend.
fn reply() -> Reply {
    trailers()
        .iter()
        .fold(Reply::status(200).body("answer"), |reply, (name, value)| {
            reply.trailer(name.as_str(), value.to_str().unwrap())
        })
}

/// What is left of them.
fn assert_passed_on(trailers: &HeaderMap) {
    let fields: Vec<_> = trailers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        fields,
        [("x-sum", "7"), ("x-more", "a"), ("x-more", "b")],
        "{trailers:?}"
    );
}

fn assert_passed_on_as_text(end: &str) {
    assert_eq!(
        end, "0\r\nx-sum: 7\r\nx-more: a\r\nx-more: b\r\n\r\n",
        "{end}"
    );
}

async fn in_front_of(backend: std::net::SocketAddr, protocol: BackendProtocol) -> Running {
    let backends = vec![backend_of("a", &[backend], protocol)];
    Running::serving(vec![to("/", "a")], backends).await
}

/// Reads a request with its trailers and gives an answer with its own.
async fn answer_by_http1(mut wire: Wire) {
    let head = wire.read_until("\r\n\r\n").await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    wire.read_until("7\r\nrequest\r\n").await;
    assert_passed_on_as_text(&wire.read_until("\r\n\r\n").await);
    wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\n")
        .await;
    wire.write(TRAILERS).await;
    wire.read_to_end().await;
}

/// Sends a request with trailers and reads an answer with its own.
async fn ask_by_http1(running: &Running) {
    let mut client = Wire::open(running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.write("7\r\nrequest\r\n0\r\n").await;
    client.write(TRAILERS).await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    client.read_until("6\r\nanswer\r\n").await;
    assert_passed_on_as_text(&client.read_until("\r\n\r\n").await);
}

async fn ask_by_http2(running: &Running) {
    let client = Multiplexed::open(running.address("http")).await;
    let asked = Request::post(format!("http://{}/", running.address("http")));
    let frames = [
        Frame::data(Bytes::from("request")),
        Frame::trailers(trailers()),
    ];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let answer = client.send(asked.body(body).unwrap()).await;
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap();
    assert_passed_on(body.trailers().unwrap());
    assert_eq!(body.to_bytes(), "answer");
}

#[tokio::test]
async fn trailers_go_from_http1_to_http2_and_back() {
    let scripted = Scripted::start(|_, _| reply()).await;
    let running = in_front_of(scripted.address, BackendProtocol::Http2).await;
    ask_by_http1(&running).await;
    let seen = scripted.last();
    assert_eq!(seen.body, "request");
    assert_passed_on(&seen.trailers);
}

#[tokio::test]
async fn trailers_go_from_http2_to_http1_and_back() {
    let address = backend_that(|wire, _| answer_by_http1(wire)).await;
    let running = in_front_of(address, BackendProtocol::Http1).await;
    ask_by_http2(&running).await;
}

#[tokio::test]
async fn trailers_go_through_http1_on_both_sides() {
    let address = backend_that(|wire, _| answer_by_http1(wire)).await;
    let running = in_front_of(address, BackendProtocol::Http1).await;
    ask_by_http1(&running).await;
}

#[tokio::test]
async fn trailers_go_through_http2_on_both_sides() {
    let scripted = Scripted::start(|_, _| reply()).await;
    let running = in_front_of(scripted.address, BackendProtocol::Http2).await;
    ask_by_http2(&running).await;
    let seen = scripted.last();
    assert_eq!(seen.body, "request");
    assert_passed_on(&seen.trailers);
}

#[tokio::test]
async fn an_http10_client_gets_the_content_without_trailers() {
    let scripted = Scripted::start(|_, _| reply()).await;
    let running = in_front_of(scripted.address, BackendProtocol::Http2).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let answer = client.read_to_end().await;
    assert!(answer.ends_with("\r\n\r\nanswer"), "{answer}");
    assert!(!answer.contains("x-sum"), "{answer}");
}
