//! The request on its way out: its head, and its body as the client sends it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use tidegate_codec::Refusal;
use tidegate_codec::http1::{self, Framing};

use super::Connection;
use crate::http::body::RequestBody;
use crate::http::client_body::RequestBodyError;
use crate::http::forward::Head;
use crate::http1::Output;

/// What is left to send of the present request.
#[derive(Debug)]
pub(super) enum Upload {
    /// Nothing: all is with the kernel.
    Done,
    /// What waits to be written; with what the body was where nothing was taken of it.
    Flushing(Option<RequestBody>),
    Streaming(Rest),
    /// The endpoint takes no more; with the body where nothing of the request was sent.
    Failed(Option<RequestBody>),
}

/// The rest of a body.
#[derive(Debug)]
pub(super) struct Rest {
    body: RequestBody,
    end: End,
    /// Whether something was taken of the body.
    touched: bool,
}

/// How the end of a body is told.
#[derive(Debug)]
enum End {
    /// After so many bytes.
    Length(u64),
    Chunked,
}

impl Connection {
    /// Begins a request; its head is written together with what there is of its body.
    ///
    /// # Errors
    /// When the head has bytes that must not reach HTTP/1; nothing is written then.
    pub(super) fn start(&mut self, head: &Head, body: RequestBody) -> Result<(), RequestBodyError> {
        let length = body.size_hint().exact();
        let framing = match length {
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let Head {
            method,
            path_and_query,
            headers,
        } = head;
        http1::request_head(self.output.tail(), method, path_and_query, headers, framing)
            .map_err(RequestBodyError::Refused)?;
        self.written = false;
        self.heard = false;
        self.upload = if body.is_end_stream() {
            Upload::Flushing(Some(body))
        } else {
            Upload::Streaming(Rest {
                body,
                end: length.map_or(End::Chunked, End::Length),
                touched: false,
            })
        };
        Ok(())
    }

    /// Sends as much as there is; ready when all is sent, or the endpoint takes no more, which its answer may yet
    /// explain.
    ///
    /// # Errors
    /// When the body breaks off.
    pub(super) fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RequestBodyError>> {
        loop {
            let written = match &mut self.upload {
                Upload::Done | Upload::Failed(_) => return Poll::Ready(Ok(())),
                Upload::Flushing(_) => {
                    let flushed = ready!(self.poll_flush(cx));
                    if flushed.is_ok() {
                        self.upload = Upload::Done;
                    }
                    flushed
                }
                Upload::Streaming(_) if self.output.is_full() => ready!(self.poll_make_room(cx)),
                Upload::Streaming(rest) => match rest.poll_encode(&mut self.output, cx)? {
                    Poll::Ready(is_last) => {
                        if is_last {
                            self.upload = Upload::Flushing(None);
                        }
                        Ok(())
                    }
                    Poll::Pending => match self.poll_flush(cx) {
                        Poll::Ready(Err(error)) => Err(error),
                        _ => return Poll::Pending,
                    },
                },
            };
            if written.is_err() {
                self.upload = Upload::Failed(self.take_unsent());
            }
        }
    }

    /// The body of a request of which nothing was sent.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        let unsent = match std::mem::replace(&mut self.upload, Upload::Failed(None)) {
            Upload::Flushing(body) | Upload::Failed(body) => body,
            Upload::Streaming(rest) => (!rest.touched).then_some(rest.body),
            Upload::Done => None,
        };
        unsent.filter(|_| !self.written)
    }
}

impl Rest {
    /// Takes the next piece of the body; returns whether it was the last one.
    fn poll_encode(
        &mut self,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, RequestBodyError>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        self.touched = true;
        let trailers = match frame.map(|frame| frame.into_data()) {
            Some(Ok(data)) => {
                self.encode(data, output)?;
                if !self.body.is_end_stream() {
                    return Poll::Ready(Ok(false));
                }
                None
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        self.encode_end(trailers.as_ref(), output)?;
        Poll::Ready(Ok(true))
    }

    fn encode(&mut self, data: Bytes, output: &mut Output) -> Result<(), RequestBodyError> {
        match &mut self.end {
            End::Chunked => output.push_chunk(data),
            End::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BROKEN_OFF)?;
                output.push(data);
            }
        }
        Ok(())
    }

    fn encode_end(
        &self,
        trailers: Option<&HeaderMap>,
        output: &mut Output,
    ) -> Result<(), RequestBodyError> {
        match self.end {
            End::Chunked => http1::trailers(output.tail(), trailers),
            End::Length(0) => {}
            End::Length(_) => return Err(BROKEN_OFF),
        }
        Ok(())
    }
}

/// A body is not as long as it said.
const BROKEN_OFF: RequestBodyError = RequestBodyError::Refused(Refusal::BodyBrokenOff);
