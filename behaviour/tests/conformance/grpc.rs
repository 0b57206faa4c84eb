//! gRPC without messages: frames of bytes, an echo, and a client that waits for each answer.

use std::convert::Infallible;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use serde_json::Value;
use tidegate_runtime::tasks::Tasks;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::echo::{self, full};

/// Length of the flag and the length before each message.
const PREFIX_LEN: usize = 5;

/// Answers each message with what was seen, or at once with a status.
pub(crate) fn echo(
    requests: Incoming,
    seen: Value,
    refusal: Option<u16>,
    tasks: &Tasks,
) -> Response<echo::Body> {
    let kind = HeaderValue::from_static("application/grpc");
    if let Some(code) = refusal {
        let mut answer = Response::new(full(""));
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
            .headers_mut()
            .insert("grpc-status", HeaderValue::from(code));
        return answer;
    }
    let (answers, body) = mpsc::channel(1);
    tasks.spawn("gRPC echo", async move {
        let mut messages = Messages::new(requests);
        while let Ok(Some(message)) = messages.next().await {
            let mut seen = seen.clone();
            seen["body"] = String::from_utf8_lossy(&message).into();
            let answer = Frame::data(frame(seen.to_string().as_bytes()));
            if answers.send(Ok::<_, Infallible>(answer)).await.is_err() {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        // The client may have gone already.
        let _ = answers.send(Ok(Frame::trailers(trailers))).await;
    });
    let mut answer = Response::new(StreamBody::new(ReceiverStream::new(body)).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// One message and success.
pub(crate) fn unary(message: &[u8]) -> Response<echo::Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(frame(message)), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, Infallible>);
    let body = StreamBody::new(tokio_stream::iter(frames)).boxed_unsync();
    let mut answer = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// A message with its prefix.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX_LEN + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}

/// The messages of a body, and its trailers at the end.
#[derive(Debug)]
pub(crate) struct Messages<B> {
    body: B,
    buffered: BytesMut,
    /// Empty until the end.
    pub(crate) trailers: HeaderMap,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    /// Nothing is read yet.
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            buffered: BytesMut::new(),
            trailers: HeaderMap::new(),
        }
    }

    /// The next message, `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.buffered_message() {
                return Ok(Some(message));
            }
            let Some(next) = self.body.frame().await else {
                ensure!(self.buffered.is_empty(), "the body ends within a message");
                return Ok(None);
            };
            match next?.into_data() {
                Ok(data) => self.buffered.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
    }

    fn buffered_message(&mut self) -> Option<Bytes> {
        let prefix = self.buffered.get(1..PREFIX_LEN)?;
        let len = prefix
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        (self.buffered.len() >= PREFIX_LEN + len).then(|| {
            self.buffered.advance(PREFIX_LEN);
            self.buffered.split_to(len).freeze()
        })
    }
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The status, from the trailers or, without messages, the headers.
    pub(crate) code: u16,
    /// The last message.
    pub(crate) message: Bytes,
}

/// Sends messages one by one, each after the answer to the one before.
pub(crate) async fn converse(
    response: Response<Incoming>,
    requests: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    body: &str,
    messages: usize,
) -> anyhow::Result<Call> {
    let (parts, answers) = response.into_parts();
    let mut answers = Messages::new(answers);
    let mut last = Bytes::new();
    let mut received = 0;
    while let Some(message) = answers.next().await? {
        (last, received) = (message, received + 1);
        if received < messages {
            let next = Frame::data(frame(body.as_bytes()));
            requests.send(Ok(next)).await.context("the call was cut")?;
        } else {
            break;
        }
    }
    // The end of the requests is what the server ends its answers upon.
    drop(requests);
    ensure!(
        answers.next().await?.is_none(),
        "more answers than messages"
    );
    let status = answers.trailers.get("grpc-status");
    let status = status.or_else(|| parts.headers.get("grpc-status"));
    let status = status.with_context(|| format!("no grpc-status in {parts:?}"))?;
    let code: u16 = status.to_str()?.parse()?;
    ensure!(
        code != 0 || received == messages,
        "{received} answers to {messages} messages"
    );
    Ok(Call {
        code,
        message: last,
    })
}
