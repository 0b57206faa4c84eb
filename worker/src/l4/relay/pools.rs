//! What the relays of one thread share: buffers and pipes.

use super::buffers::Buffers;
use super::pipe::Pipes;

/// Lent while bytes are held, so that a connection without traffic holds none.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(super) buffers: Buffers,
    pub(super) pipes: Pipes,
}

impl Pools {
    /// At most `pipes_max` pipes; with 0 all bytes are copied.
    pub(crate) fn new(pipes_max: usize) -> Self {
        Self {
            buffers: Buffers::default(),
            pipes: Pipes::new(pipes_max),
        }
    }
}
