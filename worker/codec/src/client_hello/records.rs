//! The records of a handshake's first message (RFC 8446, section 5.1).

use std::borrow::Cow;

use super::{BYTES_MAX, HELLO_BYTES_MAX, Refusal};

/// Bytes before the content of a record: kind, version, length.
const RECORD_HEADER_LEN: usize = 5;

/// Bytes of a record's content at most.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// Bytes before the content of a message (RFC 8446, section 4): type, length.
const MESSAGE_HEADER_LEN: usize = 4;

/// The kind of records that carry a handshake.
const HANDSHAKE: u8 = 22;

/// The type of the message.
const CLIENT_HELLO: u8 = 1;

/// The content of the first message, as far as it is there.
pub(super) enum Message<'a> {
    /// More bytes are needed, this many in all at least.
    Partial(usize),
    /// All of it, without its header.
    Whole(Cow<'a, [u8]>),
}

/// Walks over the records until the message is whole. What is refused is refused for the first byte that is
/// wrong, so more bytes never change the answer.
pub(super) fn message(bytes: &[u8]) -> Result<Message<'_>, Refusal> {
    let mut header = [0; MESSAGE_HEADER_LEN];
    let (mut walked, mut have) = (0, 0);
    loop {
        let start = walked + RECORD_HEADER_LEN;
        if start >= BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let Some(len) = record_len(&bytes[walked..], walked == 0)? else {
            return Ok(Message::Partial(start));
        };
        let end = start + len;
        if end > BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let content = &bytes[start..end.min(bytes.len())];
        for (to, from) in header.iter_mut().skip(have).zip(content) {
            *to = *from;
        }
        let known = MESSAGE_HEADER_LEN.min(have + content.len());
        let whole = message_len(&header[..known])?;
        have += len;
        // Nobody can say more before the answer, so what follows in the record has no meaning.
        if whole.is_some_and(|whole| have > whole) {
            return Err(Refusal::Record);
        }
        if content.len() < len {
            return Ok(Message::Partial(end));
        }
        if whole == Some(have) {
            return Ok(Message::Whole(joined(&bytes[..end], have)));
        }
        walked = end;
    }
}

/// The length of a record's content; `None` as long as its header is not whole.
fn record_len(record: &[u8], is_first: bool) -> Result<Option<usize>, Refusal> {
    let is_handshake = record.first().is_none_or(|kind| *kind == HANDSHAKE);
    // The minor version says nothing: clients of all versions write 1 or 3.
    let is_tls = record.get(1).is_none_or(|major| *major == 3);
    if !is_handshake || !is_tls {
        return Err(if is_first {
            Refusal::NotTls
        } else {
            Refusal::Record
        });
    }
    let [_, _, _, high, low, ..] = *record else {
        return Ok(None);
    };
    match usize::from(u16::from_be_bytes([high, low])) {
        len @ 1..=RECORD_BYTES_MAX => Ok(Some(len)),
        _ => Err(Refusal::Record),
    }
}

/// The length of the message with its header; `None` as long as that is not whole.
fn message_len(header: &[u8]) -> Result<Option<usize>, Refusal> {
    if header.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Refusal::NotHello);
    }
    let [_, high, middle, low] = *header else {
        return Ok(None);
    };
    match u32::from_be_bytes([0, high, middle, low]) as usize {
        len if len > HELLO_BYTES_MAX => Err(Refusal::TooLong),
        len => Ok(Some(MESSAGE_HEADER_LEN + len)),
    }
}

/// The content of whole records that hold a message of `len` bytes; copied only where there are several.
fn joined(records: &[u8], len: usize) -> Cow<'_, [u8]> {
    if records.len() == RECORD_HEADER_LEN + len {
        return Cow::Borrowed(&records[RECORD_HEADER_LEN + MESSAGE_HEADER_LEN..]);
    }
    let mut message = Vec::with_capacity(len);
    let mut rest = records;
    while let [_, _, _, high, low, behind @ ..] = rest {
        let (content, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        message.extend_from_slice(content);
        rest = next;
    }
    message.drain(..MESSAGE_HEADER_LEN);
    Cow::Owned(message)
}
