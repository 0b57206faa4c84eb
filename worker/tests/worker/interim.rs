//! What backends say before their answer (1xx), and which clients get it.

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use tidegate_ir::{Filter, HeaderEdits};
use tokio::net::TcpStream;

use crate::support::Running;
use crate::support::parts::{backend, edits, to};
use crate::support::wire::{Wire, backend_that};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: 3\r\n\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A backend that hints, and answers only when it is told to go on by `wait`.
async fn hinting(before: &'static str, pause: Duration) -> SocketAddr {
    backend_that(move |mut wire, _| async move {
        loop {
            wire.read_until("\r\n\r\n").await;
            wire.write(before).await;
            tokio::time::sleep(pause).await;
            wire.write(OK).await;
        }
    })
    .await
}

async fn in_front_of(address: SocketAddr) -> Running {
    Running::serving(vec![to("/", "a")], vec![backend("a", &[address])]).await
}

#[tokio::test]
async fn hints_reach_an_http1_client_before_the_answer_does() {
    let address = backend_that(|mut wire, number| async move {
        wire.read_until("\r\n\r\n").await;
        wire.write(HINTS).await;
        // The answer comes when the client has seen the hints.
        wire.read_until("seen").await;
        wire.write(OK).await;
        assert_eq!(number, 0);
    })
    .await;
    let running = in_front_of(address).await;
    let mut client = Wire::open(&running).await;
    client
        .write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n")
        .await;
    let hints = client.read_until("\r\n\r\n").await;
    assert_eq!(
        hints,
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
    );
    client.write("seen").await;
    let answer = client.read_until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn hints_reach_an_http2_client_before_the_answer_does() {
    let address = hinting(HINTS, Duration::from_millis(300)).await;
    let running = in_front_of(address).await;
    let tcp = TcpStream::connect(running.address("http")).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::task::spawn(connection);
    let mut client = client.ready().await.unwrap();
    for _ in 0..2 {
        let asked = Request::get("http://h/").body(()).unwrap();
        let (mut answer, _) = client.send_request(asked, true).unwrap();
        let hints = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let hints = hints.expect("hints come first").unwrap();
        assert_eq!(hints.status(), 103);
        assert_eq!(hints.headers()["link"], "</a.css>; rel=preload");
        assert_eq!(hints.headers().len(), 1, "{hints:?}");
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ok");
    }
}

#[tokio::test]
async fn several_interim_answers_keep_their_order_and_hints_without_a_pause_are_not_lost() {
    const SEVERAL: &str = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 199 X\r\n\r\n";
    let address = hinting(SEVERAL, Duration::ZERO).await;
    let running = in_front_of(address).await;
    let mut client = Wire::open(&running).await;
    for _ in 0..2 {
        client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let read = client.read_until("ok").await;
        let statuses: Vec<_> = read
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|head| &head[..3])
            .collect();
        assert_eq!(statuses, ["102", "103", "199", "200"], "{read}");
    }
}

#[tokio::test]
async fn an_http10_client_gets_the_answer_alone() {
    let address = hinting(HINTS, Duration::from_millis(50)).await;
    let running = in_front_of(address).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("103"), "{answer}");
}

#[tokio::test]
async fn rules_change_the_answer_and_not_what_comes_before_it() {
    let address = hinting(HINTS, Duration::ZERO).await;
    let changes: HeaderEdits = edits(&[("x-set", "1")], &[], &["link"]);
    let mut rule = to("/", "a");
    rule.filters = vec![Filter::ResponseHeaders(changes)];
    let running = Running::serving(vec![rule], vec![backend("a", &[address])]).await;
    let mut client = Wire::open(&running).await;
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let hints = client.read_until("\r\n\r\n").await;
    assert!(hints.contains("link: "), "{hints}");
    assert!(!hints.contains("x-set"), "{hints}");
    let answer = client.read_until("ok").await;
    assert!(answer.contains("x-set: 1"), "{answer}");
}
