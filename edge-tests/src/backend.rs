//! A backend that keeps each request as it stood on the wire, and answers what it is told to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::message::Message;
use crate::wire::{NoMessage, Wire};

/// A request for this path gets [`PROBE_BODY`], whatever else the backend is told.
pub const PROBE_PATH: &str = "/probe";
/// What answers a probe.
pub const PROBE_BODY: &str = "probed";

/// What the backend answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// As it is.
    pub bytes: Vec<u8>,
    /// Whether it comes before the request's body is read.
    pub is_early: bool,
    /// Whether the connection is closed after it.
    pub closes: bool,
}

/// What a backend saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A request.
    Request(Message),
    /// Bytes that are none, with the reason.
    Invalid(String),
}

/// A running backend; clones share it. It runs as long as the process.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Vec<Seen>,
    answer: Option<Answer>,
    /// Counts resets: what began before one is nobody's business after it.
    resets: u64,
}

impl Backend {
    /// Starts one.
    ///
    /// # Errors
    /// As the system says.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let backend = Self {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let serving = backend.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let backend = serving.clone();
                thread::spawn(move || backend.serve(stream));
            }
        });
        Ok(backend)
    }

    /// Forgets what it saw, and answers from now on so; `None` is a plain 200.
    pub fn reset(&self, answer: Option<Answer>) {
        let mut shared = self.shared();
        *shared = Shared {
            seen: Vec::new(),
            answer,
            resets: shared.resets + 1,
        };
    }

    /// What it saw since.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared().seen.clone()
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut wire) = Wire::new(stream) else {
            return;
        };
        // Connections rest in the gateway's pool for as long as it likes.
        let _ = wire.set_patience(std::time::Duration::from_secs(600));
        while self.exchange(&mut wire) {}
    }

    /// Returns whether another request may follow.
    fn exchange(&self, wire: &mut Wire) -> bool {
        let mut request = match wire.request_head() {
            Ok(request) => request,
            Err(NoMessage::Invalid(reason)) => return self.invalid(reason),
            Err(_) => return false,
        };
        let resets = self.shared().resets;
        let answer = self.answer(&request);
        if answer.is_early && wire.write(&answer.bytes).is_err() {
            return false;
        }
        let read = wire.request_body(&mut request);
        let is_complete = request.is_complete;
        let mut shared = self.shared();
        if shared.resets != resets {
            return false;
        }
        shared.seen.push(Seen::Request(request));
        drop(shared);
        if let Err(NoMessage::Invalid(reason)) = read {
            return self.invalid(reason);
        }
        if !is_complete || (!answer.is_early && wire.write(&answer.bytes).is_err()) {
            return false;
        }
        !answer.closes
    }

    fn invalid(&self, reason: String) -> bool {
        self.shared().seen.push(Seen::Invalid(reason));
        false
    }

    fn answer(&self, request: &Message) -> Answer {
        let special = self.shared().answer.clone();
        let is_probe = request.target() == PROBE_PATH;
        match special {
            Some(special) if !is_probe => special,
            _ => plain(request, if is_probe { PROBE_BODY } else { "ok" }),
        }
    }
}

/// A 200, without its body where the request is HEAD.
fn plain(request: &Message, body: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let body = if request.method() == "HEAD" { "" } else { body };
    Answer {
        bytes: [head.as_bytes(), body.as_bytes()].concat(),
        is_early: false,
        closes: false,
    }
}
