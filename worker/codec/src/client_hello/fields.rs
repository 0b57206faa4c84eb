//! The fields of a hello, and its extensions.

use super::server_name::server_name;
use super::{ClientHello, Refusal};

/// Bytes of a session's id at most.
const SESSION_ID_BYTES_MAX: usize = 32;

/// The extension with the server's name (RFC 6066, section 3).
const SERVER_NAME: u16 = 0;

/// The extension with the names of protocols (RFC 7301, section 3.1).
const ALPN: u16 = 16;

/// What is left to read.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// Reads the content of the message. Extensions of other kinds are skipped, those that mean nothing on
/// purpose (RFC 8701) among them.
pub(super) fn parse(message: &[u8]) -> Result<ClientHello, Refusal> {
    let mut fields = Fields(message);
    let [major, _] = *fields.array()?;
    let _random: &[u8; 32] = fields.array()?;
    let session_id = fields.short_vector()?;
    let suites = fields.long_vector()?;
    let compressions = fields.short_vector()?;
    if major != 3
        || session_id.len() > SESSION_ID_BYTES_MAX
        || suites.is_empty()
        || suites.len() % 2 != 0
        || compressions.is_empty()
    {
        return Err(Refusal::Malformed);
    }
    let mut hello = ClientHello {
        server_name: None,
        alpn: Box::default(),
    };
    // TLS 1.2 knows hellos without extensions.
    if !fields.is_empty() {
        let extensions = Fields(fields.long_vector()?);
        fields.end()?;
        read_extensions(extensions, &mut hello)?;
    }
    Ok(hello)
}

fn read_extensions(mut extensions: Fields<'_>, hello: &mut ClientHello) -> Result<(), Refusal> {
    let mut kinds = Vec::new();
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(*extensions.array()?);
        let data = extensions.long_vector()?;
        kinds.push(kind);
        match kind {
            SERVER_NAME => hello.server_name = server_name(data)?,
            ALPN => hello.alpn = alpn(data)?.into(),
            _ => {}
        }
    }
    kinds.sort_unstable();
    if kinds.windows(2).any(|two| two[0] == two[1]) {
        return Err(Refusal::ExtensionTwice);
    }
    Ok(())
}

/// The names of protocols, none of them empty.
fn alpn(data: &[u8]) -> Result<&[u8], Refusal> {
    let mut fields = Fields(data);
    let names = fields.long_vector()?;
    fields.end()?;
    let mut rest = Fields(names);
    while !rest.is_empty() {
        if rest.short_vector()?.is_empty() {
            return Err(Refusal::Malformed);
        }
    }
    if names.is_empty() {
        return Err(Refusal::Malformed);
    }
    Ok(names)
}

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing more may follow.
    pub(super) fn end(self) -> Result<(), Refusal> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Malformed)
        }
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<&'a [u8; LEN], Refusal> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(array)
    }

    /// Bytes behind one byte with their length.
    pub(super) fn short_vector(&mut self) -> Result<&'a [u8], Refusal> {
        let [len] = *self.array()?;
        self.take(usize::from(len))
    }

    /// Bytes behind two bytes with their length.
    pub(super) fn long_vector(&mut self) -> Result<&'a [u8], Refusal> {
        let len = u16::from_be_bytes(*self.array()?);
        self.take(usize::from(len))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}
