//! Where segments and their witness are kept: files in service, memory in tests.

use std::path::PathBuf;

use super::frame::Link;
use crate::StoreError;

/// How far the log was acknowledged. It is kept apart from the segments, so that an end that is gone is told from one that
/// was never finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The last frame.
    pub(crate) link: Link,
    /// The segment that it is in.
    pub(crate) segment: u64,
    /// Where it ends in there, in bytes.
    pub(crate) end: u64,
}

/// Segments by number, of which the newest is written. One thread owns it.
pub(crate) trait Medium: Send + 'static {
    /// Numbers of the segments that are there, in their order.
    fn segments(&mut self) -> Result<Vec<u64>, StoreError>;
    /// All bytes of a segment.
    fn read(&mut self, number: u64) -> Result<Vec<u8>, StoreError>;
    /// Begins a segment of `len` bytes with these, zeros behind them. It and its name are durable when this returns.
    fn create(&mut self, number: u64, len: u64, head: &[u8]) -> Result<(), StoreError>;
    /// Writes into the newest segment. It need not be durable.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Returns when everything that was written is on the disk.
    fn sync(&mut self) -> Result<(), StoreError>;
    /// Removes a segment. That is durable before another one is removed.
    fn remove(&mut self, number: u64) -> Result<(), StoreError>;
    /// What was attested last, if anything ever was.
    fn witness(&mut self) -> Result<Option<Witness>, StoreError>;
    /// Notes a witness so that it outlives this process. It becomes durable soon, or with [`Medium::settle`].
    fn attest(&mut self, witness: Witness) -> Result<(), StoreError>;
    /// Returns when the witness is on the disk.
    fn settle(&mut self) -> Result<(), StoreError>;
    /// The file of a segment, for messages.
    fn path(&self, number: u64) -> PathBuf;
    /// The file of the witness, for messages.
    fn witness_path(&self) -> PathBuf;
}
