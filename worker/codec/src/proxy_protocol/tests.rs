//! Headers of both versions, good and bad.

use super::*;

fn origin(source: &str, destination: &str) -> Origin {
    Origin::Client {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len())
        .expect("it is short")
        .to_be_bytes();
    [&V2_SIGNATURE[..], &[0x20 | command, family], &len, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xC0, 0x01, 0x01, 0xBB];

/// Reads a header with other bytes behind it, and in every shorter form.
fn read(header: &[u8]) -> Result<Origin, NoHeader> {
    let with_rest = [header, b"GET / HTTP/1.1\r\n"].concat();
    let Parsed::Whole(len, origin) = parse(&with_rest)? else {
        return Err(NoHeader);
    };
    assert_eq!(len, header.len());
    for end in 0..header.len() {
        match parse(&header[..end]) {
            Ok(Parsed::Partial(wanted)) => assert!(wanted > end && wanted <= header.len().max(13)),
            other => panic!("{end} bytes gave {other:?}"),
        }
    }
    Ok(origin)
}

#[test]
fn version_1_tells_the_client() {
    for (line, wanted) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 49153 443\r\n",
            origin("192.0.2.1:49153", "192.0.2.2:443"),
        ),
        (
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            origin("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            origin("[2001:db8::1]:1", "[::1]:2"),
        ),
        ("PROXY UNKNOWN\r\n", Origin::Peer),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Origin::Peer),
    ] {
        assert_eq!(read(line.as_bytes()), Ok(wanted), "{line}");
    }
}

#[test]
fn version_1_has_one_form() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 x\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(NoHeader), "{line}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
    assert_eq!(parse(endless.as_bytes()), Err(NoHeader));
}

#[test]
fn version_2_tells_the_client() {
    assert_eq!(
        read(&v2(1, 0x11, &V4)),
        Ok(origin("192.0.2.1:49153", "192.0.2.2:443"))
    );
    let mut v6 = [0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
    assert_eq!(read(&v2(1, 0x21, &v6)), Ok(origin("[::1]:3", "[::2]:4")));
    assert_eq!(read(&v2(0, 0x00, b"")), Ok(Origin::Peer));
    assert_eq!(
        read(&v2(0, 0x11, &V4)),
        Ok(Origin::Peer),
        "LOCAL has no client"
    );
    assert_eq!(read(&v2(0, 0x77, b"anything")), Ok(Origin::Peer));
    assert_eq!(read(&v2(1, 0x00, b"anything")), Ok(Origin::Peer));
    assert_eq!(read(&v2(1, 0x12, &V4)), Ok(Origin::Peer));
    assert_eq!(read(&v2(1, 0x31, &[0; 216])), Ok(Origin::Peer));
}

#[test]
fn version_2_has_one_form() {
    let mut wrong_version = v2(1, 0x11, &V4);
    wrong_version[12] = 0x11;
    for header in [
        wrong_version,
        v2(2, 0x11, &V4),
        v2(1, 0x13, &V4),
        v2(1, 0x41, &V4),
        v2(1, 0x11, &V4[..11]),
        v2(1, 0x21, &V4),
        v2(1, 0x31, &[0; 215]),
        v2(1, 0x11, &vec![0; V2_BYTES_MAX]),
        v2(1, 0x11, &[&V4[..], &[1]].concat()),
        v2(1, 0x11, &[&V4[..], &[1, 0, 5, 0]].concat()),
    ] {
        assert_eq!(parse(&header), Err(NoHeader), "{header:?}");
    }
}

#[test]
fn a_checksum_must_be_right() {
    let with = |checksum: [u8; 4]| {
        let body = [&V4[..], &[0x05, 0, 1, b'x', TYPE_CRC32C, 0, 4], &checksum].concat();
        v2(1, 0x11, &body)
    };
    let right = crc32c::crc32c(&with([0; 4])).to_be_bytes();
    assert!(read(&with(right)).is_ok());
    assert_eq!(parse(&with([0; 4])), Err(NoHeader));
    let short = [&V4[..], &[TYPE_CRC32C, 0, 3, 0, 0, 0]].concat();
    assert_eq!(parse(&v2(1, 0x11, &short)), Err(NoHeader));
}
