//! The state as records, and back.

mod sources;

use std::sync::Arc;

use bytes::Bytes;
use tidegate_ir::Digest;
use tidegate_proto::raft::v1::Label;

use super::{Image, wire};
use crate::{
    blobs::Place,
    command::Outcome,
    history::{PartChange, SnapshotMeta, Version},
    key::StoredObject,
    level,
    log::{decode_membership, encode_membership, log_id, log_id_wire},
    marks::Marks,
    raft::StoredMembership,
    rollout::Rollout,
    state::StoredBlob,
    tombstones::Tombstones,
};
use wire::Kind;

/// Every record of an image but the last, in the order in which [`Reader`] takes them.
pub(super) fn records(image: &Image) -> impl Iterator<Item = wire::Record> {
    let state = &image.state;
    let start = Kind::Start(wire::Start {
        applied: image.applied.as_ref().map(log_id_wire),
        membership_at: image.membership.log_id().as_ref().map(log_id_wire),
        membership: Some(encode_membership(image.membership.membership())),
        revision: state.revision,
        tombstones_floor: Some(state.tombstones.floor),
        session_base: state.session_base,
        level: state.level,
    });
    let objects = state
        .objects
        .values()
        .map(|object| Kind::Object(object.to_proto()));
    let blobs = state
        .blobs
        .iter()
        .map(|(digest, blob)| Kind::Blob(blob_record(digest, blob)));
    let parts = state.pools.iter().flat_map(|(pool, history)| {
        history.head.iter().map(move |((kind, name), digest)| {
            let (pool, name) = (pool.to_string(), name.to_string());
            Kind::Part(wire::Part {
                pool,
                kind: *kind,
                name,
                digest: bytes_of(digest),
            })
        })
    });
    let versions = state
        .pools
        .values()
        .flat_map(|history| history.versions.iter().map(version_record));
    let marks = state
        .pools
        .iter()
        .map(|(pool, history)| Kind::Marks(marks_record(pool, &history.marks)));
    let requests = state.requests.iter().filter_map(|request| {
        let answer = state.answers.get(request)?;
        request_record(request, answer).map(Kind::Request)
    });
    let kinds = std::iter::once(start)
        .chain(objects)
        .chain(blobs)
        .chain(parts)
        .chain(versions)
        .chain(marks)
        .chain(requests)
        .chain(sources::records(state));
    kinds.map(|kind| wire::Record { kind: Some(kind) })
}

/// Builds an image from its records.
#[derive(Debug, Default)]
pub(super) struct Reader {
    image: Image,
    count: u64,
    stated: Option<u64>,
}

impl Reader {
    /// Takes the next record; an error is a sentence.
    pub(super) fn take(&mut self, record: wire::Record) -> Result<(), String> {
        if self.stated.is_some() {
            return Err("there is something after the end".to_owned());
        }
        let state = &mut self.image.state;
        match record
            .kind
            .ok_or("there is a record that this release does not know")?
        {
            Kind::End(count) => {
                self.stated = Some(count);
                return Ok(());
            }
            Kind::Start(start) => self.start(start)?,
            Kind::Object(stored) => {
                let object = stored.object.ok_or("an object is empty")?;
                let key: crate::ObjectKey =
                    object.key.clone().ok_or("an object has no key")?.into();
                let object = StoredObject::new(key.clone(), &object, stored.revision);
                sources::count(state, &object);
                state.objects.insert(key, Arc::new(object));
            }
            Kind::Blob(blob) => {
                let place = Place {
                    pack: blob.pack,
                    offset: blob.offset,
                    len: blob.len,
                };
                state.restore_blob(
                    digest(&blob.digest)?,
                    StoredBlob {
                        place,
                        uses: blob.uses,
                    },
                );
            }
            Kind::Part(part) => {
                let history = state.pools.entry(part.pool.as_str().into()).or_default();
                history.head.insert(
                    (part.kind, part.name.as_str().into()),
                    digest(&part.digest)?,
                );
            }
            Kind::Version(version) => {
                let pool: Arc<str> = version.pool.as_str().into();
                let version = read_version(pool.clone(), version)?;
                state.pools.entry(pool).or_default().push(version);
            }
            Kind::Marks(record) => {
                let history = state.pools.entry(record.pool.as_str().into()).or_default();
                history.marks = Arc::new(read_marks(record));
            }
            Kind::Request(request) => {
                let (key, answer) = read_request(request);
                state.answers.insert(key.clone(), answer);
                state.requests.push_back(key);
            }
            Kind::Source(record) => sources::read(state, record),
            Kind::BatchOutcome(record) => sources::read_outcome(state, record)?,
            Kind::HeldKey(record) => sources::read_held(state, record)?,
            Kind::Staged(record) => sources::read_staged(state, record)?,
            Kind::Tombstone(record) => {
                let key = record.key.ok_or("a deletion has no key")?.into();
                state.tombstones.push(record.revision, key);
            }
        }
        self.count += 1;
        Ok(())
    }

    /// The feature level of what comes, once its start was taken.
    pub(super) fn level(&self) -> u32 {
        self.image.state.level
    }

    /// The image, if it is whole.
    pub(super) fn finish(self) -> Result<Image, String> {
        match self.stated {
            Some(stated) if stated == self.count => Ok(self.image),
            Some(stated) => Err(format!("it has {} records, not {stated}", self.count)),
            None => Err("its end is missing".to_owned()),
        }
    }

    fn start(&mut self, start: wire::Start) -> Result<(), String> {
        let membership = decode_membership(start.membership.unwrap_or_default())?;
        let at = start.membership_at.as_ref().map(log_id);
        self.image.membership = StoredMembership::new(at, membership);
        self.image.applied = start.applied.as_ref().map(log_id);
        self.image.state.revision = start.revision;
        let floor = start.tombstones_floor.unwrap_or(start.revision);
        self.image.state.tombstones = Tombstones::starting_at(floor);
        self.image.state.session_base = start.session_base;
        self.image.state.level = match at {
            Some(_) => level::told(start.level),
            None => start.level,
        };
        Ok(())
    }
}

fn bytes_of(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

fn digest(bytes: &Bytes) -> Result<Digest, String> {
    Digest::try_from(bytes.as_ref()).map_err(|error| error.to_string())
}

fn blob_record(digest: &Digest, blob: &StoredBlob) -> wire::Blob {
    let Place { pack, offset, len } = blob.place;
    wire::Blob {
        digest: bytes_of(digest),
        pack,
        offset,
        len,
        uses: blob.uses,
    }
}

fn version_record(version: &Version) -> Kind {
    let meta = &version.meta;
    let change = |change: &PartChange| wire::Change {
        kind: change.kind,
        name: change.name.to_string(),
        before: change.before.as_ref().map(bytes_of),
        after: change.after.as_ref().map(bytes_of),
    };
    Kind::Version(wire::Version {
        pool: meta.pool.to_string(),
        version: meta.version,
        parent: meta.parent,
        digest: bytes_of(&meta.digest),
        revision: meta.revision,
        committed_at_unix_ms: meta.committed_at_unix_ms,
        cause: meta.cause.clone(),
        parts: meta.parts,
        changes: version.changes.iter().map(change).collect(),
        epoch: meta.epoch,
        restores: meta.restores,
    })
}

fn marks_record(pool: &str, marks: &Marks) -> wire::Marks {
    let label = |(name, version): (&Arc<str>, &u64)| Label {
        name: name.to_string(),
        version: *version,
    };
    wire::Marks {
        pool: pool.to_owned(),
        freeze: marks.freeze.clone().map(Into::into),
        unfrozen: marks.unfrozen.clone().map(Into::into),
        pins: marks.pins.iter().copied().collect(),
        labels: marks.labels.iter().map(label).collect(),
        rollout: marks.rollout.as_ref().map(rollout_record),
        next: marks.next.clone().map(Into::into),
        policy: marks.policy.clone().map(Into::into),
    }
}

fn rollout_record(rollout: &Rollout) -> wire::Rollout {
    wire::Rollout {
        id: rollout.id,
        stable: rollout.stable,
        canary: rollout.canary,
        steps: Some(rollout.steps.clone().into()),
        step: rollout.step,
        since_unix_ms: rollout.since_unix_ms,
        paused: rollout.paused,
    }
}

fn read_rollout(record: wire::Rollout) -> Rollout {
    Rollout {
        id: record.id,
        stable: record.stable,
        canary: record.canary,
        steps: record.steps.unwrap_or_default().into(),
        step: record.step,
        since_unix_ms: record.since_unix_ms,
        paused: record.paused,
    }
}

fn read_marks(record: wire::Marks) -> Marks {
    let label = |label: Label| (label.name.into(), label.version);
    Marks {
        freeze: record.freeze.map(Into::into),
        unfrozen: record.unfrozen.map(Into::into),
        pins: record.pins.into_iter().collect(),
        labels: record.labels.into_iter().map(label).collect(),
        rollout: record.rollout.map(read_rollout),
        next: record.next.map(Into::into),
        policy: record.policy.map(Into::into),
    }
}

fn read_version(pool: Arc<str>, version: wire::Version) -> Result<Version, String> {
    let change = |change: wire::Change| {
        let before = change.before.as_ref().map(digest).transpose()?;
        let after = change.after.as_ref().map(digest).transpose()?;
        Ok::<_, String>(PartChange {
            kind: change.kind,
            name: change.name.into(),
            before,
            after,
        })
    };
    let changes: Arc<[PartChange]> = version
        .changes
        .into_iter()
        .map(change)
        .collect::<Result<_, _>>()?;
    let meta = SnapshotMeta {
        pool,
        epoch: version.epoch,
        version: version.version,
        parent: version.parent,
        digest: digest(&version.digest)?,
        revision: version.revision,
        committed_at_unix_ms: version.committed_at_unix_ms,
        cause: version.cause,
        parts: version.parts,
        restores: version.restores,
    };
    Ok(Version {
        meta: Arc::new(meta),
        changes,
    })
}

fn request_record((source, id): &(String, String), answer: &Outcome) -> Option<wire::Request> {
    let (source, id) = (source.clone(), id.clone());
    let request = wire::Request {
        source,
        id,
        ..wire::Request::default()
    };
    match answer.clone() {
        Outcome::Applied { revision, changed } => Some(wire::Request {
            revision,
            changed,
            ..request
        }),
        Outcome::PreconditionFailed { index, key, found } => Some(wire::Request {
            key: Some(key.into()),
            index,
            found,
            ..request
        }),
        _ => None,
    }
}

fn read_request(request: wire::Request) -> ((String, String), Outcome) {
    let answer = match request.key {
        None => Outcome::Applied {
            revision: request.revision,
            changed: request.changed,
        },
        Some(key) => {
            let (index, found) = (request.index, request.found);
            Outcome::PreconditionFailed {
                index,
                key: key.into(),
                found,
            }
        }
    };
    ((request.source, request.id), answer)
}
