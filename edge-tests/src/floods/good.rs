//! Good clients: each sends a request every few milliseconds, and wants its answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

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
    /// What came in place of a good answer, for each request without one.
    pub failed: Vec<String>,
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
/// request, while `work` runs, which threads do that come last.
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
    let begin = Barrier::new(2);
    let result = thread::scope(|scope| {
        let (over, served, begin) = (&over, &served, &begin);
        scope.spawn(move || {
            core::come_first();
            begin.wait();
            let mut first = Instant::now();
            for client in clients {
                scope.spawn(move || run(client(front).as_mut(), first, over, served));
                first += BEAT / 5;
            }
        });
        begin.wait();
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
            Ok(()) => served.times.push(took),
            Err(error) => served.failed.push(format!("{error:#}")),
        }
    }
}

trait Client {
    /// # Errors
    /// Without a good answer.
    fn get(&mut self) -> anyhow::Result<()>;
}

struct Kept {
    front: SocketAddr,
    wire: Option<Wire>,
    keeps: bool,
}

impl Client for Kept {
    fn get(&mut self) -> anyhow::Result<()> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(self.front)?,
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {GOOD_HOST}\r\n\r\n");
        wire.write(request.as_bytes())?;
        let answer = wire.response(false);
        let answer = answer.map_err(|none| anyhow!("HTTP/1, kept {}: {none:?}", self.keeps))?;
        if self.keeps && !answer.has_token("connection", "close") {
            self.wire = Some(wire);
        }
        ensure!(
            answer.status() == 200 && answer.is_complete,
            "HTTP/1, kept {}: {answer:?}",
            self.keeps
        );
        Ok(())
    }
}

struct Multiplexed {
    front: SocketAddr,
    wire: Option<(Wire, Vec<u8>)>,
    stream: u32,
}

impl Client for Multiplexed {
    fn get(&mut self) -> anyhow::Result<()> {
        let (mut wire, mut input) = match self.wire.take() {
            Some(kept) => kept,
            None => {
                self.stream = 1;
                let mut wire = Wire::connect(self.front)?;
                wire.write(&frames::start())?;
                wire.write(&frame(SETTINGS, 1, 0, &[]))?;
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
        wire.write(&frame(HEADERS, flags, self.stream, &request))?;
        let mut is_good = false;
        loop {
            while let Some(frame) = frames::take(&mut input) {
                let is_head = frame.kind == HEADERS && frame.stream == self.stream;
                is_good |= is_head && frame.payload.first() == Some(&STATUS_200);
                let is_end = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
                if frame.stream == self.stream && (is_end || frame.kind == frames::RST_STREAM) {
                    self.stream += 2;
                    self.wire = Some((wire, input));
                    ensure!(is_end && is_good, "HTTP/2: the last frame was {frame:?}");
                    return Ok(());
                }
                ensure!(frame.kind != frames::GOAWAY, "HTTP/2: GOAWAY");
            }
            let more = wire.some();
            input.extend(more.map_err(|none| anyhow!("HTTP/2: {none:?}"))?);
        }
    }
}
