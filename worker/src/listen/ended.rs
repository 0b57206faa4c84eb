//! Why connections ended before their time, for logs and metrics.

use std::io;

use rustls::{Error, PeerIncompatible};

/// A reason; none of them is about a request that a log line would tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No PROXY header where one must be.
    NoProxyHeader,
    /// A TLS handshake that failed in another way than those below.
    TlsHandshake,
    /// A TLS client that knows neither TLS 1.2 nor 1.3.
    TlsVersion,
    /// A TLS client that shares no cipher suite, group or signature scheme with the worker.
    TlsNothingInCommon,
    /// A TLS client that speaks none of the protocols of the listener (ALPN).
    TlsProtocol,
    /// A TLS client that names a server that no listener of the port has a certificate for.
    TlsNoCertificate,
    /// A TLS client without a certificate that its listener asks for, or with one that is not trusted.
    TlsClientCertificate,
    /// A TLS client that gave the handshake up, most often because it does not trust the certificate.
    TlsAlert,
    /// A TLS client that went away during the handshake.
    TlsClosed,
    /// A TLS handshake that took too long.
    TlsTimeout,
    /// No valid ClientHello where a server name decides.
    NoClientHello,
    /// HTTP in plain text on a port for HTTPS.
    PlainText,
    /// The port has as many connections as it may.
    TooManyOfPort,
    /// The client's address has as many connections as it may.
    TooManyOfClient,
    /// The process is short of memory.
    ShortOfMemory,
    /// A client that sent nothing of a first request in time.
    NoRequest,
    /// A client that sent no other request in time.
    Idle,
    /// A client that reads nothing of its answer.
    WriteStalled,
    /// HTTP/2 that breaks the protocol.
    H2Protocol,
    /// HTTP/2 whose flow control or compression is out of step.
    H2State,
    /// HTTP/2 with more resets, parts of a header section or small frames than anybody needs.
    H2EnhanceYourCalm,
    /// HTTP/2 with more pings than it may have.
    H2Pings,
    /// HTTP/2 with more settings than it may have.
    H2Settings,
    /// HTTP/2 with more frames without content than it may have.
    H2ControlFrames,
    /// HTTP/2 whose requests are reset before they are answered.
    H2Cancels,
    /// HTTP/2 whose client answers no ping.
    H2Silent,
    /// HTTP/2 that ended in another way.
    H2Other,
}

impl Ended {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: &[Self] = &[
        Self::NoProxyHeader,
        Self::TlsHandshake,
        Self::TlsVersion,
        Self::TlsNothingInCommon,
        Self::TlsProtocol,
        Self::TlsNoCertificate,
        Self::TlsClientCertificate,
        Self::TlsAlert,
        Self::TlsClosed,
        Self::TlsTimeout,
        Self::NoClientHello,
        Self::PlainText,
        Self::TooManyOfPort,
        Self::TooManyOfClient,
        Self::ShortOfMemory,
        Self::NoRequest,
        Self::Idle,
        Self::WriteStalled,
        Self::H2Protocol,
        Self::H2State,
        Self::H2EnhanceYourCalm,
        Self::H2Pings,
        Self::H2Settings,
        Self::H2ControlFrames,
        Self::H2Cancels,
        Self::H2Silent,
        Self::H2Other,
    ];

    /// One word for the label of the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoProxyHeader => "no_proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsVersion => "tls_version",
            Self::TlsNothingInCommon => "tls_nothing_in_common",
            Self::TlsProtocol => "tls_protocol",
            Self::TlsNoCertificate => "tls_no_certificate",
            Self::TlsClientCertificate => "tls_client_certificate",
            Self::TlsAlert => "tls_alert",
            Self::TlsClosed => "tls_closed",
            Self::TlsTimeout => "tls_timeout",
            Self::NoClientHello => "no_client_hello",
            Self::PlainText => "plain_text",
            Self::TooManyOfPort => "too_many_of_port",
            Self::TooManyOfClient => "too_many_of_client",
            Self::ShortOfMemory => "short_of_memory",
            Self::NoRequest => "no_request",
            Self::Idle => "idle",
            Self::WriteStalled => "write_stalled",
            Self::H2Protocol => "h2_protocol",
            Self::H2State => "h2_state",
            Self::H2EnhanceYourCalm => "h2_enhance_your_calm",
            Self::H2Pings => "h2_pings",
            Self::H2Settings => "h2_settings",
            Self::H2ControlFrames => "h2_control_frames",
            Self::H2Cancels => "h2_cancels",
            Self::H2Silent => "h2_silent",
            Self::H2Other => "h2_other",
        }
    }

    /// Whether the access log has a line for it: not for the ordinary end of a connection.
    pub(crate) fn is_logged(self) -> bool {
        self != Self::Idle
    }

    /// The reason behind the error that ended a TLS handshake.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        let Some(cause) = cause else {
            return Self::TlsClosed;
        };
        match cause {
            // Clients without signature schemes are of TLS 1.1 or older, and refused for that first.
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::TlsVersion,
            Error::PeerIncompatible(_) => Self::TlsNothingInCommon,
            Error::NoApplicationProtocol => Self::TlsProtocol,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
                Self::TlsClientCertificate
            }
            Error::AlertReceived(_) => Self::TlsAlert,
            // What rustls says where its resolver has no certificate, and in no other place here.
            Error::General(_) => Self::TlsNoCertificate,
            _ => Self::TlsHandshake,
        }
    }

    /// The reason behind the error that ended an HTTP/2 connection; `None` where the client just went away.
    pub(crate) fn of_h2(error: &h2::Error) -> Option<Self> {
        Some(match error.reason()? {
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
