//! A bounded share of what `chaos-tests/run damage` does, in this process.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate_chaos_tests::damage::fault;
use tidegate_chaos_tests::damage::template;
use tidegate_chaos_tests::damage::trial::{self, Verdict};

const TRIALS: u64 = 100;
/// Trials at once; they wait for the disk most of their time.
const AT_ONCE: u64 = 8;
/// Far more than any open takes.
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn a_damaged_directory_opens_whole_or_is_refused_by_name() {
    let templates = tempfile::tempdir().unwrap();
    runtime()
        .block_on(template::make_all(templates.path()))
        .unwrap();
    // One fault or two.
    let some = |first| {
        let seeds = (first..TRIALS).step_by(AT_ONCE as usize);
        let templates = templates.path();
        move || seeds.filter(|seed| is_refused(templates, *seed)).count()
    };
    let refused: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(some(first))).collect();
        threads.into_iter().map(|some| some.join().unwrap()).sum()
    });
    assert!(refused > 10, "only {refused} faults were noticed");
}

fn is_refused(templates: &Path, seed: u64) -> bool {
    let work = tempfile::tempdir().unwrap();
    let damaged = trial::prepare(templates, (seed, faults(seed)), work.path()).unwrap();
    let (dir, kind) = (damaged.dir, damaged.kind);
    let fault = fault::in_words(&damaged.faults);
    let (done, verdict) = mpsc::sync_channel(1);
    // In a thread, because an open that hangs cannot be ended.
    thread::spawn(move || done.send(runtime().block_on(trial::judge(&dir, kind))));
    match verdict.recv_timeout(DEADLINE) {
        Ok(Verdict::Whole) => false,
        Ok(Verdict::Refused(_)) => true,
        other => panic!("seed {seed}: {fault}: {other:?}"),
    }
}

fn faults(seed: u64) -> u8 {
    if seed.is_multiple_of(2) { 1 } else { 2 }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}
