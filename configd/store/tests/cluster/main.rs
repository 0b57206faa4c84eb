//! Three nodes in one process, over real sockets: what a cluster keeps when nodes stop, are cut off or lose data.
#![allow(clippy::unwrap_used)]

mod backup;
mod damage;
mod disk;
mod failover;
#[path = "../fixture/mod.rs"]
mod fixture;
mod founding;
mod membership;
mod partition;
mod replication;
mod support;
