//! HTTP/1.1 for requests without a body.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::serve_each;

/// Bytes of a request head, at most.
const HEAD_BYTES_MAX: usize = 16 << 10;

pub(super) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let answers: &'static Answers = Box::leak(Box::new(Answers::new()));
    serve_each(listener, |stream| answer(stream, answers)).await
}

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let of = |bytes: usize| {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n"
            );
            [head.into_bytes(), vec![b'x'; bytes]].concat()
        };
        Self {
            small: of(1 << 10),
            large: of(1 << 20),
        }
    }
}

/// Answers requests until the peer closes.
async fn answer(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let is_large = buffer.starts_with(b"GET /1m");
            buffer.drain(..end + 4);
            let bytes = if is_large {
                &answers.large
            } else {
                &answers.small
            };
            stream.write_all(bytes).await?;
        }
    }
}
