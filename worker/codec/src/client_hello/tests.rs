//! Hellos of real clients and hellos that nobody should send, whole and in pieces.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{BYTES_MAX, ClientHello, HELLO_BYTES_MAX, Progress, Refusal, read};

/// What is known of a hello: the client, its bytes, the host it names, the protocols it would speak.
type Real = (
    &'static str,
    &'static [u8],
    Option<&'static str>,
    &'static [&'static str],
);

/// What clients send for `https://a.example.com`, as it was on the wire.
const REAL: [Real; 9] = [
    (
        "Chromium 156",
        include_bytes!("hellos/chromium.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
    (
        "curl 7.88, OpenSSL 3.0",
        include_bytes!("hellos/curl.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
    ("GnuTLS 3.7", include_bytes!("hellos/gnutls.bin"), NAME, &[]),
    (
        "Go 1.26",
        include_bytes!("hellos/go.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
    (
        "Go 1.26, TLS 1.2",
        include_bytes!("hellos/go_tls12.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
    (
        "OpenSSL 3.0",
        include_bytes!("hellos/openssl_tls13.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
    (
        "OpenSSL 3.0, no name",
        include_bytes!("hellos/openssl_no_sni.bin"),
        None,
        &[],
    ),
    (
        "OpenSSL 3.0, TLS 1.2",
        include_bytes!("hellos/openssl_tls12.bin"),
        NAME,
        &[],
    ),
    (
        "rustls 0.23",
        include_bytes!("hellos/rustls.bin"),
        NAME,
        &["h2", "http/1.1"],
    ),
];

const NAME: Option<&str> = Some("a.example.com");

/// A message in one record.
fn record(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[22, 3, 1], &len[..], message].concat()
}

/// A message in records of these lengths, the last one again and again.
fn records(message: &[u8], lens: &[usize]) -> Vec<u8> {
    let mut lens = lens.iter().chain(std::iter::repeat(lens.last().unwrap()));
    let (mut bytes, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let (content, next) = rest.split_at(rest.len().min(*lens.next().unwrap()));
        bytes.extend(record(content));
        rest = next;
    }
    bytes
}

fn long_vector(content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&len, content].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), long_vector(data)].concat()
}

fn named(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names = names
        .iter()
        .map(|(kind, name)| [vec![*kind], long_vector(name)].concat());
    extension(0, &long_vector(&names.collect::<Vec<_>>().concat()))
}

/// A message of a hello with these extensions.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let start = [&[3, 3], &[7; 32][..], &[0], &[0, 2, 0x13, 0x01], &[1, 0]].concat();
    message(&[start, long_vector(&extensions.concat())].concat())
}

fn message(content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[1], &len[1..], content].concat()
}

/// The answer of a reader that gets `bytes` one by one.
fn bytewise(bytes: &[u8]) -> Result<Progress, Refusal> {
    stepwise(bytes, 1)
}

/// The answer of a reader that gets `step` bytes at a time.
fn stepwise(bytes: &[u8], step: usize) -> Result<Progress, Refusal> {
    for end in (0..bytes.len()).step_by(step) {
        match read(&bytes[..end]) {
            Ok(Progress::Partial(wanted)) => assert!(wanted > end && wanted <= BYTES_MAX),
            answer => return answer,
        }
    }
    read(bytes)
}

fn name_of(bytes: &[u8]) -> Result<Option<String>, Refusal> {
    assert_eq!(read(bytes), bytewise(bytes));
    match read(bytes)? {
        Progress::Hello(hello) => Ok(hello.server_name.map(String::from)),
        Progress::Partial(wanted) => panic!("{wanted} bytes are wanted of {}", bytes.len()),
    }
}

fn alpn(hello: &ClientHello) -> Vec<&str> {
    hello
        .alpn()
        .map(|name| std::str::from_utf8(name).unwrap())
        .collect()
}

#[test]
fn hellos_of_real_clients_are_read_whole_and_in_pieces() {
    for (client, bytes, name, protocols) in REAL {
        let Ok(Progress::Hello(hello)) = read(bytes) else {
            panic!("{client}: {:?}", read(bytes));
        };
        assert_eq!(
            (hello.server_name.as_deref(), &*alpn(&hello)),
            (name, protocols),
            "{client}"
        );
        let expected = Ok(Progress::Hello(hello));
        assert_eq!(bytewise(bytes), expected, "{client}");
        for len in [1, 2, 3, 4, 5, 100] {
            assert_eq!(
                stepwise(&records(&bytes[5..], &[len]), 97),
                expected,
                "{client}, {len}"
            );
        }
        let more = [bytes, b"\x14\x03\x03\x00\x01\x01"].concat();
        assert_eq!(
            read(&more),
            expected,
            "{client}: what follows is for others"
        );
    }
}

#[test]
fn names_are_lowered_and_of_hosts() {
    let named = |name: &[u8]| name_of(&record(&hello(&[named(&[(0, name)])])));
    assert_eq!(
        named(b"WWW.Example.COM"),
        Ok(Some("www.example.com".into()))
    );
    assert_eq!(
        named(b"a_b.xn--bcher-kva.example"),
        Ok(Some("a_b.xn--bcher-kva.example".into()))
    );
    assert_eq!(named(b"localhost"), Ok(Some("localhost".into())));
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(named(longest.as_bytes()), Ok(Some(longest.clone())));
    let refused: [&[u8]; 16] = [
        b"",
        b".",
        b"a.example.",
        b".a.example",
        b"a..example",
        b"127.0.0.1",
        b"1.2.3",
        b"::1",
        b"[::1]",
        b"*.example",
        b"a.example:443",
        b"a\0.example",
        b"a example",
        b"-a.example",
        b"a-.example",
        "b\u{fc}cher.example".as_bytes(),
    ];
    for name in refused {
        assert_eq!(
            named(name),
            Err(Refusal::ServerName),
            "{}",
            name.escape_ascii()
        );
    }
    assert_eq!(
        named(format!("{longest}a").as_bytes()),
        Err(Refusal::ServerName)
    );
    assert_eq!(
        named(format!("{label}a.example").as_bytes()),
        Err(Refusal::ServerName)
    );
}

#[test]
fn a_hello_names_one_host() {
    let two = named(&[(0, b"a.example"), (0, b"b.example")]);
    assert_eq!(name_of(&record(&hello(&[two]))), Err(Refusal::Malformed));
    let none = named(&[]);
    assert_eq!(name_of(&record(&hello(&[none]))), Err(Refusal::Malformed));
    let other = named(&[(9, b"\0"), (0, b"a.example")]);
    assert_eq!(
        name_of(&record(&hello(&[other]))),
        Ok(Some("a.example".into()))
    );
    let twice = [named(&[(0, b"a.example")]), named(&[(0, b"b.example")])];
    assert_eq!(
        name_of(&record(&hello(&twice))),
        Err(Refusal::ExtensionTwice)
    );
}

#[test]
fn unknown_extensions_are_skipped_and_none_may_come_twice() {
    let mut extensions = vec![extension(0x0a0a, &[]), extension(0xfe0d, &[0; 200])];
    extensions.push(named(&[(0, b"a.example")]));
    extensions.push(extension(0xfafa, &[0]));
    assert_eq!(
        name_of(&record(&hello(&extensions))),
        Ok(Some("a.example".into()))
    );
    extensions.push(extension(0x0a0a, &[1]));
    assert_eq!(
        name_of(&record(&hello(&extensions))),
        Err(Refusal::ExtensionTwice)
    );
}

#[test]
fn a_hello_may_have_no_extensions() {
    let old = [&[3, 1], &[7; 32][..], &[0], &[0, 2, 0, 0x2f], &[1, 0]].concat();
    assert_eq!(name_of(&record(&message(&old))), Ok(None));
    assert_eq!(name_of(&record(&hello(&[]))), Ok(None));
}

#[test]
fn what_is_not_by_the_grammar_is_refused() {
    let content = hello(&[named(&[(0, b"a.example")])]);
    let content = &content[4..];
    for end in 0..content.len() {
        // Where the extensions would begin, the hello is whole without them.
        let expected = if end == 41 {
            Ok(None)
        } else {
            Err(Refusal::Malformed)
        };
        assert_eq!(
            name_of(&record(&message(&content[..end]))),
            expected,
            "{end}"
        );
    }
    let longer = [content, &[0]].concat();
    assert_eq!(name_of(&record(&message(&longer))), Err(Refusal::Malformed));
    let protocols: [&[u8]; 5] = [
        b"",
        b"\0\0",
        b"\0\x01\0",
        b"\0\x03\x03h2",
        b"\0\x03\x02h2\0",
    ];
    for protocols in protocols {
        let bytes = record(&hello(&[extension(16, protocols)]));
        assert_eq!(name_of(&bytes), Err(Refusal::Malformed), "{protocols:?}");
    }
}

#[test]
fn what_is_no_hello_is_refused_at_its_first_wrong_byte() {
    let at = |bytes: &[u8]| {
        let end = (0..=bytes.len()).find(|end| read(&bytes[..*end]).is_err());
        assert_eq!(bytewise(bytes), read(bytes));
        (end, read(bytes).unwrap_err())
    };
    assert_eq!(at(b"GET / HTTP/1.1\r\n\r\n"), (Some(1), Refusal::NotTls));
    // A hello of SSL 2 that offers version 3.1.
    assert_eq!(
        at(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"),
        (Some(1), Refusal::NotTls)
    );
    assert_eq!(at(b"\x16\x02\x00\x00\x04"), (Some(2), Refusal::NotTls));
    assert_eq!(
        at(b"\x15\x03\x01\x00\x02\x01\x00"),
        (Some(1), Refusal::NotTls)
    );
    assert_eq!(
        at(b"\x16\x03\x01\x00\x00\x16\x03\x01"),
        (Some(5), Refusal::Record)
    );
    assert_eq!(at(b"\x16\x03\x01\x40\x01"), (Some(5), Refusal::Record));
    assert_eq!(
        at(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"),
        (Some(6), Refusal::NotHello)
    );
    assert_eq!(
        at(b"\x16\x03\x01\x00\x02\x01\x00\x17\x03\x01"),
        (Some(8), Refusal::Record)
    );
    let mut more = hello(&[]);
    more.extend(hello(&[]));
    assert_eq!(at(&record(&more)), (Some(9), Refusal::Record));
    assert_eq!(at(&records(&more, &[30])), (Some(35 + 5), Refusal::Record));
}

#[test]
fn a_hello_is_bounded_however_it_is_cut() {
    let padding = |len: usize| hello(&[named(&[(0, b"a.example")]), extension(21, &vec![0; len])]);
    let room = HELLO_BYTES_MAX - (padding(0).len() - 4);
    let longest = records(&padding(room), &[1 << 14]);
    assert_eq!(
        read(&longest).map(|read| matches!(read, Progress::Hello(_))),
        Ok(true)
    );
    assert_eq!(
        read(&records(&padding(room + 1), &[1 << 14])),
        Err(Refusal::TooLong)
    );
    assert_eq!(
        read(b"\x16\x03\x01\x00\x04\x01\x00\x40\x01"),
        Err(Refusal::TooLong)
    );
    // Five bytes of a record's header for each byte of the hello are too many in the end.
    let thin = records(&padding(room), &[1]);
    assert!(matches!(
        read(&thin[..BYTES_MAX - 100]),
        Ok(Progress::Partial(_))
    ));
    assert_eq!(read(&thin[..BYTES_MAX]), Err(Refusal::TooLong));
}

/// Bytes of hellos with some of them changed, in records of any length.
fn almost_hellos() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let lens = vec(1..600_usize, 1..8);
    (0..REAL.len(), changes.clone(), lens, changes).prop_map(|(real, inside, lens, outside)| {
        let change = |mut bytes: Vec<u8>, changes: Vec<(prop::sample::Index, u8)>| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        };
        change(
            records(&change(REAL[real].1[5..].to_vec(), inside), &lens),
            outside,
        )
    })
}

proptest! {
    #[test]
    fn more_bytes_never_change_an_answer(
        bytes in almost_hellos(),
        step in 1..100_usize,
        more in vec(any::<u8>(), 0..20),
    ) {
        let answer = stepwise(&bytes, step);
        prop_assert_eq!(read(&bytes), answer.clone());
        if !matches!(answer, Ok(Progress::Partial(_))) {
            prop_assert_eq!(read(&[bytes, more].concat()), answer);
        }
    }

    #[test]
    fn records_make_no_difference(real in 0..REAL.len(), lens in vec(1..600_usize, 1..8)) {
        let bytes = REAL[real].1;
        prop_assert_eq!(read(&records(&bytes[5..], &lens)), read(bytes));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300)) {
        let content = [&[3, 3], &[7; 32][..], &bytes].concat();
        let _ = (read(&bytes), read(&record(&message(&content))));
    }
}
