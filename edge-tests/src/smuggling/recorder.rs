//! The backend behind a server: keeps what the server forwards, and answers with the target of the request.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wire::{NoMessage, Wire};

/// A running recorder; clones share it.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Starts one.
    ///
    /// # Errors
    /// As the system says.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let recorder = Self {
            address: listener.local_addr()?,
            targets: Arc::default(),
        };
        let serving = recorder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let recorder = serving.clone();
                thread::spawn(move || recorder.serve(stream));
            }
        });
        Ok(recorder)
    }

    /// The targets of all whole requests; bytes that are no request stand there with `invalid:` before.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut wire) = Wire::new(stream) else {
            return;
        };
        // A server keeps its connections for as long as it likes.
        let _ = wire.set_patience(Duration::from_secs(600));
        loop {
            let read = wire.request_head().and_then(|mut request| {
                wire.request_body(&mut request)?;
                Ok(request)
            });
            match read {
                Ok(request) if request.is_complete => {
                    let target = request.target().to_owned();
                    self.lock().push(target.clone());
                    let body = if request.method() == "HEAD" {
                        ""
                    } else {
                        &target
                    };
                    let len = target.len();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}");
                    if wire.write(answer.as_bytes()).is_err() {
                        return;
                    }
                }
                Err(NoMessage::Invalid(reason)) => {
                    return self.lock().push(format!("invalid: {reason}"));
                }
                _ => return,
            }
        }
    }
}
