//! What stands around a datagram: addresses and offloads, in the kernel's form (udp(7), ip(7), ipv6(7), cmsg(3)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an address: that of `sockaddr_in6`.
const NAME_BYTES: usize = 28;

/// Room for two control messages, of which the address of IPv6 is the largest.
const CONTROL_BYTES: usize = 2 * space(20);

/// Bytes of a control message's head: length, level, type.
const HEAD_BYTES: usize = size_of::<usize>() + 8;

/// An address and control messages, received or to be sent.
#[derive(Debug, Clone)]
#[repr(C, align(8))]
pub(super) struct Envelope {
    control: [u8; CONTROL_BYTES],
    name: [u8; NAME_BYTES],
    control_len: usize,
    name_len: usize,
    /// Bytes of the message that were received.
    len: usize,
    truncated: bool,
}

/// An option of a socket that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketOption {
    /// Tell to which address each datagram was sent.
    LocalAddressV4,
    /// The same for IPv6.
    LocalAddressV6,
    /// Datagrams of equal size from one sender may come as one message.
    Trains,
}

impl SocketOption {
    /// Level and name.
    pub(super) fn numbers(self) -> (libc::c_int, libc::c_int) {
        match self {
            Self::LocalAddressV4 => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            Self::LocalAddressV6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            Self::Trains => (libc::SOL_UDP, libc::UDP_GRO),
        }
    }
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            control: [0; CONTROL_BYTES],
            name: [0; NAME_BYTES],
            control_len: 0,
            name_len: 0,
            len: 0,
            truncated: false,
        }
    }
}

impl Envelope {
    /// Where the kernel may write name and control messages.
    pub(super) fn room(&mut self) -> (&mut [u8], &mut [u8]) {
        (&mut self.name, &mut self.control)
    }

    /// Notes what the kernel has written.
    pub(super) fn filled(
        &mut self,
        name_len: usize,
        control_len: usize,
        len: usize,
        truncated: bool,
    ) {
        self.name_len = name_len.min(NAME_BYTES);
        self.control_len = control_len.min(CONTROL_BYTES);
        self.len = len;
        self.truncated = truncated;
    }

    /// Name and control messages to send.
    pub(super) fn content(&self) -> (&[u8], &[u8]) {
        (
            &self.name[..self.name_len],
            &self.control[..self.control_len],
        )
    }

    /// Bytes of the received message.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the received message was longer than its buffer.
    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Who sent the received message; `None` where the kernel gave no internet address.
    pub(super) fn sender(&self) -> Option<SocketAddr> {
        let name = &self.name[..self.name_len];
        let family = i32::from(u16::from_ne_bytes(array(name, 0)?));
        let port = u16::from_be_bytes(array(name, 2)?);
        match family {
            libc::AF_INET => {
                let address = Ipv4Addr::from(array::<4>(name, 4)?);
                Some(SocketAddrV4::new(address, port).into())
            }
            libc::AF_INET6 => {
                let flow = u32::from_be_bytes(array(name, 4)?);
                let address = Ipv6Addr::from(array::<16>(name, 8)?);
                let scope = u32::from_ne_bytes(array(name, 24)?);
                Some(SocketAddrV6::new(address, port, flow, scope).into())
            }
            _ => None,
        }
    }

    /// To which of our addresses the received message was sent, where the socket tells.
    pub(super) fn local(&self) -> Option<IpAddr> {
        self.controls()
            .find_map(|(level, kind, data)| match (level, kind) {
                // in_pktinfo: index, the address to answer from, the address of the header.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    Some(Ipv4Addr::from(array::<4>(data, 4)?).into())
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    Some(Ipv6Addr::from(array::<16>(data, 0)?).into())
                }
                _ => None,
            })
    }

    /// Bytes of each datagram but the last of the received message, at least 1: it may hold several.
    pub(super) fn segment_bytes(&self) -> usize {
        let told = self.controls().find_map(|(level, kind, data)| {
            let is_told = (level, kind) == (libc::SOL_UDP, libc::UDP_GRO);
            is_told.then(|| array(data, 0).map(i32::from_ne_bytes))?
        });
        let told = told.and_then(|bytes| usize::try_from(bytes).ok());
        told.unwrap_or(self.len).max(1)
    }

    /// Empties it for a message to send.
    pub(super) fn clear(&mut self) {
        self.control_len = 0;
        self.name_len = 0;
    }

    /// Sends the message to this address.
    pub(super) fn set_receiver(&mut self, address: SocketAddr) {
        let name = &mut self.name;
        name[2..4].copy_from_slice(&address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(address) => {
                name[4..8].copy_from_slice(&address.ip().octets());
                name[8..16].fill(0);
                self.name_len = 16;
                libc::AF_INET
            }
            SocketAddr::V6(address) => {
                name[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
                name[8..24].copy_from_slice(&address.ip().octets());
                name[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                self.name_len = NAME_BYTES;
                libc::AF_INET6
            }
        };
        name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    }

    /// Sends the message from this one of our addresses.
    pub(super) fn set_source(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(address) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Cuts the message into datagrams of so many bytes.
    pub(super) fn set_segment_bytes(&mut self, bytes: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
    }

    fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let len = HEAD_BYTES + data.len();
        let place = &mut self.control[self.control_len..][..space(data.len())];
        let (head, room) = place.split_at_mut(HEAD_BYTES);
        let (size, kinds) = head.split_at_mut(size_of::<usize>());
        size.copy_from_slice(&len.to_ne_bytes());
        kinds[..4].copy_from_slice(&level.to_ne_bytes());
        kinds[4..].copy_from_slice(&kind.to_ne_bytes());
        room[..data.len()].copy_from_slice(data);
        self.control_len += space(data.len());
    }

    /// Level, type and data of the control messages.
    fn controls(&self) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
        let mut rest = &self.control[..self.control_len];
        std::iter::from_fn(move || {
            let len = usize::from_ne_bytes(array(rest, 0)?);
            let level = i32::from_ne_bytes(array(rest, size_of::<usize>())?);
            let kind = i32::from_ne_bytes(array(rest, size_of::<usize>() + 4)?);
            let data = rest.get(HEAD_BYTES..len)?;
            rest = rest.get(space(data.len())..).unwrap_or_default();
            Some((level, kind, data))
        })
    }
}

/// Bytes that a control message with so many bytes of data takes.
const fn space(bytes: usize) -> usize {
    (HEAD_BYTES + bytes).next_multiple_of(size_of::<usize>())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
