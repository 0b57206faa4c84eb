//! Cuts an update into messages of bounded size.

use std::mem;

use prost::Message;
use tidegate_proto::ir::v1::{Blob, PartKey, PartRef};
use tidegate_proto::snapshots::v1::{Opener, SnapshotInfo, Update};

/// Bytes of parts and blobs in one piece; a single larger blob travels alone.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// Collects an update piece by piece. Nothing is sent before the piece in front of it is full, so the
/// memory for one worker is one piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    piece: Update,
    bytes: usize,
}

impl Pieces {
    /// An empty update from `base_version` to `info`.
    pub(crate) fn new(info: SnapshotInfo, base_version: u64) -> Self {
        let piece = Update {
            info: Some(info),
            base_version,
            ..Update::default()
        };
        Self { piece, bytes: 0 }
    }

    /// Adds a part that is new or changed, with its bytes; returns a piece that became full before it.
    pub(crate) fn put(
        &mut self,
        part: PartRef,
        blob: Option<Blob>,
        opener: Option<Opener>,
    ) -> Option<Update> {
        let len = part.encoded_len() + blob.as_ref().map_or(0, Message::encoded_len);
        let full = self.make_room(len);
        self.piece.put.push(part);
        self.piece.blobs.extend(blob);
        self.piece.openers.extend(opener);
        full
    }

    /// Adds a part that is gone; returns a piece that became full before it.
    pub(crate) fn remove(&mut self, key: PartKey) -> Option<Update> {
        let full = self.make_room(key.encoded_len());
        self.piece.removed.push(key);
        full
    }

    /// The last piece.
    pub(crate) fn finish(self) -> Update {
        Update {
            last: true,
            ..self.piece
        }
    }

    fn make_room(&mut self, len: usize) -> Option<Update> {
        let full = self.bytes > 0 && self.bytes + len > PIECE_BYTES_MAX;
        let piece = full.then(|| {
            self.bytes = 0;
            let info = self.piece.info.clone();
            let base_version = self.piece.base_version;
            mem::replace(
                &mut self.piece,
                Update {
                    info,
                    base_version,
                    ..Update::default()
                },
            )
        });
        self.bytes += len;
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_and_together_hold_everything() {
        let mut pieces = Pieces::new(SnapshotInfo::default(), 3);
        let mut sent = vec![];
        for index in 0..10 {
            let part = PartRef {
                name: index.to_string(),
                ..PartRef::default()
            };
            let blob = Blob {
                content: vec![0; PIECE_BYTES_MAX * 3 / 10].into(),
                ..Blob::default()
            };
            sent.extend(pieces.put(part, Some(blob), None));
        }
        sent.extend(pieces.remove(PartKey::default()));
        sent.push(pieces.finish());
        assert_eq!(sent.iter().map(|piece| piece.put.len()).sum::<usize>(), 10);
        assert_eq!(
            sent.iter().map(|piece| piece.removed.len()).sum::<usize>(),
            1
        );
        assert!(
            sent.iter()
                .all(|piece| piece.encoded_len() < PIECE_BYTES_MAX + 1_000)
        );
        assert!(sent.iter().all(|piece| piece.base_version == 3));
        let last: Vec<bool> = sent.iter().map(|piece| piece.last).collect();
        assert_eq!(last.iter().filter(|last| **last).count(), 1);
        assert_eq!(last.last(), Some(&true));
    }
}
