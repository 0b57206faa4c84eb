//! Memory watermarks: near its end, the worker takes no new connections, then keeps none open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tidegate_runtime::memory;

use crate::limits::Limits;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Share of a mark below which it counts as left: so that shedding does not flicker.
const LEFT_BELOW: f64 = 0.95;

/// How short memory is; shared by all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pressure(Arc<AtomicU8>);

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    None,
    /// New connections are closed at once.
    Soft,
    /// Open ones are closed after their present request, too.
    Hard,
}

impl Pressure {
    pub(crate) fn level(&self) -> Level {
        match self.0.load(Ordering::Relaxed) {
            0 => Level::None,
            1 => Level::Soft,
            _ => Level::Hard,
        }
    }

    /// Follows the process's memory; without a mark it ends at once.
    pub(crate) async fn watch(self, limits: Arc<Limits>) {
        let marks = [limits.memory_soft_bytes, limits.memory_hard_bytes];
        if marks == [None, None] {
            return;
        }
        loop {
            if let Some(used) = memory::resident_bytes() {
                let before = self.level();
                let level = next(before, used, marks);
                self.0.store(level as u8, Ordering::Relaxed);
                if level > before {
                    tracing::warn!(
                        used_bytes = used,
                        ?level,
                        "memory is short: connections are shed"
                    );
                } else if level < before {
                    tracing::info!(used_bytes = used, ?level, "memory is less short");
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// The level for this use of memory, given the one before.
fn next(before: Level, used: u64, [soft, hard]: [Option<u64>; 2]) -> Level {
    let is_reached = |mark: Option<u64>, was_reached: bool| {
        mark.is_some_and(|mark| {
            let share = if was_reached { LEFT_BELOW } else { 1.0 };
            used as f64 >= mark as f64 * share
        })
    };
    if is_reached(hard, before == Level::Hard) {
        Level::Hard
    } else if is_reached(soft, before >= Level::Soft) {
        Level::Soft
    } else {
        Level::None
    }
}

/// The memory that the process's control group may use (cgroup version 2), if it has a bound.
pub(crate) fn group_bytes_max() -> Option<u64> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_left_only_some_way_below_it() {
        let marks = [Some(1000), Some(2000)];
        let levels = [999, 1000, 951, 1999, 2000, 1901, 1899, 949].map({
            let mut level = Level::None;
            move |used| {
                level = next(level, used, marks);
                level
            }
        });
        use Level::{Hard, None, Soft};
        assert_eq!(levels, [None, Soft, Soft, Soft, Hard, Hard, Soft, None]);
    }
}
