//! Looks at a ClientHello without taking it from the socket: whoever serves the connection reads it again.

use std::io;

use rustix::net::RecvFlags;
use tidegate_codec::client_hello::{self, ClientHello, Progress, Refusal};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that are looked at first; most hellos are shorter.
const FIRST_BYTES: usize = 2 << 10;

/// Why there is no hello.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHello {
    #[error("the client said no whole ClientHello")]
    Ended,
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("the connection failed")]
    Broken(#[from] io::Error),
}

/// Waits for the hello; the caller bounds the time.
pub(super) async fn wait(stream: &TcpStream) -> Result<ClientHello, NoHello> {
    let mut bytes = vec![0; FIRST_BYTES];
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        match stream.try_io(Interest::READABLE, || look(stream, &mut bytes)) {
            Ok(hello) => return Ok(hello?),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if ready.is_read_closed() => return Err(NoHello::Ended),
            Err(_) => {}
        }
    }
}

/// Looks at what is there. Too few bytes count as none, so that the next ones wake whoever waits.
fn look(stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<Result<ClientHello, Refusal>> {
    loop {
        let (len, _) = rustix::net::recv(stream, &mut bytes[..], RecvFlags::PEEK)?;
        match client_hello::read(&bytes[..len]) {
            Ok(Progress::Hello(hello)) => return Ok(Ok(hello)),
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Progress::Partial(_)) if len < bytes.len() => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(Progress::Partial(wanted)) => bytes.resize(wanted.max(2 * len), 0),
        }
    }
}
