//! Header and trailer fields (RFC 9112, section 5): `name ":" OWS value OWS`, and nothing else.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::Refusal;

/// Reads the field lines of `section`, each ending with CR LF.
///
/// # Errors
/// At the first line that is not by the grammar.
pub(super) fn parse(section: &Bytes, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut start = 0;
    while start < section.len() {
        let rest = &section[start..];
        // Whoever found the end of the section saw that every line ends with CR LF.
        let len = memchr::memchr(b'\n', rest).ok_or(Refusal::BareLineFeed)?;
        let line = rest[..len]
            .strip_suffix(b"\r")
            .ok_or(Refusal::BareLineFeed)?;
        let (name, value) = field(line)?;
        let offset = start + value.start;
        let value = section.slice(offset..offset + value.len());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| bad_value(line))?;
        headers
            .try_append(name, value)
            .map_err(|_| Refusal::HeadersTooLarge)?;
        start += len + 1;
    }
    Ok(())
}

/// Whether a field must not stand in a trailer section, since it would come too late to be obeyed: framing,
/// routing, authentication, request modifiers, and what describes the content (RFC 9110, section 6.5.1).
#[must_use]
pub fn is_forbidden_trailer(name: &HeaderName) -> bool {
    const FORBIDDEN: [HeaderName; 27] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::FORWARDED,
        header::HOST,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::MAX_FORWARDS,
        header::PRAGMA,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::WWW_AUTHENTICATE,
    ];
    FORBIDDEN.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// The name of a line, and where its value stands in it.
fn field(line: &[u8]) -> Result<(HeaderName, std::ops::Range<usize>), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedHeader);
    }
    let colon = memchr::memchr(b':', line).ok_or(Refusal::HeaderName)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Refusal::HeaderName)?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &line[colon + 1..];
    let leading = value.iter().take_while(|byte| is_space(byte)).count();
    let trailing = value[leading..]
        .iter()
        .rev()
        .take_while(|byte| is_space(byte))
        .count();
    Ok((name, colon + 1 + leading..line.len() - trailing))
}

fn bad_value(line: &[u8]) -> Refusal {
    if line.contains(&b'\r') {
        Refusal::BareCarriageReturn
    } else {
        Refusal::HeaderValue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<HeaderMap, Refusal> {
        let mut headers = HeaderMap::new();
        parse(&Bytes::from_static(text.as_bytes()), &mut headers).map(|()| headers)
    }

    #[test]
    fn spaces_around_a_value_do_not_belong_to_it() {
        let headers = read("A: \t x y \t\r\nb:\r\nC:  \r\n").expect("it is valid");
        assert_eq!(headers["a"], "x y");
        assert_eq!(headers["b"], "");
        assert_eq!(headers["c"], "");
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for (text, refusal) in [
            (" a: b\r\n", Refusal::FoldedHeader),
            ("a : b\r\n", Refusal::HeaderName),
            (": b\r\n", Refusal::HeaderName),
            ("a\r\n", Refusal::HeaderName),
            ("a\u{0}b: c\r\n", Refusal::HeaderName),
            ("a: b\u{0}c\r\n", Refusal::HeaderValue),
            ("a: b\u{7f}\r\n", Refusal::HeaderValue),
            ("a: b\rc: d\r\n", Refusal::BareCarriageReturn),
        ] {
            assert_eq!(read(text).expect_err(text), refusal, "{text:?}");
        }
    }
}
