//! One trial: a fault, an open, and whether what came of it is allowed.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use tidegate_store::{ObjectFilter, Store, StoreError};

use crate::chance::Chance;
use crate::damage::fault::{self, Fault};
use crate::damage::template::{self, Acknowledged, Kind, POOL};

/// A damaged directory.
#[derive(Debug)]
pub struct Damaged {
    /// Name of the kind that it is of.
    pub name: &'static str,
    /// The same.
    pub kind: Kind,
    /// Where it is.
    pub dir: PathBuf,
    /// What was done to it, in this order.
    pub faults: Vec<Fault>,
}

/// Copies a template into `work` and makes so many faults in it, all as the seed says.
///
/// # Errors
/// As the system says.
pub fn prepare(
    templates: &Path,
    (seed, faults): (u64, u8),
    work: &Path,
) -> anyhow::Result<Damaged> {
    let mut chance = Chance::new(seed);
    let (name, kind) = *chance.pick(&Kind::ALL).context("there are kinds")?;
    let dir = work.join("data");
    template::copy(&templates.join(name).join("now"), &dir)?;
    let earlier = templates.join(name).join("earlier");
    let inject = |_| fault::inject(&dir, &earlier, &mut chance);
    let faults = (0..faults).map(inject).collect::<Result<_, _>>()?;
    Ok(Damaged {
        name,
        kind,
        dir,
        faults,
    })
}

/// What came of an open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node has everything that it acknowledged, and goes on.
    Whole,
    /// The node stays out and says why.
    Refused(String),
    /// What must not be.
    Violation(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Refused(why) => write!(f, "refused {why}"),
            Self::Violation(why) => write!(f, "VIOLATION {why}"),
        }
    }
}

/// Opens a store on `dir` and judges: it must have exactly what a node of this kind acknowledged, also after it has
/// written more and was opened again, or refuse with a message that names a file and a way out.
pub async fn judge(dir: &Path, kind: Kind) -> Verdict {
    let mut expected = template::acknowledged(kind);
    for opened in [0, 1] {
        let store = match Store::open(template::options(dir)).await {
            Ok(store) => store,
            Err(error) if opened == 0 => return refusal(dir, &error),
            Err(error) => return violation(format!("it opened, but not again: {error}")),
        };
        if let Err(why) = compare(&store, &expected) {
            return violation(why);
        }
        let number = kind.writes() + opened;
        let proposed = template::propose(&store, template::write(&mut expected, number)).await;
        if let Err(error) = proposed {
            return violation(format!("it opened, but does not write: {error:#}"));
        }
        store.shutdown().await;
    }
    Verdict::Whole
}

fn refusal(dir: &Path, error: &StoreError) -> Verdict {
    let text = error.to_string();
    match error {
        StoreError::Damaged { path, .. } if path.starts_with(dir) && path != dir => {
            Verdict::Refused(text)
        }
        StoreError::Damaged { .. } => violation(format!("the message names no file: {text}")),
        _ => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            violation(format!("the message is not one of damage: {text}: {cause}"))
        }
    }
}

fn compare(store: &Store, expected: &Acknowledged) -> Result<(), String> {
    let (_, found) = store.objects(&ObjectFilter::default());
    let found: Vec<_> = found
        .iter()
        .map(|object| (object.key.name().to_string(), object.content.clone()))
        .collect();
    let wanted: Vec<(String, Bytes)> = expected.objects.clone().into_iter().collect();
    if found != wanted {
        let names = |objects: &[(String, Bytes)]| objects.len();
        return Err(format!(
            "silent loss: {} objects of {}, or others",
            names(&found),
            names(&wanted)
        ));
    }
    let head = store.head(POOL).map_or(0, |meta| meta.version);
    if head != expected.versions.len() as u64 {
        let wanted = expected.versions.len();
        return Err(format!("silent loss: version {head} of {wanted}"));
    }
    for (version, content) in &expected.versions {
        let manifest = store.manifest(POOL, *version);
        let manifest = manifest.ok_or_else(|| format!("silent loss: no version {version}"))?;
        let part = store.blob(&manifest[0].digest);
        let part = part.map_err(|error| format!("it opened without version {version}: {error}"))?;
        if part != content {
            return Err(format!("silent loss: version {version} has other bytes"));
        }
    }
    Ok(())
}

fn violation(why: String) -> Verdict {
    Verdict::Violation(why)
}
