//! HTTP from the client to the backend and back.

mod attempts;
mod auth;
mod before_routing;
pub(crate) mod body;
mod call;
pub(crate) mod client_body;
mod cors;
mod draft;
pub(crate) mod exchange;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod forwarded;
mod grpc;
pub(crate) mod interim;
pub(crate) mod mirror;
pub(crate) mod pace;
mod replay;
pub(crate) mod respond;
mod retry;
mod session;
pub(crate) mod stack;
pub(crate) mod trailers;
pub(crate) mod upgrade;
pub(crate) mod websocket;
