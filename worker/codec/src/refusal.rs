//! Why the bytes of a client are refused, with the status that says so.

use http::StatusCode;

/// A request that is not served, whoever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A line that ends without a carriage return.
    BareLineFeed,
    /// A carriage return inside of a line.
    BareCarriageReturn,
    /// A request line that is not `method SP target SP version`.
    RequestLine,
    /// A version of another major number.
    Version,
    /// A target of no form that fits the method.
    Target,
    /// A path with a percent sign that is no code, or with the code of a NUL.
    Path,
    /// A request line above its bound.
    RequestLineTooLong,
    /// A header section above its bound in bytes or fields.
    HeadersTooLarge,
    /// A header line that continues the one before.
    FoldedHeader,
    /// A header name that is no token, or a space before its colon.
    HeaderName,
    /// A header value with control characters.
    HeaderValue,
    /// No host, several, or one that is no host.
    Host,
    /// A length that is not one decimal number.
    ContentLength,
    /// A transfer coding in a place where it must not be.
    TransferEncoding,
    /// A transfer coding that the gateway does not know.
    TransferCoding,
    /// Both a length and a transfer coding.
    LengthAndCoding,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A chunk that is not by the grammar.
    Chunk,
    /// A trailer field that is not by the grammar, or too many of them.
    Trailer,
    /// The head took too long.
    HeadTimeout,
    /// The body came too slowly.
    BodyTooSlow,
    /// The body is above its bound.
    BodyTooLarge,
    /// The body ended before its end.
    BodyBrokenOff,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::HeadTimeout | Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// One word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare_line_feed",
            Self::BareCarriageReturn => "bare_carriage_return",
            Self::RequestLine => "bad_request_line",
            Self::Version => "bad_version",
            Self::Target => "bad_target",
            Self::Path => "bad_path",
            Self::RequestLineTooLong => "request_line_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::FoldedHeader => "folded_header",
            Self::HeaderName => "bad_header_name",
            Self::HeaderValue => "bad_header_value",
            Self::Host => "bad_host",
            Self::ContentLength => "bad_content_length",
            Self::TransferEncoding => "bad_transfer_encoding",
            Self::TransferCoding => "unknown_transfer_coding",
            Self::LengthAndCoding => "length_and_coding",
            Self::Expectation => "unknown_expectation",
            Self::Chunk => "bad_chunk",
            Self::Trailer => "bad_trailer",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTooSlow => "request_body_timeout",
            Self::BodyTooLarge => "request_body_too_large",
            Self::BodyBrokenOff => "request_broken_off",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "a line of the request ends with LF alone; it must end with CR LF",
            Self::BareCarriageReturn => "a line of the request has a CR inside of it",
            Self::RequestLine => "the request line is not: method, one space, target, one space, version",
            Self::Version => "the request is of another major version of HTTP; this port speaks HTTP/1.0, HTTP/1.1 and HTTP/2",
            Self::Path => "the path has a percent sign that is no code of a byte, or the code of a NUL",
            Self::Target => "the request's target has no valid form",
            Self::RequestLineTooLong => "the request line is too long",
            Self::HeadersTooLarge => "the request's headers are too large or too many",
            Self::FoldedHeader => "a header of the request is folded over several lines",
            Self::HeaderName => "the name of a header is not a token with a colon right after it",
            Self::HeaderValue => "the value of a header has control characters",
            Self::Host => "the request has no valid Host header",
            Self::ContentLength => "the request's Content-Length is not one decimal number",
            Self::TransferEncoding => "the request's Transfer-Encoding is not chunked, once",
            Self::TransferCoding => "the request's transfer coding is not supported",
            Self::LengthAndCoding => "the request has both Content-Length and Transfer-Encoding",
            Self::Expectation => "the request's expectation is not supported",
            Self::Chunk => "a chunk of the request's body is not valid",
            Self::Trailer => "a trailer field of the request is not valid",
            Self::HeadTimeout => "the request's headers took too long",
            Self::BodyTooSlow => "the request's body came too slowly",
            Self::BodyTooLarge => "the request's body is too large",
            Self::BodyBrokenOff => "the request's body broke off",
        })
    }
}

impl std::error::Error for Refusal {}
