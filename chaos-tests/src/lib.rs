//! Seeded faults against live processes and their files, and what must hold all the same.

pub mod chance;
pub mod client;
pub mod configd;
pub mod damage;
pub mod ledger;
pub mod objects;
pub mod process;
pub mod properties;
