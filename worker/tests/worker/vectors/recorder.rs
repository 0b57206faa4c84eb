//! A backend that takes requests apart by itself, and remembers what it saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A backend that answers 200 to everything.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
}

/// A request as the backend saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) line: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, Vec<String>>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<String>,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let serving = recorder.clone();
        tokio::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = serving.clone();
                tokio::task::spawn(async move { recorder.serve(BufReader::new(stream)).await });
            }
        });
        recorder
    }

    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Ends with the connection, or with the first thing that is no request.
    async fn serve(self, mut stream: BufReader<TcpStream>) -> Option<()> {
        loop {
            let recorded = read(&mut stream).await?;
            let answer = if recorded.line.starts_with("HEAD ") {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            };
            self.seen.lock().unwrap().push(recorded);
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Recorded> {
    let mut recorded = Recorded {
        line: line(stream).await?,
        ..Recorded::default()
    };
    for field in fields(stream).await? {
        let (name, value) = field.split_once(':')?;
        let values = recorded
            .headers
            .entry(name.to_ascii_lowercase())
            .or_default();
        values.push(value.trim_matches(' ').to_owned());
    }
    if let Some(length) = recorded.headers.get("content-length") {
        let mut body = vec![0; length.first()?.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
        recorded.body = body;
    } else if recorded.headers.contains_key("transfer-encoding") {
        loop {
            let size = usize::from_str_radix(&line(stream).await?, 16).ok()?;
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk).await.ok()?;
            recorded.body.extend(chunk);
            line(stream).await?;
        }
        recorded.trailers = fields(stream).await?;
    }
    Some(recorded)
}

async fn fields(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    loop {
        match line(stream).await? {
            line if line.is_empty() => return Some(fields),
            line => fields.push(line),
        }
    }
}

/// A line without its CR LF, a byte for a character.
async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(line.iter().copied().map(char::from).collect())
}
