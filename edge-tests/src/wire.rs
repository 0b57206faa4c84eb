//! One end of a connection: writes bytes as they are, reads HTTP/1 messages without any tolerance.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::message::Message;
use crate::octets;

/// How long a message may take to come; far more than it takes on any machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Why no message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMessage {
    /// The other end closed the connection where a message could begin.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing came for too long.
    Silence,
    /// What came is not HTTP/1, with the reason.
    Invalid(String),
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::new(TcpStream::connect(address)?)
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// As the system says.
    pub fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            input: Vec::new(),
        })
    }

    /// Waits so long for each byte, instead of [`PATIENCE`].
    ///
    /// # Errors
    /// As the system says.
    pub fn set_patience(&self, patience: Duration) -> std::io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As the system says.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Some bytes, whatever they are.
    ///
    /// # Errors
    /// When none come.
    pub fn some(&mut self) -> Result<Vec<u8>, NoMessage> {
        if self.input.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.input))
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// As the system says.
    pub fn half_close(&self) -> std::io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The head of a request.
    ///
    /// # Errors
    /// When there is none.
    pub fn request_head(&mut self) -> Result<Message, NoMessage> {
        self.head()
    }

    /// The body of a request; one that breaks off is not complete.
    ///
    /// # Errors
    /// When its framing is not valid.
    pub fn request_body(&mut self, request: &mut Message) -> Result<(), NoMessage> {
        let framing = match framing(request)? {
            Framing::UntilClose => Framing::None,
            framing => framing,
        };
        self.body(request, &framing)
    }

    /// A response, interim ones too.
    ///
    /// # Errors
    /// When there is none.
    pub fn response(&mut self, to_head: bool) -> Result<Message, NoMessage> {
        let mut response = self.head()?;
        let has_no_body = to_head || matches!(response.status(), 100..=199 | 204 | 304);
        let framing = if has_no_body {
            Framing::None
        } else {
            framing(&response)?
        };
        self.body(&mut response, &framing)?;
        Ok(response)
    }

    /// Everything until the other end closes.
    ///
    /// # Errors
    /// When it does not, or resets the connection.
    pub fn rest(&mut self) -> Result<Vec<u8>, NoMessage> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(NoMessage::Closed) => return Ok(std::mem::take(&mut self.input)),
                Err(other) => return Err(other),
            }
        }
    }

    fn head(&mut self) -> Result<Message, NoMessage> {
        let line = match self.line() {
            Err(NoMessage::Closed) if !self.input.is_empty() => {
                return Err(NoMessage::Invalid("a head broke off".to_owned()));
            }
            line => line?,
        };
        let fields = self.fields()?;
        Ok(Message {
            line: octets::text(&line),
            fields,
            ..Message::default()
        })
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, NoMessage> {
        let mut fields = Vec::new();
        loop {
            let line = octets::text(&self.line()?);
            if line.is_empty() {
                return Ok(fields);
            }
            let invalid = || NoMessage::Invalid(format!("the field {line:?}"));
            let (name, value) = line.split_once(':').ok_or_else(invalid)?;
            let is_token =
                |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\0']) {
                return Err(invalid());
            }
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn body(&mut self, message: &mut Message, framing: &Framing) -> Result<(), NoMessage> {
        let mut body = Vec::new();
        let read = match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.take(*length, &mut body),
            Framing::UntilClose => self.rest().map(|rest| body = rest),
            Framing::Chunked => self
                .chunks(&mut body)
                .map(|trailers| message.trailers = trailers),
        };
        message.body = octets::text(&body);
        message.is_complete = read.is_ok();
        match read {
            Err(NoMessage::Closed | NoMessage::Reset) => Ok(()),
            read => read,
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<(String, String)>, NoMessage> {
        loop {
            let line = octets::text(&self.line()?);
            let size = usize::from_str_radix(&line, 16);
            let size = size.map_err(|_| NoMessage::Invalid(format!("the chunk size {line:?}")))?;
            if size == 0 {
                return self.fields();
            }
            self.take(size, body)?;
            if !self.line()?.is_empty() {
                return Err(NoMessage::Invalid("a chunk is too long".to_owned()));
            }
        }
    }

    fn take(&mut self, mut len: usize, into: &mut Vec<u8>) -> Result<(), NoMessage> {
        loop {
            let part = len.min(self.input.len());
            into.extend(self.input.drain(..part));
            len -= part;
            if len == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// A line without its end, which is CR LF.
    fn line(&mut self) -> Result<Vec<u8>, NoMessage> {
        loop {
            if let Some(len) = self.input.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=len).collect();
                line.pop();
                return match line.pop() {
                    Some(b'\r') => Ok(line),
                    _ => Err(NoMessage::Invalid("a line ends with LF alone".to_owned())),
                };
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), NoMessage> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(NoMessage::Closed),
            Ok(len) => {
                self.input.extend_from_slice(&piece[..len]);
                Ok(())
            }
            // As when the process was stopped and goes on; whoever wants more asks again.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => NoMessage::Silence,
                _ => NoMessage::Reset,
            }),
        }
    }
}

fn framing(message: &Message) -> Result<Framing, NoMessage> {
    let codings = message.values("transfer-encoding");
    let lengths = message.values("content-length");
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Framing::UntilClose),
        ([], [length]) => {
            let length = length
                .parse()
                .map_err(|_| NoMessage::Invalid(format!("the length {length:?}")))?;
            Ok(Framing::Length(length))
        }
        (["chunked"], []) => Ok(Framing::Chunked),
        _ => Err(NoMessage::Invalid(format!(
            "framed by codings {codings:?} and lengths {lengths:?}"
        ))),
    }
}

/// Waits; no task runs on the threads of clients and backends.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, which blocks on its socket all the time"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
