//! Backends that misbehave: what the client gets, what is closed, and that nobody else notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::support::client::{Multiplexed, get, request, send};
use crate::support::parts::{backend, listener, to};
use crate::support::wire::{Wire, backend_that};
use crate::support::{Running, Setup};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Bytes that no buffers on the way hold.
const LARGE: usize = 16 << 20;

async fn serving(address: SocketAddr) -> Running {
    Running::serving(vec![to("/", "a")], vec![backend("a", &[address])]).await
}

/// The answer to a GET on a connection of its own.
async fn status_of(running: &Running) -> u16 {
    get(running.address("http"), "h", "/")
        .await
        .status()
        .as_u16()
}

/// Answers every request on the connection, each of which ends with its head.
async fn answer_all(mut wire: Wire) {
    let mut read = String::new();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = wire.0.read(&mut piece).await {
        read.push_str(std::str::from_utf8(&piece[..len]).unwrap());
        while let Some(end) = read.find("\r\n\r\n") {
            read.drain(..end + 4);
            wire.write(OK).await;
        }
    }
}

/// The number of connections that a backend has had, and the backend.
async fn counted<F>(
    serves: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
) -> (Arc<AtomicUsize>, SocketAddr)
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let address = backend_that(move |wire, number| {
        counting.fetch_add(1, Ordering::Relaxed);
        serves(wire, number)
    })
    .await;
    (count, address)
}

#[tokio::test]
async fn an_answer_streams_while_its_request_does() {
    let (connections, address) = counted(|mut wire, _| async move {
        for _ in 0..2 {
            wire.read_until("\r\n\r\n").await;
            wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..3 {
                let chunk = wire.read_until("ping\r\n").await;
                wire.write(&chunk).await;
            }
            wire.read_until("0\r\n\r\n").await;
            wire.write("0\r\n\r\n").await;
        }
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    for _ in 0..2 {
        client
            .write("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..3 {
            client.write("4\r\nping\r\n").await;
            client.read_until("ping").await;
        }
        client.write("0\r\n\r\n").await;
        client.read_until("0\r\n\r\n").await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_reaches_the_client_and_ends_the_connection() {
    let (connections, address) = counted(|mut wire, number| async move {
        if number == 0 {
            wire.read_until("first").await;
            wire.write(OK).await;
            assert_eq!(wire.read_to_end().await, "");
        } else {
            answer_all(wire).await;
        }
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\nfirst ")
        .await;
    let answer = client.read_until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    client.write("other").await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = client.read_until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_early_refusal_reaches_the_client() {
    let address = backend_that(|mut wire, _| async move {
        wire.read_until("first").await;
        wire.write(
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n",
        )
        .await;
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nfirst")
        .await;
    let answer = client.read_until("no\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Answers at once, at length, and reads the request at the same time; says so when it has read it.
async fn talkative() -> (Arc<Notify>, SocketAddr) {
    let got_all = Arc::new(Notify::new());
    let notify = got_all.clone();
    let address = backend_that(move |mut wire, _| {
        let notify = notify.clone();
        async move {
            wire.read_until("\r\n\r\n").await;
            wire.write(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"
            ))
            .await;
            let (mut reader, mut writer) = wire.0.into_split();
            tokio::task::spawn(async move {
                writer.write_all(&vec![b'y'; LARGE]).await.unwrap();
            });
            let mut got = 0;
            let mut piece = vec![0; 64 << 10];
            while let Ok(len @ 1..) = reader.read(&mut piece).await {
                got += piece[..len].iter().filter(|byte| **byte == b'x').count();
                if got == LARGE {
                    notify.notify_one();
                }
            }
        }
    })
    .await;
    (got_all, address)
}

#[tokio::test]
async fn a_client_that_reads_only_when_it_has_sent_all_gets_a_long_early_answer() {
    let (got_all, address) = talkative().await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write(&format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\nconnection: close\r\n\r\n"
        ))
        .await;
    let body = "x".repeat(LARGE);
    let sending = client.write(&body);
    tokio::time::timeout(Duration::from_secs(20), sending)
        .await
        .expect("the gateway reads on");
    got_all.notified().await;
    let answer = client.read_to_end().await;
    assert!(answer.len() > LARGE, "{}", answer.len());
}

#[tokio::test]
async fn so_does_a_client_that_speaks_http2() {
    let (got_all, address) = talkative().await;
    let running = serving(address).await;
    let client = Multiplexed::open(running.address("http")).await;
    let pieces = (0..LARGE >> 14).map(|_| {
        let data = Bytes::from(vec![b'x'; 1 << 14]);
        Ok::<_, std::convert::Infallible>(Frame::data(data))
    });
    let body = StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let asked = Request::post(format!("http://{}/", running.address("http")));
    let answer = client.send(asked.body(body).unwrap()).await;
    assert_eq!(answer.status(), 200);
    tokio::time::timeout(Duration::from_secs(20), got_all.notified())
        .await
        .expect("the gateway reads on");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), LARGE);
}

#[tokio::test]
async fn a_request_that_breaks_off_breaks_its_early_answer_off() {
    let (ended, tells) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notify = (ended.clone(), tells.clone());
    let address = backend_that(move |mut wire, _| {
        let (ended, tells) = notify.clone();
        async move {
            wire.read_until("first").await;
            // Its end is the connection's.
            wire.write("HTTP/1.1 200 OK\r\n\r\nbeginning").await;
            let rest = wire.read_to_end().await;
            assert!(!rest.contains("0\r\n\r\n"), "{rest}");
            ended.notify_one();
            tells.notified().await;
        }
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await;
    client.read_until("beginning").await;
    client.write("zz\r\n").await;
    let rest = client.read_to_end().await;
    assert!(!rest.contains("0\r\n\r\n"), "{rest}");
    ended.notified().await;
    tells.notify_one();
    running.wait_for_metric("response_broken_off").await;
}

#[tokio::test]
async fn a_reset_inside_of_an_answer_never_looks_like_its_end() {
    for head in [
        "content-length: 50\r\n",
        "transfer-encoding: chunked\r\n",
        "",
    ] {
        let address = backend_that(move |mut wire, _| async move {
            wire.read_until("\r\n\r\n").await;
            wire.write(&format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nhello\r\n"))
                .await;
            // What was sent before a reset may be lost with it.
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.reset();
        })
        .await;
        let running = serving(address).await;
        let mut client = Wire::open(&running).await;
        client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{head}: {answer}");
        running.wait_for_metric("response_broken_off").await;
    }
}

#[tokio::test]
async fn heads_without_an_end_are_given_up() {
    for (first, line, reason) in [
        (
            "HTTP/1.1 200 OK\r\n",
            "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
            "upstream_headers_too_large",
        ),
        (
            "HTTP/1.1 200 OK\r\n",
            "x:\r\n",
            "upstream_headers_too_large",
        ),
        (
            "HTTP/1.1 200 OK\r\nx: ",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
            "upstream_headers_too_large",
        ),
        (
            "HTTP/1.1 200 ",
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
            "upstream_invalid",
        ),
        (
            "",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            "upstream_interim_flood",
        ),
        (
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "upstream_interim_flood",
        ),
    ] {
        let closed = Arc::new(Notify::new());
        let notify = closed.clone();
        let address = backend_that(move |mut wire, _| {
            let notify = notify.clone();
            async move {
                wire.read_until("\r\n\r\n").await;
                wire.write(first).await;
                let lines = line.repeat(100);
                while wire.0.write_all(lines.as_bytes()).await.is_ok() {}
                notify.notify_one();
            }
        })
        .await;
        let running = serving(address).await;
        assert_eq!(status_of(&running).await, 502, "{reason}");
        closed.notified().await;
        running.wait_for_metric(reason).await;
    }
}

#[tokio::test]
async fn leaving_http_unasked_is_no_valid_answer() {
    let address = backend_that(|mut wire, _| async move {
        wire.read_until("\r\n\r\n").await;
        wire.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
            .await;
        assert_eq!(wire.read_to_end().await, "");
    })
    .await;
    let running = serving(address).await;
    assert_eq!(status_of(&running).await, 502);
    running.wait_for_metric("upstream_invalid").await;
}

#[tokio::test]
async fn a_backend_that_never_answers_is_given_up_and_its_connection_closed() {
    let closed = Arc::new(Notify::new());
    let notify = closed.clone();
    let address = backend_that(move |mut wire, _| {
        let notify = notify.clone();
        async move {
            wire.read_until("\r\n\r\n").await;
            wire.read_to_end().await;
            notify.notify_one();
        }
    })
    .await;
    let mut rule = to("/", "a");
    rule.timeouts.backend_request_ms = Some(100);
    let running = Running::serving(vec![rule], vec![backend("a", &[address])]).await;
    assert_eq!(status_of(&running).await, 504);
    closed.notified().await;
    running.wait_for_metric("backend_timeout").await;
}

#[tokio::test]
async fn an_answer_after_the_timeout_reaches_nobody_else() {
    let (answered, address) = counted(|mut wire, number| async move {
        wire.read_until("\r\n\r\n").await;
        if number == 0 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _ = wire
                .0
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                .await;
        } else {
            wire.write(OK).await;
        }
    })
    .await;
    let setup = Setup {
        limits: Limits {
            request_timeout: Some(Duration::from_millis(100)),
            ..Limits::default()
        },
        ..Setup::default()
    };
    let backends = vec![backend("a", &[address])];
    let running = Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let late = client.read_until("timeout passed\n").await;
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = client.read_until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(answered.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_an_idle_connection() {
    for unasked in ["x", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"] {
        let (connections, address) = counted(move |mut wire, number| async move {
            wire.read_until("\r\n\r\n").await;
            wire.write(OK).await;
            if number == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                wire.write(unasked).await;
                assert_eq!(wire.read_to_end().await, "");
            }
        })
        .await;
        let running = serving(address).await;
        let mut client = Wire::open(&running).await;
        for _ in 0..2 {
            client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let answer = client.read_until("\r\n\r\nok").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_not_even_a_request_with_a_body() {
    let (connections, address) = counted(|mut wire, _| async move {
        wire.read_until("\r\n\r\n").await;
        wire.write(OK).await;
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    for _ in 0..4 {
        client
            .write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx")
            .await;
        let answer = client.read_until("ok").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_connection_that_closes_on_its_next_request_costs_only_what_may_not_be_repeated() {
    for (method, last_words, expected, connections) in [
        ("GET", "", 200, 2),
        ("PUT", "", 200, 2),
        ("POST", "", 502, 1),
        // A byte of an answer: the backend has seen the request.
        ("GET", "H", 502, 1),
        ("GET", "HTTP/1.1 103 Early Hints\r\n\r\n", 502, 1),
    ] {
        let (count, address) = counted(move |mut wire, number| async move {
            wire.read_until("\r\n\r\n").await;
            wire.write(OK).await;
            if number == 0 {
                wire.read_until("\r\n\r\n").await;
                wire.write(last_words).await;
            }
        })
        .await;
        // One thread, so that the connection is there for the next request.
        let setup = Setup {
            threads: Some(1),
            ..Setup::default()
        };
        let backends = vec![backend("a", &[address])];
        let running = Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await;
        assert_eq!(status_of(&running).await, 200);
        let asked = request(method, "h", "/").body(Default::default()).unwrap();
        let status = send(running.address("http"), asked).await.status();
        assert_eq!(status, expected, "{method} {last_words:?}");
        assert_eq!(count.load(Ordering::Relaxed), connections, "{method}");
    }
}

#[tokio::test]
async fn a_tunnel_passes_much_in_both_directions_at_once() {
    let address = backend_that(|mut wire, _| async move {
        wire.read_until("\r\n\r\n").await;
        wire.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
            .await;
        let (mut reader, mut writer) = wire.0.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    })
    .await;
    let running = serving(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        .await;
    client.read_until("\r\n\r\n").await;
    let (mut reader, mut writer) = client.0.split();
    let sending = async {
        writer.write_all(&vec![b'x'; LARGE]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut echoed = Vec::new();
    let (_, read) = tokio::join!(sending, reader.read_to_end(&mut echoed));
    assert_eq!(read.unwrap(), LARGE);
}
