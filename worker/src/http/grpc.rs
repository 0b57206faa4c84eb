//! What the worker itself says to gRPC clients: statuses in place of HTTP's, and their deadlines
//! (gRPC over HTTP/2).

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::error::ProxyError;
use crate::http::body::ResponseBody;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes of a message before it is encoded; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A status of gRPC that the worker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// The status for a request that did not reach a backend, or whose answer did not come back.
    pub(crate) fn of_error(error: &ProxyError) -> Self {
        match error.status() {
            // A rule whose backend is invalid is not the client's fault; it may be repaired.
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::MISDIRECTED_REQUEST => {
                Self::Unavailable
            }
            StatusCode::BAD_REQUEST => Self::InvalidArgument,
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Self::DeadlineExceeded,
            StatusCode::PAYLOAD_TOO_LARGE => Self::ResourceExhausted,
            status => Self::of_status(status),
        }
    }

    /// The status that clients derive from one of HTTP.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::Internal,
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::PermissionDenied,
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Self::Unimplemented,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// An answer that consists of trailers alone.
pub(crate) fn answer(code: Code, message: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(""));
    *response.headers_mut() = trailers(code, message);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// The end of an answer that broke off.
pub(crate) fn trailers(code: Code, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    if let Ok(message) = HeaderValue::try_from(encode(message)) {
        trailers.insert(GRPC_MESSAGE, message);
    }
    trailers
}

/// Whether headers or trailers end an exchange with a status by which a server has failed, as OpenTelemetry counts them: UNKNOWN,
/// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
pub(crate) fn is_failure(headers: &HeaderMap) -> bool {
    let status = headers.get(GRPC_STATUS).map(HeaderValue::as_bytes);
    matches!(status, Some(b"2" | b"4" | b"12" | b"13" | b"14" | b"15"))
}

/// How long a client waits, `None` where it does not say, or not in the protocol's terms.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_amount = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let amount: u64 = digits.parse().ok().filter(|_| is_amount)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Percent-encodes what may not stand in a message.
fn encode(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let mut encoded = String::with_capacity(end);
    for byte in message[..end].bytes() {
        match byte {
            b'%' | 0..b' ' | 0x7f.. => {
                // Writing to a String never fails.
                let _ = write!(encoded, "%{byte:02X}");
            }
            plain => encoded.push(char::from(plain)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit_and_at_most_eight_digits() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("5S", Some(Duration::from_secs(5))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
            ("5é", None),
        ] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
            headers.insert(GRPC_TIMEOUT, value);
            assert_eq!(timeout(&headers), expected, "{text}");
        }
    }

    #[test]
    fn statuses_of_failed_servers_are_told_from_those_of_refused_clients() {
        let with = |status: &'static str| {
            HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static(status))])
        };
        let failures = (0..=16).filter(|code: &u8| is_failure(&with(code.to_string().leak())));
        assert_eq!(failures.collect::<Vec<_>>(), [2, 4, 12, 13, 14, 15]);
        assert!(!is_failure(&with("")) && !is_failure(&HeaderMap::new()));
    }

    #[test]
    fn messages_are_encoded_and_cut() {
        assert_eq!(encode("100 %\n€"), "100 %25%0A%E2%82%AC");
        assert_eq!(encode(&"€".repeat(1000)).len(), 341 * 9);
    }
}
