//! A connection that has left HTTP.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Shared;
use crate::upstream::failure::UpstreamError;

/// Bytes as the endpoint and the client send them; clones share the connection, one for each direction.
#[derive(Debug, Clone)]
pub(crate) struct Raw(Shared);

impl Raw {
    pub(super) fn new(connection: Shared) -> Self {
        Self(connection)
    }

    /// What the endpoint sends; `None` when nothing more comes, an error where it has reset the connection.
    pub(crate) fn poll_data(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UpstreamError>>> {
        let frame = ready!(self.0.borrow_mut().poll_content(cx));
        // Raw content has no trailers.
        let data = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
        Poll::Ready(data)
    }

    /// Sends bytes to the endpoint.
    ///
    /// # Errors
    /// When it takes no more.
    pub(crate) async fn send(&self, data: Bytes) -> io::Result<()> {
        self.0.borrow_mut().output.push(data);
        poll_fn(|cx| self.0.borrow_mut().poll_flush(cx)).await
    }

    /// Closing the connection will tell the endpoint that something went wrong, by a reset.
    pub(crate) fn reset_at_end(&self) {
        self.0.borrow().reset_at_end();
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub(crate) async fn shut_down(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.borrow_mut().poll_shutdown(cx)).await
    }
}
