//! The pieces of an update, gathered within bounds.

use prost::Message as _;
use tidegate_proto::snapshots::v1::Update;

use crate::limits::Limits;

/// Gathers the pieces of one update at a time.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    gathered: Option<Update>,
    bytes: usize,
}

/// Why pieces do not make an update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PiecesError {
    #[error("a piece of an update does not say to which snapshot it belongs")]
    NoId,
    #[error("the update has more than {max} bytes")]
    TooManyBytes { max: usize },
    #[error("the update has more than {max} parts")]
    TooManyParts { max: usize },
}

impl Pieces {
    /// Adds a piece; returns the update when it was the last one. A piece of another version starts over.
    ///
    /// # Errors
    /// When the update is larger than the limits; its pieces are dropped.
    pub(crate) fn add(
        &mut self,
        piece: Update,
        limits: &Limits,
    ) -> Result<Option<Update>, PiecesError> {
        let id = piece
            .info
            .as_ref()
            .and_then(|info| info.id.clone())
            .ok_or(PiecesError::NoId)?;
        let same =
            |gathered: &Update| gathered.info.as_ref().and_then(|i| i.id.as_ref()) == Some(&id);
        if !self.gathered.as_ref().is_some_and(same) {
            *self = Self::default();
        }
        self.bytes += piece.encoded_len();
        let last = piece.last;
        let gathered = match &mut self.gathered {
            None => self.gathered.insert(piece),
            Some(gathered) => {
                gathered.put.extend(piece.put);
                gathered.removed.extend(piece.removed);
                gathered.blobs.extend(piece.blobs);
                gathered.openers.extend(piece.openers);
                gathered.last = piece.last;
                gathered
            }
        };
        let parts = gathered.put.len()
            + gathered.removed.len()
            + gathered.blobs.len()
            + gathered.openers.len();
        let error = if self.bytes > limits.update_bytes_max {
            Some(PiecesError::TooManyBytes {
                max: limits.update_bytes_max,
            })
        } else if parts > limits.update_parts_max {
            Some(PiecesError::TooManyParts {
                max: limits.update_parts_max,
            })
        } else {
            None
        };
        if let Some(error) = error {
            *self = Self::default();
            return Err(error);
        }
        if !last {
            return Ok(None);
        }
        self.bytes = 0;
        Ok(self.gathered.take())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_proto::ir::v1 as ir;
    use tidegate_proto::snapshots::v1::{SnapshotId, SnapshotInfo};

    use super::*;

    fn piece(version: u64, parts: usize, last: bool) -> Update {
        let id = SnapshotId {
            version,
            ..SnapshotId::default()
        };
        let blob = ir::Blob {
            content: Bytes::from_static(b"x"),
            ..ir::Blob::default()
        };
        Update {
            info: Some(SnapshotInfo {
                id: Some(id),
                ..SnapshotInfo::default()
            }),
            blobs: vec![blob; parts],
            last,
            ..Update::default()
        }
    }

    fn parts(update: Option<Update>) -> usize {
        update.expect("the last piece completes it").blobs.len()
    }

    #[test]
    fn pieces_of_another_version_start_over() {
        let (mut pieces, limits) = (Pieces::default(), Limits::default());
        assert_eq!(pieces.add(piece(1, 2, false), &limits), Ok(None));
        assert_eq!(pieces.add(piece(2, 1, false), &limits), Ok(None));
        assert_eq!(parts(pieces.add(piece(2, 1, true), &limits).unwrap()), 2);
        assert_eq!(parts(pieces.add(piece(3, 1, true), &limits).unwrap()), 1);
    }

    #[test]
    fn an_update_above_the_bounds_is_dropped() {
        let limits = Limits {
            update_parts_max: 3,
            ..Limits::default()
        };
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(piece(1, 3, false), &limits), Ok(None));
        let refused = pieces.add(piece(1, 1, true), &limits);
        assert_eq!(refused, Err(PiecesError::TooManyParts { max: 3 }));
        let limits = Limits {
            update_bytes_max: 10,
            ..Limits::default()
        };
        let refused = pieces.add(piece(1, 9, true), &limits);
        assert_eq!(refused, Err(PiecesError::TooManyBytes { max: 10 }));
    }

    #[test]
    fn a_piece_without_a_version_is_refused() {
        let refused = Pieces::default().add(Update::default(), &Limits::default());
        assert_eq!(refused, Err(PiecesError::NoId));
    }
}
