//! Seeded faults against live processes and their files, and what must hold all the same.

pub mod chance;
pub mod client;
pub mod cluster;
pub mod configd;
pub mod damage;
pub mod hosts;
pub mod ledger;
pub mod linearizable;
pub mod objects;
pub mod process;
pub mod properties;
pub mod trace;
