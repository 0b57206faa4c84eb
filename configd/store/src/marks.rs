//! What is said about a pool's versions: whether the pool is frozen, which versions are kept, and their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate_proto::raft::v1::{self, change_pool::Change};

use crate::{
    command::at_most,
    rollout::{Rollout, Steps},
};

/// Versions of a pool that are pinned, at most.
const PINS_MAX: usize = 64;
/// Labels of a pool, at most.
const LABELS_MAX: usize = 64;
/// Bytes of a label, at most.
const LABEL_BYTES_MAX: usize = 63;

/// Who did something, when and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Who, in words; at most 253 bytes.
    pub by: String,
    /// Why; at most 256 bytes.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_unix_ms: i64,
}

/// What is said about the versions of one pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Set while the pool takes only versions that are meant for a frozen pool.
    pub freeze: Option<Note>,
    /// Set between the end of a freeze and the next version.
    pub unfrozen: Option<Note>,
    /// Versions that are kept; at most 64.
    pub pins: BTreeSet<u64>,
    /// Names of versions, which are kept while they have one; at most 64.
    pub labels: BTreeMap<Arc<str>, u64>,
    /// The rollout that is under way.
    pub rollout: Option<Rollout>,
    /// How the next version alone is rolled out.
    pub next: Option<Steps>,
    /// How every version is rolled out; `None` for all workers at once.
    pub policy: Option<Steps>,
}

impl Marks {
    /// Whether a version is not to be forgotten.
    pub fn keeps(&self, version: u64) -> bool {
        let sent = |rollout: &Rollout| [rollout.stable, rollout.canary].contains(&version);
        self.pins.contains(&version)
            || self.labels.values().any(|named| *named == version)
            || self.rollout.as_ref().is_some_and(sent)
    }

    /// Whether the pool takes only versions that are meant for it.
    pub fn is_held(&self) -> bool {
        self.freeze.is_some() || self.rollout.is_some()
    }

    /// The names of a version, in order.
    pub fn labels_of(&self, version: u64) -> impl Iterator<Item = &Arc<str>> {
        let named = self.labels.iter().filter(move |(_, of)| **of == version);
        named.map(|(name, _)| name)
    }

    /// Takes in what a commit says besides its version.
    pub(crate) fn committed(&mut self, commit: &v1::CommitSnapshot) {
        self.unfrozen = None;
        if let Some(freeze) = &commit.freeze {
            self.freeze = Some(freeze.clone().into());
            (self.rollout, self.next) = (None, None);
        } else if let Some(steps) = &commit.rollout {
            self.rollout = Some(Rollout::begin(commit, steps));
            self.next = None;
        } else if let Some(rollout) = &mut self.rollout {
            rollout.committed(commit);
        }
    }

    /// The marks after a change; an error is a sentence.
    pub(crate) fn changed(
        &self,
        change: &v1::ChangePool,
        kept: impl Fn(u64) -> bool,
    ) -> Result<Self, String> {
        let known = |version: u64| match kept(version) {
            true => Ok(version),
            false => Err(format!("version {version} is not kept")),
        };
        let mut marks = self.clone();
        match change.change.clone() {
            Some(Change::Freeze(_) | Change::Unfreeze(_) | Change::NextRollout(_))
                if self.rollout.is_some() =>
            {
                return Err("a rollout is under way; promote or abort it first".to_owned());
            }
            Some(Change::NextRollout(steps)) => {
                let steps = Steps::from(steps);
                if marks.freeze.take().is_some() {
                    marks.unfrozen = Some(steps.note.clone());
                }
                marks.next = Some(steps);
            }
            Some(Change::RolloutPolicy(steps)) => {
                marks.policy = (!steps.steps.is_empty()).then(|| steps.into());
            }
            Some(Change::RolloutMove(to)) => {
                let rollout = marks.rollout.take().filter(|rollout| rollout.id == to.id);
                let rollout = rollout.ok_or("that rollout is not under way")?;
                marks.rollout = rollout.moved(&to)?;
            }
            Some(Change::Freeze(note)) => {
                (marks.freeze, marks.unfrozen) = (Some(note.into()), None);
            }
            Some(Change::Unfreeze(note)) => {
                let ended = marks.freeze.take().map(|_| note.into());
                marks.unfrozen = ended.or(marks.unfrozen);
            }
            Some(Change::Pin(version)) => {
                marks.pins.insert(known(version)?);
            }
            Some(Change::Unpin(version)) => {
                marks.pins.remove(&version);
            }
            Some(Change::Label(label)) => {
                let version = known(label.version)?;
                marks.labels.insert(label.name.into(), version);
            }
            Some(Change::Unlabel(name)) => {
                marks.labels.remove(name.as_str());
            }
            None => {}
        }
        if marks.pins.len() > PINS_MAX {
            return Err(format!("{PINS_MAX} versions are pinned already; unpin one"));
        }
        if marks.labels.len() > LABELS_MAX {
            return Err(format!(
                "there are {LABELS_MAX} labels already; take one away"
            ));
        }
        Ok(marks)
    }
}

/// Holds a change against the documented bounds; an error is a sentence.
pub(crate) fn check(change: &v1::ChangePool) -> Result<(), String> {
    at_most("pool", change.pool.len(), 1_024)?;
    match &change.change {
        Some(Change::Freeze(note) | Change::Unfreeze(note)) => check_note(note),
        Some(Change::Label(label)) => check_label(&label.name),
        Some(Change::Unlabel(name)) => check_label(name),
        Some(Change::NextRollout(steps)) if steps.steps.is_empty() => {
            Err("a rollout needs at least one step".to_owned())
        }
        Some(Change::NextRollout(steps) | Change::RolloutPolicy(steps)) => {
            crate::rollout::check(steps)
        }
        Some(Change::Pin(_) | Change::Unpin(_) | Change::RolloutMove(_)) => Ok(()),
        None => Err("the change is of a kind that this release does not know".to_owned()),
    }
}

/// Holds a note against the documented bounds; an error is a sentence.
pub(crate) fn check_note(note: &v1::Note) -> Result<(), String> {
    at_most("requested_by", note.by.len(), 253)?;
    at_most("reason", note.reason.len(), 256)
}

fn check_label(name: &str) -> Result<(), String> {
    at_most("the label", name.len(), LABEL_BYTES_MAX)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let number = name.chars().all(|c| c.is_ascii_digit());
    if !number && name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "label \"{name}\" must be letters, digits, \"-\", \"_\" and \".\", and more than digits, which name a version"
    ))
}

impl From<v1::Note> for Note {
    fn from(note: v1::Note) -> Self {
        Self {
            by: note.by,
            reason: note.reason,
            at_unix_ms: note.at_unix_ms,
        }
    }
}

impl From<Note> for v1::Note {
    fn from(note: Note) -> Self {
        Self {
            by: note.by,
            reason: note.reason,
            at_unix_ms: note.at_unix_ms,
        }
    }
}
