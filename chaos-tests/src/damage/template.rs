//! Data directories as a node leaves them, and what it had acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tidegate_proto::ir::v1::{Blob, PartRef};
use tidegate_proto::objects::v1::{Object, ObjectKey, Operation, operation};
use tidegate_proto::raft::v1::{CommitSnapshot, PutObjects};
use tidegate_store::{Command, Digest, OpenOptions, Outcome, Store};

/// The pool whose versions are committed.
pub const POOL: &str = "pool";

/// How a node ended, and how much it had written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A few entries, no image yet; stopped.
    Young,
    /// Images, a purged log; stopped.
    Stopped,
    /// Images, a purged log; killed.
    Killed,
    /// The same with a log that has filled and freed many segments.
    Grown,
}

impl Kind {
    /// Every kind, by its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("young", Self::Young),
        ("stopped", Self::Stopped),
        ("killed", Self::Killed),
        ("grown", Self::Grown),
    ];

    /// Objects, and as many versions, that it has acknowledged.
    pub(super) fn writes(self) -> u32 {
        match self {
            Self::Young => 6,
            Self::Stopped | Self::Killed => 45,
            Self::Grown => 400,
        }
    }
}

/// Everything that was acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Content by name.
    pub objects: BTreeMap<String, Bytes>,
    /// The bytes of each version's one part.
    pub versions: BTreeMap<u64, Bytes>,
}

/// How the stores of the trials are opened: an image every 15 entries and small files of the log, so that images, purges and
/// several segments are among the files.
#[must_use]
pub fn options(dir: &Path) -> OpenOptions {
    let mut options = OpenOptions::new(dir);
    options.image_every = 15;
    options.segment_bytes = 64 << 10;
    options.free_bytes_min = 0;
    options
}

/// What a node of this kind has acknowledged.
#[must_use]
pub fn acknowledged(kind: Kind) -> Acknowledged {
    let mut all = Acknowledged::default();
    for number in 0..kind.writes() {
        write(&mut all, number);
    }
    all
}

/// The commands of one write, noted as acknowledged: an object, and a version.
pub fn write(all: &mut Acknowledged, number: u32) -> [Command; 2] {
    let name = format!("{:04}", number % 30);
    let operation = if number % 7 == 6 {
        all.objects.remove(&name);
        operation::Operation::Delete(key(&name))
    } else {
        // Some are larger than a page of the log.
        let times = if number.is_multiple_of(5) { 6_000 } else { 60 };
        let content = Bytes::from(format!("{number:04}").repeat(times));
        all.objects.insert(name.clone(), content.clone());
        operation::Operation::Put(Object {
            key: Some(key(&name)),
            content,
            ..Object::default()
        })
    };
    let parent = all.versions.len() as u64;
    let part = Bytes::from(format!("version {} ", parent + 1).repeat(40));
    all.versions.insert(parent + 1, part.clone());
    [put(operation), commit(parent, part)]
}

/// Makes a directory of every kind below `templates`, with what it was some time before its end.
///
/// # Errors
/// When a store does not do what it must without any damage.
pub async fn make_all(templates: &Path) -> anyhow::Result<()> {
    for (name, kind) in Kind::ALL {
        let dir = templates.join(name);
        make(kind, &dir.join("now"), &dir.join("earlier")).await?;
    }
    Ok(())
}

/// Makes a directory of this kind at `to`, and what it was some time before at `earlier`.
async fn make(kind: Kind, to: &Path, earlier: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(options(dir.path())).await?;
    let mut all = Acknowledged::default();
    for number in 0..kind.writes() {
        propose(&store, write(&mut all, number)).await?;
        if number == kind.writes() * 4 / 5 {
            copy(dir.path(), earlier)?;
        }
    }
    if matches!(kind, Kind::Killed | Kind::Grown) {
        copy(dir.path(), to)?;
        leave_pieces(to)?;
        store.shutdown().await;
        return Ok(());
    }
    store.shutdown().await;
    drop(store);
    copy(dir.path(), to)
}

/// Has a store carry out commands.
///
/// # Errors
/// When it does not.
pub async fn propose(store: &Store, commands: [Command; 2]) -> anyhow::Result<()> {
    for command in commands {
        let outcome = store.propose(command).await?;
        let carried_out = matches!(outcome, Outcome::Applied { .. } | Outcome::Committed { .. });
        ensure!(carried_out, "the store answers {outcome}");
    }
    Ok(())
}

/// What a node leaves that was killed while it took an image in or sent a backup.
fn leave_pieces(dir: &Path) -> anyhow::Result<()> {
    for name in [
        "incoming/image",
        "incoming/0000000000000003.pack",
        "backup/0000000000000003.pack",
    ] {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, "half of it")?;
    }
    Ok(())
}

/// Copies a folder with everything in it.
///
/// # Errors
/// As the system says.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if let Err(error) = fs::copy(entry.path(), &to)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // A running store removes files; one that is gone would be gone after a kill as well.
            return Err(error.into());
        }
    }
    Ok(())
}

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        source: "files".to_owned(),
        kind: "Service".to_owned(),
        name: name.to_owned(),
        ..ObjectKey::default()
    }
}

fn put(operation: operation::Operation) -> Command {
    Command::PutObjects(PutObjects {
        source: "files".to_owned(),
        operations: vec![Operation {
            operation: Some(operation),
            precondition: None,
        }],
        ..PutObjects::default()
    })
}

fn commit(parent: u64, content: Bytes) -> Command {
    let digest = Bytes::copy_from_slice(Digest::of(&content).as_bytes());
    Command::CommitSnapshot(CommitSnapshot {
        pool: POOL.to_owned(),
        parent,
        digest: digest.clone(),
        put: vec![PartRef {
            kind: 2,
            name: "a".to_owned(),
            digest: digest.clone(),
        }],
        blobs: vec![Blob { digest, content }],
        ..CommitSnapshot::default()
    })
}
