//! Cross-origin requests that a rule answers for its backends (GEP-1767).

use std::sync::Arc;

use serde::Serialize;

/// Which other origins may read answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// `*`, exact origins, or patterns such as `https://*.example.com`; lower case.
    pub allow_origins: Vec<Arc<str>>,
    /// `*` or method names.
    pub allow_methods: Vec<Arc<str>>,
    /// `*` or header names.
    pub allow_headers: Vec<Arc<str>>,
    /// `*` or header names.
    pub expose_headers: Vec<Arc<str>>,
    /// Whether cookies and the like may come along.
    pub allow_credentials: bool,
    /// How long a preflight answer holds, in seconds.
    pub max_age_s: u32,
}
