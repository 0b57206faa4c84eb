//! Where a message's body ends (RFC 9112, section 6): the one question that two parsers must never answer
//! differently.

use http::header::{self, HeaderMap};
use http::{HeaderName, StatusCode, Version};

use super::Framed;
use crate::{Fault, Refusal};

/// How the body after a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// So many bytes; never 0.
    Length(u64),
    /// Chunks up to the one of size 0, then trailers.
    Chunked,
}

impl Framing {
    /// The framing of a request.
    ///
    /// # Errors
    /// Where two readers of the headers could differ: that is worth more than any client that sends them.
    pub fn of_request(version: Version, headers: &HeaderMap) -> Result<Self, Refusal> {
        let coded = headers.contains_key(header::TRANSFER_ENCODING);
        let length = content_length(headers)?;
        if !coded {
            return Ok(match length {
                None | Some(0) => Self::None,
                Some(length) => Self::Length(length),
            });
        }
        if length.is_some() {
            return Err(Refusal::LengthAndCoding);
        }
        // Such a message has passed a relay that did not know what it was (RFC 9112, section 6.1).
        if version < Version::HTTP_11 {
            return Err(Refusal::TransferEncoding);
        }
        check_coding(headers)?;
        Ok(Self::Chunked)
    }
}

/// The framing of an answer to a request, HEAD or another (RFC 9112, section 6.3); `headers` keep what frames the
/// message and nothing that contradicts it.
///
/// # Errors
/// Where there is no certain end.
pub(super) fn of_answer(
    status: StatusCode,
    version: Version,
    to_head: bool,
    headers: &mut HeaderMap,
) -> Result<Framed, Fault> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        return Ok(match status {
            StatusCode::SWITCHING_PROTOCOLS => Framed::Switched,
            _ => Framed::Bodiless,
        });
    }
    let length = answer_length(headers)?;
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    if coded {
        // What was sent by HTTP/1.0 has passed a relay that did not know what it was (RFC 9112, section 6.1).
        if version < Version::HTTP_11 || check_coding(headers).is_err() {
            return Err(Fault::TransferCoding);
        }
        headers.remove(header::CONTENT_LENGTH);
    } else if let Some(length) = length
        && !is_said_plainly(headers)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(match length {
        _ if to_head || status == StatusCode::NOT_MODIFIED => Framed::Bodiless,
        _ if coded => Framed::Chunked,
        Some(length) => Framed::Length(length),
        None => Framed::Close,
    })
}

/// Whether a list header names a token, in any case (RFC 9110, section 5.6.1).
#[must_use]
pub fn names_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let elements = value.as_bytes().split(|byte| *byte == b',');
        elements
            .map(<[u8]>::trim_ascii)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The one length; a second one is refused even if it says the same.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::ContentLength);
    }
    let length = read_length(value.as_bytes());
    length.map(Some).ok_or(Refusal::ContentLength)
}

/// The one length of an answer. That it is said again, in a list or in another line, does no harm; that it is
/// said differently does (RFC 9112, section 6.3).
fn answer_length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut length = None;
    let values = headers.get_all(header::CONTENT_LENGTH).iter();
    let elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for element in elements {
        let said = read_length(element.trim_ascii()).ok_or(Fault::ContentLength)?;
        if length.is_some_and(|length| length != said) {
            return Err(Fault::ContentLength);
        }
        length = Some(said);
    }
    Ok(length)
}

/// Whether the length is said just once, and not in a form that some take for an octal number.
fn is_said_plainly(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_plain = |value: &http::HeaderValue| match value.as_bytes() {
        [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    values.next().is_some_and(is_plain) && values.next().is_none()
}

/// One decimal number.
fn read_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits.iter().try_fold(0u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    // Others count in signed numbers.
    length.filter(|length| *length <= i64::MAX as u64)
}

fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let value = values
        .next()
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default();
    if values.next().is_none() && value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let all = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut codings = all.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_other = |coding: &[u8]| {
        let is_token = !coding.is_empty() && HeaderName::from_bytes(coding).is_ok();
        is_token && !coding.eq_ignore_ascii_case(b"chunked")
    };
    if codings.any(|coding| is_other(coding.trim_ascii())) {
        Err(Refusal::TransferCoding)
    } else {
        Err(Refusal::TransferEncoding)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn framing(fields: &[(HeaderName, &'static str)]) -> Result<Framing, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        Framing::of_request(Version::HTTP_11, &headers)
    }

    #[test]
    fn one_length_or_one_coding_says_where_a_body_ends() {
        assert_eq!(framing(&[]), Ok(Framing::None));
        assert_eq!(framing(&[(header::CONTENT_LENGTH, "0")]), Ok(Framing::None));
        assert_eq!(
            framing(&[(header::CONTENT_LENGTH, "042")]),
            Ok(Framing::Length(42))
        );
        assert_eq!(
            framing(&[(header::TRANSFER_ENCODING, "CHUNKED")]),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn lengths_that_could_be_read_in_two_ways_are_refused() {
        for value in [
            "",
            "+1",
            "-1",
            "1 2",
            "1,1",
            "0x1",
            "1_0",
            "9223372036854775808",
            "99999999999999999999",
        ] {
            assert_eq!(
                framing(&[(header::CONTENT_LENGTH, value)]),
                Err(Refusal::ContentLength),
                "{value}"
            );
        }
        let twice = [(header::CONTENT_LENGTH, "5"), (header::CONTENT_LENGTH, "5")];
        assert_eq!(framing(&twice), Err(Refusal::ContentLength));
        let both = [
            (header::CONTENT_LENGTH, "5"),
            (header::TRANSFER_ENCODING, "chunked"),
        ];
        assert_eq!(framing(&both), Err(Refusal::LengthAndCoding));
    }

    #[test]
    fn codings_other_than_chunked_are_refused() {
        for (value, refusal) in [
            ("gzip", Refusal::TransferCoding),
            ("gzip, chunked", Refusal::TransferCoding),
            ("identity", Refusal::TransferCoding),
            ("chunked, chunked", Refusal::TransferEncoding),
            ("", Refusal::TransferEncoding),
            (",chunked", Refusal::TransferEncoding),
            ("chunked;a=b", Refusal::TransferEncoding),
            ("\"chunked\"", Refusal::TransferEncoding),
        ] {
            assert_eq!(
                framing(&[(header::TRANSFER_ENCODING, value)]),
                Err(refusal),
                "{value}"
            );
        }
    }
}
