//! Requests that two parsers could read differently, sent through a front to servers that parse them again.
//!
//! A desync shows in four ways: the server gets a request that the front does not know of, or not one that it
//! does; an answer is for another request; an innocent request that follows does not get its own answer.

pub mod downgrades;
pub mod front;
pub mod judge;
pub mod mutations;
pub mod recorder;
pub mod run;
pub mod servers;
pub mod table;
