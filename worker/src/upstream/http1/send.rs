//! One exchange, from the request to the head of its answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

use http::Response;
use http_body::Body as _;
use tidegate_codec::http1::{Chunks, Framed, ResponseHead};
use tokio_util::task::AbortOnDropHandle;

use super::answer::Answer;
use super::head::Awaited;
use super::upload::Upload;
use super::{Connection, Shared};
use crate::http::body::RequestBody;
use crate::http::forward::Head;
use crate::http::interim::Interim;
use crate::http1::Content;
use crate::upstream::failure::{Failed, UpstreamError};

/// Sends a request and waits for the head of its answer. Both go on at the same time: an answer may come before the
/// request is complete, and then the rest of the request is sent while the answer is read.
///
/// # Errors
/// When there is no answer. The connection must not be used again then.
pub(crate) async fn send(
    connection: &Shared,
    reused: bool,
    head: &Head,
    body: RequestBody,
    interim: Option<&Interim>,
) -> Result<Response<Answer>, Failed> {
    // What may not be sent twice is worth a system call: the endpoint may have closed the connection just now.
    let may_repeat = head.method.is_idempotent() && body.is_end_stream();
    if reused && !may_repeat && connection.borrow().is_closed_by_now() {
        return Err((UpstreamError::Closed(None), Some(body)));
    }
    let started = connection.borrow_mut().start(head, body);
    started.map_err(|error| (UpstreamError::Request(error), None))?;
    let mut awaited = Awaited::of_request(head, interim);
    poll_fn(|cx| {
        let mut connection = connection.borrow_mut();
        if let Poll::Ready(Err(error)) = connection.poll_upload(cx) {
            return Poll::Ready(Err((UpstreamError::Request(error), None)));
        }
        let head = ready!(connection.poll_head(&mut awaited, cx));
        Poll::Ready(head.map_err(|error| (error, connection.take_unsent())))
    })
    .await
    .map(|head| answer(connection, head))
}

fn answer(shared: &Shared, head: ResponseHead) -> Response<Answer> {
    let mut connection = shared.borrow_mut();
    connection.receive(&head);
    if !matches!(connection.upload, Upload::Done | Upload::Failed(_)) {
        connection.sending = Some(send_rest(shared));
    }
    let is_ended = matches!(connection.content, Content::Ended);
    let switched = head.framed == Framed::Switched;
    let answer = (!is_ended).then(|| shared.clone());
    head.response.map(|()| Answer::new(answer, switched))
}

impl Connection {
    /// What follows the head of an answer.
    fn receive(&mut self, head: &ResponseHead) {
        self.keep_alive = head.keep_alive;
        self.content = match head.framed {
            Framed::Bodiless | Framed::Length(0) => Content::Ended,
            Framed::Length(length) => Content::Length(length),
            Framed::Chunked => {
                let bounds = &self.bounds;
                let chunks = Chunks::new(bounds.header_bytes_max, bounds.header_count_max);
                Content::Chunked(Box::new(chunks))
            }
            Framed::Close | Framed::Switched => Content::Raw,
        };
    }
}

/// Sends the rest of a request whose answer has begun, so that it does not depend on who reads the answer. It ends
/// with the connection.
fn send_rest(shared: &Shared) -> AbortOnDropHandle<()> {
    let shared = Rc::downgrade(shared);
    let sending = poll_fn(move |cx| {
        let Some(shared) = shared.upgrade() else {
            return Poll::Ready(());
        };
        let mut connection = shared.borrow_mut();
        if let Err(error) = ready!(connection.poll_upload(cx)) {
            tracing::debug!(%error, "a request broke off after its answer had begun");
            connection.break_off();
        }
        Poll::Ready(())
    });
    AbortOnDropHandle::new(tokio::task::spawn_local(sending))
}
