//! Runs every kind of flood in every strength, and prints what good clients noticed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::ensure;

use crate::floods::attacker::{Strength, flood};
use crate::floods::core;
use crate::floods::good::{Served, during};
use crate::floods::kinds::{KINDS, Kind};
use crate::floods::site::Site;
use crate::wire::pause;

/// How long each flood lasts, and the quiet time before each kind.
const TIME: Duration = Duration::from_secs(3);

const STRENGTHS: [Strength; 3] = [
    Strength {
        connections: 2,
        units_per_s: 500,
    },
    Strength {
        connections: 10,
        units_per_s: 2_500,
    },
    Strength {
        connections: 50,
        units_per_s: 10_000,
    },
];

/// Runs all floods, or those whose names contain a text.
///
/// # Errors
/// When a good client was not served.
pub fn print(tidegate: &Path, only: &str) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let site = Site::start(tidegate, dir.path())?;
    core::leave_to_others();
    println!(
        "| flood | connections | units | connections ended | memory before → most | good requests | failed | p50 | p99 quiet → flooded |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut failed = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.name.contains(only)) {
        let (quiet, ()) = during(site.address(), || pause(TIME));
        failed.extend(quiet.failed.iter().cloned());
        for strength in STRENGTHS {
            failed.extend(row(&site, *kind, strength, &quiet));
        }
    }
    served_all(&failed)
}

fn row(site: &Site, kind: Kind, strength: Strength, quiet: &Served) -> Vec<String> {
    let front = site.address();
    let before = site.gateway.process.rss_kib();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(before));
    let (served, flooded) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(site.gateway.process.rss_kib(), Ordering::Relaxed);
                pause(Duration::from_millis(20));
            }
        });
        let result = during(front, || {
            flood(kind, strength.below_line_rate(kind), front, TIME)
        });
        over.store(true, Ordering::Relaxed);
        result
    });
    println!(
        "| {} | {} | {} | {} | {} → {} MiB | {} | {} | {} | {} → {} |",
        kind.name,
        strength.connections,
        flooded.units.load(Ordering::Relaxed),
        flooded.ended.load(Ordering::Relaxed),
        before / 1024,
        most.load(Ordering::Relaxed) / 1024,
        served.times.len() + served.failed.len(),
        served.failed.len(),
        shown(served.quantile(0.5)),
        p99(quiet),
        p99(&served),
    );
    served.failed
}

/// # Errors
/// When a good client was not served.
pub(crate) fn served_all(failed: &[String]) -> anyhow::Result<()> {
    let number = failed.len();
    let list = failed.join("\n");
    ensure!(
        number == 0,
        "{number} requests of good clients failed:\n{list}"
    );
    Ok(())
}

fn p99(served: &Served) -> String {
    shown(served.quantile(0.99))
}

/// A time in milliseconds.
pub(crate) fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
