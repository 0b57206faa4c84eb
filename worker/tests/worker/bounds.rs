//! Every bound on a client through a socket: what the client gets, what the access log says, what is counted.
//! The bounds are those of a listener, so that each shows that a Gateway can set it.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tidegate_ir::{Cap, Edge, EdgeBounds, Listener, ListenerProtocol, Pace, Part};
use tidegate_worker::{AccessLogTo, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::Echo;
use crate::support::client::{get, send_raw};
use crate::support::parts::{backend, listener, to};
use crate::support::tls::certificate;
use crate::support::{Running, Setup};

/// A worker whose access log is read by the test.
struct Watched {
    running: Running,
    lines: Receiver<Vec<u8>>,
}

impl Watched {
    /// In front of a backend at that address.
    async fn start(edge: Edge, backend_address: SocketAddr, others: Vec<Part>) -> Self {
        let mut listener = listener();
        if !others.is_empty() {
            listener.protocol = ListenerProtocol::Https {
                certificates: vec!["shop/a".into()],
                client_validation: None,
            };
        }
        Self::at(listener, edge, Limits::default(), backend_address, others).await
    }

    async fn at(
        listener: Listener,
        edge: Edge,
        limits: Limits,
        backend_address: SocketAddr,
        others: Vec<Part>,
    ) -> Self {
        let (sender, lines) = sync_channel(1000);
        let setup = Setup {
            access_log: AccessLogTo::Queue(sender),
            limits,
            ..Setup::default()
        };
        let listener = Listener {
            edge: Box::new(edge),
            ..listener
        };
        let backends = vec![backend("a", &[backend_address]), others];
        let running = Running::serving_with(setup, listener, vec![to("/", "a")], backends).await;
        Self { running, lines }
    }

    fn address(&self) -> SocketAddr {
        self.running.address("http")
    }

    async fn send(&self, bytes: &[u8]) -> String {
        send_raw(self.address(), bytes).await
    }

    /// The next line of the log.
    async fn line(&self) -> Value {
        for _ in 0..500 {
            if let Ok(line) = self.lines.try_recv() {
                return serde_json::from_slice(&line).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was logged");
    }

    /// The next line tells of a request that was refused for that reason, and so does its counter.
    async fn refused(&self, status: u16, reason: &str) {
        let line = self.line().await;
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        let label = format!("http_response_status_code=\"{status}\",reason=\"{reason}\"");
        self.running.wait_for_metric(&label).await;
    }

    /// The next line tells of a connection that ended for that reason, and so does its counter.
    async fn ended(&self, reason: &str) {
        let line = self.line().await;
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["bind_port"], 80, "{line}");
        self.counted(reason).await;
    }

    async fn counted(&self, reason: &str) {
        let metric = format!("connections_ended_total{{reason=\"{reason}\"}} 1");
        self.running.wait_for_metric(&metric).await;
    }
}

fn bounded(bounds: EdgeBounds) -> Edge {
    Edge {
        bounds,
        ..Edge::default()
    }
}

/// A backend that accepts connections and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// A backend whose answer never ends.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let block = vec![b'x'; 1 << 20];
            while stream.write_all(&block).await.is_ok() {}
        }
    });
    address
}

const MS: fn(u64) -> Option<NonZeroU64> = NonZeroU64::new;

#[tokio::test]
async fn requests_above_a_bound_on_size_are_refused_with_their_status() {
    let echo = Echo::start("a").await;
    let edge = bounded(EdgeBounds {
        request_line_bytes_max: NonZeroU64::new(100),
        header_bytes_max: NonZeroU64::new(200),
        header_count_max: NonZeroU64::new(4),
        request_body_bytes_max: Some(Cap::from(10)),
        ..EdgeBounds::default()
    });
    let watched = Watched::start(edge, echo.address, vec![]).await;
    let long = "x".repeat(150);
    let many = "a: b\r\n".repeat(5);
    for (request, status, reason) in [
        (
            format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n"),
            414,
            "request_line_too_long",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: h\r\na: {long}\r\nb: {long}\r\n\r\n"),
            431,
            "headers_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: h\r\n{many}\r\n"),
            431,
            "headers_too_large",
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 11\r\n\r\n01234567890".to_owned(),
            413,
            "request_body_too_large",
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"
                .to_owned(),
            413,
            "request_body_too_large",
        ),
    ] {
        let answer = watched.send(request.as_bytes()).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&start), "{request}: {answer}");
        watched.refused(status, reason).await;
    }
    let within =
        b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789";
    assert!(watched.send(within).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn requests_above_a_bound_on_time_are_refused_with_their_status() {
    let edge = bounded(EdgeBounds {
        header_timeout_ms: MS(300),
        request_timeout_ms: Some(Cap::from(1500)),
        body_pace: Some(Pace {
            bytes_min: 100,
            period_ms: NonZeroU64::new(300).unwrap(),
        }),
        ..EdgeBounds::default()
    });
    let watched = Watched::start(edge, silent().await, vec![]).await;
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\nhost: ", 408, "head_timeout"),
        (
            "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            504,
            "request_timeout",
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\nslow",
            408,
            "request_body_timeout",
        ),
    ] {
        let answer = watched.send(request.as_bytes()).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&start), "{request}: {answer}");
        watched.refused(status, reason).await;
    }
}

#[tokio::test]
async fn silence_ends_a_connection_before_its_first_request_and_between_two() {
    let echo = Echo::start("a").await;
    let edge = bounded(EdgeBounds {
        header_timeout_ms: MS(200),
        idle_timeout_ms: MS(200),
        ..EdgeBounds::default()
    });
    let watched = Watched::start(edge, echo.address, vec![]).await;
    assert_eq!(watched.send(b"").await, "");
    watched.ended("no_request").await;
    let answer = watched.send(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(watched.line().await["status"], 200);
    watched.counted("idle").await;
    // An ordinary end has no line.
    assert_eq!(watched.send(b"").await, "");
    assert_eq!(watched.line().await["reason"], "no_request");
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_its_answer_is_left() {
    let edge = bounded(EdgeBounds {
        write_stall_timeout_ms: MS(300),
        ..EdgeBounds::default()
    });
    let watched = Watched::start(edge, endless().await, vec![]).await;
    let mut stream = TcpStream::connect(watched.address()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    stream.write_all(request).await.unwrap();
    watched.ended("write_stalled").await;
    let line = watched.line().await;
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["reason"], "client_stalled", "{line}");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_left() {
    let echo = Echo::start("a").await;
    let edge = bounded(EdgeBounds {
        handshake_timeout_ms: MS(200),
        ..EdgeBounds::default()
    });
    let (certificate, _) = certificate("shop/a", &["a.example"]);
    let watched = Watched::start(edge, echo.address, certificate).await;
    assert_eq!(watched.send(b"\x16").await, "");
    watched.ended("tls_timeout").await;
}

#[tokio::test]
async fn connections_above_a_bound_are_closed_at_once() {
    let echo = Echo::start("a").await;
    for (bounds, reason) in [
        (
            EdgeBounds {
                connections_max: NonZeroU64::new(1),
                ..EdgeBounds::default()
            },
            "too_many_of_port",
        ),
        (
            EdgeBounds {
                connections_per_client_max: Some(Cap::from(1)),
                ..EdgeBounds::default()
            },
            "too_many_of_client",
        ),
    ] {
        let watched = Watched::start(bounded(bounds), echo.address, vec![]).await;
        let mut first = TcpStream::connect(watched.address()).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
        first.write_all(request).await.unwrap();
        first.read_u8().await.unwrap();
        assert_eq!(watched.line().await["status"], 200);
        assert_eq!(watched.send(b"").await, "");
        watched.ended(reason).await;
    }
}

#[tokio::test]
async fn without_a_proxy_header_where_one_must_be_a_connection_is_closed() {
    let echo = Echo::start("a").await;
    let edge = Edge {
        proxy_protocol: Some(true),
        ..Edge::default()
    };
    let watched = Watched::start(edge, echo.address, vec![]).await;
    assert_eq!(watched.send(b"GET / HTTP/1.1\r\n").await, "");
    watched.ended("no_proxy_header").await;
}

#[tokio::test]
async fn short_of_memory_new_connections_are_shed_before_open_ones() {
    let echo = Echo::start("a").await;
    for (hard, kept) in [(1 << 60, true), (1, false)] {
        let limits = Limits {
            memory_soft_bytes: Some(1),
            memory_hard_bytes: Some(hard),
            ..Limits::default()
        };
        let edge = Edge::default();
        let watched = Watched::at(listener(), edge, limits, echo.address, vec![]).await;
        // Memory is looked at now and then: until the first look, connections are taken.
        let mut open = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(watched.address()).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
            // It may be closed already.
            let _ = stream.write_all(request).await;
            let mut answer = [0; 12];
            if stream.read_exact(&mut answer).await.is_err() {
                break;
            }
            open.push(stream);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        watched
            .running
            .wait_for_metric("connections_ended_total{reason=\"short_of_memory\"} 1")
            .await;
        let Some(mut first) = open.into_iter().next() else {
            continue;
        };
        let request = b"GET /again HTTP/1.1\r\nhost: h\r\n\r\n";
        first.write_all(request).await.unwrap();
        let mut answers = Vec::new();
        while !String::from_utf8_lossy(&answers).ends_with("\r\n\r\na") || {
            let text = String::from_utf8_lossy(&answers);
            text.matches("x-backend-version").count() < 2
        } {
            answers.push(first.read_u8().await.unwrap());
        }
        let answers = String::from_utf8_lossy(&answers).into_owned();
        assert_eq!(!answers.contains("connection: close"), kept, "{answers}");
    }
}

#[tokio::test]
async fn a_request_within_all_bounds_has_no_reason() {
    let echo = Echo::start("a").await;
    let watched = Watched::start(Edge::default(), echo.address, vec![]).await;
    assert_eq!(get(watched.address(), "h", "/").await.status(), 200);
    let line = watched.line().await;
    assert_eq!(line["reason"], Value::Null, "{line}");
}
