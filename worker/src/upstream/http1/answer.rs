//! The body of an answer, read from the endpoint's socket when it is asked for.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::{Raw, Shared};
use crate::http1::Content;
use crate::upstream::failure::UpstreamError;

/// What follows the head of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` at the end, so that the connection is the next exchange's alone.
    connection: Option<Shared>,
    /// The connection has left HTTP.
    switched: bool,
}

impl Answer {
    pub(super) fn new(connection: Option<Shared>, switched: bool) -> Self {
        Self {
            connection,
            switched,
        }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(connection) = &self.connection else {
            return Poll::Ready(None);
        };
        let mut present = connection.borrow_mut();
        let frame = ready!(present.poll_content(cx));
        let is_ended = matches!(present.content, Content::Ended);
        drop(present);
        if is_ended {
            self.connection = None;
        }
        Poll::Ready(frame)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.connection.is_none()
    }

    /// The length that is known of what is left.
    pub(crate) fn len(&self) -> Option<u64> {
        match &self.connection {
            Some(connection) => connection.borrow().content.len(),
            None => Some(0),
        }
    }

    /// The connection as it is, where it has left HTTP.
    pub(crate) fn into_raw(self) -> Option<Raw> {
        self.connection.filter(|_| self.switched).map(Raw::new)
    }
}
