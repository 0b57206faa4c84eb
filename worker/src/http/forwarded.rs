//! Who asked, how, and through whom: the headers that tell a backend, believed only of those that are trusted.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Version, request::Parts};
use tidegate_ir::ClientTrust;

use crate::http::stack::Connection;
use crate::terms::Terms;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers of this file: no client may have them removed by naming them in `Connection`.
pub(crate) const ALL: [HeaderName; 7] = [
    FOR,
    HOST,
    PROTO,
    PORT,
    REQUEST_ID,
    header::FORWARDED,
    header::VIA,
];

/// Addresses of `X-Forwarded-For` that are looked at, from the right.
const HOPS_MAX: usize = 32;

/// Bytes of a request id that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Writes the headers anew, or adds to those of a trusted peer; returns the client's address.
pub(crate) fn stamp(
    terms: &Terms,
    connection: &Connection,
    host: &HeaderValue,
    request: &mut Parts,
    id: impl FnOnce() -> u128,
) -> SocketAddr {
    let edge = &terms.edge;
    let headers = &mut request.headers;
    remove_aliases(headers);
    let peer = connection.client;
    let is_trusted = trusts(&edge.trust, peer.ip());
    let client = if is_trusted {
        client_of(&edge.trust, peer, headers)
    } else {
        ALL.iter()
            .filter(|name| **name != header::VIA)
            .for_each(|name| drop(headers.remove(name)));
        peer
    };
    add(headers, FOR, connection.forwarded_for());
    let scheme = HeaderValue::from_static(connection.scheme());
    headers.entry(PROTO).or_insert(scheme);
    if !host.is_empty() {
        headers.entry(HOST).or_insert_with(|| host.clone());
    }
    headers
        .entry(PORT)
        .or_insert_with(|| terms.port.unwrap_or(connection.bind_port).into());
    if let Ok(element) = HeaderValue::try_from(forwarded(connection, host)) {
        add(headers, header::FORWARDED, element);
    }
    if !edge.without_via {
        // With the name of this gateway, the pseudonym that RFC 9110 allows in place of a host.
        let element = match request.version {
            Version::HTTP_2 => "2 tidegate",
            Version::HTTP_10 => "1.0 tidegate",
            _ => "1.1 tidegate",
        };
        add(headers, header::VIA, HeaderValue::from_static(element));
    }
    let has_id = headers
        .get(REQUEST_ID)
        .is_some_and(|id| id.len() <= REQUEST_ID_BYTES_MAX);
    if !has_id {
        headers.insert(REQUEST_ID, uuid(id()));
    }
    client
}

/// Removes what a server that takes `_` for `-`, as CGI does, would read as a header of this file.
fn remove_aliases(headers: &mut HeaderMap) {
    let is_alias = |name: &&HeaderName| {
        name.as_str().contains('_') && {
            let dashed = name.as_str().replace('_', "-");
            ALL.iter().any(|own| *own == *dashed)
        }
    };
    let aliases: Vec<HeaderName> = headers.keys().filter(is_alias).cloned().collect();
    aliases.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether this peer is one of the proxies.
fn trusts(trust: &ClientTrust, peer: IpAddr) -> bool {
    match trust {
        ClientTrust::Nobody => false,
        ClientTrust::Hops(_) => true,
        ClientTrust::Networks(networks) => {
            let peer = peer.to_canonical();
            networks.iter().any(|network| network.contains(&peer))
        }
    }
}

/// The client's address as trusted proxies tell it; the peer's own where they do not.
fn client_of(trust: &ClientTrust, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
    let lines = headers.get_all(FOR).iter().rev();
    let mut told = lines
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(|address| address.trim().parse::<IpAddr>().ok())
        .take(HOPS_MAX);
    let found = match trust {
        ClientTrust::Nobody => None,
        ClientTrust::Hops(hops) => told.nth(usize::from(hops.get()) - 1).flatten(),
        ClientTrust::Networks(_) => {
            let mut last = None;
            // The first one that is no proxy of ours is the client; what stands left of it, it may have made up.
            for address in told {
                last = address.or(last);
                if !address.is_some_and(|address| trusts(trust, address)) {
                    break;
                }
            }
            last
        }
    };
    found.map_or(peer, |address| SocketAddr::new(address.to_canonical(), 0))
}

/// One element of `Forwarded` (RFC 7239, section 4).
fn forwarded(connection: &Connection, host: &HeaderValue) -> String {
    let mut element = String::with_capacity(64);
    // Writing to a String cannot fail.
    let _ = match connection.client.ip().to_canonical() {
        IpAddr::V4(address) => write!(element, "for={address}"),
        IpAddr::V6(address) => write!(element, "for=\"[{address}]\""),
    };
    if let Ok(host) = host.to_str()
        && !host.is_empty()
        && !host.contains(['"', '\\'])
    {
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={}", connection.scheme());
    element
}

/// Adds an element to a list header, in one line.
fn add(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    let mut there = headers.get_all(&name).iter().peekable();
    if there.peek().is_none() {
        headers.insert(name, element);
        return;
    }
    let list = there
        .chain([&element])
        .filter_map(|line| line.to_str().ok());
    if let Ok(list) = HeaderValue::try_from(list.collect::<Vec<_>>().join(", ")) {
        headers.insert(name, list);
    }
}

/// A random UUID (RFC 9562, section 5.4).
fn uuid(random: u128) -> HeaderValue {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let mut bits = (random & !(0xF << 76) & !(0x3 << 62)) | 0x4 << 76 | 0x2 << 62;
    let mut text = [b'-'; 36];
    for place in (0..36).rev().filter(|place| !DASHES.contains(place)) {
        text[place] = b"0123456789abcdef"[(bits & 0xF) as usize];
        bits >>= 4;
    }
    HeaderValue::from_bytes(&text).expect("digits and dashes are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trust: &ClientTrust, told: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in told {
            headers.append(FOR, HeaderValue::try_from(*line).expect("a value"));
        }
        let peer = "10.0.0.9:1234".parse().expect("an address");
        client_of(trust, peer, &headers).ip().to_string()
    }

    #[test]
    fn the_client_stands_as_many_places_from_the_right_as_there_are_hops() {
        let hops = |count: u8| ClientTrust::Hops(count.try_into().expect("not zero"));
        assert_eq!(client(&hops(1), &["1.1.1.1, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(client(&hops(2), &["1.1.1.1", "2.2.2.2"]), "1.1.1.1");
        assert_eq!(client(&hops(3), &["1.1.1.1, 2.2.2.2"]), "10.0.0.9");
        assert_eq!(client(&hops(1), &["1.1.1.1, unknown"]), "10.0.0.9");
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
        let networks = ClientTrust::Networks(vec!["10.0.0.0/8".parse().expect("a network")]);
        assert_eq!(
            client(&networks, &["6.6.6.6, 1.1.1.1, 10.1.1.1"]),
            "1.1.1.1"
        );
        assert_eq!(client(&networks, &["10.2.2.2, 10.1.1.1"]), "10.2.2.2");
        assert_eq!(
            client(&networks, &["6.6.6.6, nonsense, 10.1.1.1"]),
            "10.1.1.1"
        );
        assert_eq!(client(&networks, &[]), "10.0.0.9");
        assert_eq!(client(&networks, &["::ffff:1.1.1.1"]), "1.1.1.1");
    }

    #[test]
    fn an_id_has_the_form_of_a_random_uuid() {
        let id = uuid(u128::MAX);
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    }
}
