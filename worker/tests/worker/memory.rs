//! Memory that clients took is there for others when they are gone.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_ir::Part;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::Running;
use crate::support::configd::snapshot;
use crate::support::parts::{backend, listener, listener_at, route, to};
use crate::support::process::{Process, free_port};

/// What an answer consists of.
const PIECE: &[u8] = &[b'x'; 64 << 10];

/// Pieces of an answer: more than the kernel keeps for who does not read.
const PIECES: usize = 128;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// A backend with large answers.
async fn large_answers() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn(async move {
                let len = PIECE.len() * PIECES;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
                let mut asked = [0; 4096];
                while stream.read(&mut asked).await.is_ok_and(|len| len > 0) {
                    let mut pieces = [head.as_bytes()].into_iter().chain([PIECE; PIECES]);
                    // Whoever asked may go before the end.
                    while let Some(piece) = pieces.next()
                        && stream.write_all(piece).await.is_ok()
                    {}
                }
            });
        }
    });
    address
}

/// A client that asks and reads no more than the first bytes of the answer; `None` where none comes.
async fn reads_nothing(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut first = [0; 12];
    stream.write_all(REQUEST).await.ok()?;
    stream.read_exact(&mut first).await.ok()?;
    Some(stream)
}

#[tokio::test]
async fn connections_are_taken_again_once_those_are_gone_who_took_the_memory() {
    let backends = backend("a", &[large_answers().await]);
    let flags = ["--no-access-log", "--limit", "memory-soft-bytes=192MiB"];
    let process = Process::start(&flags, None).await;
    let mut route = route("r", vec![to("/", "a")]);
    route.attachments[0].listener = "infra/gw/web".into();
    let listener = listener_at("web", free_port(), "");
    let parts = [Part::from(listener), Part::Route(route)];
    process
        .apply(&snapshot(1, parts.into_iter().chain(backends)))
        .await;
    let mut slow = Vec::new();
    while let Some(stream) = reads_nothing(process.address("web")).await {
        slow.push(stream);
        assert!(slow.len() < 2_000, "they take no memory");
    }
    drop(slow);
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if reads_nothing(process.address("web")).await.is_some() {
            return;
        }
    }
    let kept = process.resident_kib();
    panic!("after six seconds it has {kept} KiB, and takes no connection");
}

/// Bytes that wait in the kernel on a connection of this machine, at the end with the first port (proc_net_tcp(5)).
fn waiting(from: u16, to: u16) -> usize {
    let (from, to) = (format!("0100007F:{from:04X}"), format!("0100007F:{to:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[1] == from && words[2] == to).then(|| words[4].split(':').next().map(str::to_owned))
    });
    let queue = queue.flatten().expect("the connection is there");
    usize::from_str_radix(&queue, 16).unwrap()
}

#[tokio::test]
async fn a_client_without_room_has_little_of_its_answer_in_the_kernel() {
    let backends = backend("a", &[large_answers().await]);
    let running = Running::start().await;
    let route = Part::Route(route("r", vec![to("/", "a")]));
    let parts = [Part::from(listener()), route];
    running
        .configd
        .apply(&snapshot(1, parts.into_iter().chain(backends)))
        .await;
    let address = running.address("http");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let mut most = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let own = client.local_addr().unwrap().port();
        most = most.max(waiting(address.port(), own));
    }
    assert!((4 << 10..32 << 10).contains(&most), "{most} bytes");
}
