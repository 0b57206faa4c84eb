//! HTTP/1 connections of clients: what is read when, what is kept, and when a connection ends.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_worker::Limits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::Echo;
use crate::support::client::send_raw;
use crate::support::parts::{backend, listener, to};
use crate::support::wire::Wire;
use crate::support::{Running, Setup};

/// A worker in front of one backend.
async fn serving(address: SocketAddr, limits: Limits) -> Running {
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let backends = vec![backend("a", &[address])];
    Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await
}

/// A backend that reads one request up to a text, and then does what the test says.
async fn backend_after<F>(
    text: &'static str,
    then: impl FnOnce(TcpStream, String) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Wire(stream);
        let read = client.read_until(text).await;
        then(client.0, read).await;
    });
    address
}

async fn answer(mut stream: TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_the_backend_wants_the_body() {
    let echo = Echo::start("a").await;
    let running = serving(echo.address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    client
        .write("PUT / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .await;
    assert_eq!(
        client.read_until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.write("body").await;
    assert!(
        client
            .read_until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert_eq!(echo.last().body, "body");
    assert!(!echo.last().headers.contains_key("expect"));
}

#[tokio::test]
async fn an_answer_without_100_ends_the_connection_since_the_body_may_or_may_not_come() {
    let echo = Echo::start("a").await;
    let running = Running::serving(vec![to("/a", "a")], vec![backend("a", &[echo.address])]).await;
    let mut client = Wire::open(&running).await;
    client
        .write(
            "PUT /other HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
        )
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start("a").await;
    let running = serving(echo.address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    let requests: String = (0..50)
        .map(|n| match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nhost: h\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"),
            _ => format!("POST /{n} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        })
        .collect();
    client.write(&requests).await;
    client
        .write("GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    let answers = client.read_to_end().await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 51);
    let paths: Vec<_> = echo
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| seen.uri.clone())
        .collect();
    let wanted: Vec<_> = (0..50)
        .map(|n| format!("/{n}"))
        .chain(["/last".to_owned()])
        .collect();
    assert_eq!(paths, wanted);
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer() {
    let echo = Echo::start_slow("a", Duration::from_millis(200)).await;
    let running = serving(echo.address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.0.shutdown().await.unwrap();
    assert!(client.read_to_end().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_half_closed_client_does_not_wait_for_ever() {
    let address = backend_after("\r\n\r\n", |stream, _| async move {
        // Never answers, and says so when it is given up.
        let mut stream = Wire(stream);
        assert_eq!(stream.read_to_end().await, "");
    })
    .await;
    let limits = Limits {
        half_closed_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let running = serving(address, limits).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await, "");
    running.wait_for_metric("client_closed").await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_backend() {
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    let address = backend_after("\r\n\r\n", |stream, _| async move {
        Wire(stream).read_to_end().await;
        gone.send(()).unwrap();
    })
    .await;
    let running = serving(address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    socket2::SockRef::from(&client.0)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    tokio::time::timeout(Duration::from_secs(10), is_gone)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn trailers_of_the_answer_are_passed_on() {
    let address = backend_after("\r\n\r\n", |stream, _| {
        answer(
            stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2;x=y\r\nab\r\n0\r\nx-sum: 7\r\n\r\n",
        )
    })
    .await;
    let running = serving(address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let read = client.read_until("x-sum: 7\r\n\r\n").await;
    assert!(
        read.ends_with("\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{read}"
    );
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    for (method, status, headers, kept) in [
        (
            "HEAD",
            "200 OK",
            "content-length: 100\r\n",
            "content-length: 100",
        ),
        (
            "GET",
            "304 Not Modified",
            "content-length: 100\r\n",
            "content-length: 100",
        ),
        ("GET", "204 No Content", "x-a: b\r\n", "x-a: b"),
    ] {
        let text = format!("HTTP/1.1 {status}\r\n{headers}\r\n");
        let address = backend_after("\r\n\r\n", |stream, _| async move {
            answer(stream, &text).await;
        })
        .await;
        let running = serving(address, Limits::default()).await;
        let mut client = Wire::open(&running).await;
        client
            .write(&format!(
                "{method} / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
            ))
            .await;
        let answer = client.read_to_end().await;
        assert!(
            answer.contains(kept) && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn clients_of_http_1_0_get_bodies_that_end_with_the_connection() {
    let address = backend_after("\r\n\r\n", |stream, _| {
        answer(
            stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        )
    })
    .await;
    let running = serving(address, Limits::default()).await;
    let mut client = Wire::open(&running).await;
    client
        .write("GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n")
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.ends_with("\r\n\r\nab"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    for (version, head, end) in [
        (
            "1.1",
            "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            "0\r\n\r\n",
        ),
        ("1.1", "content-length: 5\r\n\r\nab", "abcde"),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}");
        let address = backend_after("\r\n\r\n", |stream, _| async move {
            answer(stream, &text).await;
        })
        .await;
        let running = serving(address, Limits::default()).await;
        let mut client = Wire::open(&running).await;
        client
            .write(&format!("GET / HTTP/{version}\r\nhost: h\r\n\r\n"))
            .await;
        let answer = client.read_to_end().await;
        assert!(answer.contains("ab") && !answer.ends_with(end), "{answer}");
        running.wait_for_metric("response_broken_off").await;
    }
}

#[tokio::test]
async fn a_body_above_its_bound_gets_413_before_or_while_it_comes() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        request_body_bytes_max: Some(10),
        ..Limits::default()
    };
    let running = serving(echo.address, limits).await;
    let fits =
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\nconnection: close\r\n\r\n0123456789";
    assert!(
        send_raw(running.address("http"), fits.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
    for body in [
        "content-length: 11\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{body}");
        let answer = send_raw(running.address("http"), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    running.wait_for_metric("request_body_too_large").await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_gets_408() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        body_pace_period: Duration::from_millis(200),
        body_pace_bytes_min: 20,
        ..Limits::default()
    };
    let running = serving(echo.address, limits).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n")
        .await;
    let drip = async {
        // A byte now and then is not enough.
        while client.0.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut answer = [0; 12];
            if client.0.try_read(&mut answer).is_ok() {
                return String::from_utf8_lossy(&answer).into_owned();
            }
        }
        panic!("closed without an answer")
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), drip)
        .await
        .unwrap();
    assert_eq!(answer, "HTTP/1.1 408");
    running.wait_for_metric("request_body_timeout").await;
}

#[tokio::test]
async fn a_head_that_does_not_end_gets_408_and_silence_gets_nothing() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let running = serving(echo.address, limits).await;
    let answer = send_raw(running.address("http"), b"GET / HTTP/1.1\r\nhost: h\r\nx: ").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(send_raw(running.address("http"), b"").await, "");
    running.wait_for_metric("head_timeout").await;
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_connection() {
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    let address = backend_after("\r\n\r\n", |mut stream, _| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            .await
            .unwrap();
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).await.is_ok() {}
        gone.send(()).unwrap();
    })
    .await;
    let limits = Limits {
        write_stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let running = serving(address, limits).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    tokio::time::timeout(Duration::from_secs(10), is_gone)
        .await
        .unwrap()
        .unwrap();
    running.wait_for_metric("client_stalled").await;
}

#[tokio::test]
async fn a_little_unread_body_keeps_the_connection_and_a_large_one_ends_it() {
    let echo = Echo::start("a").await;
    let running = Running::serving(vec![to("/a", "a")], vec![backend("a", &[echo.address])]).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST /other HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n01234")
        .await;
    client.write("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(
        client
            .read_until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        client
            .read_until("HTTP/1.1 200 OK")
            .await
            .contains("no route")
    );
    let mut client = Wire::open(&running).await;
    client
        .write("POST /other HTTP/1.1\r\nhost: h\r\ncontent-length: 100000000\r\n\r\n")
        .await;
    let block = "x".repeat(1 << 20);
    let writing = async { while client.0.write_all(block.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), writing)
        .await
        .unwrap();
    assert_eq!(echo.count(), 1);
}

#[tokio::test]
async fn a_question_about_the_server_is_answered_by_itself() {
    let echo = Echo::start("a").await;
    let running = serving(echo.address, Limits::default()).await;
    let asks = b"OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = send_raw(running.address("http"), asks).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-length: 0"), "{answer}");
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn another_version_of_http_is_not_tunnelled_past_the_rules() {
    let echo = Echo::start("a").await;
    let running = serving(echo.address, Limits::default()).await;
    let asks = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    let answer = send_raw(running.address("http"), asks).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = echo.last().headers;
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(!seen.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_tunnel_ends_a_while_after_its_client_has_ended() {
    let address = backend_after("\r\n\r\n", |stream, _| async move {
        let mut stream = stream;
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            .await
            .unwrap();
        let mut stream = Wire(stream);
        assert_eq!(stream.read_to_end().await, "ping");
        // Does not close its own side.
        tokio::time::sleep(Duration::from_secs(20)).await;
    })
    .await;
    let limits = Limits {
        half_closed_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let running = serving(address, limits).await;
    let mut client = Wire::open(&running).await;
    client
        .write("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(head.matches("connection: upgrade").count(), 1, "{head}");
    client.write("ping").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn a_large_answer_passes_whole() {
    let address = backend_after("\r\n\r\n", |mut stream, _| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
            .await
            .unwrap();
        let block = vec![b'x'; 1_000_000];
        for _ in 0..50 {
            stream.write_all(&block).await.unwrap();
        }
    })
    .await;
    let running = serving(address, Limits::default()).await;
    let asks = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = send_raw(running.address("http"), asks).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 50_000_000);
}
