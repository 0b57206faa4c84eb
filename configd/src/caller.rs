//! Who is on the other end of a connection.

use std::fmt;
use std::net::SocketAddr;

use tidegate_runtime::identity::Identity;

/// Where a request comes from, as far as its connection proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// This process itself.
    InProcess,
    /// Whoever reached a port without TLS.
    Plaintext(SocketAddr),
    /// The holder of a certificate.
    Peer(Identity),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProcess => f.write_str("in-process"),
            Self::Plaintext(address) => write!(f, "plaintext:{address}"),
            Self::Peer(identity) => identity.fmt(f),
        }
    }
}
