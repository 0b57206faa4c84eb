//! A backup: the state image and the packs that it names, as one file of checksummed frames.
//!
//! The file is a magic, then frames of `length | CRC-32C | piece`, the pieces being those in which an image travels
//! between nodes. Without the last piece it is not whole.

mod read;

use std::{fs, io, path::PathBuf};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tidegate_proto::raft::v1;

use crate::{
    StoreError,
    blobs::pack_path,
    image::{Image, ImageFile, Images},
    node::{Node, stopped},
    peers::pieces,
};

pub use read::restore;

/// The first bytes of the file.
const MAGIC: &[u8; 8] = b"tgbackup";
/// A frame, at most: a chunk with its framing.
const FRAME_BYTES_MAX: usize = 2 << 20;
/// Times that packs are gathered, when some are released meanwhile.
const ATTEMPTS: u32 = 5;

/// The frames of a backup of what a node has applied. One that ends without its last frame is not whole.
pub(crate) async fn frames(
    node: std::sync::Arc<Node>,
) -> Result<impl Stream<Item = Bytes> + Send + 'static, StoreError> {
    let identity = node.directory.identity.clone();
    let levels = node.views.levels.clone();
    let kept = tokio::task::spawn_blocking(move || Kept::gather(&node));
    let kept = kept.await.map_err(stopped)??;
    let start = v1::ImageStart {
        envelope: Some(v1::Envelope {
            cluster_id: identity.cluster_id,
            epoch: identity.epoch,
            from: identity.node_id,
            to: 0,
            level: levels.reached(),
            highest_level: levels.highest,
        }),
        ballot: None,
    };
    let pieces = pieces(start, kept.image.clone(), kept.dir.clone());
    let magic = futures_util::stream::once(async { Bytes::from_static(MAGIC) });
    let framed = pieces.map(move |piece| {
        // What was gathered is there until the last piece has been read.
        let _kept = &kept;
        frame(&piece)
    });
    Ok(magic.chain(framed))
}

fn frame(piece: &v1::InstallImageRequest) -> Bytes {
    let bytes = piece.encode_to_vec();
    let len = u32::try_from(bytes.len()).expect("a piece is at most 2 MiB");
    let mut frame = BytesMut::with_capacity(bytes.len() + 8);
    frame.put_u32(len);
    frame.put_u32(crc32c::crc32c(&bytes));
    frame.put_slice(&bytes);
    frame.freeze()
}

/// An image and links to the packs that it names, so that none is released before it is read.
struct Kept {
    dir: PathBuf,
    image: ImageFile,
}

impl Kept {
    fn gather(node: &Node) -> Result<Self, StoreError> {
        let dir = node.directory.path.join("backup");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &dir)(error));
            }
            _ => fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?,
        }
        for _ in 0..ATTEMPTS {
            let image: Image = node.views.read().clone();
            if link_packs(node, &image, &dir)? {
                let image = Images::open(dir.clone())?.write(&image)?;
                return Ok(Self { dir, image });
            }
        }
        Err(StoreError::NotWritten {
            reason: "parts were released as fast as they were gathered; try again".to_owned(),
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // What is left goes with the next backup.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether all of them were still there.
fn link_packs(node: &Node, image: &Image, dir: &std::path::Path) -> Result<bool, StoreError> {
    for pack in image.state.packs() {
        let (from, to) = (
            pack_path(node.views.blobs.dir(), pack),
            pack_path(dir, pack),
        );
        match fs::hard_link(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("link", from)(error)),
        }
    }
    Ok(true)
}
