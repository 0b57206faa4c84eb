//! The one form of a path: whatever stands for the same resource is matched, logged and forwarded the same.

use std::borrow::Cow;

use crate::Refusal;

/// What may differ from gateway to gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRules {
    /// Whether several slashes in a row count as one.
    pub merge_slashes: bool,
}

impl Default for PathRules {
    fn default() -> Self {
        Self {
            merge_slashes: true,
        }
    }
}

/// The normal form of a path, without its query (RFC 3986, section 6.2.2):
///
/// - Codes of letters, digits and `-._~` are decoded; other codes get upper-case digits. `%2F` and `%5C` stay
///   codes: a slash in a segment is no separator.
/// - Bytes that a path has no place for are encoded.
/// - `.` and `..` segments are resolved; nothing is above the root.
/// - Several slashes become one, unless the rules say otherwise.
///
/// A path that is in this form already costs one look at each byte. The result is never longer than three
/// times the path.
///
/// # Errors
/// When the path does not begin with a slash, has a `%` that is no code, or the code of a NUL.
pub fn normalize(path: &str, rules: PathRules) -> Result<Cow<'_, str>, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::Path);
    }
    if is_normal(path.as_bytes(), rules) {
        return Ok(Cow::Borrowed(path));
    }
    let coded = recode(path.as_bytes())?;
    Ok(Cow::Owned(resolve(&coded, rules)))
}

/// Whether there is certainly nothing to do.
fn is_normal(path: &[u8], rules: PathRules) -> bool {
    let mut before = b' ';
    for byte in path {
        let is_suspect = match byte {
            // A segment that begins with a dot may be one to resolve.
            b'.' => before == b'/',
            b'/' => before == b'/' && rules.merge_slashes,
            byte => !is_plain(*byte),
        };
        if is_suspect {
            return false;
        }
        before = *byte;
    }
    true
}

/// Whether a path may have this byte as it is (RFC 3986, section 3.3).
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn recode(path: &[u8]) -> Result<String, Refusal> {
    let mut coded = String::with_capacity(path.len() + 8);
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        let value = match byte {
            b'%' => {
                let digit = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high << 4 | low);
                let value = value.and_then(|value| u8::try_from(value).ok());
                match value.ok_or(Refusal::Path)? {
                    0 => return Err(Refusal::Path),
                    value if is_unreserved(value) => {
                        coded.push(char::from(value));
                        continue;
                    }
                    value => value,
                }
            }
            byte if is_plain(*byte) => {
                coded.push(char::from(*byte));
                continue;
            }
            0 => return Err(Refusal::Path),
            byte => *byte,
        };
        push_code(&mut coded, value);
    }
    Ok(coded)
}

fn push_code(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Removes dot segments (RFC 3986, section 5.2.4) and slashes that follow one.
fn resolve(path: &str, rules: PathRules) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path[1..].split('/').peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                // Such a segment stands for a folder.
                if is_last {
                    segments.push("");
                }
            }
            "" if rules.merge_slashes && !is_last => {}
            segment => segments.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> Option<String> {
        normalize(path, PathRules::default())
            .ok()
            .map(Cow::into_owned)
    }

    #[test]
    fn a_path_has_one_form() {
        for (path, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61%2d%7E", "/a-~"),
            ("/%2f%5c%c3", "/%2F%5C%C3"),
            ("/a\"<>\\^`{|}", "/a%22%3C%3E%5C%5E%60%7B%7C%7D"),
            ("/ä", "/%C3%A4"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/.b/..c/...", "/a/.b/..c/..."),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/a;b=c,d!$&'()*+:@", "/a;b=c,d!$&'()*+:@"),
        ] {
            assert_eq!(normal(path).as_deref(), Some(wanted), "{path}");
        }
        for path in [
            "", "a", "*", "/%", "/%1", "/%zz", "/%0", "/a%00b", "/%+1", "/a\0b",
        ] {
            assert_eq!(normal(path), None, "{path}");
        }
    }

    #[test]
    fn slashes_may_be_kept() {
        let rules = PathRules {
            merge_slashes: false,
        };
        for (path, wanted) in [
            ("//a///b//", "//a///b//"),
            ("/a//../b", "/a/b"),
            ("//.", "//"),
        ] {
            assert_eq!(normalize(path, rules).as_deref(), Ok(wanted), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_normal(path in "/[a-c./%2eEfF0\\\\?ä]{0,24}", merge_slashes: bool) {
            let rules = PathRules { merge_slashes };
            if let Ok(once) = normalize(&path, rules) {
                let again = normalize(&once, rules);
                prop_assert_eq!(again.as_deref(), Ok(&*once));
                prop_assert!(once.starts_with('/') && once.len() <= 3 * path.len());
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert!(!merge_slashes || !once.contains("//"));
            }
        }
    }
}
