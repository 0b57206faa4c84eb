//! TLS hellos: nothing panics, how the bytes arrive makes no difference, and a name is one of a host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_codec::client_hello::{BYTES_MAX, HELLO_BYTES_MAX, Progress, Refusal, read};

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else {
        return;
    };
    let whole = read(bytes);
    assert_eq!(whole, stepwise(bytes, usize::from(*step).max(1)));
    // The same message in other records is the same hello, as long as they are not too many.
    if let (Some(cut), Ok(Progress::Hello(_))) = (recut(bytes, usize::from(*step) + 8), &whole) {
        assert_eq!(read(&cut), whole);
    }
    let Ok(Progress::Hello(hello)) = whole else {
        return;
    };
    assert!(hello.alpn().map(|name| 1 + name.len()).sum::<usize>() <= HELLO_BYTES_MAX);
    assert!(hello.alpn().all(|name| !name.is_empty()));
    if let Some(name) = hello.server_name {
        assert!((1..=253).contains(&name.len()) && !name.starts_with('.') && !name.ends_with('.'));
        assert!(
            name.bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        );
        assert!(name.parse::<std::net::IpAddr>().is_err());
    }
});

/// The answer of a reader that gets `step` bytes at a time, and asks once more where one is there.
fn stepwise(bytes: &[u8], step: usize) -> Result<Progress, Refusal> {
    for end in (0..bytes.len()).step_by(step) {
        match read(&bytes[..end]) {
            Ok(Progress::Partial(wanted)) => assert!(wanted > end && wanted <= BYTES_MAX),
            answer => return answer,
        }
    }
    read(bytes)
}

/// The records of a hello with contents of other lengths; `None` where the bytes are not records.
fn recut(mut bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while let [22, 3, _, high, low, behind @ ..] = bytes {
        let (content, rest) = behind.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
        message.extend_from_slice(content);
        bytes = rest;
    }
    let record = |content: &[u8]| [&[22, 3, 3, 0, content.len() as u8], content].concat();
    // What follows the hello would be cut into its last record.
    let is_alone =
        u32::from_be_bytes([0, *message.get(1)?, *message.get(2)?, *message.get(3)?]) as usize + 4
            == message.len();
    (is_alone && len < 256).then(|| message.chunks(len).flat_map(record).collect())
}
