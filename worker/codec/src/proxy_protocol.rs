//! The header that a load balancer puts before a connection's bytes to tell whose they are: the PROXY
//! protocol, versions 1 and 2, as HAProxy's specification of it says.

mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use write::{Version, header};

/// Bytes of a header of version 1 at most, with its line end.
pub const V1_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2 at most; more are for nobody's good.
pub const V2_BYTES_MAX: usize = 4096;

/// How every header of version 2 begins.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const V2_HEAD_LEN: usize = 16;

/// The type of a value that is the CRC-32C of the header.
const TYPE_CRC32C: u8 = 0x03;

/// What stands at the start of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed, this many in all at least.
    Partial(usize),
    /// A header of this many bytes.
    Whole(usize, Origin),
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The balancer's own, such as a health check, or one of a kind that has no address here.
    Peer,
    /// A client's, which meant to reach a destination.
    Client {
        /// Where the client is.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
    },
}

/// The bytes are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHeader;

impl std::fmt::Display for NoHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection does not begin with a valid PROXY header")
    }
}

impl std::error::Error for NoHeader {}

/// Reads the header at the start of `bytes`. At most [`V2_BYTES_MAX`] bytes are ever asked for.
///
/// # Errors
/// When there is none, as soon as that is certain.
pub fn parse(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let same = bytes
        .iter()
        .zip(V2_SIGNATURE)
        .take_while(|(a, b)| a == b)
        .count();
    if same == V2_SIGNATURE.len() {
        v2(bytes)
    } else if same == bytes.len() {
        // Also where nothing is there yet: version 1 is at least this long, too.
        Ok(Parsed::Partial(V2_SIGNATURE.len() + 1))
    } else {
        v1(bytes)
    }
}

fn v1(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let start = bytes
        .iter()
        .zip(b"PROXY ")
        .take_while(|(a, b)| a == b)
        .count();
    if start < bytes.len().min(6) {
        return Err(NoHeader);
    }
    let Some(end) = bytes
        .iter()
        .take(V1_BYTES_MAX)
        .position(|byte| *byte == b'\n')
    else {
        return if bytes.len() < V1_BYTES_MAX {
            Ok(Parsed::Partial(bytes.len() + 1))
        } else {
            Err(NoHeader)
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let fields: Vec<&str> = line.split(' ').skip(1).collect();
    let origin = match fields[..] {
        ["UNKNOWN", ..] => Origin::Peer,
        ["TCP4", source, destination, source_port, destination_port] => {
            let address = |text: &str| {
                text.parse::<Ipv4Addr>()
                    .map(IpAddr::V4)
                    .map_err(|_| NoHeader)
            };
            client(
                (address(source)?, source_port),
                (address(destination)?, destination_port),
            )?
        }
        ["TCP6", source, destination, source_port, destination_port] => {
            let address = |text: &str| {
                text.parse::<Ipv6Addr>()
                    .map(IpAddr::V6)
                    .map_err(|_| NoHeader)
            };
            client(
                (address(source)?, source_port),
                (address(destination)?, destination_port),
            )?
        }
        _ => return Err(NoHeader),
    };
    Ok(Parsed::Whole(end + 1, origin))
}

fn client(source: (IpAddr, &str), destination: (IpAddr, &str)) -> Result<Origin, NoHeader> {
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let has_zeros = text.len() > 1 && text.starts_with('0');
        text.parse::<u16>()
            .ok()
            .filter(|_| is_number && !has_zeros)
            .ok_or(NoHeader)
    };
    Ok(Origin::Client {
        source: SocketAddr::new(source.0, port(source.1)?),
        destination: SocketAddr::new(destination.0, port(destination.1)?),
    })
}

fn v2(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let Some(head) = bytes.get(..V2_HEAD_LEN) else {
        return Ok(Parsed::Partial(V2_HEAD_LEN));
    };
    let (version_and_command, family) = (head[12], head[13]);
    let len = V2_HEAD_LEN + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if version_and_command >> 4 != 2 || len > V2_BYTES_MAX {
        return Err(NoHeader);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Parsed::Partial(len));
    };
    let body = &header[V2_HEAD_LEN..];
    let (addresses_len, origin) = match (version_and_command & 15, family) {
        // What stands behind LOCAL is to be skipped, whatever it is.
        (0, _) => return Ok(Parsed::Whole(len, Origin::Peer)),
        (1, 0x11) => (12, Some(v4(body)?)),
        (1, 0x21) => (36, Some(v6(body)?)),
        // Datagrams and local sockets have no address that a TCP connection could have; UNSPEC has none.
        (1, 0x00) => (0, None),
        (1, 0x12) => (12, None),
        (1, 0x22) => (36, None),
        (1, 0x31 | 0x32) => (216, None),
        _ => return Err(NoHeader),
    };
    let values = body.get(addresses_len..).ok_or(NoHeader)?;
    if family != 0 {
        check_values(header, values)?;
    }
    Ok(Parsed::Whole(len, origin.unwrap_or(Origin::Peer)))
}

fn v4(body: &[u8]) -> Result<Origin, NoHeader> {
    let bytes: &[u8; 12] = body.first_chunk().ok_or(NoHeader)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    Ok(Origin::Client {
        source: SocketAddr::from(([a, b, c, d], u16::from_be_bytes([i, j]))),
        destination: SocketAddr::from(([e, f, g, h], u16::from_be_bytes([k, l]))),
    })
}

fn v6(body: &[u8]) -> Result<Origin, NoHeader> {
    let bytes: &[u8; 36] = body.first_chunk().ok_or(NoHeader)?;
    let address = |start: usize| -> Result<[u8; 16], NoHeader> {
        bytes[start..start + 16].try_into().map_err(|_| NoHeader)
    };
    Ok(Origin::Client {
        source: SocketAddr::from((address(0)?, u16::from_be_bytes([bytes[32], bytes[33]]))),
        destination: SocketAddr::from((address(16)?, u16::from_be_bytes([bytes[34], bytes[35]]))),
    })
}

/// Walks over the typed values; a checksum among them must be right.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), NoHeader> {
    while !values.is_empty() {
        let [kind, high, low, ..] = *values else {
            return Err(NoHeader);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = values.get(3..3 + len).ok_or(NoHeader)?;
        if kind == TYPE_CRC32C {
            let told = value
                .try_into()
                .map(u32::from_be_bytes)
                .map_err(|_| NoHeader)?;
            let at = header.len() - values.len() + 3;
            if checksum(header, at) != told {
                return Err(NoHeader);
            }
        }
        values = &values[3 + len..];
    }
    Ok(())
}

/// CRC-32C of a header whose checksum, at `at`, counts as zero.
fn checksum(header: &[u8], at: usize) -> u32 {
    let crc = crc32c::crc32c(&header[..at]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &header[at + 4..])
}

#[cfg(test)]
mod tests;
