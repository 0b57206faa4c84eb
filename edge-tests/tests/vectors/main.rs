//! Each file in `tests/http1` has vectors about one subject: the bytes that a client sends, and what must come
//! of them by the RFCs, at the client and at the backend. They run over real sockets.

mod case;
mod multiplexed;
mod play;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use libtest_mimic::{Arguments, Failed, Trial};
use tidegate_edge_tests::backend::Backend;
use tidegate_edge_tests::world::World;
use tidegate_worker::Limits;

use crate::case::{CaseFile, Vector};
use crate::play::Lanes;

/// Vectors at a time: some of them wait.
const LANES: usize = 8;

/// Vectors that the files must have at least: a file that is not read would be missed by nobody.
const VECTORS_MIN: usize = 300;

/// The same of HTTP/2.
const HTTP2_VECTORS_MIN: usize = 40;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(LANES);
    let vectors = vectors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http1"))?;
    let count = vectors.len();
    let lanes = if arguments.list { None } else { Some(lanes()?) };
    let mut trials = vec![Trial::test("there_are_enough_vectors", move || {
        if count < VECTORS_MIN {
            return Err(Failed::from(format!(
                "{count} vectors, wanted {VECTORS_MIN}"
            )));
        }
        Ok(())
    })];
    let world = lanes.as_ref().map(|(world, _)| world);
    for (name, vector) in vectors {
        let lanes = lanes.as_ref().map(|(_, lanes)| lanes.clone());
        trials.push(Trial::test(name, move || run(&vector, lanes.as_deref())));
    }
    let http2 = multiplexed::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2"))?;
    let http2_count = http2.len();
    trials.push(Trial::test(
        "there_are_enough_vectors_of_http2",
        move || {
            if http2_count < HTTP2_VECTORS_MIN {
                return Err(Failed::from(format!(
                    "{http2_count} vectors, wanted {HTTP2_VECTORS_MIN}"
                )));
            }
            Ok(())
        },
    ));
    for (name, vector) in http2 {
        let lanes = lanes.as_ref().map(|(_, lanes)| lanes.clone());
        trials.push(Trial::test(name, move || {
            let lanes = lanes.as_deref().ok_or("there is no gateway")?;
            let played = lanes.hold(|lane| multiplexed::play(&vector, lane));
            let rfc = vector.rfc.as_deref().unwrap_or_default();
            played.map_err(|error| Failed::from(format!("{rfc}: {error:#}")))
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // It lives until here.
    let _ = world;
    Ok(conclusion.exit_code())
}

fn run(vector: &Vector, lanes: Option<&Lanes>) -> Result<(), Failed> {
    let lanes = lanes.ok_or("there is no gateway")?;
    lanes
        .play(vector)
        .map_err(|error| Failed::from(format!("{}: {error:#}", vector.rfc)))
}

fn lanes() -> anyhow::Result<(World, Arc<Lanes>)> {
    let backends: Vec<_> = (0..LANES)
        .map(|_| Backend::start())
        .collect::<Result<_, _>>()?;
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let world = World::start(&addresses, limits())?;
    let lanes = world.ports.iter().copied().zip(backends).collect();
    Ok((world, Arc::new(Lanes::new(lanes))))
}

/// The defaults, where a test would not wait or send too long for them.
fn limits() -> Limits {
    Limits {
        request_body_bytes_max: Some(100_000),
        body_pace_period: Duration::from_secs(2),
        header_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// The vectors of all files, with names.
fn vectors(folder: &Path) -> anyhow::Result<Vec<(String, Vector)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut vectors = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let cases: CaseFile =
            serde_saphyr::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let subject = file.file_stem().unwrap_or_default().to_string_lossy();
        for (name, vector) in cases.vectors() {
            vectors.push((format!("{subject}/{name}"), vector));
        }
    }
    Ok(vectors)
}
