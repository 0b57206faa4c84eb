//! Why an exchange with an endpoint failed.

use std::io;

use tidegate_codec::Fault;

use crate::error::ProxyError;
use crate::http::body::RequestBody;
use crate::http::client_body::RequestBodyError;

/// What went wrong between a request and the end of its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the connection was closed before an answer")]
    Closed(#[source] Option<io::Error>),
    #[error("the connection was closed inside of an answer")]
    BrokenOff(#[source] Option<io::Error>),
    #[error("the answer is not valid: {0}")]
    Invalid(Fault),
    #[error("the request could not be sent whole")]
    Request(#[source] RequestBodyError),
    #[error("the HTTP/2 connection or stream failed")]
    Http2(#[source] h2::Error),
    #[error("the endpoint does not say that it knows WebSocket by HTTP/2")]
    NoWebSocket,
}

/// An exchange without an answer; with the body where nothing of the request was sent.
pub(super) type Failed = (UpstreamError, Option<RequestBody>);

impl UpstreamError {
    /// Whether the client's request is to blame, and not the endpoint.
    pub(crate) fn is_of_request(&self) -> bool {
        matches!(self, Self::Request(_) | Self::NoWebSocket)
    }

    /// Whether the endpoint says that it has not looked at the request (RFC 9113, section 8.7).
    pub(crate) fn was_refused(&self) -> bool {
        let Self::Http2(error) = self else {
            return false;
        };
        let graceful = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (graceful || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    }

    /// Whether the connection was closed before a byte of an answer came.
    pub(crate) fn was_closed(&self) -> bool {
        match self {
            Self::Closed(_) => true,
            Self::Http2(error) => {
                use io::ErrorKind::{BrokenPipe, ConnectionReset};
                let io = error.get_io().map(io::Error::kind);
                matches!(io, Some(BrokenPipe | ConnectionReset))
            }
            _ => false,
        }
    }

    /// What the client is answered, where it has no answer yet.
    pub(crate) fn to_proxy_error(&self) -> ProxyError {
        match self {
            Self::Closed(_) | Self::BrokenOff(_) => ProxyError::UpstreamClosed,
            Self::Invalid(fault) => ProxyError::UpstreamFault(*fault),
            Self::Request(error) => error.refusal(),
            // The library has found that what came is no HTTP/2.
            Self::Http2(error) if error.is_library() => ProxyError::UpstreamInvalid,
            Self::Http2(_) => ProxyError::UpstreamClosed,
            Self::NoWebSocket => ProxyError::NoWebSocket,
        }
    }
}
