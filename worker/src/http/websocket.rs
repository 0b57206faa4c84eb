//! WebSocket on a stream of HTTP/2 (RFC 8441), from clients and to backends: inside of the gateway it is the upgrade that
//! HTTP/1 has for it (RFC 6455), which routes, filters and HTTP/1 backends know.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, request, response};
use tidegate_codec::Fault;

/// What a server adds to a key before it proves to have seen it (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocol's name.
pub(crate) const WEBSOCKET: &str = "websocket";

/// Whether a request is an extended CONNECT for WebSocket.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    request.method() == Method::CONNECT && protocol.is_some_and(is_named)
}

/// Whether this is the protocol's name.
pub(crate) fn is_named(protocol: &impl AsRef<[u8]>) -> bool {
    protocol.as_ref().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
}

/// Makes it the request that HTTP/1 has for it, with a key of these bits.
pub(crate) fn to_upgrade(request: &mut request::Parts, bits: u128) {
    request.method = Method::GET;
    let headers = &mut request.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    let key = BASE64_STANDARD.encode(bits.to_be_bytes());
    let key = HeaderValue::try_from(key).expect("base64 is a header value");
    headers.insert(header::SEC_WEBSOCKET_KEY, key);
}

/// Makes the answer to that request the one that HTTP/2 has for it (RFC 8441, section 5).
pub(crate) fn to_answer(response: &mut response::Parts) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        response.status = StatusCode::OK;
        response.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
}

/// Makes an upgrade the extended CONNECT that HTTP/2 has for it (RFC 8441, section 5).
pub(crate) fn to_connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request
        .extensions_mut()
        .insert(Protocol::from_static(WEBSOCKET));
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
    ] {
        request.headers_mut().remove(name);
    }
}

/// Makes the answer to that request the one that HTTP/1 has for it, with the proof of the key that was not sent. An
/// answer of HTTP/2 needs none: nobody else knows the stream.
pub(crate) fn from_answer(response: &mut response::Parts, proof: Option<&str>) {
    response.status = StatusCode::SWITCHING_PROTOCOLS;
    let headers = &mut response.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    if let Some(proof) = proof.and_then(|proof| HeaderValue::try_from(proof).ok()) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    }
}

/// Whether a backend changes to WebSocket with this proof, or refuses to. Another success would be taken for the
/// change by whoever asked on a stream.
///
/// # Errors
/// When it does neither.
pub(crate) fn check<B>(proof: Option<&str>, answer: &Response<B>) -> Result<(), Fault> {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let is_refusal = !answer.status().is_success();
        return is_refusal.then_some(()).ok_or(Fault::NotSwitched);
    }
    let received = answer.headers();
    let is_websocket = received.get(header::UPGRADE).is_some_and(is_named);
    let accept = received.get(header::SEC_WEBSOCKET_ACCEPT);
    let is_proved = accept.is_some_and(|accept| proof.is_some_and(|proof| accept == proof));
    if is_websocket && is_proved {
        Ok(())
    } else {
        Err(Fault::Handshake)
    }
}

/// What proves that a server has seen the key among these headers.
pub(crate) fn proof(sent: &HeaderMap) -> Option<String> {
    let key = sent.get(header::SEC_WEBSOCKET_KEY)?;
    let hashed = [key.as_bytes(), GUID].concat();
    Some(BASE64_STANDARD.encode(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &hashed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_example_in_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let sent = HeaderMap::from_iter([(header::SEC_WEBSOCKET_KEY, key)]);
        assert_eq!(
            proof(&sent).unwrap_or_default(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
