//! HTTP/2 connections of clients: what goes by, what is bounded, how they end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tidegate_ir::Part;
use tidegate_worker::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::Echo;
use crate::support::frames::{
    self, CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, GOAWAY, HEADERS, NO_ERROR,
    PING, POST, PRIORITY, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::parts::{backend, listener, to};
use crate::support::{Running, Setup};

/// A worker in front of one backend.
async fn in_front_of(address: SocketAddr, limits: Limits) -> Running {
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let backends: Vec<Vec<Part>> = vec![backend("a", &[address])];
    Running::serving_with(setup, listener(), vec![to("/", "a")], backends).await
}

/// A backend whose first connection a test serves itself.
async fn by_hand() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// Reads until a text has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut buffer = [0; 4096];
        let len = stream.read(&mut buffer).await.unwrap();
        assert_ne!(len, 0, "the end came before {text:?}: {read:?}");
        read.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
    read
}

#[tokio::test]
async fn an_answer_to_head_has_no_content() {
    let echo = Echo::start("a").await;
    let running = in_front_of(echo.address, Limits::default()).await;
    // One answer is the backend's, the other one the worker's own.
    for (path, status) in [("/", "200"), ("/%zz", "400")] {
        let tcp = TcpStream::connect(running.address("http")).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::task::spawn(connection);
        let asked = http::Request::head(format!("http://h{path}"));
        let (answer, _) = client.send_request(asked.body(()).unwrap(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status().as_str(), status);
        assert_ne!(answer.headers()["content-length"], "0", "{path}");
        assert!(answer.headers().contains_key("date"));
        assert!(answer.into_body().is_end_stream(), "{path}");
    }
}

#[tokio::test]
async fn an_upload_that_is_reset_is_never_whole_at_the_backend() {
    let (address, backend) = by_hand().await;
    let running = in_front_of(address, Limits::default()).await;
    let mut client = Raw::open(running.address("http")).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, POST)).await;
    client.send(&frame(DATA, 0, 1, b"half")).await;
    let (mut stream, _) = backend.accept().await.unwrap();
    read_until(&mut stream, "half").await;
    client
        .send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()))
        .await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    running
        .wait_for_metric("reason=\"request_broken_off\"")
        .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (address, backend) = by_hand().await;
    let limits = Limits {
        write_stall_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = in_front_of(address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    client.send(&get).await;
    let (mut stream, _) = backend.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1 << 20);
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than the credit of 65,535 bytes that a client begins with.
    stream.write_all(&[b'x'; 100 << 10]).await.unwrap();
    assert_eq!(client.wait_for(RST_STREAM).await.code(), CANCEL);
    running.wait_for_metric("reason=\"client_stalled\"").await;
    // The connection serves others.
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 3, GET);
    client.send(&get).await;
    let (mut stream, _) = backend.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let (address, backend) = by_hand().await;
    let limits = Limits {
        body_pace_period: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = in_front_of(address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, POST)).await;
    client.send(&frame(DATA, 0, 1, b"slow")).await;
    let _backend = backend.accept().await.unwrap();
    let answer = client.wait_for(HEADERS).await;
    assert_eq!(answer.stream, 1);
    let wanted = "status_code=\"408\"";
    running.wait_for_metric(wanted).await;
    running
        .wait_for_metric("reason=\"request_body_timeout\"")
        .await;
}

#[tokio::test]
async fn more_fields_than_may_be_are_refused() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        header_count_max: 10,
        ..Limits::default()
    };
    let running = in_front_of(echo.address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    // A field without indexing, by a name of one byte (RFC 7541, section 6.2.2).
    let fields = (b'a'..=b'k').flat_map(|name| [0, 1, name, 1, b'v']);
    let block: Vec<u8> = GET.iter().copied().chain(fields).collect();
    client
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
        .await;
    client.wait_for(HEADERS).await;
    running
        .wait_for_metric("reason=\"headers_too_large\"")
        .await;
    assert_eq!(echo.count(), 0);
}

/// What a client sends too much of, and the reason that its connection ends for.
async fn floods(unit: impl Fn(u32) -> Vec<u8>, reason: &str) {
    let echo = Echo::start_slow("a", Duration::from_secs(30)).await;
    let limits = Limits {
        h2_pings_max: 20,
        h2_settings_max: 20,
        h2_control_frames_max: 20,
        h2_cancels_max: 20,
        ..Limits::default()
    };
    let running = in_front_of(echo.address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    for number in 0..10 {
        client.send(&unit(number)).await;
    }
    client.send(&frame(PING, 0, 0, b"are you?")).await;
    while client.wait_for(PING).await.payload != b"are you?" {}
    for number in 10..40 {
        client.send(&unit(number)).await;
        // So that each has its effect before the next one comes.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let end = client.wait_for(GOAWAY).await;
    assert_eq!(end.code(), ENHANCE_YOUR_CALM, "{reason}");
    running
        .wait_for_metric(&format!("connections_ended_total{{reason=\"{reason}\"}} 1"))
        .await;
}

#[tokio::test]
async fn a_client_that_pings_too_often_is_told_to_go() {
    floods(|_| frame(PING, 0, 0, b"12345678"), "h2_pings").await;
}

#[tokio::test]
async fn a_client_that_answers_pings_that_nobody_sent_is_told_to_go() {
    floods(|_| frame(PING, frames::ACK, 0, b"12345678"), "h2_pings").await;
}

#[tokio::test]
async fn a_client_that_changes_its_settings_too_often_is_told_to_go() {
    floods(|_| frame(SETTINGS, 0, 0, &[]), "h2_settings").await;
}

#[tokio::test]
async fn a_client_that_sends_frames_without_content_is_told_to_go() {
    let reason = "h2_control_frames";
    floods(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), reason).await;
    floods(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), reason).await;
    floods(|_| frame(0xEE, 0, 0, b"grease"), reason).await;
}

#[tokio::test]
async fn a_client_that_resets_its_requests_is_told_to_go() {
    let unit = |number| {
        let stream = number * 2 + 1;
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, GET), reset].concat()
    };
    floods(unit, "h2_cancels").await;
}

#[tokio::test]
async fn a_request_that_comes_with_its_reset_costs_the_backend_nothing() {
    let echo = Echo::start("a").await;
    let running = in_front_of(echo.address, Limits::default()).await;
    let mut client = Raw::open(running.address("http")).await;
    let get = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
    let reset = |stream| frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    let pairs = (0..10).flat_map(|number| [get(number * 2 + 1), reset(number * 2 + 1)]);
    let all: Vec<u8> = pairs.chain([get(21)]).flatten().collect();
    client.send(&all).await;
    assert_eq!(client.wait_for(HEADERS).await.stream, 21);
    assert_eq!(echo.count(), 1);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let (address, _backend) = by_hand().await;
    let limits = Limits {
        h2_ping_interval: Duration::from_millis(200),
        h2_ping_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let running = in_front_of(address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    client.send(&get).await;
    // One ping is answered, the next is not.
    let ping = client.wait_for(PING).await;
    client
        .send(&frame(PING, frames::ACK, 0, &ping.payload))
        .await;
    client.wait_for(PING).await;
    while client.next().await.is_some() {}
    running
        .wait_for_metric("connections_ended_total{reason=\"h2_silent\"} 1")
        .await;
}

#[tokio::test]
async fn a_connection_without_requests_is_told_to_go() {
    let echo = Echo::start("a").await;
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let running = in_front_of(echo.address, limits).await;
    let mut client = Raw::open(running.address("http")).await;
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    client.send(&get).await;
    let going = client.wait_for(GOAWAY).await;
    assert_eq!(going.code(), NO_ERROR);
    // Whoever takes leave learns which of its streams was the last.
    let ping = client.wait_for(PING).await;
    client
        .send(&frame(PING, frames::ACK, 0, &ping.payload))
        .await;
    let gone = client.wait_for(GOAWAY).await;
    assert_eq!(
        (gone.code(), &gone.payload[..4]),
        (NO_ERROR, &[0, 0, 0, 1][..])
    );
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn a_path_that_holds_more_gets_more_credit() {
    const CREDIT: u16 = 4;
    let echo = Echo::start("a").await;
    let running = in_front_of(echo.address, Limits::default()).await;
    let mut client = Raw::open(running.address("http")).await;
    let told = client.wait_for(SETTINGS).await.setting(CREDIT);
    assert_eq!(told, Some(256 << 10));
    client.send(&frame(HEADERS, END_HEADERS, 1, POST)).await;
    // A client that has used its whole credit up before its answer to a ping arrives.
    client.send(&frame(DATA, 0, 1, &[b'x'; 1000])).await;
    let ping = client.wait_for(PING).await;
    for _ in 0..15 {
        client.send(&frame(DATA, 0, 1, &[b'x'; 16 << 10])).await;
    }
    let mut given = 0;
    while given < 128 << 10 {
        let update = client.wait_for(WINDOW_UPDATE).await;
        if update.stream == 1 {
            given += u32::from_be_bytes(update.payload[..].try_into().unwrap());
        }
    }
    client
        .send(&frame(PING, frames::ACK, 0, &ping.payload))
        .await;
    let told = client.wait_for(SETTINGS).await;
    assert_eq!(told.setting(CREDIT), Some(512 << 10), "{told:?}");
}

#[tokio::test]
async fn the_worker_has_no_more_under_way_than_the_credit_of_a_stream() {
    let (address, backend) = by_hand().await;
    let limits = Limits {
        h2_stream_window_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let running = in_front_of(address, limits).await;
    let tcp = TcpStream::connect(running.address("http")).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::task::spawn(connection);
    let asked = http::Request::post("http://h/").body(()).unwrap();
    let (_answer, mut upload) = client.send_request(asked, false).unwrap();
    let (mut stream, _) = backend.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    upload.reserve_capacity(64 << 20);
    // The backend reads no further: sooner or later there is no credit left.
    let mut sent = 0;
    let sending = async {
        loop {
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
            let room = room.unwrap().unwrap();
            upload
                .send_data(Bytes::from(vec![b'x'; room]), false)
                .unwrap();
            sent += room;
        }
    };
    let ended: Result<(), _> = tokio::time::timeout(Duration::from_secs(1), sending).await;
    assert!(ended.is_err());
    // The sockets' own buffers hold some megabytes.
    assert!(sent < 16 << 20, "{sent}");
}
