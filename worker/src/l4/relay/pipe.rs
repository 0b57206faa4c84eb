//! Kernel pipes through which splice(2) moves bytes between two sockets without copying them, kept per thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags};

/// Bytes that a pipe holds, where the system allows as many.
const PIPE_BYTES: usize = 512 << 10;

/// Smaller pipes are not worth their system calls: users beyond their share get ones of two pages (pipe(7)).
const PIPE_BYTES_MIN: usize = 64 << 10;

/// A pipe and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    room: usize,
    len: usize,
}

/// The pipes of one thread: at most so many are lent out and kept, together.
#[derive(Debug)]
pub(super) struct Pipes {
    unused: RefCell<Vec<Pipe>>,
    /// How many more may be made.
    left: Cell<usize>,
}

impl Pipes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            unused: RefCell::default(),
            left: Cell::new(max),
        }
    }

    /// An empty pipe; `None` where all are in use, or the system gives none of use.
    pub(super) fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.unused.borrow_mut().pop() {
            return Some(pipe);
        }
        let left = self.left.get().checked_sub(1)?;
        match Pipe::open() {
            Ok(Some(pipe)) => {
                self.left.set(left);
                Some(pipe)
            }
            // Asking the system again for each connection would cost more than copying.
            Ok(None) | Err(_) => {
                tracing::warn!("the system gives no more pipes of use: bytes are copied instead");
                self.left.set(0);
                None
            }
        }
    }

    /// Takes a pipe back; one with bytes in it is closed.
    pub(super) fn put(&self, pipe: Pipe) {
        if pipe.len == 0 {
            self.unused.borrow_mut().push(pipe);
        } else {
            self.left.set(self.left.get() + 1);
        }
    }
}

impl Pipe {
    fn open() -> io::Result<Option<Self>> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused to users beyond their share; the size that it has decides.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
        let room = rustix::pipe::fcntl_getpipe_size(&write)?;
        let pipe = Self {
            read,
            write,
            room,
            len: 0,
        };
        Ok((room >= PIPE_BYTES_MIN).then_some(pipe))
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Moves bytes from a socket into the pipe, which must be empty: whether it could take none is not told
    /// apart from a socket that has none. 0 at the socket's end.
    pub(super) fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = rustix::pipe::splice(socket, None, &self.write, None, self.room, flags)?;
        self.len += moved;
        Ok(moved)
    }

    /// Moves bytes from the pipe to a socket.
    pub(super) fn drain(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = rustix::pipe::splice(&self.read, None, socket, None, self.len, flags)?;
        self.len -= moved;
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_lent_up_to_their_bound_and_used_again() {
        let pipes = Pipes::new(2);
        let (one, other) = (pipes.take(), pipes.take());
        assert!(one.is_some() && other.is_some());
        assert!(pipes.take().is_none());
        pipes.put(one.expect("it was lent"));
        assert!(pipes.take().is_some());
        assert!(pipes.take().is_none());
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_not_lent_again() {
        let pipes = Pipes::new(1);
        let mut pipe = pipes.take().expect("one is free");
        rustix::io::write(&pipe.write, b"of another").expect("it has room");
        pipe.len = 10;
        pipes.put(pipe);
        let pipe = pipes.take().expect("a new one");
        let mut read = [0; 10];
        let read = rustix::io::read(&pipe.read, &mut read);
        assert_eq!(read, Err(rustix::io::Errno::AGAIN));
    }
}
