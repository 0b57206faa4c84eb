//! Why connections ended before their time, for logs and metrics.

/// A reason; none of them is about a request that a log line would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No PROXY header where one must be.
    NoProxyHeader,
    /// A TLS handshake that failed.
    TlsHandshake,
    /// A TLS handshake that took too long.
    TlsTimeout,
    /// No valid ClientHello where a server name decides.
    NoClientHello,
    /// HTTP in plain text on a port for HTTPS.
    PlainText,
    /// The client's address has as many connections as it may.
    TooManyOfClient,
    /// The process is short of memory.
    ShortOfMemory,
    /// HTTP/2 that breaks the protocol.
    H2Protocol,
    /// HTTP/2 whose flow control or compression is out of step.
    H2State,
    /// HTTP/2 with more resets, frames or settings than anybody needs.
    H2EnhanceYourCalm,
    /// HTTP/2 that ended in another way.
    H2Other,
}

impl Ended {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [Self; 11] = [
        Self::NoProxyHeader,
        Self::TlsHandshake,
        Self::TlsTimeout,
        Self::NoClientHello,
        Self::PlainText,
        Self::TooManyOfClient,
        Self::ShortOfMemory,
        Self::H2Protocol,
        Self::H2State,
        Self::H2EnhanceYourCalm,
        Self::H2Other,
    ];

    /// One word for the label of the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoProxyHeader => "no_proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsTimeout => "tls_timeout",
            Self::NoClientHello => "no_client_hello",
            Self::PlainText => "plain_text",
            Self::TooManyOfClient => "too_many_of_client",
            Self::ShortOfMemory => "short_of_memory",
            Self::H2Protocol => "h2_protocol",
            Self::H2State => "h2_state",
            Self::H2EnhanceYourCalm => "h2_enhance_your_calm",
            Self::H2Other => "h2_other",
        }
    }

    /// The reason behind the error that ended an HTTP/2 connection; `None` where the client just went away.
    pub(super) fn of_h2(error: &hyper::Error) -> Option<Self> {
        let source = std::error::Error::source(error)?;
        let reason = source.downcast_ref::<h2::Error>()?.reason()?;
        Some(match reason {
            h2::Reason::NO_ERROR => return None,
            h2::Reason::PROTOCOL_ERROR
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::STREAM_CLOSED => Self::H2Protocol,
            h2::Reason::FLOW_CONTROL_ERROR | h2::Reason::COMPRESSION_ERROR => Self::H2State,
            h2::Reason::ENHANCE_YOUR_CALM => Self::H2EnhanceYourCalm,
            _ => Self::H2Other,
        })
    }
}
