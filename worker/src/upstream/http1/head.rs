//! The head of an answer, behind the interim ones that may come before it.

use std::task::{Context, Poll, ready};

use http::{Method, StatusCode, header};
use tidegate_codec::Fault;
use tidegate_codec::http1::{HeadScan, ResponseHead, parse_response};

use super::Connection;
use crate::http::forward::Head;
use crate::http::interim::{self, Interim};
use crate::upstream::failure::UpstreamError;

/// How far the answer to a request has been looked at.
#[derive(Debug)]
pub(super) struct Awaited<'i> {
    scan: HeadScan,
    to_head: bool,
    /// Whether the request asks to leave HTTP.
    upgrades: bool,
    interim_answers: usize,
    interim_bytes: usize,
    /// Takes interim answers; `None` where they are dropped.
    interim: Option<&'i Interim>,
}

impl<'i> Awaited<'i> {
    pub(super) fn of_request(head: &Head, interim: Option<&'i Interim>) -> Self {
        Self {
            scan: HeadScan::of_answer(),
            to_head: head.method == Method::HEAD,
            upgrades: head.headers.contains_key(header::UPGRADE),
            interim_answers: 0,
            interim_bytes: 0,
            interim,
        }
    }
}

impl Connection {
    /// The head of the answer; interim answers are passed on or dropped.
    ///
    /// # Errors
    /// When the connection ends before, or what comes is no answer within the bounds.
    pub(super) fn poll_head(
        &mut self,
        awaited: &mut Awaited<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        loop {
            let taken = self.take_head(awaited).map_err(UpstreamError::Invalid)?;
            if let Some(head) = taken {
                return Poll::Ready(Ok(head));
            }
            let error = match ready!(self.poll_fill(cx)) {
                Ok(1..) => continue,
                Ok(0) => None,
                Err(error) => Some(error),
            };
            return Poll::Ready(Err(if self.heard {
                UpstreamError::BrokenOff(error)
            } else {
                UpstreamError::Closed(error)
            }));
        }
    }

    /// The head of the answer, if it is among the bytes that have been read.
    fn take_head(&mut self, awaited: &mut Awaited<'_>) -> Result<Option<ResponseHead>, Fault> {
        loop {
            let Some(len) = awaited.scan.end(&self.input.bytes, &self.bounds)? else {
                return Ok(None);
            };
            let head = self.input.bytes.split_to(len).freeze();
            let head = parse_response(&head, awaited.to_head)?;
            let status = head.response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS && !awaited.upgrades {
                return Err(Fault::Switched);
            }
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            awaited.scan = HeadScan::of_answer();
            awaited.interim_answers += 1;
            awaited.interim_bytes += len;
            if awaited.interim_answers > interim::ANSWERS_MAX
                || awaited.interim_bytes > self.bounds.header_bytes_max
            {
                return Err(Fault::InterimAnswers);
            }
            if let Some(interim) = awaited.interim {
                interim.push(head.response);
            }
        }
    }
}
