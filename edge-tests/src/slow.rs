//! Slow clients: slowhttptest opens thousands of connections and does nearly nothing on them, while good clients
//! want their answers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::floods::core;
use crate::floods::good::during;
use crate::floods::site::Site;
use crate::floods::table::{served_all, shown};
use crate::process::Process;
use crate::wire::pause;

/// How long each mode lasts, and the quiet time before the first.
const TIME: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(10);

/// Connections that are opened in a second.
const RATE: &str = "500";

/// The four modes: what each does, to which path, and its options. Two of them hold a connection to the backend for each of
/// theirs: with 9,500 the gateway stays below 20,000 descriptors.
const MODES: [(&str, &str, &[&str]); 4] = [
    (
        "-H: heads, a header every 5 s",
        "/large",
        &["-H", "-c", "10000", "-i", "5", "-x", "24"],
    ),
    (
        "-B: bodies, a few bytes every 5 s",
        "/upload",
        &["-B", "-c", "9500", "-i", "5", "-s", "8192", "-x", "10"],
    ),
    (
        "-X: reads 32 bytes every 5 s",
        "/large",
        &[
            "-X", "-c", "4000", "-n", "5", "-z", "32", "-w", "512", "-y", "1024", "-k", "3",
        ],
    ),
    (
        "-R: many ranges of one answer",
        "/large",
        &["-R", "-c", "10000", "-a", "5", "-b", "2000"],
    ),
];

/// Runs all modes, or those whose names contain a text, and prints what good clients noticed.
///
/// # Errors
/// When a good client was not served.
pub fn print(tidegate: &Path, only: &str) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let site = Site::start(tidegate, dir.path())?;
    core::leave_to_others();
    let (quiet, ()) = during(site.address(), || pause(QUIET));
    println!(
        "quiet: {} requests, p50 {}, p99 {}",
        quiet.times.len(),
        shown(quiet.quantile(0.5)),
        shown(quiet.quantile(0.99))
    );
    println!(
        "| mode | most connections open | memory before → most | good requests | failed | p50 | p99 |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut failed = quiet.failed;
    for (name, path, options) in MODES.into_iter().filter(|mode| mode.0.contains(only)) {
        failed.extend(row(&site, dir.path(), name, path, options)?);
    }
    served_all(&failed)
}

fn row(
    site: &Site,
    dir: &Path,
    name: &str,
    path: &str,
    options: &[&str],
) -> anyhow::Result<Vec<String>> {
    let log = dir.join("slowhttptest.log");
    let mut command = core::outside("slowhttptest");
    let seconds = TIME.as_secs().to_string();
    let url = format!("http://{}{path}", site.address());
    command.args(options).args([
        "-r", RATE, "-l", &seconds, "-u", &url, "-p", "10", "-v", "1",
    ]);
    let before = site.gateway.process.rss_kib();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(before));
    let (served, slow) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(site.gateway.process.rss_kib(), Ordering::Relaxed);
                pause(Duration::from_millis(50));
            }
        });
        let result = during(site.address(), || {
            let slow = Process::start(&mut command, &log);
            pause(TIME);
            slow.map(drop)
        });
        over.store(true, Ordering::Relaxed);
        result
    });
    slow?;
    println!(
        "| {name} | {} | {} → {} MiB | {} | {} | {} | {} |",
        most_connected(&std::fs::read_to_string(&log)?),
        before / 1024,
        most.load(Ordering::Relaxed) / 1024,
        served.times.len() + served.failed.len(),
        served.failed.len(),
        shown(served.quantile(0.5)),
        shown(served.quantile(0.99)),
    );
    Ok(served.failed)
}

/// The largest number that slowhttptest reported as connected. It colours each, even in a file: the number is what
/// is left of `\x1b[1;32m7015\x1b[0m` without the colours.
fn most_connected(log: &str) -> u64 {
    let numbers = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("connected:")?;
        rest.split('\x1b')
            .map(|piece| piece.split_once('m').map_or(piece, |(_, text)| text))
            .find_map(|text| text.trim().parse().ok())
    });
    numbers.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_no_part_of_a_number() {
        let log = "connected:           \x1b[1;32m2\x1b[0m\nconnected:           \x1b[1;32m7015\x1b[0m\n\
                   closed:              \x1b[1;32m9000\x1b[0m\nconnected: 12\n";
        assert_eq!(most_connected(log), 7015);
    }
}
