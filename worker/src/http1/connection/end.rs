//! The end of an exchange that is not a clean one, and of a connection.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Client, Next};
use crate::http1::wire::DISCARDED_BYTES_MAX;

/// Time for a body that nobody wants; then its connection is closed.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a client to read its last answer, before what it still sends resets the connection (RFC 9112,
/// section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read of such a client.
const LINGER_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// Reads what is left of the request's body, if that is little, so that the next request can follow.
    pub(super) async fn finish_body(&mut self) -> Next {
        if self.wire.borrow().has_whole_body() {
            return Next::Again;
        }
        let number = self.wire.borrow_mut().take_over_body();
        let end = Instant::now() + DISCARD_TIMEOUT;
        let mut discarded = 0;
        let finished = poll_fn(|cx| {
            loop {
                match self.wire.borrow_mut().poll_body(number, cx) {
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Ready(Some(Ok(frame))) => {
                        discarded += frame.data_ref().map_or(0, Bytes::len) as u64
                    }
                    Poll::Pending => {
                        ready!(self.timer.poll_until(end, cx));
                        return Poll::Ready(false);
                    }
                }
                if discarded > DISCARDED_BYTES_MAX {
                    return Poll::Ready(false);
                }
            }
        })
        .await;
        if finished {
            Next::Again
        } else {
            self.close().await
        }
    }

    /// Says that nothing more comes, and reads for a while, so that the client gets what it was sent.
    pub(super) async fn close(&mut self) -> Next {
        let end = Instant::now() + LINGER;
        self.wire.borrow_mut().take_over_body();
        let mut discarded = 0;
        let mut is_shut = false;
        poll_fn(|cx| {
            let mut wire = self.wire.borrow_mut();
            loop {
                if !is_shut {
                    match wire.poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => is_shut = true,
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => {}
                    }
                }
                match wire.poll_discard(cx) {
                    Poll::Ready(Ok(len @ 1..)) if discarded < LINGER_BYTES_MAX => discarded += len,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.timer.poll_until(end, cx),
                }
            }
        })
        .await;
        Next::Over
    }
}
