//! Plays a vector: sends, compares what came back, and looks at what the backend saw.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tidegate_edge_tests::backend::{Answer, Backend, PROBE_BODY, PROBE_PATH, Seen};
use tidegate_edge_tests::message::Message;
use tidegate_edge_tests::octets;
use tidegate_edge_tests::wire::{Wire, pause};

use crate::case::{Expected, Step, Steps, Vector};

/// Ports of the gateway, each with a backend that serves one vector at a time.
pub(crate) struct Lanes {
    free: Mutex<Vec<Lane>>,
    freed: Condvar,
}

pub(crate) type Lane = (SocketAddr, Backend);

impl Lanes {
    pub(crate) fn new(lanes: Vec<Lane>) -> Self {
        Self {
            free: Mutex::new(lanes),
            freed: Condvar::new(),
        }
    }

    /// Plays a vector on the next free lane.
    pub(crate) fn play(&self, vector: &Vector) -> anyhow::Result<()> {
        self.hold(|lane| play(vector, lane))
    }

    /// Does something with the next free lane.
    pub(crate) fn hold<T>(&self, work: impl FnOnce(&Lane) -> T) -> T {
        let lane = self.take();
        let done = work(&lane);
        self.lock().push(lane);
        self.freed.notify_one();
        done
    }

    fn take(&self) -> Lane {
        let mut free = self.lock();
        loop {
            if let Some(lane) = free.pop() {
                return lane;
            }
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn play(vector: &Vector, (address, backend): &Lane) -> anyhow::Result<()> {
    let answer = vector.backend.as_ref().map(|answer| {
        anyhow::Ok(Answer {
            bytes: bytes(&answer.send)?,
            is_early: answer.early,
            closes: answer.close,
        })
    });
    backend.reset(answer.transpose()?);
    let mut wire = Wire::connect(*address)?;
    let compared = exchange(vector, &mut wire);
    if vector.may_begin {
        // What has begun may be on its way to the backend still, where the next vector must not find it.
        pause(Duration::from_millis(20));
    }
    // What the backend saw says more than what is missing at the client.
    let seen = backend.seen();
    compared.with_context(|| format!("the backend saw {seen:#?}"))?;
    compare_seen(vector, &seen).with_context(|| format!("the backend saw {seen:#?}"))
}

fn exchange(vector: &Vector, wire: &mut Wire) -> anyhow::Result<()> {
    let is_half_closed = send(&vector.send, wire)?;
    let plain = Expected {
        status: Some(200),
        ..Expected::default()
    };
    let answers = match &vector.answers {
        Some(answers) => answers.clone(),
        None => vec![plain; vector.forwarded.len()],
    };
    let count = answers.len();
    for (index, expected) in answers.iter().enumerate() {
        let response = wire.response(expected.to_head);
        let response = response.map_err(|no| anyhow::anyhow!("answer {index}: {no:?}"))?;
        compare(expected, &response).with_context(|| format!("answer {index}: {response:#?}"))?;
        let says_close = response.has_token("connection", "close");
        let is_last = index + 1 == count && vector.refused.is_none() && !is_half_closed;
        let is_final = response.status() >= 200 && !expected.broken;
        ensure!(
            !is_last || !is_final || says_close == vector.closed,
            "the answer says close: {says_close}; {response:#?}"
        );
    }
    if let Some(status) = vector.refused {
        return refused(status, vector.send.is_head(), wire);
    }
    if vector.closed || is_half_closed {
        return ends(wire);
    }
    probe(wire)
}

/// Returns whether the client has closed its side.
fn send(steps: &Steps, wire: &mut Wire) -> anyhow::Result<bool> {
    let steps = match steps {
        Steps::One(text) => vec![Step::Send(text.clone())],
        Steps::Many(steps) => steps.clone(),
    };
    let mut is_half_closed = false;
    for step in steps {
        // A gateway that refuses may stop to read: what it answers counts.
        match step {
            Step::Send(text) => drop(wire.write(&bytes(&text)?)),
            Step::Repeat { repeat, times } => drop(wire.write(&bytes(&repeat.repeat(times))?)),
            Step::Bytewise { bytewise } => {
                for byte in bytes(&bytewise)? {
                    drop(wire.write(&[byte]));
                }
            }
            Step::Pause { pause_ms } => pause(Duration::from_millis(pause_ms)),
            Step::Await { await_status } => {
                let interim = wire.response(false);
                let interim = interim.map_err(|no| anyhow::anyhow!("no {await_status}: {no:?}"))?;
                ensure!(
                    interim.status() == await_status,
                    "not {await_status}: {interim:#?}"
                );
            }
            Step::HalfClose { half_close } if half_close => {
                wire.half_close()?;
                is_half_closed = true;
            }
            Step::HalfClose { .. } => {}
        }
    }
    Ok(is_half_closed)
}

fn refused(status: u16, to_head: bool, wire: &mut Wire) -> anyhow::Result<()> {
    let response = wire.response(to_head);
    let response = response.map_err(|no| anyhow::anyhow!("no refusal: {no:?}"))?;
    ensure!(
        response.status() == status,
        "not refused with {status}: {response:#?}"
    );
    ensure!(
        response.has_token("connection", "close"),
        "the refusal does not say that the connection closes: {response:#?}"
    );
    ensure!(
        response.is_complete,
        "the refusal breaks off: {response:#?}"
    );
    ends(wire)
}

/// The connection ends, and not by a reset.
fn ends(wire: &mut Wire) -> anyhow::Result<()> {
    match wire.rest() {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => bail!("more came: {}", octets::text(&rest).escape_default()),
        Err(no) => bail!("the connection does not end cleanly: {no:?}"),
    }
}

/// The connection serves another request.
fn probe(wire: &mut Wire) -> anyhow::Result<()> {
    let request = format!("GET {PROBE_PATH} HTTP/1.1\r\nHost: probe.test\r\n\r\n");
    wire.write(request.as_bytes())?;
    let response = wire.response(false);
    let response = response.map_err(|no| anyhow::anyhow!("the next request: {no:?}"))?;
    ensure!(
        response.status() == 200 && response.body == PROBE_BODY,
        "the next request got {response:#?}"
    );
    Ok(())
}

fn compare_seen(vector: &Vector, seen: &[Seen]) -> anyhow::Result<()> {
    compare_requests(&vector.forwarded, vector.may_begin, seen)
}

/// Compares what the backend saw, but for probes, with what it must see.
pub(crate) fn compare_requests(
    forwarded: &[Expected],
    may_begin: bool,
    seen: &[Seen],
) -> anyhow::Result<()> {
    let mut requests = Vec::new();
    for seen in seen {
        match seen {
            Seen::Request(request) if request.target() == PROBE_PATH => {}
            Seen::Request(request) => requests.push(request),
            Seen::Invalid(reason) => bail!("the backend got what is no request: {reason}"),
        }
    }
    if may_begin {
        requests.retain(|request| request.is_complete);
    }
    ensure!(
        requests.len() == forwarded.len(),
        "the backend got {} requests, not {}",
        requests.len(),
        forwarded.len()
    );
    for (index, (expected, request)) in forwarded.iter().zip(requests).enumerate() {
        compare(expected, request).with_context(|| format!("request {index} at the backend"))?;
    }
    Ok(())
}

fn compare(expected: &Expected, message: &Message) -> anyhow::Result<()> {
    if let Some(line) = &expected.line {
        ensure!(message.line == *line, "{:?}, not {line:?}", message.line);
    }
    if let Some(status) = expected.status {
        ensure!(
            message.status() == status,
            "{:?}, not {status}",
            message.line
        );
    }
    for (name, values) in &expected.headers {
        let (got, wanted) = (message.values(name), values.list());
        ensure!(got == wanted, "{name}: {got:?}, not {wanted:?}");
    }
    for name in &expected.absent {
        let got = message.values(name);
        ensure!(got.is_empty(), "{name}: {got:?}, not absent");
    }
    if let Some(body) = &expected.body {
        ensure!(
            message.body == *body,
            "the body {:?}, not {body:?}",
            message.body
        );
    }
    if let Some(len) = expected.body_len {
        ensure!(
            message.body.len() == len,
            "{} bytes, not {len}",
            message.body.len()
        );
    }
    let trailers: Vec<_> = expected.trailers.clone().into_iter().collect();
    ensure!(
        expected.broken || message.trailers == trailers,
        "the trailers {:?}, not {trailers:?}",
        message.trailers
    );
    ensure!(
        message.is_complete != expected.broken,
        "complete: {}",
        message.is_complete
    );
    Ok(())
}

fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    octets::bytes(text).with_context(|| format!("{text:?} has characters above \\xFF"))
}
