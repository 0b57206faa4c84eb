//! Three nodes in one process, over real sockets: what a cluster keeps when nodes stop, are cut off or lose data.
#![allow(clippy::unwrap_used)]

mod backup;
#[path = "../fixture/commit.rs"]
mod commit;
mod damage;
mod disk;
mod failover;
mod first_image;
mod founding;
mod levels;
mod membership;
mod partition;
mod replication;
mod support;
