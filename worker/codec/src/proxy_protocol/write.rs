//! Headers that tell a backend whose connection it gets.

use std::net::{IpAddr, SocketAddr};

use super::V2_SIGNATURE;

/// The forms of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The header of a client's TCP connection, at most [`super::V1_BYTES_MAX`] bytes. Where one address is of IPv4
/// and the other one is not, both are told as IPv6.
#[must_use]
pub fn header(version: Version, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut ips = [source, destination].map(|address| address.ip().to_canonical());
    if ips[0].is_ipv4() != ips[1].is_ipv4() {
        ips = ips.map(|ip| match ip {
            IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
            IpAddr::V6(_) => ip,
        });
    }
    let ports = [source.port(), destination.port()];
    match version {
        Version::V1 => line(ips, ports),
        Version::V2 => binary(ips, ports),
    }
}

fn line(ips: [IpAddr; 2], ports: [u16; 2]) -> Vec<u8> {
    let family = if ips[0].is_ipv4() { "TCP4" } else { "TCP6" };
    let ([source, destination], [from, to]) = (ips, ports);
    format!("PROXY {family} {source} {destination} {from} {to}\r\n").into_bytes()
}

fn binary(ips: [IpAddr; 2], ports: [u16; 2]) -> Vec<u8> {
    // Version 2, command PROXY; then family and, in its lower half, stream.
    let (family, addresses_len): (u8, u16) = if ips[0].is_ipv4() {
        (0x11, 12)
    } else {
        (0x21, 36)
    };
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([0x21, family]);
    header.extend(addresses_len.to_be_bytes());
    for ip in ips {
        match ip {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend(ports.map(u16::to_be_bytes).as_flattened());
    header
}

#[cfg(test)]
mod tests {
    use crate::proxy_protocol::{Origin, Parsed, V1_BYTES_MAX, parse};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (source, destination) in [
            ("192.0.2.1:40000", "10.0.0.1:5432"),
            ("[2001:db8::1]:1", "[::1]:65535"),
            ("[::ffff:1.2.3.4]:5", "[2001:db8::2]:6"),
        ] {
            let (source, destination) = (address(source), address(destination));
            for version in [Version::V1, Version::V2] {
                let written = header(version, source, destination);
                assert!(written.len() <= V1_BYTES_MAX, "{written:?}");
                let origin = Origin::Client {
                    source,
                    destination,
                };
                assert_eq!(parse(&written), Ok(Parsed::Whole(written.len(), origin)));
            }
        }
    }

    #[test]
    fn addresses_of_both_families_are_told_as_one() {
        let (v4, v6) = (address("192.0.2.1:1"), address("[2001:db8::2]:2"));
        let line = header(Version::V1, v4, v6);
        assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n");
        let mapped = address("[::ffff:192.0.2.1]:1");
        let line = header(Version::V1, mapped, address("10.0.0.1:2"));
        assert_eq!(line, b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n");
    }
}
