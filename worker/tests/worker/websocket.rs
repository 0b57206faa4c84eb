//! WebSocket on streams of HTTP/2 (RFC 8441), and how tunnels end.

mod http2_backends;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tidegate_ir::{BackendProtocol, Part};
use tidegate_runtime::drain::DrainOutcome;
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::backend::Echo;
use crate::support::frames::{Raw, SETTINGS};
use crate::support::parts::{backend, backend_of, listener, prefix, to};
use crate::support::wire::{Wire, backend_that};
use crate::support::{Running, Setup};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_front_of(address: SocketAddr) -> Running {
    with_limits(address, Limits::default()).await
}

async fn with_limits(address: SocketAddr, limits: Limits) -> Running {
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let backends: Vec<Vec<Part>> = vec![backend("a", &[address])];
    Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await
}

/// A client whose worker has said that it knows extended CONNECT.
async fn client_of(running: &Running) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(running.address("http")).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::task::spawn(connection);
    let client = client.ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client
}

fn asked(protocol: &str) -> http::request::Builder {
    Request::builder()
        .method("CONNECT")
        .uri("http://h/chat?room=1")
        .extension(Protocol::from(protocol))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
}

/// Asks for a WebSocket: the head of the answer, and the stream both ways.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: http::request::Builder,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    let (answer, sending) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap();
    (answer.unwrap(), sending)
}

/// Reads until a text has come.
async fn read_until(stream: &mut RecvStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let data = tokio::time::timeout(PATIENCE, stream.data()).await.unwrap();
        let data = data.unwrap_or_else(|| panic!("the end came after {read:?}"));
        read.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
    }
    read
}

/// Reads to the end: what came, and the code of a reset.
async fn read_to_end(stream: &mut RecvStream) -> (String, Option<Reason>) {
    let mut read = String::new();
    loop {
        match tokio::time::timeout(PATIENCE, stream.data()).await.unwrap() {
            Some(Ok(data)) => read.push_str(std::str::from_utf8(&data).unwrap()),
            Some(Err(error)) => return (read, Some(error.reason().unwrap())),
            None => return (read, None),
        }
    }
}

/// Reads a handshake and agrees to it; returns its head.
async fn agree(wire: &mut Wire) -> String {
    let head = wire.read_until("\r\n\r\n").await;
    let key = head.split("sec-websocket-key: ").nth(1).unwrap();
    let key = key.split("\r\n").next().unwrap();
    let hashed = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, hashed.as_bytes());
    let accept = base64::prelude::BASE64_STANDARD.encode(hash);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\n"
    );
    wire.write(&answer).await;
    head
}

/// A backend that agrees on every connection, and hands it to the test together with the head that it got.
async fn agreeing() -> (mpsc::UnboundedReceiver<(String, Wire)>, SocketAddr) {
    let (agreed, connections) = mpsc::unbounded_channel();
    let address = backend_that(move |mut wire, _| {
        let agreed = agreed.clone();
        async move {
            let head = agree(&mut wire).await;
            // A test that is over wants no more.
            let _ = agreed.send((head, wire));
        }
    })
    .await;
    (connections, address)
}

/// Both ends of an open tunnel.
struct Opened {
    running: Running,
    client: SendRequest<Bytes>,
    head: HeaderMap,
    from: RecvStream,
    to: SendStream<Bytes>,
    asked: String,
    backend: Wire,
}

async fn opened(limits: Limits) -> Opened {
    let (mut connections, address) = agreeing().await;
    let running = with_limits(address, limits).await;
    let mut client = client_of(&running).await;
    let (answer, to) = ask(&mut client, asked("websocket")).await;
    assert_eq!(answer.status(), 200);
    let (asked, backend) = connections.recv().await.unwrap();
    let (parts, from) = answer.into_parts();
    Opened {
        running,
        client,
        head: parts.headers,
        from,
        to,
        asked,
        backend,
    }
}

#[tokio::test]
async fn the_worker_says_that_it_knows_extended_connect() {
    const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    let echo = Echo::start("a").await;
    let running = in_front_of(echo.address).await;
    let mut client = Raw::open(running.address("http")).await;
    let told = client.wait_for(SETTINGS).await;
    assert_eq!(told.setting(ENABLE_CONNECT_PROTOCOL), Some(1));
}

#[tokio::test]
async fn a_stream_becomes_a_tunnel_and_its_backend_sees_an_upgrade() {
    let mut tunnel = opened(Limits::default()).await;
    let asked = tunnel.asked.as_str();
    assert!(
        asked.starts_with("GET /chat?room=1 HTTP/1.1\r\n"),
        "{asked}"
    );
    for line in [
        "host: h",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
    ] {
        assert!(
            asked.contains(&format!("\r\n{line}\r\n")),
            "{line}: {asked}"
        );
    }
    assert!(!asked.contains("content-length"), "{asked}");
    assert!(!asked.contains("transfer-encoding"), "{asked}");
    assert_eq!(tunnel.head["sec-websocket-protocol"], "chat");
    for name in [
        "connection",
        "upgrade",
        "sec-websocket-accept",
        "content-length",
    ] {
        assert!(!tunnel.head.contains_key(name), "{name}");
    }
    for number in 0..3 {
        let said = format!("ping {number}.");
        tunnel
            .to
            .send_data(Bytes::from(said.clone()), false)
            .unwrap();
        tunnel.backend.read_until(&said).await;
        let said = format!("pong {number}.");
        tunnel.backend.write(&said).await;
        read_until(&mut tunnel.from, &said).await;
    }
}

#[tokio::test]
async fn keys_differ_and_are_the_workers_own() {
    let (mut connections, address) = agreeing().await;
    let running = in_front_of(address).await;
    let mut client = client_of(&running).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let request = asked("websocket").header("sec-websocket-key", "of the client");
        let (answer, _to) = ask(&mut client, request).await;
        assert_eq!(answer.status(), 200);
        let (head, _) = connections.recv().await.unwrap();
        assert!(!head.contains("of the client"), "{head}");
        let key = head.split("sec-websocket-key: ").nth(1).unwrap()[..24].to_owned();
        keys.push(key);
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn rules_see_a_get_and_the_log_an_upgrade() {
    let (mut connections, address) = agreeing().await;
    let mut rule = to("/", "a");
    rule.matches = vec![prefix("/chat")];
    rule.matches[0].method = Some("GET".into());
    let (lines, log) = std::sync::mpsc::sync_channel(10);
    let setup = Setup {
        access_log: tidegate_worker::AccessLogTo::Queue(lines),
        ..Setup::default()
    };
    let backends = vec![backend("a", &[address])];
    let running = Running::serving_with(setup, listener(), vec![rule], backends).await;
    let mut client = client_of(&running).await;
    let (answer, mut to) = ask(&mut client, asked("websocket")).await;
    assert_eq!(answer.status(), 200);
    to.send_data(Bytes::new(), true).unwrap();
    drop(connections.recv().await);
    running.wait_for_metric("status_code=\"101\"").await;
    let line = log.recv_timeout(PATIENCE).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!(line["protocol"], "2", "{line}");
    assert_eq!(line["status"], 101, "{line}");
    assert_eq!(line["reason"], serde_json::Value::Null, "{line}");
}

#[tokio::test]
async fn a_client_that_ends_its_side_gets_what_the_backend_still_says() {
    let mut tunnel = opened(Limits::default()).await;
    tunnel.to.send_data(Bytes::from("last"), true).unwrap();
    assert_eq!(tunnel.backend.read_to_end().await, "last");
    tunnel.backend.write("and more").await;
    drop(tunnel.backend);
    let (read, reset) = read_to_end(&mut tunnel.from).await;
    assert_eq!((&*read, reset), ("and more", None));
}

#[tokio::test]
async fn a_backend_that_ends_its_side_gets_what_the_client_still_says() {
    let mut tunnel = opened(Limits::default()).await;
    tunnel.backend.write("last").await;
    tunnel.backend.0.shutdown().await.unwrap();
    let (read, reset) = read_to_end(&mut tunnel.from).await;
    assert_eq!((&*read, reset), ("last", None));
    tunnel.to.send_data(Bytes::from("and more"), true).unwrap();
    assert_eq!(tunnel.backend.read_to_end().await, "and more");
}

#[tokio::test]
async fn a_side_that_stays_open_alone_is_closed_in_the_end() {
    let limits = Limits {
        half_closed_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut tunnel = opened(limits.clone()).await;
    tunnel.to.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read_to_end(&mut tunnel.from).await.1, None);
    let mut tunnel = opened(limits).await;
    tunnel.backend.0.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tunnel.from).await.1, None);
    assert_eq!(tunnel.backend.read_to_end().await, "");
}

#[tokio::test]
async fn a_stream_that_is_reset_resets_the_backends_connection() {
    let mut tunnel = opened(Limits::default()).await;
    tunnel.to.send_data(Bytes::from("ping"), false).unwrap();
    tunnel.backend.read_until("ping").await;
    tunnel.to.send_reset(Reason::CANCEL);
    let read = tokio::time::timeout(PATIENCE, tunnel.backend.0.read_u8()).await;
    let error = read.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_is_gone_resets_the_backends_connection() {
    let tunnel = opened(Limits::default()).await;
    let Opened {
        running: _running,
        mut backend,
        client,
        from,
        to,
        ..
    } = tunnel;
    drop((client, from, to));
    let read = tokio::time::timeout(PATIENCE, backend.0.read_u8()).await;
    let error = read.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_backend_that_resets_its_connection_resets_the_stream() {
    let mut tunnel = opened(Limits::default()).await;
    tunnel.backend.write("ping").await;
    read_until(&mut tunnel.from, "ping").await;
    tunnel.backend.reset();
    let (read, reset) = read_to_end(&mut tunnel.from).await;
    assert_eq!((&*read, reset), ("", Some(Reason::CANCEL)));
    let reason = "reason=\"response_broken_off\"";
    tunnel.running.wait_for_metric(reason).await;
}

#[tokio::test]
async fn silence_does_not_end_a_tunnel() {
    let limits = Limits {
        body_pace_period: Duration::from_millis(50),
        half_closed_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        request_timeout: Some(Duration::from_millis(150)),
        ..Limits::default()
    };
    let mut tunnel = opened(limits).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    tunnel.to.send_data(Bytes::from("ping"), false).unwrap();
    tunnel.backend.read_until("ping").await;
    tunnel.backend.write("pong").await;
    read_until(&mut tunnel.from, "pong").await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_a_tunnel_is_given_up() {
    let limits = Limits {
        write_stall_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut tunnel = opened(limits).await;
    // More than the credit of 65,535 bytes that a client begins with.
    let _ = tunnel.backend.0.write_all(&[b'x'; 100 << 10]).await;
    let reset = poll_fn(|cx| tunnel.to.poll_reset(cx));
    let reset = tokio::time::timeout(PATIENCE, reset).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::CANCEL);
    tunnel
        .running
        .wait_for_metric("reason=\"client_stalled\"")
        .await;
}

#[tokio::test]
async fn what_a_backend_answers_instead_is_passed_on() {
    let address = backend_that(|mut wire, _| async move {
        wire.read_until("\r\n\r\n").await;
        wire.write("HTTP/1.1 403 Forbidden\r\nx-why: no\r\ncontent-length: 4\r\n\r\nsure")
            .await;
        wire.read_to_end().await;
    })
    .await;
    let running = in_front_of(address).await;
    let mut client = client_of(&running).await;
    // The connection serves others.
    for _ in 0..2 {
        let (answer, _to) = ask(&mut client, asked("websocket")).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()["x-why"], "no");
        let (read, reset) = read_to_end(&mut answer.into_body()).await;
        assert_eq!((&*read, reset), ("sure", None));
    }
}

#[tokio::test]
async fn an_answer_that_would_pass_for_a_tunnel_is_refused() {
    for answer in [
        // The proof for another key.
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let address = backend_that(move |mut wire, _| async move {
            wire.read_until("\r\n\r\n").await;
            wire.write(answer).await;
            wire.read_to_end().await;
        })
        .await;
        let running = in_front_of(address).await;
        let mut client = client_of(&running).await;
        let (refused, _to) = ask(&mut client, asked("websocket")).await;
        assert_eq!(refused.status(), 502, "{answer}");
        running
            .wait_for_metric("reason=\"upstream_bad_handshake\"")
            .await;
    }
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let echo = Echo::start("a").await;
    let running = in_front_of(echo.address).await;
    let mut client = client_of(&running).await;
    for protocol in ["connect-udp", "webtransport", "http/1.1"] {
        let (answer, _to) = ask(&mut client, asked(protocol)).await;
        assert_eq!(answer.status(), 501, "{protocol}");
    }
    running
        .wait_for_metric("reason=\"protocol_unsupported\"")
        .await;
    let plain = Request::builder().method("CONNECT").uri("h:80");
    let (answer, _to) = ask(&mut client, plain).await;
    assert_eq!(answer.status(), 501);
    running
        .wait_for_metric("reason=\"connect_unsupported\"")
        .await;
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn a_drain_waits_for_tunnels() {
    let Opened {
        running,
        client,
        mut from,
        mut to,
        mut backend,
        ..
    } = opened(Limits::default()).await;
    running.worker.drain();
    tokio::time::sleep(Duration::from_millis(300)).await;
    to.send_data(Bytes::from("ping"), false).unwrap();
    backend.read_until("ping").await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        backend.write("pong").await;
        drop(backend);
        let (read, reset) = read_to_end(&mut from).await;
        assert_eq!((&*read, reset), ("pong", None));
        to.send_data(Bytes::new(), true).unwrap();
    };
    let (outcome, ()) = tokio::join!(running.drain.finish(), ending);
    assert_eq!(outcome, DrainOutcome::Clean);
    drop(client);
}

/// An HTTP/1 client whose connection has become a tunnel, and its backend.
async fn upgraded() -> (Running, Wire, Wire) {
    let (mut connections, address) = agreeing().await;
    let running = in_front_of(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("GET /chat HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    let (_, backend) = connections.recv().await.unwrap();
    (running, client, backend)
}

#[tokio::test]
async fn a_backend_that_ends_an_http1_tunnel_is_let_go() {
    let (_running, mut client, mut backend) = upgraded().await;
    backend.write("last").await;
    backend.0.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await, "last");
    drop(client);
    assert_eq!(backend.read_to_end().await, "");
}

#[tokio::test]
async fn a_backend_that_resets_an_http1_tunnel_resets_its_client() {
    let (_running, mut client, backend) = upgraded().await;
    backend.reset();
    let read = tokio::time::timeout(PATIENCE, client.0.read_u8()).await;
    let error = read.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
