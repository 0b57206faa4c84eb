//! HTTP/2 frame by frame, valid or not.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// `GET / HTTP/2` for the host `h`, by indices of HPACK's static table (RFC 7541, appendix A).
pub const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];
/// The same with `POST`.
pub const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'h'];

/// A connection whose frames a test writes and reads itself.
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Raw {
    /// Connects, and sends the preface and empty settings.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self {
            stream,
            received: Vec::new(),
        };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    /// Sends bytes; a connection that is closed meanwhile takes none.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let reading = self.stream.read_buf(&mut self.received);
            let reading = tokio::time::timeout(PATIENCE, reading);
            if let Ok(0) | Err(_) = reading.await.expect("something comes in time") {
                return None;
            }
        }
    }

    /// Waits for a frame of this kind, acknowledging settings meanwhile.
    pub async fn wait_for(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            let frame =
                frame.unwrap_or_else(|| panic!("the connection ended before a frame {kind}"));
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
            }
            if frame.kind == kind {
                return frame;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.received.get(..9)?.try_into().unwrap();
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.received.get(9..9 + len)?.to_vec();
        self.received.drain(..9 + len);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
            payload,
        })
    }
}

impl Frame {
    /// The code of a RST_STREAM or GOAWAY frame.
    pub fn code(&self) -> u32 {
        let end = &self.payload[if self.kind == GOAWAY { 4 } else { 0 }..];
        u32::from_be_bytes(end[..4].try_into().unwrap())
    }

    /// The value of a parameter of a SETTINGS frame.
    pub fn setting(&self, id: u16) -> Option<u32> {
        let mut settings = self.payload.chunks_exact(6);
        let setting = settings.find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(setting[2..].try_into().unwrap()))
    }
}
