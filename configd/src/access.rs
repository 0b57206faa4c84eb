//! Who may do what: a table of methods and roles, and the limits of a role's name. Pure.

mod effect;
pub(crate) mod oversize;
mod scope;
mod table;
pub(crate) mod vouch;

use tidegate_runtime::identity::Access;

pub(crate) use effect::{changes_state, is_recorded};
#[cfg(test)]
pub(crate) use table::METHODS;
pub(crate) use table::may_call;

/// Why a caller is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The connection says nothing about its other end.
    #[error("the caller is not known; connect with a certificate")]
    Unidentified,
    /// Another configd passed on what somebody sent who is nobody here.
    #[error("{by} passes on what \"{said}\" has sent, and that is no identity of its trust domain")]
    Vouched {
        /// The configd.
        by: String,
        /// Whom it named.
        said: String,
    },
    /// Nobody may call it: the table has no such method.
    #[error("{method} is not open to anybody")]
    NoSuchMethod {
        /// The method's path.
        method: String,
    },
    /// The role is not among those that may.
    #[error("{caller} may not call {method}; it is for {allowed}")]
    Role {
        /// Who called.
        caller: String,
        /// The method's path.
        method: String,
        /// Who may, in words.
        allowed: String,
    },
    /// An operator asked for what another one feeds.
    #[error("{caller} has to do with source {own} only, not with {asked}")]
    Source {
        /// Who called.
        caller: String,
        /// The source in its certificate.
        own: String,
        /// The source in the request.
        asked: String,
    },
    /// A worker asked for a pool of others.
    #[error("{caller} belongs to pool {own} and is not given pool {asked}")]
    Pool {
        /// Who called.
        caller: String,
        /// The pool in its certificate.
        own: String,
        /// The pool in the request.
        asked: String,
    },
    /// A worker spoke for another one.
    #[error("{caller} may not speak for worker {asked}; start it with --name {own}")]
    Worker {
        /// Who called.
        caller: String,
        /// The name in its certificate.
        own: String,
        /// The name in the request.
        asked: String,
    },
}

impl Refusal {
    /// One word for programs: the reason of `google.rpc.ErrorInfo`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unidentified => "CALLER_UNIDENTIFIED",
            Self::Vouched { .. } => "CALLER_NOT_VOUCHED_FOR",
            Self::NoSuchMethod { .. } => "METHOD_NOT_OPEN",
            Self::Role { .. } => "ROLE_NOT_ALLOWED",
            Self::Source { .. } => "SOURCE_NOT_OWN",
            Self::Pool { .. } => "POOL_NOT_OWN",
            Self::Worker { .. } => "WORKER_NOT_OWN",
        }
    }
}

/// What a row of the table allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Other config stores.
    Configd,
    /// Workers.
    Worker,
    /// Operators.
    Operator,
    /// Automation with this access, or more.
    Automation(Access),
}
