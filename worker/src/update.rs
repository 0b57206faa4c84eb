//! Updates from configd: gathered, checked, and turned into a snapshot.

mod pieces;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tidegate_ir::{Dangling, Digest, EncodedPart, PartKey, PartKind, SecretBytes, Snapshot, Words};
use tidegate_proto::ir::v1 as ir;
use tidegate_proto::snapshots::v1::{Opener, SnapshotId, SnapshotInfo, Update};
use tidegate_router::Problem;
use tidegate_runtime::seal::{self, OpenError};

pub(crate) use pieces::{Pieces, PiecesError};

/// Why a snapshot is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// It cannot be built upon what the worker has; a new subscription gets a whole one.
    #[error("version {version} changes version {base}, this worker has version {has}")]
    OtherBase { version: u64, base: u64, has: u64 },
    /// It is not newer than what the worker has.
    #[error("version {version} is not newer than version {has}")]
    NotNewer { version: u64, has: u64 },
    /// It cannot be served.
    #[error("the snapshot has {} problems, the first is: {}", .0.len(), first(.0))]
    Problems(Vec<PartProblem>),
}

/// What is wrong with a snapshot, and in which part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartProblem {
    /// The part, `None` where the whole is wrong.
    pub part: Option<PartKey>,
    /// One sentence with the cause.
    pub message: String,
}

/// The snapshot that an update makes of `current`: every blob agrees with its digest, the manifest with
/// the snapshot's, and every reference leads somewhere.
///
/// # Errors
/// When anything of that does not hold.
pub(crate) fn snapshot(
    update: Update,
    current: Option<(&SnapshotId, &Snapshot)>,
) -> Result<Snapshot, Refusal> {
    let id = id_of(&update);
    let none = SnapshotId::default();
    let (has, current) = current.map_or((&none, None), |(id, snapshot)| (id, Some(snapshot)));
    // A chain that began anew is newer than the one that was lost, whatever the versions.
    if (id.epoch, id.version) <= (has.epoch, has.version) {
        return Err(Refusal::NotNewer {
            version: id.version,
            has: has.version,
        });
    }
    let base = update.base_version;
    if base != 0 && (base, id.epoch) != (has.version, has.epoch) {
        return Err(Refusal::OtherBase {
            version: id.version,
            base,
            has: has.version,
        });
    }
    let none = Snapshot::new(id.pool.as_str(), 0, []);
    let before = current.filter(|_| base != 0).unwrap_or(&none);
    let mut problems = Vec::new();
    let mut removed = Vec::with_capacity(update.removed.len());
    for key in &update.removed {
        match key_of(key.kind, &key.name) {
            Ok(key) => removed.push(key),
            Err(problem) => problems.push(problem),
        }
    }
    let put = put(update, current, &mut problems);
    if !problems.is_empty() {
        problems.truncate(100);
        return Err(Refusal::Problems(problems));
    }
    let snapshot = before.next(id.version, &removed, put.iter().cloned());
    let snapshot = snapshot.of_epoch(id.epoch);
    check_digest(&snapshot, &id)?;
    // What the worker serves already was checked when it came.
    let checked = match removed.is_empty() {
        true => snapshot.check_references_of(put.iter()),
        false => snapshot.check_closed(),
    };
    checked.map_err(refused)?;
    Ok(snapshot)
}

/// The update that makes the snapshot with that id out of nothing.
pub(crate) fn whole(snapshot: &Snapshot, id: SnapshotId) -> Update {
    let put = snapshot.parts().map(|part| ir::PartRef {
        kind: part.key().kind.number(),
        name: part.key().name.to_string(),
        digest: digest_bytes(part.digest()),
    });
    let blobs = snapshot
        .parts()
        .map(|part| (part.digest(), part.bytes().clone()));
    let blobs: BTreeMap<Digest, Bytes> = blobs.collect();
    let openers = snapshot.parts().filter_map(|part| {
        Some(Opener {
            digest: digest_bytes(part.digest()),
            key: part.opener()?.expose().clone(),
        })
    });
    let blobs = blobs.into_iter();
    Update {
        info: Some(SnapshotInfo {
            id: Some(id),
            ..SnapshotInfo::default()
        }),
        base_version: 0,
        put: put.collect(),
        removed: vec![],
        blobs: blobs
            .map(|(d, content)| ir::Blob {
                digest: digest_bytes(d),
                content,
            })
            .collect(),
        last: true,
        openers: openers.collect(),
    }
}

/// The snapshot that an update makes.
pub(crate) fn id_of(update: &Update) -> SnapshotId {
    update
        .info
        .as_ref()
        .and_then(|info| info.id.clone())
        .unwrap_or_default()
}

impl From<Problem> for PartProblem {
    fn from(problem: Problem) -> Self {
        Self {
            part: Some(problem.part),
            message: problem.message,
        }
    }
}

impl PartProblem {
    pub(crate) fn of_whole(message: impl Into<String>) -> Self {
        Self {
            part: None,
            message: message.into(),
        }
    }
}

/// The parts that an update brings, with the bytes that it has or that are known.
fn put(
    update: Update,
    current: Option<&Snapshot>,
    problems: &mut Vec<PartProblem>,
) -> Vec<EncodedPart> {
    let openers = update.openers.into_iter();
    let openers: HashMap<Bytes, Bytes> =
        openers.map(|opener| (opener.digest, opener.key)).collect();
    let mut blobs: HashMap<Bytes, Bytes> = HashMap::with_capacity(update.blobs.len());
    for blob in update.blobs {
        if Digest::of(&blob.content).as_bytes()[..] == blob.digest[..] {
            blobs.insert(blob.digest, blob.content);
        } else {
            let named = hex(&blob.digest);
            problems.push(PartProblem::of_whole(format!(
                "the blob named {named} has other bytes"
            )));
        }
    }
    let mut parts = Vec::with_capacity(update.put.len());
    let mut words = Words::default();
    for part in &update.put {
        let decoded = key_of(part.kind, &part.name).and_then(|key| {
            let known = current.and_then(|current| current.get(&key));
            let known = known.filter(|known| known.digest().as_bytes()[..] == part.digest[..]);
            match (known, blobs.get(&part.digest)) {
                (Some(known), _) => Ok(known.clone()),
                (None, Some(content)) => {
                    let opener = openers.get(&part.digest);
                    decode(key, content.clone(), opener)
                }
                (None, None) => Err(PartProblem {
                    message: format!("its bytes, {}, were not sent", hex(&part.digest)),
                    part: Some(key),
                }),
            }
        });
        match decoded {
            Ok(part) => parts.push(part.sharing(&mut words)),
            Err(problem) => problems.push(problem),
        }
    }
    parts
}

fn decode(
    key: PartKey,
    content: Bytes,
    opener: Option<&Bytes>,
) -> Result<EncodedPart, PartProblem> {
    let problem = |message: String| PartProblem {
        part: Some(key.clone()),
        message,
    };
    let decoded = if seal::is_sealed(&content) {
        let opened = open(&content, opener).map_err(|error| problem(error.to_string()))?;
        let secret = SecretBytes::new(opener.cloned().unwrap_or_default());
        EncodedPart::decode(key.kind, opened).map(|part| part.into_sealed(content, secret))
    } else {
        EncodedPart::decode(key.kind, content)
    };
    let part = decoded.map_err(|error| problem(error.to_string()))?;
    if *part.key() != key {
        let message = format!("its bytes are those of {}", part.key());
        return Err(PartProblem {
            part: Some(key),
            message,
        });
    }
    Ok(part)
}

fn open(sealed: &Bytes, opener: Option<&Bytes>) -> Result<Bytes, OpenError> {
    let opener = opener.map(Bytes::as_ref).unwrap_or_default();
    seal::Opener::new(opener)?.open(sealed).map(Bytes::from)
}

fn check_digest(snapshot: &Snapshot, id: &SnapshotId) -> Result<(), Refusal> {
    let digest = snapshot.digest();
    if digest.as_bytes()[..] != id.digest[..] {
        let message = format!("the manifest's digest is {digest}, not {}", hex(&id.digest));
        return Err(Refusal::Problems(vec![PartProblem::of_whole(message)]));
    }
    Ok(())
}

fn refused(dangling: Vec<Dangling>) -> Refusal {
    let problem = |dangling: Dangling| PartProblem {
        message: format!(
            "it refers to {}, which the snapshot does not have",
            dangling.to
        ),
        part: Some(dangling.from),
    };
    Refusal::Problems(dangling.into_iter().map(problem).collect())
}

fn key_of(kind: i32, name: &str) -> Result<PartKey, PartProblem> {
    PartKind::from_number(kind)
        .map(|kind| PartKey::new(kind, name))
        .ok_or_else(|| PartProblem::of_whole(format!("part {name} is of the unknown kind {kind}")))
}

fn digest_bytes(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    match Digest::try_from(bytes) {
        Ok(digest) => digest.short(),
        Err(error) => error.to_string(),
    }
}

fn first(problems: &[PartProblem]) -> String {
    let Some(first) = problems.first() else {
        return "unknown".to_owned();
    };
    match &first.part {
        Some(part) => format!("{part}: {}", first.message),
        None => first.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    /// A snapshot with one private key, sealed, and its id.
    fn sealed() -> (Snapshot, SnapshotId) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), MASTER).expect("a file");
        let keys = seal::SealKeys::load(file.path(), None).expect("a key");
        let key = tidegate_ir::PrivateKey {
            name: "k".into(),
            der: SecretBytes::new(&b"hunter2"[..]),
        };
        let part = EncodedPart::encode(tidegate_ir::Part::PrivateKey(key));
        let bytes = Bytes::from(keys.seal(part.bytes()));
        let opener = keys.opener(&bytes).expect("it is sealed");
        let opener = SecretBytes::new(opener.expose().to_vec());
        let snapshot = Snapshot::new("p", 1, [part.into_sealed(bytes, opener)]);
        let id = SnapshotId {
            pool: "p".to_owned(),
            version: 1,
            epoch: 0,
            digest: digest_bytes(snapshot.digest()),
        };
        (snapshot, id)
    }

    #[test]
    fn a_sealed_key_is_opened_and_named_by_its_sealed_bytes() {
        let (sent, id) = sealed();
        let update = whole(&sent, id);
        assert!(
            !update.blobs[0]
                .content
                .windows(7)
                .any(|bytes| bytes == b"hunter2")
        );
        let got = snapshot(update, None).expect("it can be opened");
        assert_eq!(got.digest(), sent.digest());
        let part = got.parts().next().expect("a part");
        let tidegate_ir::Part::PrivateKey(key) = &**part.part() else {
            panic!("{part:?}");
        };
        assert_eq!(key.der.expose().as_ref(), b"hunter2");
    }

    #[test]
    fn a_sealed_key_without_its_opener_is_a_problem_of_that_part() {
        for key in [&b""[..], &[7; 32]] {
            let (sent, id) = sealed();
            let mut update = whole(&sent, id);
            update.openers[0].key = Bytes::copy_from_slice(key);
            let Err(Refusal::Problems(problems)) = snapshot(update, None) else {
                panic!("it cannot be opened");
            };
            assert_eq!(problems[0].part.as_ref().map(|part| &*part.name), Some("k"));
        }
    }
}
