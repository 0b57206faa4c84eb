//! The query of a URL, decoded when a rule first asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Query<'r> {
    text: Option<&'r str>,
    params: OnceCell<Vec<(Cow<'r, str>, Cow<'r, str>)>>,
}

impl<'r> Query<'r> {
    pub(crate) fn new(text: Option<&'r str>) -> Self {
        Self {
            text,
            params: OnceCell::new(),
        }
    }

    /// The first value of the parameter (Gateway API recommends the first of repeated ones).
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let params = self
            .params
            .get_or_init(|| parse(self.text.unwrap_or_default()));
        params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }
}

fn parse(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Percent-decodes, and reads `+` as a space (WHATWG URL, `application/x-www-form-urlencoded`).
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| hex_pair(bytes.get(at + 1..at + 3)))
            .flatten();
        match escaped {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = pair? else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let query = Query::new(Some("a=1&b=2&a=3&flag"));
        assert_eq!(query.first("a"), Some("1"));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("c"), None);
        assert_eq!(Query::new(None).first("a"), None);
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_are_kept() {
        let query = Query::new(Some("na%20me=x%2By+z&p=100%&q=%zz%4"));
        assert_eq!(query.first("na me"), Some("x+y z"));
        assert_eq!(query.first("p"), Some("100%"));
        assert_eq!(query.first("q"), Some("%zz%4"));
    }
}
