//! Good clients: each sends a request every few milliseconds, and wants its answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::floods::core;
use crate::floods::site::GOOD_HOST;
use crate::frames::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame};
use crate::wire::{Wire, pause};

/// Time between two requests of a client.
const BEAT: Duration = Duration::from_millis(10);

/// `:status` 200 in the table that every connection begins with, which answers begin with (RFC 7541, appendix A).
const STATUS_200: u8 = 0x80 | 8;

/// What good clients got.
#[derive(Debug, Default)]
pub struct Served {
    /// Times of the answers, sorted.
    pub times: Vec<Duration>,
    /// Requests without a good answer.
    pub failed: usize,
}

impl Served {
    /// The time that this share of the answers took at most.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let index = (self.times.len() as f64 * share) as usize;
        let last = self.times.len().saturating_sub(1);
        self.times.get(index.min(last)).copied().unwrap_or_default()
    }
}

/// Runs two clients that keep a connection by HTTP/1, two by HTTP/2, and one that opens a connection for each
/// request, while `work` runs.
pub fn during<T>(front: SocketAddr, work: impl FnOnce() -> T) -> (Served, T) {
    let (over, served) = (AtomicBool::new(false), Mutex::new(Served::default()));
    let clients: [fn(SocketAddr) -> Box<dyn Client>; 5] = [
        |front| {
            Box::new(Kept {
                front,
                wire: None,
                keeps: true,
            })
        },
        |front| {
            Box::new(Kept {
                front,
                wire: None,
                keeps: true,
            })
        },
        |front| {
            Box::new(Kept {
                front,
                wire: None,
                keeps: false,
            })
        },
        |front| {
            Box::new(Multiplexed {
                front,
                wire: None,
                stream: 1,
            })
        },
        |front| {
            Box::new(Multiplexed {
                front,
                wire: None,
                stream: 1,
            })
        },
    ];
    let result = thread::scope(|scope| {
        let mut first = Instant::now();
        for client in clients {
            let (over, served) = (&over, &served);
            scope.spawn(move || {
                core::come_first();
                run(client(front).as_mut(), first, over, served);
            });
            first += BEAT / 5;
        }
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    });
    let mut served = served.into_inner().unwrap_or_else(PoisonError::into_inner);
    served.times.sort();
    (served, result)
}

/// Sends at its times, whatever became of the requests before; an answer's time counts from when its request was due.
fn run(client: &mut dyn Client, first: Instant, over: &AtomicBool, served: &Mutex<Served>) {
    let mut due = first;
    while !over.load(Ordering::Relaxed) {
        pause(due.saturating_duration_since(Instant::now()));
        let answered = client.get();
        let took = due.elapsed();
        due += BEAT;
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Some(()) => served.times.push(took),
            None => served.failed += 1,
        }
    }
}

trait Client {
    /// Sends a request; `None` without a good answer.
    fn get(&mut self) -> Option<()>;
}

struct Kept {
    front: SocketAddr,
    wire: Option<Wire>,
    keeps: bool,
}

impl Client for Kept {
    fn get(&mut self) -> Option<()> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(self.front).ok()?,
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {GOOD_HOST}\r\n\r\n");
        wire.write(request.as_bytes()).ok()?;
        let answer = wire.response(false).ok()?;
        if self.keeps && !answer.has_token("connection", "close") {
            self.wire = Some(wire);
        }
        (answer.status() == 200 && answer.is_complete).then_some(())
    }
}

struct Multiplexed {
    front: SocketAddr,
    wire: Option<(Wire, Vec<u8>)>,
    stream: u32,
}

impl Client for Multiplexed {
    fn get(&mut self) -> Option<()> {
        let (mut wire, mut input) = match self.wire.take() {
            Some(kept) => kept,
            None => {
                self.stream = 1;
                let mut wire = Wire::connect(self.front).ok()?;
                wire.write(&frames::start()).ok()?;
                wire.write(&frame(SETTINGS, 1, 0, &[])).ok()?;
                (wire, Vec::new())
            }
        };
        let request = block(&[
            (b":method", b"GET"),
            (b":path", b"/"),
            (b":scheme", b"http"),
            (b":authority", GOOD_HOST.as_bytes()),
        ]);
        let flags = END_HEADERS | END_STREAM;
        wire.write(&frame(HEADERS, flags, self.stream, &request))
            .ok()?;
        let mut is_good = false;
        loop {
            while let Some(frame) = frames::take(&mut input) {
                let is_head = frame.kind == HEADERS && frame.stream == self.stream;
                is_good |= is_head && frame.payload.first() == Some(&STATUS_200);
                let is_end = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
                if frame.stream == self.stream && (is_end || frame.kind == frames::RST_STREAM) {
                    self.stream += 2;
                    self.wire = Some((wire, input));
                    return (is_end && is_good).then_some(());
                }
                if frame.kind == frames::GOAWAY {
                    return None;
                }
            }
            input.extend(wire.some().ok()?);
        }
    }
}
