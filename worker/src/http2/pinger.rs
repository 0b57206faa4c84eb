//! Pings: they show whether a silent client is still there, and what its path holds.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};

use super::flow::Flow;
use super::window::Window;
use crate::limits::Limits;

/// Time between two samples of a path whose window has just grown, and of one whose window fits.
const SAMPLE_DELAY_MIN: Duration = Duration::from_millis(50);
const SAMPLE_DELAY_MAX: Duration = Duration::from_secs(10);

/// The pings of one connection.
pub(super) struct Pinger {
    pings: PingPong,
    window: Window,
    interval: Duration,
    timeout: Duration,
    /// When the present ping was sent.
    sent: Option<Instant>,
    /// Bytes that had come when they were last looked at, and when that was more than before.
    read: u64,
    read_at: Instant,
    sample_at: Instant,
    sample_delay: Duration,
}

/// What a ping has shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The path holds more: so much credit for each stream.
    Wider(u32),
    /// There is nobody any more.
    Silence,
}

impl Pinger {
    pub(super) fn new(pings: PingPong, limits: &Limits, now: Instant) -> Self {
        Self {
            pings,
            window: Window::new(limits.h2_stream_window_bytes_max),
            interval: limits.h2_ping_interval,
            timeout: limits.h2_ping_timeout,
            sent: None,
            read: 0,
            read_at: now,
            sample_at: now,
            sample_delay: SAMPLE_DELAY_MIN,
        }
    }

    /// Looks at what came, and pings where that is due.
    pub(super) fn poll(
        &mut self,
        flow: &Flow,
        has_requests: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Option<Found> {
        if flow.bytes_read() != self.read {
            self.read = flow.bytes_read();
            self.read_at = now;
        }
        if let Some(sent) = self.sent {
            match self.pings.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    self.sent = None;
                    return self.sample(flow, now - sent, now).map(Found::Wider);
                }
                // The connection's own end tells more.
                Poll::Ready(Err(_)) => self.sent = None,
                Poll::Pending => return (now >= self.due()).then_some(Found::Silence),
            }
        }
        let samples = self.window.may_grow() && flow.has_sample() && now >= self.sample_at;
        let asks = has_requests && now >= self.due();
        if samples || asks {
            flow.take_sample();
            if self.pings.send_ping(Ping::opaque()).is_ok() {
                self.sent = Some(now);
            }
        }
        None
    }

    /// When to look again at the latest, while there are requests.
    pub(super) fn due(&self) -> Instant {
        match self.sent {
            Some(sent) => self.read_at.max(sent) + self.timeout,
            None => self.read_at + self.interval,
        }
    }

    fn sample(&mut self, flow: &Flow, round_trip: Duration, now: Instant) -> Option<u32> {
        let grown = self.window.sample(flow.take_sample(), round_trip);
        self.sample_delay = match grown {
            Some(_) => SAMPLE_DELAY_MIN,
            None => (self.sample_delay * 2).min(SAMPLE_DELAY_MAX),
        };
        self.sample_at = now + self.sample_delay;
        grown
    }
}
