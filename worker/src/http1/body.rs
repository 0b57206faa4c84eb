//! The body of a request, read from the socket when it is asked for.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tidegate_codec::Refusal;

use super::wire::Wire;

/// A request's body; after the connection has left HTTP, whatever the client sends.
#[derive(Debug)]
pub(crate) struct Body {
    pub(super) wire: Rc<RefCell<Wire>>,
    pub(super) request: u64,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        self.wire.borrow_mut().poll_body(self.request, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.wire.borrow().body_len(self.request) == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.wire.borrow().body_len(self.request);
        len.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
