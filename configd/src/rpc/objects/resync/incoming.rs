//! A full set that is coming in: its first words, what of it waits to be put aside, and how much there was.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use tidegate_proto::objects::v1::{ApplyMode, Object, ResyncRequest, WaitFor};
use tidegate_proto::raft::v1::{CommitStage, KeptObject, StageObjects};
use tidegate_store::{Command, ObjectFilter, ObjectKey, Outcome, Store};
use tonic::Status;

use super::super::check;
use super::{error, progress};
use crate::error::Violation;
use crate::{clock, name};

/// Bytes that one entry of the log takes of a set.
const PIECE_LEN: usize = 1 << 20;

/// Changes that are named in a record, at most; it counts all of them.
const NAMED_MAX: usize = 20;

/// What the first message of a set says about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    pub(super) source: String,
    pub(super) reason: String,
    pub(super) session: u64,
    pub(super) sequence: u64,
    pub(super) mode: ApplyMode,
    pub(super) wait_for: WaitFor,
    pub(super) wait_timeout: Duration,
    delete_at_once: bool,
}

/// A full set so far.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) header: Header,
    /// What is put aside; 0 for nothing.
    pub(super) stage: u64,
    /// Objects that are put aside.
    offset: u64,
    /// Objects that are not put aside yet.
    objects: Vec<Object>,
    /// The same for those that are stored already.
    kept: Vec<KeptObject>,
    /// Bytes of both.
    len: usize,
    seen: BTreeSet<ObjectKey>,
    end: Option<u64>,
    /// Names of the first objects that differ, and how many do.
    changes: Vec<String>,
    differing: usize,
}

impl Header {
    pub(super) fn of(request: &ResyncRequest) -> Result<Self, Status> {
        let mut violations = check::source(&request.source);
        violations.extend(check::session(request.session, request.sequence));
        if !violations.is_empty() {
            return Err(error::invalid(&violations));
        }
        Ok(Self {
            source: request.source.clone(),
            reason: request.reason.clone(),
            session: request.session,
            sequence: request.sequence,
            mode: request.mode(),
            wait_for: request.wait_for(),
            wait_timeout: progress::timeout(request.wait_timeout_ms)?,
            delete_at_once: request.delete_at_once,
        })
    }
}

impl Incoming {
    /// The objects of a piece, if they are right.
    pub(super) fn check(&mut self, request: ResyncRequest) -> Result<Vec<Object>, Status> {
        if request.source != self.header.source {
            let description = format!("the stream began as source {}", self.header.source);
            return Err(error::invalid(&[Violation::new("source", description)]));
        }
        let violations = check::piece(&self.header.source, &request.objects, &mut self.seen);
        match violations.as_slice() {
            [] => Ok(request.objects),
            violations => Err(error::invalid(violations)),
        }
    }

    /// Hears the end of the set, after which nothing comes.
    pub(super) fn take_end(&mut self, request: &ResyncRequest) -> Result<(), Status> {
        if self.end.is_some() {
            let late = Violation::new("end", "the set goes on after its end");
            return Err(error::invalid(&[late]));
        }
        self.end = request.end.map(|end| end.objects);
        Ok(())
    }

    /// Whether what waits fills an entry.
    pub(super) fn is_full(&self) -> bool {
        self.len >= PIECE_LEN
    }

    pub(super) fn refuse_dry_run(&self) -> Result<(), Status> {
        if self.header.mode != ApplyMode::DryRun {
            return Ok(());
        }
        let text = format!("a dry run is for sets that differ by at most {PIECE_LEN} bytes");
        Err(error::too_large(text))
    }

    /// Takes an object: only its name where it is stored like that.
    pub(super) fn add(&mut self, store: &Store, object: Object) {
        let key = object.key.clone().unwrap_or_default();
        let stored = store.get(&key.clone().into());
        let revision = stored.and_then(|stored| {
            let same = stored.to_proto().object.as_ref() == Some(&object);
            same.then_some(stored.revision)
        });
        if let Some(revision) = revision {
            let bytes = key.group.len() + key.kind.len() + key.namespace.len() + key.name.len();
            self.len += bytes + 64;
            let key = Some(key);
            self.kept.push(KeptObject { key, revision });
            return;
        }
        self.differing += 1;
        if self.changes.len() < NAMED_MAX {
            self.changes.push(format!("put {}", name::of_wire(&key)));
        }
        self.len += object.encoded_len();
        self.objects.push(object);
    }

    /// What waits, as an entry that puts it aside.
    pub(super) fn take_piece(&mut self) -> Command {
        self.len = 0;
        Command::StageObjects(StageObjects {
            source: self.header.source.clone(),
            session: self.header.session,
            stage: self.stage,
            offset: self.offset,
            objects: std::mem::take(&mut self.objects),
            kept: std::mem::take(&mut self.kept),
        })
    }

    /// Takes in that a piece is put aside.
    pub(super) fn staged(&mut self, outcome: Outcome) -> Result<(), Status> {
        match outcome {
            Outcome::ObjectsStaged { stage, objects } => {
                (self.stage, self.offset) = (stage, objects);
                Ok(())
            }
            other => Err(error::not_stored(other)),
        }
    }

    /// Whether all of it came.
    pub(super) fn whole(&self) -> Result<(), Status> {
        let found = self.seen.len();
        match self.end {
            Some(stated) if stated == found as u64 => Ok(()),
            Some(stated) => Err(error::cut_off(format!(
                "the set has {found} objects, its end says {stated}; nothing was changed, send it again"
            ))),
            // A caller that gives up looks to the codec like one that has sent everything.
            None => Err(error::cut_off(format!(
                "the set broke off after {found} objects, without its end; nothing was changed, send it again"
            ))),
        }
    }

    /// What the set changes, in words. What a whole one lacks is deleted or held.
    pub(super) fn changes(&self, store: &Store, whole: bool) -> Vec<String> {
        let filter = ObjectFilter {
            source: self.header.source.clone(),
            ..ObjectFilter::default()
        };
        let mut changes = self.changes.clone();
        changes.resize(self.differing, String::new());
        if whole {
            let (_, stored) = store.objects(&filter);
            let lacking = stored
                .iter()
                .filter(|object| !self.seen.contains(&object.key));
            changes.extend(lacking.map(|object| format!("lack {}", object.key)));
        }
        changes
    }

    /// What swaps the set in.
    pub(super) fn into_commit(self) -> (Header, CommitStage) {
        let commit = CommitStage {
            source: self.header.source.clone(),
            stage: self.stage,
            objects: self.objects,
            kept: self.kept,
            count: self.seen.len() as u64,
            reason: self.header.reason.clone(),
            delete_at_once: self.header.delete_at_once,
            at_unix_ms: clock::unix_ms(),
        };
        (self.header, commit)
    }
}
