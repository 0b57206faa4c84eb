//! The little of WebSocket (RFC 6455) that an echo and its client need: whole frames below 126 bytes.

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::echo::{Body, full};

/// What a server adds to a key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The example of the same section.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Switches protocols if the request brings a key.
pub(crate) fn accept(headers: &HeaderMap) -> Response<Body> {
    let mut answer = Response::new(full(""));
    let proof = headers.get("sec-websocket-key").map(|key| {
        let hashed = [key.as_bytes(), GUID].concat();
        BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed))
    });
    let Some(Ok(proof)) = proof.map(HeaderValue::try_from) else {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        return answer;
    };
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", proof);
    answer
}

/// Says what the handshake looked like, then repeats every message until the client closes.
pub(crate) async fn echo(upgrade: OnUpgrade, seen: Value) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut stream = TokioIo::new(upgraded);
    let greeting = format!("{} {}", seen["service"], seen["path"]).replace('"', "");
    let mut message = (TEXT, greeting.into_bytes());
    while message.0 != CLOSE && write(&mut stream, &message, false).await.is_ok() {
        let Ok(next) = read(&mut stream).await else {
            return;
        };
        message = next;
    }
    // The client may have gone already.
    let _ = write(&mut stream, &(CLOSE, Vec::new()), false).await;
}

/// The headers of a handshake.
pub(crate) fn handshake() -> [(&'static str, &'static str); 4] {
    [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ]
}

/// Checks that the key was accepted.
pub(crate) fn check(headers: &HeaderMap) -> anyhow::Result<()> {
    let accept = headers
        .get("sec-websocket-accept")
        .map(HeaderValue::as_bytes);
    ensure!(
        accept == Some(ACCEPT.as_bytes()),
        "the key was not accepted: {headers:?}"
    );
    Ok(())
}

/// Checks that text and bytes come back; gives the greeting: Service and path.
pub(crate) async fn converse(upgraded: Upgraded, messages: usize) -> anyhow::Result<String> {
    let mut stream = TokioIo::new(upgraded);
    let (_, greeting) = read(&mut stream).await.context("no greeting")?;
    for index in 0..messages {
        let text = (TEXT, format!("message {index}").into_bytes());
        let binary = (BINARY, vec![0, 0xff, u8::try_from(index % 256)?]);
        for message in [text, binary] {
            write(&mut stream, &message, true).await?;
            let echoed = read(&mut stream).await?;
            ensure!(echoed == message, "{message:?} came back as {echoed:?}");
        }
    }
    write(&mut stream, &(CLOSE, Vec::new()), true).await?;
    let (code, _) = read(&mut stream).await.context("no closing frame")?;
    ensure!(
        code == CLOSE,
        "the server closes with a frame of type {code}"
    );
    Ok(String::from_utf8(greeting)?)
}

type Stream = TokioIo<Upgraded>;

async fn write(stream: &mut Stream, message: &(u8, Vec<u8>), mask: bool) -> anyhow::Result<()> {
    let (code, payload) = message;
    let len = u8::try_from(payload.len()).ok().filter(|len| *len < 126);
    let len = len.context("the payload is too long for this client")?;
    let mut frame = vec![0x80 | code, len | if mask { 0x80 } else { 0 }];
    if mask {
        frame.extend(MASK);
    }
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, key)| if mask { byte ^ key } else { *byte }));
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}

async fn read(stream: &mut Stream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let len = usize::from(head[1] & 0x7f);
    ensure!(len < 126, "the payload is too long for this reader");
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok((head[0] & 0x0f, payload))
}
