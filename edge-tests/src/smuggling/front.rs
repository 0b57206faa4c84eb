//! A front that is bad on purpose: it reads requests as loosely as software of other days did, and passes their
//! bytes on as they are, by one connection for all clients. Whoever looks for desyncs must find them here.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::tidegate::Logged;
use crate::wire::Wire;

/// A running front of one server; clones share it.
#[derive(Debug, Clone)]
pub struct Naive {
    /// Where it listens.
    pub address: SocketAddr,
    server: SocketAddr,
    pool: Arc<Mutex<Option<Wire>>>,
    log: Arc<Mutex<Vec<Logged>>>,
}

impl Naive {
    /// Starts one.
    ///
    /// # Errors
    /// As the system says.
    pub fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let front = Self {
            address: listener.local_addr()?,
            server,
            pool: Arc::default(),
            log: Arc::default(),
        };
        let serving = front.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let front = serving.clone();
                thread::spawn(move || front.serve(stream));
            }
        });
        Ok(front)
    }

    /// What it believes to have forwarded.
    #[must_use]
    pub fn logged(&self) -> Vec<Logged> {
        lock(&self.log).clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        let client = stream.peer_addr().map(|client| client.to_string());
        let client = client.unwrap_or_default();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut input = Vec::new();
        while let Some(len) = self.request(&mut stream, &mut input) {
            let request: Vec<u8> = input.drain(..len).collect();
            let target = request.split(|byte| byte.is_ascii_whitespace()).nth(1);
            let target = String::from_utf8_lossy(target.unwrap_or_default()).into_owned();
            let Some(answer) = self.forward(&request) else {
                return;
            };
            lock(&self.log).push(Logged {
                client: client.clone(),
                path: target,
                status: answer.0,
                is_forwarded: true,
            });
            if stream.write_all(&answer.1).is_err() {
                return;
            }
        }
    }

    /// Reads until there is a whole request: the number of its bytes.
    fn request(&self, stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<usize> {
        let mut piece = [0; 8 << 10];
        loop {
            if let Some(len) = whole(input) {
                return Some(len);
            }
            match stream.read(&mut piece) {
                Ok(len @ 1..) => input.extend_from_slice(&piece[..len]),
                _ => return None,
            }
        }
    }

    /// Sends a request as it is and reads one answer, as it takes it.
    fn forward(&self, request: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut pool = lock(&self.pool);
        for _ in 0..2 {
            let mut wire = match pool.take() {
                Some(wire) => wire,
                None => Wire::connect(self.server).ok()?,
            };
            let _ = wire.set_patience(Duration::from_millis(500));
            if wire.write(request).is_err() {
                continue;
            }
            let Ok(answer) = wire.response(request.starts_with(b"HEAD ")) else {
                continue;
            };
            if !answer.has_token("connection", "close") {
                *pool = Some(wire);
            }
            let head = format!(
                "{}\r\nContent-Length: {}\r\n\r\n",
                answer.line,
                answer.body.len()
            );
            let body = crate::octets::bytes(&answer.body).unwrap_or_default();
            return Some((answer.status(), [head.as_bytes(), &body].concat()));
        }
        None
    }
}

/// Where the first request ends, read loosely: lines end with LF, names are trimmed, a length wins over chunks.
fn whole(input: &[u8]) -> Option<usize> {
    let ends = [b"\r\n\r\n".as_slice(), b"\n\n"].map(|end| Some(find(input, end)? + end.len()));
    let end = ends.into_iter().flatten().min()?;
    let head = crate::octets::text(&input[..end]);
    let named = |name: &str| {
        let mut fields = head.split('\n').filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    };
    if let Some(length) = named("content-length").and_then(|length| length.parse().ok()) {
        let end = end.checked_add(length)?;
        return (input.len() >= end).then_some(end);
    }
    if named("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Some(end + find(&input[end..], b"0\r\n\r\n")? + 5);
    }
    Some(end)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|bytes| bytes == wanted)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
