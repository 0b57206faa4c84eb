//! The bounds of a port: the worker's own, save for those that its listeners set.

use std::num::NonZeroU64;
use std::time::Duration;

use tidegate_ir::{Cap, EdgeBounds};

use super::Limits;

impl Limits {
    /// The same, save for what a listener says.
    pub(crate) fn under(&self, said: &EdgeBounds) -> Self {
        let mut limits = self.clone();
        set(
            &mut limits.request_line_bytes_max,
            said.request_line_bytes_max,
        );
        set(&mut limits.header_bytes_max, said.header_bytes_max);
        set(&mut limits.header_count_max, said.header_count_max);
        set_cap(
            &mut limits.request_body_bytes_max,
            said.request_body_bytes_max,
        );
        if let Some(pace) = said.body_pace {
            limits.body_pace_bytes_min = pace.bytes_min;
            set(&mut limits.body_pace_period, Some(pace.period_ms));
        }
        set(&mut limits.header_timeout, said.header_timeout_ms);
        set(&mut limits.idle_timeout, said.idle_timeout_ms);
        set_cap(&mut limits.request_timeout, said.request_timeout_ms);
        set(&mut limits.handshake_timeout, said.handshake_timeout_ms);
        set(&mut limits.write_stall_timeout, said.write_stall_timeout_ms);
        set(&mut limits.connections_max, said.connections_max);
        set_cap(
            &mut limits.connections_per_client_max,
            said.connections_per_client_max,
        );
        limits
    }
}

/// A bound that can be made of what a snapshot says.
trait Said {
    fn said(number: NonZeroU64) -> Self;
}

impl Said for u64 {
    fn said(number: NonZeroU64) -> Self {
        number.get()
    }
}

impl Said for usize {
    fn said(number: NonZeroU64) -> Self {
        Self::try_from(number.get()).unwrap_or(Self::MAX)
    }
}

impl Said for Duration {
    fn said(milliseconds: NonZeroU64) -> Self {
        Self::from_millis(milliseconds.get())
    }
}

fn set<B: Said>(bound: &mut B, said: Option<NonZeroU64>) {
    if let Some(said) = said {
        *bound = B::said(said);
    }
}

fn set_cap<B: Said>(bound: &mut Option<B>, said: Option<Cap>) {
    match said {
        None => {}
        Some(Cap::Off) => *bound = None,
        Some(Cap::At(said)) => *bound = Some(B::said(said)),
    }
}
