//! Sends a mutation, an innocent request after it on the same connection, and another one on a fresh connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::frames::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame};
use crate::message::Message;
use crate::octets;
use crate::smuggling::mutations::Mutation;
use crate::wire::{NoMessage, PATIENCE, Wire};

/// Time without a byte after which the first connection is closed: something waits for the rest of a body.
const SILENCE: Duration = Duration::from_millis(300);

/// What came of a mutation.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which one.
    pub kind: &'static str,
    /// Its number, which stands in its targets.
    pub id: usize,
    /// The client's address of the first connection.
    pub client: String,
    /// The targets that were answered on it, by what the recorder echoes.
    pub answers: Vec<String>,
    /// The statuses on it.
    pub statuses: Vec<u16>,
    /// What the innocent request on a fresh connection got.
    pub fresh: Option<String>,
    /// Bytes that are no answer.
    pub invalid: Option<String>,
}

/// Runs one; ids have five digits.
///
/// # Errors
/// When the front cannot be reached at all.
pub fn run(mutation: &Mutation, id: usize, front: SocketAddr) -> anyhow::Result<Run> {
    let mut run = Run {
        kind: mutation.kind,
        id,
        client: String::new(),
        answers: Vec::new(),
        statuses: Vec::new(),
        fresh: None,
        invalid: None,
    };
    let bytes = with_id(&mutation.bytes, id);
    let mut wire = Wire::connect(front)?;
    wire.set_patience(SILENCE)?;
    run.client = wire.local_address()?.to_string();
    if mutation.is_h2 {
        run.h2(&bytes, &mut wire);
    } else {
        run.h1(&bytes, &mut wire);
    }
    drop(wire);
    run.fresh = fresh(id, front);
    Ok(run)
}

impl Run {
    fn h1(&mut self, bytes: &[u8], wire: &mut Wire) {
        // The front may have closed: what it has answered counts.
        let _ = wire.write(bytes);
        let _ = wire.write(get(&format!("/a{}", self.id)).as_bytes());
        let mut to_head = bytes.starts_with(b"HEAD ");
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let answer = match wire.response(to_head) {
                Ok(answer) => answer,
                Err(NoMessage::Invalid(reason)) => return self.invalid = Some(reason),
                Err(_) => return,
            };
            if answer.status() >= 200 {
                self.note(&answer, to_head);
                to_head = false;
            }
            if answer.body == format!("/a{}", self.id) || answer.has_token("connection", "close") {
                return;
            }
        }
    }

    fn note(&mut self, answer: &Message, to_head: bool) {
        self.statuses.push(answer.status());
        if answer.status() == 200 && !to_head {
            self.answers.push(answer.body.clone());
        }
    }

    /// The answers are the data of each stream.
    fn h2(&mut self, bytes: &[u8], wire: &mut Wire) {
        let path = format!("/a{}", self.id);
        let innocent = block(&[
            (b":method", b"GET"),
            (b":path", path.as_bytes()),
            (b":scheme", b"http"),
            (b":authority", b"a.test"),
        ]);
        let _ = wire.write(bytes);
        let _ = wire.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &innocent));
        let _ = wire.write(&frame(SETTINGS, 1, 0, &[]));
        let mut received = Vec::new();
        let mut data = [String::new(), String::new()];
        loop {
            while let Some(frame) = frames::take(&mut received) {
                if frame.kind == DATA && matches!(frame.stream, 1 | 3) {
                    data[usize::from(frame.stream == 3)].push_str(&octets::text(&frame.payload));
                }
            }
            if data[1] == path {
                break;
            }
            match wire.some() {
                Ok(piece) => received.extend(piece),
                Err(_) => break,
            }
        }
        self.answers = data
            .into_iter()
            .filter(|data| data.starts_with('/'))
            .collect();
        self.statuses = vec![if self.answers.is_empty() { 400 } else { 200 }];
    }
}

fn fresh(id: usize, front: SocketAddr) -> Option<String> {
    let mut wire = Wire::connect(front).ok()?;
    wire.write(get(&format!("/b{id}")).as_bytes()).ok()?;
    wire.response(false).ok().map(|answer| answer.body)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

/// Frames have their lengths already, and so a number of five digits in its place.
fn with_id(bytes: &[u8], id: usize) -> Vec<u8> {
    let text = octets::text(bytes).replace("{id}", &id.to_string());
    let text = text
        .replace("/m12345", &format!("/m{id}"))
        .replace("/s12345", &format!("/s{id}"));
    octets::bytes(&text).unwrap_or_default()
}
