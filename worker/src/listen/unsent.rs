//! How much of an answer the kernel takes for which its client has no room yet.

use socket2::SockRef;
use tokio::net::TcpStream;

/// Without a bound the kernel takes megabytes for each client that reads nothing, in a thousand small pieces that take
/// milliseconds where its window is small. Not of layer 4: spliced bytes would lose 40 percent of their speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Of a client that has shown nothing.
    Few,
    /// Of one that takes what it gets, or bounds it by windows of its own.
    Many,
}

impl Unsent {
    /// Bounds what the kernel takes from now on.
    pub(crate) fn apply(self, stream: &TcpStream) {
        // A socket that refuses this still works, and holds more.
        let _ = SockRef::from(stream).set_tcp_notsent_lowat(self.bytes());
    }

    fn bytes(self) -> u32 {
        match self {
            Self::Few => 8 << 10,
            Self::Many => 128 << 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_keeps_little_that_its_client_has_no_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("it was connected");
        for unsent in [Unsent::Few, Unsent::Many] {
            unsent.apply(&accepted);
            let bound = SockRef::from(&accepted).tcp_notsent_lowat();
            assert_eq!(bound.expect("the kernel knows"), unsent.bytes());
        }
    }
}
