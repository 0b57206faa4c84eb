//! Backends and clients of plain bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};

/// A backend that speaks first: its name and a line end, then whatever the client says, until that ends.
#[derive(Clone)]
pub struct Greeter {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Greeter {
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let greeter = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
        };
        let (greeting, accepted) = (format!("{name}\n"), greeter.accepted.clone());
        tokio::task::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let greeting = greeting.clone();
                tokio::task::spawn(async move {
                    stream.write_all(greeting.as_bytes()).await?;
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await?;
                    to.shutdown().await
                });
            }
        });
        greeter
    }

    /// How many connections it got.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// The line that a backend says first.
pub async fn greeting(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8(line).unwrap()),
            byte => line.push(byte),
        }
    }
}

/// The line that a new connection to the address gets.
pub async fn greeted(address: SocketAddr) -> io::Result<String> {
    greeting(&mut TcpStream::connect(address).await?).await
}

/// Everything that comes until the end, line by line.
pub async fn lines(stream: impl AsyncRead + Unpin) -> io::Result<Vec<String>> {
    let mut lines = BufReader::new(stream).lines();
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await? {
        all.push(line);
    }
    Ok(all)
}

/// How a connection ended on which nothing is to come: the error's kind, or `None` for an ordinary end.
pub async fn end(mut stream: impl AsyncRead + Unpin) -> Option<io::ErrorKind> {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"", "something came");
    read.err().map(|error| error.kind())
}
