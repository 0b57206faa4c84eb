//! The name in the extension `server_name` (RFC 6066, section 3).

use super::Refusal;
use super::fields::Fields;

/// The kind of names that are names of hosts.
const HOST_NAME: u8 = 0;

/// Bytes of a DNS name at most, as text (RFC 1035, section 2.3.4).
const NAME_LEN_MAX: usize = 253;

/// Bytes between two dots at most.
const LABEL_LEN_MAX: usize = 63;

/// The name of the host in lower case. Names of other kinds, of which there are none yet, are skipped.
pub(super) fn server_name(data: &[u8]) -> Result<Option<Box<str>>, Refusal> {
    let mut fields = Fields(data);
    let mut names = Fields(fields.long_vector()?);
    fields.end()?;
    if names.is_empty() {
        return Err(Refusal::Malformed);
    }
    let mut found = None;
    while !names.is_empty() {
        let [kind] = *names.array()?;
        let name = names.long_vector()?;
        if kind != HOST_NAME {
            continue;
        }
        let name = host(name).ok_or(Refusal::ServerName)?;
        if found.replace(name).is_some() {
            return Err(Refusal::Malformed);
        }
    }
    Ok(found)
}

/// A DNS name of a host; the extension allows neither an address nor a dot at the end.
fn host(name: &[u8]) -> Option<Box<str>> {
    let labels_are_valid = name.split(|byte| *byte == b'.').all(is_label);
    if name.len() > NAME_LEN_MAX || !labels_are_valid || ends_with_a_number(name) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    String::from_utf8(name).ok().map(String::into_boxed_str)
}

fn is_label(label: &[u8]) -> bool {
    // Underscores are in no name of a host, and in use.
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.iter().all(is_valid)
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

/// Whether it is an IPv4 address, or something that some take for one.
fn ends_with_a_number(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next();
    last.is_some_and(|label| label.iter().all(u8::is_ascii_digit))
}
