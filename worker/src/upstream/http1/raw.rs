//! A connection that has left HTTP.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Shared;

/// Bytes as the endpoint and the client send them; clones share the connection, one for each direction.
#[derive(Debug, Clone)]
pub(crate) struct Raw(Shared);

impl Raw {
    pub(super) fn new(connection: Shared) -> Self {
        Self(connection)
    }

    /// What the endpoint sends; `None` when nothing more comes.
    pub(crate) fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let frame = ready!(self.0.borrow_mut().poll_content(cx));
        // An error is an end, too: there is nobody left to tell.
        let data = frame.and_then(|frame| frame.ok()?.into_data().ok());
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

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the endpoint is gone.
    pub(crate) async fn shut_down(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.borrow_mut().poll_shutdown(cx)).await
    }
}
