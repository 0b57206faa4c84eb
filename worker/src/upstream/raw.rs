//! An exchange that has left HTTP, whatever the version it left.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::failure::UpstreamError;
use super::{http1, http2};

/// Bytes as the endpoint and the client send them; clones share the connection or stream, one for each direction.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    Http1(http1::Raw),
    Http2(http2::Raw),
}

impl Raw {
    /// What the endpoint sends; `None` when nothing more comes, an error where it has broken off.
    pub(crate) fn poll_data(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        match self {
            Self::Http1(raw) => raw.poll_data(cx),
            Self::Http2(raw) => raw.poll_data(cx),
        }
    }

    /// Sends bytes to the endpoint.
    ///
    /// # Errors
    /// When it takes no more.
    pub(crate) async fn send(&self, data: Bytes) -> io::Result<()> {
        match self {
            Self::Http1(raw) => raw.send(data).await,
            Self::Http2(raw) => raw.send(data).await,
        }
    }

    /// The end will tell the endpoint that something went wrong, by a reset.
    pub(crate) fn reset_at_end(&self) {
        match self {
            Self::Http1(raw) => raw.reset_at_end(),
            Self::Http2(raw) => raw.reset(),
        }
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub(crate) async fn shut_down(&self) -> io::Result<()> {
        match self {
            Self::Http1(raw) => raw.shut_down().await,
            Self::Http2(raw) => raw.shut_down(),
        }
    }
}
