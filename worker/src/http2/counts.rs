//! What a client does in a while, against what it may: frames that cost more than they carry, and requests that
//! it takes back.

use std::time::{Duration, Instant};

use tidegate_codec::http2::{FrameHead, kind};

use crate::limits::Limits;
use crate::listen::ended::Ended;

/// The time for which the bounds are.
const PERIOD: Duration = Duration::from_secs(10);

/// Frames without content that go with one that has some: credit for its stream and for its connection, twice.
const CONTROL_PER_CONTENT: u64 = 4;

/// The frames and requests of one connection in the present period.
#[derive(Debug)]
pub(super) struct Counts {
    since: Instant,
    pings_max: u64,
    settings_max: u64,
    control_max: u64,
    cancels_max: u64,
    /// Frames with content, of both sides, and requests.
    content: u64,
    pings: u64,
    settings: u64,
    control: u64,
    requests: u64,
    cancels: u64,
}

impl Counts {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            since: Instant::now(),
            pings_max: limits.h2_pings_max.into(),
            settings_max: limits.h2_settings_max.into(),
            control_max: limits.h2_control_frames_max.into(),
            cancels_max: limits.h2_cancels_max.into(),
            content: 0,
            pings: 0,
            settings: 0,
            control: 0,
            requests: 0,
            cancels: 0,
        }
    }

    /// A frame of the client begins; tells the bound that it goes beyond.
    pub(super) fn frame(&mut self, head: FrameHead) -> Option<Ended> {
        match head.kind {
            kind::HEADERS => self.content += 1,
            kind::DATA if head.len > 0 => self.content += 1,
            // Bounded for each header section, by the library.
            kind::CONTINUATION => {}
            kind::PING => {
                self.turn_over();
                self.pings += 1;
                // Some clients measure the path by a ping for each frame that they get.
                return (self.pings > self.pings_max + self.content).then_some(Ended::H2Pings);
            }
            kind::SETTINGS => {
                self.turn_over();
                self.settings += 1;
                return (self.settings > self.settings_max).then_some(Ended::H2Settings);
            }
            _ => {
                self.turn_over();
                self.control += 1;
                let most = self.control_max + self.content * CONTROL_PER_CONTENT;
                return (self.control > most).then_some(Ended::H2ControlFrames);
            }
        }
        None
    }

    /// So many frames with content go to the client.
    pub(super) fn sent(&mut self, frames: u64) {
        self.content += frames;
    }

    pub(super) fn request(&mut self) {
        self.turn_over();
        self.requests += 1;
    }

    /// A request was reset before its answer began; tells the bound that this goes beyond.
    pub(super) fn cancelled(&mut self) -> Option<Ended> {
        self.cancels += 1;
        let are_most = self.cancels * 2 > self.requests;
        (self.cancels > self.cancels_max && are_most).then_some(Ended::H2Cancels)
    }

    fn turn_over(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.since) >= PERIOD {
            self.since = now;
            (self.content, self.pings, self.settings) = (0, 0, 0);
            (self.control, self.requests, self.cancels) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts::new(&Limits {
            h2_pings_max: 3,
            h2_settings_max: 2,
            h2_control_frames_max: 5,
            h2_cancels_max: 4,
            ..Limits::default()
        })
    }

    /// The first of so many frames that goes beyond a bound.
    fn first_beyond(counts: &mut Counts, kind: u8, len: u32) -> Option<(usize, Ended)> {
        (1..=100).find_map(|nth| Some((nth, counts.frame(FrameHead { len, kind })?)))
    }

    #[test]
    fn each_kind_has_its_bound() {
        let beyond = |kind, len| first_beyond(&mut counts(), kind, len);
        assert_eq!(beyond(kind::PING, 8), Some((4, Ended::H2Pings)));
        assert_eq!(beyond(kind::SETTINGS, 0), Some((3, Ended::H2Settings)));
        for (kind, len) in [(0x2, 5), (0x3, 4), (0x8, 4), (0xEE, 0), (kind::DATA, 0)] {
            assert_eq!(
                beyond(kind, len),
                Some((6, Ended::H2ControlFrames)),
                "{kind}"
            );
        }
        for (kind, len) in [(kind::DATA, 1), (kind::HEADERS, 1), (kind::CONTINUATION, 0)] {
            assert_eq!(beyond(kind, len), None, "{kind}");
        }
    }

    #[test]
    fn content_of_either_side_raises_the_bounds() {
        let mut counts = counts();
        counts.sent(4);
        let content = FrameHead {
            len: 10,
            kind: kind::DATA,
        };
        assert_eq!(counts.frame(content), None);
        assert_eq!(
            first_beyond(&mut counts, kind::PING, 8),
            Some((9, Ended::H2Pings))
        );
        let window_update = 0x8;
        assert_eq!(
            first_beyond(&mut counts, window_update, 4),
            Some((26, Ended::H2ControlFrames))
        );
    }

    #[test]
    fn requests_may_be_taken_back_while_most_are_not() {
        let mut counts = counts();
        for _ in 0..20 {
            counts.request();
        }
        assert!((0..10).all(|_| counts.cancelled().is_none()));
        assert_eq!(counts.cancelled(), Some(Ended::H2Cancels));
    }
}
