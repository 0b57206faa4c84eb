//! HTTP from the client to the backend and back.

pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod mirror;
pub(crate) mod respond;
pub(crate) mod stack;
pub(crate) mod upgrade;
