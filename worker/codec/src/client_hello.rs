//! What a TLS client says first, read without taking part in its handshake: whom it means to reach and what
//! it would speak (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2).

use std::fmt;

use records::Message;

mod fields;
mod records;
mod server_name;

/// Bytes of the message at most, over all its records and without its header.
pub const HELLO_BYTES_MAX: usize = 16 << 10;

/// Bytes of a connection at most until its hello is there: the message and the headers of its records.
pub const BYTES_MAX: usize = 32 << 10;

/// What stands at the start of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed, this many in all at least.
    Partial(usize),
    /// All of the hello.
    Hello(ClientHello),
}

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that the client means, in lower case. Under Encrypted Client Hello it is the outer one's.
    pub server_name: Option<Box<str>>,
    /// Names of protocols, each behind a byte with its length.
    alpn: Box<[u8]>,
}

/// Why the bytes are no hello that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No TLS, or a hello in the form of SSL 2.
    NotTls,
    /// A record that is empty, too long or of another kind, or that holds more than the hello.
    Record,
    /// Another message than a hello.
    NotHello,
    /// A hello above [`HELLO_BYTES_MAX`], or in so many records that it is above [`BYTES_MAX`].
    TooLong,
    /// A hello that is not by the grammar.
    Malformed,
    /// An extension that comes twice.
    ExtensionTwice,
    /// A server name that is no DNS name of a host.
    ServerName,
}

/// Reads the hello at the start of `bytes`. At most [`BYTES_MAX`] bytes are ever asked for, and no more than
/// twice [`HELLO_BYTES_MAX`] are held. How the bytes of a connection arrive makes no difference.
///
/// # Errors
/// When there is none that is served, as soon as that is certain.
pub fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    Ok(match records::message(bytes)? {
        Message::Partial(wanted) => Progress::Partial(wanted),
        Message::Whole(message) => Progress::Hello(fields::parse(&message)?),
    })
}

impl ClientHello {
    /// The protocols that the client would speak, the one it likes best first; none where it names none.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.alpn;
        std::iter::from_fn(move || {
            let (len, names) = rest.split_first()?;
            let (name, behind) = names.split_at_checked(usize::from(*len))?;
            rest = behind;
            Some(name)
        })
    }
}

impl Refusal {
    /// One word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Record => "bad_tls_record",
            Self::NotHello => "no_client_hello",
            Self::TooLong => "client_hello_too_long",
            Self::Malformed => "bad_client_hello",
            Self::ExtensionTwice => "tls_extension_twice",
            Self::ServerName => "bad_server_name",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTls => "the connection does not begin with TLS of version 1.0 or above",
            Self::Record => "a TLS record of the handshake's start is not valid",
            Self::NotHello => "the TLS handshake does not begin with a ClientHello",
            Self::TooLong => "the ClientHello is too long",
            Self::Malformed => "the ClientHello is not valid",
            Self::ExtensionTwice => "an extension of the ClientHello comes twice",
            Self::ServerName => "the server name of the ClientHello is no DNS name of a host",
        })
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
