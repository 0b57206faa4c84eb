//! A backup becomes the data directory of the first node of a new epoch.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use futures_util::stream;
use openraft::{impls::leader_id_adv::LeaderId, storage::RaftLogStorage as _};
use prost::Message as _;
use tidegate_proto::raft::v1::{self, install_image_request::Piece};
use tonic::Status;

use super::{FRAME_BYTES_MAX, MAGIC};
use crate::{
    StoreError,
    blobs::Blobs,
    directory::{Claim, FIRST_NODE_ID, Identity, sync_dir},
    disk::LogFiles,
    image::{Image, ImageFile, Images},
    log::{Log, Past},
    member::Member,
    node::stopped,
    options::OpenOptions,
    peers::{Received, receive},
    raft::{LogId, Membership, StoredMembership, Vote},
};

/// Makes an empty directory the data directory of a node that has what the backup holds and is alone in the next epoch
/// of its cluster. `now_unix_ms` dates the chains of snapshots, so that workers take them for newer ones.
///
/// # Errors
///
/// [`StoreError::InUse`], [`StoreError::NotEmpty`], [`StoreError::Damaged`] where the backup is not whole, or a failed
/// file operation.
pub async fn restore(backup: &Path, dir: &Path, now_unix_ms: i64) -> Result<(), StoreError> {
    let mut claim = Claim::take(dir)?;
    if claim.identity.is_some() {
        return Err(StoreError::NotEmpty {
            dir: dir.to_owned(),
        });
    }
    let damaged = |what: String| StoreError::damaged(backup, what);
    let mut frames = Frames::open(backup)?;
    let Some(Piece::Start(start)) = frames.next()?.and_then(|first| first.piece) else {
        return Err(damaged("its first piece is no start".to_owned()));
    };
    let from = start.envelope.unwrap_or_default();
    let incoming = dir.join("incoming");
    let pieces = stream::iter(std::iter::from_fn(|| {
        let next = frames
            .next()
            .map_err(|error| Status::data_loss(error.to_string()));
        next.transpose()
    }));
    let received = receive(pieces, &incoming).await;
    let received = received.map_err(|status| damaged(status.message().to_owned()))?;
    let applied = place(received, dir, now_unix_ms).map_err(|error| match error {
        // It lies in the new directory, but it is the backup that is not right.
        StoreError::Damaged { what, .. } => damaged(what),
        other => other,
    })?;
    begin_log(dir, applied).await?;
    std::fs::remove_dir_all(&incoming).map_err(StoreError::io("remove", &incoming))?;
    sync_dir(dir)?;
    claim.settle(Identity::new(
        FIRST_NODE_ID,
        from.cluster_id,
        from.epoch + 1,
    ))?;
    claim.into_directory()?.note_log()
}

/// Puts image and packs where they belong, as the state of a cluster of one. The last entry that it contains.
fn place(received: Received, dir: &Path, now_unix_ms: i64) -> Result<LogId, StoreError> {
    let file = ImageFile {
        path: received.image,
    };
    let mut image: Image = file.read()?;
    let applied = image.applied.ok_or_else(|| {
        StoreError::damaged(&file.path, "it is the backup of a node without a log")
    })?;
    let alone = Membership::new(
        vec![[FIRST_NODE_ID].into()],
        [(FIRST_NODE_ID, Member::default())]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>(),
    );
    image.membership = StoredMembership::new(Some(applied), alone.map_err(stopped)?);
    image.state.begin_epoch(now_unix_ms);
    let blobs = Blobs::open(dir.join("blobs"))?;
    for (pack, path) in &received.packs {
        blobs.take(*pack, path)?;
    }
    blobs.sync()?;
    Images::open(dir.join("images"))?.write(&image)?;
    Ok(applied)
}

/// A log that begins after the image, with a vote that is not older than its entries.
async fn begin_log(dir: &Path, applied: LogId) -> Result<(), StoreError> {
    let past = Past {
        is_new: true,
        received: None,
    };
    let segment_bytes = OpenOptions::new(dir).segment_bytes;
    let files = LogFiles::open(dir)?;
    let mut log = Log::open(files, segment_bytes, past, &dir.join("log"))?;
    let vote = Vote {
        leader_id: LeaderId {
            term: applied.leader_id.term,
            node_id: FIRST_NODE_ID.max(applied.leader_id.node_id),
        },
        committed: false,
    };
    log.save_vote(&vote).await.map_err(stopped)?;
    log.purge(applied).await.map_err(stopped)?;
    log.close().await;
    Ok(())
}

/// The frames of a file, one after the other.
struct Frames<'a> {
    path: &'a Path,
    input: BufReader<File>,
}

impl<'a> Frames<'a> {
    fn open(path: &'a Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let mut frames = Self {
            path,
            input: BufReader::new(file),
        };
        let mut magic = [0; 8];
        match frames.input.read_exact(&mut magic) {
            Ok(()) if &magic == MAGIC => Ok(frames),
            _ => Err(StoreError::damaged(path, "it does not begin like a backup")),
        }
    }

    fn next(&mut self) -> Result<Option<v1::InstallImageRequest>, StoreError> {
        let damaged = |what: &str| StoreError::damaged(self.path, what);
        let mut header = [0; 8];
        match self.input.read(&mut header[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(StoreError::io("read", self.path)(error)),
        }
        let cut = |_| damaged("it ends within a frame");
        self.input.read_exact(&mut header[1..]).map_err(cut)?;
        let number = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (len, crc) = (number(0) as usize, number(4));
        if len > FRAME_BYTES_MAX {
            return Err(damaged("a frame states more bytes than it may have"));
        }
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes).map_err(cut)?;
        if crc32c::crc32c(&bytes) != crc {
            return Err(damaged("a frame has a wrong checksum"));
        }
        let piece = v1::InstallImageRequest::decode(bytes.as_slice());
        piece.map(Some).map_err(|error| damaged(&error.to_string()))
    }
}
