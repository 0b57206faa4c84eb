//! Both ends of a connection as bytes: a client that writes what it likes, a backend that answers what it likes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Running;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection of which bytes are written and read.
pub struct Wire(pub TcpStream);

impl Wire {
    /// To the listener `http`.
    pub async fn open(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address("http")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until a text has come; everything up to then.
    pub async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("only {}", String::from_utf8_lossy(&read)));
            match byte {
                Ok(byte) => read.push(byte),
                Err(_) => panic!("closed after {}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    /// Everything up to the end, which may be a reset.
    pub async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let reading = self.0.read_to_end(&mut read);
        let _ = tokio::time::timeout(PATIENCE, reading).await.unwrap();
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Ends with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A backend whose connections, counted from 0, do what the test says.
pub async fn backend_that<F>(
    serves: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::task::spawn(serves(Wire(stream), number));
        }
    });
    address
}
