//! Connections before their first request: PROXY headers, bounds, and what is closed at once.

use std::time::Duration;

use tidegate_worker::{Edge, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::backend::Echo;
use crate::support::client::{get, send_raw};
use crate::support::parts::{backend, listener, to};
use crate::support::{Running, Setup};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// The signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn serving(edge: Edge, limits: Limits, echo: &Echo) -> Running {
    let setup = Setup {
        edge,
        limits,
        ..Setup::default()
    };
    let backends = vec![backend("a", &[echo.address])];
    Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await
}

async fn behind_a_balancer(echo: &Echo, limits: Limits) -> Running {
    let edge = Edge {
        proxy_protocol: true,
        ..Edge::default()
    };
    serving(edge, limits, echo).await
}

fn client_seen(echo: &Echo) -> String {
    let headers = echo.last().headers;
    headers["x-forwarded-for"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_proxy_header_tells_the_client() {
    let echo = Echo::start("a").await;
    let running = behind_a_balancer(&echo, Limits::default()).await;
    let v2 = |command: u8, family: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &len, body].concat()
    };
    let v4 = [192, 0, 2, 7, 127, 0, 0, 1, 0, 80, 0, 80];
    let v6 = [
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
        &[0; 20],
    ]
    .concat();
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n".to_vec(),
            "192.0.2.1",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 40000 80\r\n".to_vec(),
            "2001:db8::1",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(1, 0x11, &v4), "192.0.2.7"),
        (v2(1, 0x21, &v6), "2001:db8::7"),
        (v2(0, 0, b""), "127.0.0.1"),
        (v2(1, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), "192.0.2.7"),
    ] {
        let bytes = [&header, REQUEST.as_bytes()].concat();
        let answer = send_raw(running.address("http"), &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
        assert_eq!(client_seen(&echo), client);
    }
}

#[tokio::test]
async fn a_proxy_header_may_come_byte_by_byte() {
    let echo = Echo::start("a").await;
    let running = behind_a_balancer(&echo, Limits::default()).await;
    let mut stream = TcpStream::connect(running.address("http")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(client_seen(&echo), "192.0.2.1");
}

#[tokio::test]
async fn without_a_valid_proxy_header_nothing_is_served() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = behind_a_balancer(&echo, limits).await;
    let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(200);
    for header in [
        "",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1\r\n",
        "PROXY ",
        "\r\n\r\n",
        &endless,
    ] {
        let answer = send_raw(
            running.address("http"),
            format!("{header}{REQUEST}").as_bytes(),
        )
        .await;
        assert_eq!(answer, "", "{header:?}");
    }
    // Silence, too.
    assert_eq!(send_raw(running.address("http"), b"PROX").await, "");
    running
        .wait_for_metric("connections_ended_total{reason=\"no_proxy_header\"} 7")
        .await;
    assert_eq!(echo.count(), 0);
}

#[tokio::test]
async fn a_client_has_no_more_connections_than_it_may() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        connections_per_client_max: Some(2),
        ..Limits::default()
    };
    let running = serving(Edge::default(), limits, &echo).await;
    let address = running.address("http");
    let open = || async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.map(|_| stream)
    };
    let held = [open().await.unwrap(), open().await.unwrap()];
    assert!(open().await.is_err(), "a third one is closed");
    running
        .wait_for_metric("connections_ended_total{reason=\"too_many_of_client\"} 1")
        .await;
    drop(held);
    for _ in 0..100 {
        if open().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no room after the others have ended");
}

#[tokio::test]
async fn short_of_memory_the_worker_takes_no_new_connections_and_keeps_none() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        memory_soft_bytes: Some(1),
        memory_hard_bytes: Some(1 << 60),
        ..Limits::default()
    };
    let running = serving(Edge::default(), limits, &echo).await;
    for _ in 0..100 {
        let answer = send_raw(running.address("http"), REQUEST.as_bytes()).await;
        if answer.is_empty() {
            running
                .wait_for_metric("connections_ended_total{reason=\"short_of_memory\"}")
                .await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("connections are taken all the same");
}

#[tokio::test]
async fn a_worker_with_room_is_not_short_of_memory() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        memory_soft_bytes: Some(1 << 60),
        memory_hard_bytes: Some(1 << 60),
        ..Limits::default()
    };
    let running = serving(Edge::default(), limits, &echo).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(get(running.address("http"), "h", "/").await.status(), 200);
}
