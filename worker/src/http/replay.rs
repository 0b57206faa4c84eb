//! Bodies that can be sent again: what a backend has taken is kept up to a bound, the rest still streams.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::http::body::RequestBody;
use crate::http::client_body::RequestBodyError;

/// Bytes that a kept frame costs beside its own.
const FRAME_COST: usize = 32;

/// Hands out a body again and again; without it nothing more is kept.
#[derive(Debug)]
pub(crate) struct Replay {
    kept: Rc<RefCell<Kept>>,
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct ReplayedBody {
    kept: Rc<RefCell<Kept>>,
    attempt: u32,
    /// Kept frames that were passed on.
    passed: usize,
    ended: bool,
}

#[derive(Debug)]
struct Kept {
    rest: RequestBody,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes_left: usize,
    /// Whether everything that was taken of the body so far is among the frames.
    whole: bool,
    /// Whether what comes is kept.
    keeps: bool,
    rest_ended: bool,
    /// The attempt that may read.
    attempt: u32,
    reader: Option<Waker>,
}

impl Replay {
    /// Keeps at most `bytes_max` bytes of a body.
    pub(crate) fn new(body: RequestBody, bytes_max: usize) -> Self {
        let keeps = body.size_hint().lower() <= bytes_max as u64;
        let kept = Kept {
            rest_ended: body.is_end_stream(),
            rest: body,
            frames: Vec::new(),
            trailers: None,
            bytes_left: bytes_max,
            whole: true,
            keeps,
            attempt: 0,
            reader: None,
        };
        Self {
            kept: Rc::new(RefCell::new(kept)),
        }
    }

    /// Whether another attempt would send the body from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept.borrow().whole
    }

    /// The body for another attempt; that of the attempt before fails from now on.
    pub(crate) fn body(&self) -> RequestBody {
        let mut kept = self.kept.borrow_mut();
        kept.attempt += 1;
        if let Some(reader) = kept.reader.take() {
            reader.wake();
        }
        if kept.rest_ended && kept.frames.is_empty() && kept.trailers.is_none() {
            return RequestBody::Empty;
        }
        RequestBody::Replayed(Box::new(ReplayedBody {
            kept: self.kept.clone(),
            attempt: kept.attempt,
            passed: 0,
            ended: false,
        }))
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.kept.borrow_mut().keeps = false;
    }
}

impl Kept {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else {
            self.trailers = frame.trailers_ref().cloned();
            return;
        };
        let cost = data.len() + FRAME_COST;
        match self.bytes_left.checked_sub(cost) {
            Some(left) if self.keeps => {
                self.bytes_left = left;
                self.frames.push(data.clone());
            }
            _ => {
                self.keeps = false;
                self.whole = false;
                self.frames = Vec::new();
            }
        }
    }
}

impl Body for ReplayedBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let body = self.get_mut();
        let mut kept = body.kept.borrow_mut();
        if kept.attempt != body.attempt {
            return Poll::Ready(Some(Err(RequestBodyError::Superseded)));
        }
        if let Some(frame) = kept.frames.get(body.passed) {
            body.passed += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if kept.rest_ended {
            let trailers = kept.trailers.clone().filter(|_| !body.ended);
            body.ended = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut kept.rest).poll_frame(cx);
        match &polled {
            Poll::Pending => kept.reader = Some(cx.waker().clone()),
            Poll::Ready(Some(Ok(frame))) => {
                kept.keep(frame);
                body.passed = kept.frames.len();
                body.ended = frame.is_trailers();
                kept.rest_ended = body.ended || kept.rest.is_end_stream();
            }
            Poll::Ready(Some(Err(_))) => kept.whole = false,
            Poll::Ready(None) => kept.rest_ended = true,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.kept.borrow();
        let has_trailers = kept.trailers.is_some() && !self.ended;
        kept.rest_ended && self.passed >= kept.frames.len() && !has_trailers
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.kept.borrow();
        let unread = kept.frames.iter().skip(self.passed).map(Bytes::len);
        let unread = unread.sum::<usize>() as u64;
        let rest = kept.rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + unread);
        }
        hint.set_lower(rest.lower() + unread);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(text: &'static str) -> RequestBody {
        RequestBody::Whole(Bytes::from_static(text.as_bytes()))
    }

    async fn read(body: RequestBody) -> Bytes {
        body.collect().await.expect("it is whole").to_bytes()
    }

    #[tokio::test]
    async fn each_attempt_gets_the_body_from_its_beginning() {
        let replay = Replay::new(body("payload"), 100);
        for _ in 0..3 {
            let body = replay.body();
            assert_eq!(body.size_hint().exact(), Some(7));
            assert_eq!(read(body).await, "payload");
            assert!(replay.is_whole());
        }
    }

    #[tokio::test]
    async fn a_body_above_the_bound_is_sent_once() {
        for bytes_max in [6, 7 + FRAME_COST - 1] {
            let replay = Replay::new(body("payload"), bytes_max);
            assert_eq!(read(replay.body()).await, "payload");
            assert!(!replay.is_whole());
        }
    }

    #[tokio::test]
    async fn an_attempt_that_was_given_up_reads_no_more() {
        let replay = Replay::new(body("payload"), 100);
        let given_up = replay.body();
        let current = replay.body();
        assert!(given_up.collect().await.is_err());
        assert_eq!(read(current).await, "payload");
    }

    #[tokio::test]
    async fn the_last_attempt_reads_on_without_the_others() {
        let replay = Replay::new(body("payload"), 100);
        let last = replay.body();
        drop(replay);
        assert_eq!(read(last).await, "payload");
    }
}
