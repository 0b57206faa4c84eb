//! Changes to requests and responses.

use std::sync::Arc;

use serde::Serialize;

use crate::{Cors, ExternalAuth, PartKey, PartKind, PartName, Target};

/// One change; a rule applies its filters in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Filter {
    /// Change the request's headers.
    RequestHeaders(HeaderEdits),
    /// Change the response's headers.
    ResponseHeaders(HeaderEdits),
    /// Change host or path before forwarding.
    Rewrite(Rewrite),
    /// Send a copy elsewhere.
    Mirror(Mirror),
    /// Answer for the backends who may read across origins.
    Cors(Cors),
    /// Ask a server first.
    ExternalAuth(ExternalAuth),
}

impl Filter {
    /// Name of the backend that the filter sends something to.
    pub fn backend(&self) -> Option<&PartName> {
        match self {
            Self::Mirror(mirror) => Some(&mirror.backend),
            Self::ExternalAuth(auth) => match &auth.target {
                Target::Backend(name) => Some(name),
                Target::Fault(_) => None,
            },
            Self::RequestHeaders(_)
            | Self::ResponseHeaders(_)
            | Self::Rewrite(_)
            | Self::Cors(_) => None,
        }
    }

    pub(crate) fn reference(&self) -> Option<PartKey> {
        let name = self.backend()?.clone();
        Some(PartKey::new(PartKind::Backend, name))
    }
}

/// Header changes, carried out as set, add, remove. Names are lower case and valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    /// Replace all values.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Append a value.
    pub add: Vec<(Arc<str>, Arc<str>)>,
    /// Delete.
    pub remove: Vec<Arc<str>>,
}

/// A change to the path; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PathEdit {
    /// The new path.
    Full(Arc<str>),
    /// Replaces what the rule's prefix match matched.
    Prefix(Arc<str>),
}

/// Host and path of the forwarded request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// New Host header, or `None` to keep it.
    pub hostname: Option<Arc<str>>,
    /// New path, or `None` to keep it.
    pub path: Option<PathEdit>,
}

/// An answer that sends the client elsewhere (Gateway API, `HTTPRequestRedirectFilter`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// `http` or `https`, or `None` to keep the request's.
    pub scheme: Option<Arc<str>>,
    /// New host, or `None` to keep the request's.
    pub hostname: Option<Arc<str>>,
    /// New path, or `None` to keep the request's.
    pub path: Option<PathEdit>,
    /// New port; `None` derives it: the well-known port of `scheme` if that is set, else the listener's.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status_code: u16,
}

/// A copy of a share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Name of a [`crate::Backend`] part.
    pub backend: PartName,
    /// Share of the requests: numerator out of denominator.
    pub numerator: u32,
    /// At least 1.
    pub denominator: u32,
}
