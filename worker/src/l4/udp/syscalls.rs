//! What UDP asks of the kernel: calls that move many datagrams at once, options, and to be told of an epoll descriptor.
//!
//! quinn-udp sends one message a call, forbids fragments and does not say when a datagram was cut off; nix'
//! headers lose their control messages when they are used again. So these calls are our own.

#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and UDP options have no safe interface that fits"
)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::envelope::{Envelope, SocketOption};

/// The most messages of one call.
pub(super) const MESSAGES_MAX: usize = 64;

/// A message to send: its parts are joined, the envelope says where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'m> {
    pub(super) parts: &'m [IoSlice<'m>],
    pub(super) envelope: &'m Envelope,
}

/// Receives without waiting at most as many messages as there are envelopes and buffers of `stride` bytes;
/// the envelopes say where they came from and how long they are.
///
/// # Errors
/// When nothing is there (`WouldBlock`), or what the socket reports, such as an ICMP error.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffers: &mut [u8],
    stride: usize,
    envelopes: &mut [Envelope],
) -> io::Result<usize> {
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MESSAGES_MAX];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MESSAGES_MAX];
    let mut count = 0;
    let buffers = buffers.chunks_exact_mut(stride).zip(&mut *envelopes);
    for ((buffer, envelope), (part, header)) in buffers.zip(parts.iter_mut().zip(&mut headers)) {
        let part = part.write(libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        });
        let (name, control) = envelope.room();
        header.write(libc::mmsghdr {
            msg_hdr: message(
                (name.as_mut_ptr(), name.len()),
                (part, 1),
                (control.as_mut_ptr(), control.len()),
            ),
            msg_len: 0,
        });
        count += 1;
    }
    // SAFETY: the first `count` headers are written. They point to a part, a buffer, and an envelope's name and
    // control bytes with their lengths, all different, borrowed mutably, and alive until this function returns.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, envelope) in headers.iter().zip(envelopes).take(received) {
        // SAFETY: the kernel fills headers in order and no more than the `count` that were written above.
        let header = unsafe { header.assume_init_ref() };
        envelope.filled(
            header.msg_hdr.msg_namelen as usize,
            header.msg_hdr.msg_controllen,
            header.msg_len as usize,
            header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        );
    }
    Ok(received)
}

/// Sends without waiting at most [`MESSAGES_MAX`] messages in order; returns how many were sent, at least one.
///
/// # Errors
/// When the first message cannot be sent; later ones that cannot just end the count.
pub(super) fn send(socket: BorrowedFd<'_>, messages: &[Outgoing<'_>]) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MESSAGES_MAX];
    let mut count = 0;
    for (outgoing, header) in messages.iter().zip(&mut headers) {
        let (name, control) = outgoing.envelope.content();
        header.write(libc::mmsghdr {
            msg_hdr: message(
                (name.as_ptr().cast_mut(), name.len()),
                (
                    outgoing.parts.as_ptr().cast_mut().cast(),
                    outgoing.parts.len(),
                ),
                (control.as_ptr().cast_mut(), control.len()),
            ),
            msg_len: 0,
        });
        count += 1;
    }
    // SAFETY: the first `count` headers are written; `IoSlice` has the layout of `iovec`. All that they point to is
    // borrowed until this function returns, and sendmmsg only reads it; it writes to the headers alone.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Switches an option of a socket on.
///
/// # Errors
/// When the kernel does not know it.
pub(super) fn switch_on(socket: BorrowedFd<'_>, option: SocketOption) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = option.numbers();
    // SAFETY: the pointer is to an integer of the stated length, which the call only reads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the runtime of this thread tell when the descriptor becomes readable.
///
/// # Errors
/// When the runtime cannot watch it.
pub(super) fn watch(descriptor: Rc<OwnedFd>) -> io::Result<AsyncFd<Rc<OwnedFd>>> {
    // SAFETY: the descriptor is open, belongs to the `AsyncFd` from now on, and an `OwnedFd` stays the same one until it
    // is dropped; an `Rc` gives no way to change it.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// A header of these pointers and lengths; no bytes mean no pointer.
fn message(
    name: (*mut u8, usize),
    parts: (*mut libc::iovec, usize),
    control: (*mut u8, usize),
) -> libc::msghdr {
    let pointer = |(pointer, len): (*mut u8, usize)| {
        if len == 0 {
            ptr::null_mut()
        } else {
            pointer.cast()
        }
    };
    // SAFETY: null pointers and zeros are valid for all of its fields.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = pointer(name);
    header.msg_namelen = name.1 as _;
    header.msg_iov = parts.0;
    header.msg_iovlen = parts.1 as _;
    header.msg_control = pointer(control);
    header.msg_controllen = control.1 as _;
    header
}
