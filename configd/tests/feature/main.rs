//! configd through its ends: objects in, snapshots and statuses out, over its own gRPC services.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod bench;
mod explain;
mod history;
mod identities;
mod objects;
mod plans;
mod restart;
mod rollback;
mod rollout;
mod sealing;
mod sources;
mod statuses;
mod stream;
mod wait;
mod watch;
