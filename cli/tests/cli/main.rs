//! The binary from outside: started as a person starts it, asked over HTTP and gRPC.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails where something is missing"
)]

mod apply;
mod audit;
mod certs;
mod client;
mod cluster;
mod examples;
mod history;
mod install;
mod policies;
mod process;
mod restart;
mod rollout;
mod seal_key;
mod sources;
mod tools;
mod up;
