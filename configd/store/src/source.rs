//! Sources: who feeds objects, in which session, within which bounds, and what of it waits.

mod check;
mod policy;
mod refusal;
mod session;
mod stage;

use std::{collections::BTreeMap, sync::Arc};

pub use policy::{Policy, Quota};
pub use refusal::SourceRefusal;
pub use session::Session;

pub(crate) use check::{check_change, check_commit, check_open, check_stage, check_write};
pub(crate) use session::Admission;
pub(crate) use stage::{STAGE_ENTRIES_MAX, STAGES_BYTES_MAX, Stage};

use crate::key::ObjectKey;

/// What the store knows of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// How many objects it has.
    pub objects: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// The newest session; `None` where nobody has opened one, or where it was ended by a withdrawal.
    pub session: Option<Session>,
    /// Whether the session has to begin with a full set, because what is stored is of another incarnation or gone.
    pub resync_due: bool,
    /// When the last full set came, in milliseconds since 1970-01-01 UTC; 0 for never.
    pub resynced_at_unix_ms: i64,
    /// When its objects were withdrawn because it was silent; `None` where they were not, or came back.
    pub withdrawn_at_unix_ms: Option<i64>,
    /// What is wanted of it.
    pub policy: Policy,
    /// Deletions that wait to be confirmed.
    pub held: Option<Arc<Held>>,
    /// A full set that is under way.
    pub(crate) stage: Option<Arc<Stage>>,
}

/// Deletions of a full set that are not carried out before somebody confirms them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The log index of the full set.
    pub id: u64,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_unix_ms: i64,
    /// How many objects the source had before the full set.
    pub of: u64,
    /// What is to be deleted. An object that changes is no longer among it.
    pub keys: BTreeMap<ObjectKey, u64>,
}

impl Source {
    /// Bytes and objects of the full set that is under way, if one is.
    pub fn staged(&self) -> Option<(u64, u64)> {
        let stage = self.stage.as_ref()?;
        Some((stage.bytes(), stage.len()))
    }

    /// Whether nothing is known of it that a source which never was would not have.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Counts objects that come and go.
    pub(crate) fn count(&mut self, old: Option<usize>, new: Option<usize>) {
        if let Some(bytes) = old {
            self.objects -= 1;
            self.bytes -= bytes as u64;
        }
        if let Some(bytes) = new {
            self.objects += 1;
            self.bytes += bytes as u64;
        }
    }

    /// An object changed, so that its deletion does not wait any more.
    pub(crate) fn release(&mut self, key: &ObjectKey) {
        let Some(held) = &mut self.held else { return };
        if held.keys.contains_key(key) {
            let held = Arc::make_mut(held);
            held.keys.remove(key);
            if held.keys.is_empty() {
                self.held = None;
            }
        }
    }
}
