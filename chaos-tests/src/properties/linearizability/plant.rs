//! What breaks the property on purpose, so that it is seen to be found.

use clap::ValueEnum;

/// A fault between the clients and a configd that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Plant {
    /// Get and List ask for what the replica has, however old that is
    StaleReads,
    /// One write of ten is acknowledged and never sent
    LostWrites,
    /// Compare-and-set writes without a condition
    BlindSwaps,
    /// List asks for one object after the other
    TornLists,
}
