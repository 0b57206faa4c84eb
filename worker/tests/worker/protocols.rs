//! Protocols other than plain HTTP/1.1: TLS, HTTP/2 to backends, upgrades, trailers, long bodies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_ir::{BackendProtocol, Part};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::{get, request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, backend_of, listener, route, to};
use crate::support::tls::{certificate, connect_tls, https, tls_worker};

async fn serving(backends: Vec<Part>) -> Running {
    let running = Running::start().await;
    let parts = [
        Part::from(listener()),
        Part::Route(route("r", vec![to("/", "a")])),
    ];
    running
        .configd
        .apply(&snapshot(1, parts.into_iter().chain(backends)))
        .await;
    running
}

#[tokio::test]
async fn a_backend_may_speak_http2() {
    let echo = Echo::start("a").await;
    let running = serving(backend_of("a", &[echo.address], BackendProtocol::Http2)).await;
    for _ in 0..3 {
        let answer = get(running.address("http"), "shop.example", "/x?y=z").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (200, &b"a"[..])
        );
        assert_eq!(answer.headers()["x-backend-version"], "HTTP/2.0");
    }
    let seen = echo.last();
    assert_eq!((&*seen.host, &*seen.uri), ("shop.example", "/x?y=z"));
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
            "{head}"
        );
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    });
    let running = serving(backend("a", &[address])).await;
    let mut stream = TcpStream::connect(running.address("http")).await.unwrap();
    let asks = b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(asks).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: x"), "{answer}");
    assert!(answer.ends_with("helloping"), "{answer}");
}

#[tokio::test]
async fn trailers_pass_through_http2() {
    let address = serve_with_trailers().await;
    let running = serving(backend_of("a", &[address], BackendProtocol::Http2)).await;
    let address = running.address("http");
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::task::spawn(connection);
    let asked = Request::builder().uri(format!("http://{address}/pkg.Service/Call"));
    let asked = asked
        .header("te", "trailers")
        .header("content-type", "application/grpc");
    let response = sender
        .send_request(asked.body(Full::<Bytes>::default()).unwrap())
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");
}

async fn serve_with_trailers() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                assert_eq!(request.headers()["te"], "trailers");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let frames = [
                    Frame::data(Bytes::from("message")),
                    Frame::trailers(trailers),
                ];
                let frames = frames.map(Ok::<_, Infallible>);
                Ok::<_, Infallible>(Response::new(StreamBody::new(stream::iter(frames))))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::task::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn a_body_streams_and_a_slow_client_holds_the_backend_back() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 2000;
    let sent = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = sent.clone();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            CHUNK * CHUNKS
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..CHUNKS {
            stream.write_all(&[b'x'; CHUNK]).await.unwrap();
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    let running = serving(backend("a", &[address])).await;
    let mut client = TcpStream::connect(running.address("http")).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = sent.load(Ordering::Relaxed);
    assert!(
        held < CHUNKS / 2,
        "{held} of {CHUNKS} chunks were taken for a client that reads none"
    );
    let mut body = Vec::new();
    client.read_to_end(&mut body).await.unwrap();
    assert!(body.len() > CHUNK * CHUNKS);
}

#[tokio::test]
async fn the_server_name_selects_the_certificate() {
    let (running, echo, a, b) = tls_worker().await;
    let address = running.address("a");
    for (name, trusted) in [("a.example", &a), ("x.b.example", &b)] {
        let stream = connect_tls(address, name, trusted, &[b"http/1.1"])
            .await
            .unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::task::spawn(connection);
        let asked = request("GET", name, "/")
            .body(Full::<Bytes>::default())
            .unwrap();
        assert_eq!(
            sender.send_request(asked).await.unwrap().status(),
            200,
            "{name}"
        );
        assert_eq!(echo.last().headers["x-forwarded-proto"], "https");
    }
    assert!(
        connect_tls(address, "other.example", &a, &[])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn http2_is_negotiated_and_other_listeners_hosts_are_misdirected() {
    let (running, _echo, a, _b) = tls_worker().await;
    let stream = connect_tls(running.address("a"), "a.example", &a, &[b"h2"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::task::spawn(connection);
    for (host, status) in [
        ("a.example", 200),
        ("x.b.example", 421),
        ("unknown.example", 404),
    ] {
        let asked = Request::builder().uri(format!("https://{host}/"));
        let answer = sender
            .send_request(asked.body(Full::<Bytes>::default()).unwrap())
            .await;
        assert_eq!(answer.unwrap().status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn grpc_is_answered_in_its_terms_over_tls_too() {
    let (running, _echo, a, _b) = tls_worker().await;
    let stream = connect_tls(running.address("a"), "a.example", &a, &[b"h2"])
        .await
        .unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::task::spawn(connection);
    for (host, status) in [("x.b.example", "14"), ("unknown.example", "12")] {
        let asked = Request::post(format!("https://{host}/a.B/C"));
        let asked = asked.header("content-type", "application/grpc");
        let answer = sender
            .send_request(asked.body(Full::<Bytes>::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{host}");
        assert_eq!(answer.headers()["grpc-status"], status, "{host}");
    }
}

#[tokio::test]
async fn an_upgrade_may_pass_rules_that_retry_and_keep_sessions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    });
    let mut rule = to("/", "a");
    let retry = tidegate_ir::Retry {
        attempts: 2,
        codes: vec![503],
        backoff_ms: 0,
    };
    rule.retry = Some(retry.into());
    let session = tidegate_ir::SessionPersistence {
        name: "stay".into(),
        carrier: tidegate_ir::SessionCarrier::SessionCookie,
        absolute_timeout_ms: None,
        path: "/".into(),
    };
    rule.session = Some(session.into());
    let running = Running::serving(vec![rule], vec![backend("a", &[address])]).await;
    let mut stream = TcpStream::connect(running.address("http")).await.unwrap();
    let asks =
        b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nping";
    stream.write_all(asks).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("set-cookie: stay="), "{answer}");
    assert!(answer.ends_with("ping"), "{answer}");
}

#[tokio::test]
async fn a_certificate_with_another_key_is_refused_by_name() {
    let (mut parts, _) = certificate("shop/a", &["a.example"]);
    let (others, _) = certificate("shop/a", &["a.example"]);
    parts[1] = others[1].clone();
    parts.push(Part::from(https("a", "", &["shop/a"])));
    let running = Running::start().await;
    let answer = running.configd.send(&snapshot(1, parts)).await;
    let crate::support::configd::Answer::Nack(nack) = answer else {
        panic!("applied")
    };
    assert_eq!(nack.problems[0].part.as_ref().unwrap().name, "shop/a");
}

#[tokio::test]
async fn one_http2_connection_serves_many_requests_at_once() {
    let slow = Echo::start_slow("a", Duration::from_millis(200)).await;
    let running = serving(backend("a", &[slow.address])).await;
    let address = running.address("http");
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::task::spawn(connection);
    let started = std::time::Instant::now();
    let all = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move {
            let asked = Request::builder().uri(format!("http://{address}/"));
            let asked = asked.body(Full::<Bytes>::default()).unwrap();
            sender.send_request(asked).await.unwrap().status()
        }
    });
    let statuses = futures_util::future::join_all(all).await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_unused_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        // Answers one request per connection, promises to keep it, and closes on the next request.
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    let running = serving(backend("a", &[address])).await;
    for _ in 0..6 {
        assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
    }
    // A request with a body that may have been seen is not sent twice.
    let asked = request("POST", "h", "/").body("x".into()).unwrap();
    let status = send(running.address("http"), asked).await.status().as_u16();
    assert!([200, 502].contains(&status), "{status}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length_and_the_connection() {
    let echo = Echo::start("a").await;
    let running = serving(backend("a", &[echo.address])).await;
    let mut kept = crate::support::client::Kept::open(running.address("http")).await;
    for _ in 0..3 {
        let head = kept
            .send(request("HEAD", "h", "/").body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["content-length"]),
            (200, &"1".parse().unwrap())
        );
        assert!(head.body().is_empty());
        let full = kept
            .send(request("GET", "h", "/").body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(&full.body()[..], b"a");
    }
}
