//! Keeps a client at one endpoint (GEP-1619).

use std::sync::Arc;

use serde::Serialize;

/// Keeps a client at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionPersistence {
    /// Name of the cookie or the header (lower case).
    pub name: Arc<str>,
    /// What carries the session.
    pub carrier: SessionCarrier,
    /// A session ends that long after its begin, in milliseconds; at least 1.
    pub absolute_timeout_ms: Option<u64>,
    /// Path of the cookie, which begins with `/`; empty for a header.
    pub path: Arc<str>,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SessionCarrier {
    /// A cookie without Max-Age, gone when the client ends its session.
    SessionCookie,
    /// A cookie with the Max-Age of the absolute timeout.
    PermanentCookie,
    /// A header of the response, that the client sends back.
    Header,
}
