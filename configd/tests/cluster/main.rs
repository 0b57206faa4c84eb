//! Three configds in one process, over real sockets: any of them serves, one publishes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod forwarding;
mod membership;
mod proof;
mod publishing;
mod rollout;
mod sources;
mod support;
mod upgrade;
