//! Why the bytes of a backend are no answer.

use crate::Refusal;

/// An answer that is not passed on; whatever came of it reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No status line, or one that is not `version SP status [SP reason]`.
    StatusLine,
    /// A version of another major number.
    Version,
    /// A header section above its bound in bytes or fields.
    HeadersTooLarge,
    /// A line that does not end with CR LF, has a CR inside, or continues the one before.
    Line,
    /// A header name that is no token, or a space before its colon.
    HeaderName,
    /// A header value with control characters.
    HeaderValue,
    /// A length that is not one decimal number, or several that differ.
    ContentLength,
    /// A transfer coding other than `chunked`, once.
    TransferCoding,
    /// Interim answers without an end.
    InterimAnswers,
    /// A change to another protocol that nobody asked for.
    Switched,
    /// A success in place of the change of protocol that the client cannot do without.
    NotSwitched,
    /// A change to another protocol than was asked for, or without the proof that WebSocket wants.
    Handshake,
    /// A chunk that is not by the grammar.
    Chunk,
    /// A trailer field that is not by the grammar, or too many of them.
    Trailer,
}

impl Fault {
    /// One word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::HeadersTooLarge => "upstream_headers_too_large",
            Self::ContentLength | Self::TransferCoding => "upstream_bad_framing",
            Self::InterimAnswers => "upstream_interim_flood",
            Self::NotSwitched | Self::Handshake => "upstream_bad_handshake",
            _ => "upstream_invalid",
        }
    }
}

impl From<Refusal> for Fault {
    /// What the parts of the codec that both directions share say of an answer.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::HeadersTooLarge => Self::HeadersTooLarge,
            Refusal::BareLineFeed | Refusal::BareCarriageReturn | Refusal::FoldedHeader => {
                Self::Line
            }
            Refusal::HeaderName => Self::HeaderName,
            Refusal::HeaderValue => Self::HeaderValue,
            Refusal::Version => Self::Version,
            Refusal::Chunk => Self::Chunk,
            Refusal::Trailer => Self::Trailer,
            _ => Self::StatusLine,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StatusLine => "it does not begin with a status line",
            Self::Version => "it is of another major version of HTTP",
            Self::HeadersTooLarge => "its headers are too large or too many",
            Self::Line => "a line of its head does not end with CR LF, or is folded",
            Self::HeaderName => "the name of a header is not a token with a colon right after it",
            Self::HeaderValue => "the value of a header has control characters",
            Self::ContentLength => "its Content-Length is not one decimal number",
            Self::TransferCoding => "its Transfer-Encoding is not chunked, once",
            Self::InterimAnswers => "there is no end of interim answers before it",
            Self::Switched => "it changes to another protocol, which nobody asked for",
            Self::NotSwitched => {
                "it is a success without the change to WebSocket that was asked for"
            }
            Self::Handshake => "its Upgrade or Sec-WebSocket-Accept is not what was asked for",
            Self::Chunk => "a chunk of its body is not valid",
            Self::Trailer => "a trailer field is not valid",
        })
    }
}

impl std::error::Error for Fault {}
