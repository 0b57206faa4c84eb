//! Authorization servers that are asked over gRPC: Envoy's `Authorization/Check`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use tidegate_ir::BackendProtocol;
use tidegate_proto::auth::v3 as wire;
use wire::check_response::HttpResponse;

use super::{Question, Refusal, grpc_refusal, may_set};
use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::call::Call;
use crate::http::exchange::{Added, Exchange};
use crate::http::forward::Head;
use crate::http::grpc::GRPC_STATUS;
use crate::upstream::Upstream;

const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Bytes before a message: whether it is compressed, and its length.
const FRAME_HEAD_LEN: usize = 5;

/// The question.
pub(super) fn check(
    question: &Question<'_>,
    allowed: &[HeaderName],
    headers: &HeaderMap,
    body: &Bytes,
    exchange: &Exchange,
) -> wire::CheckRequest {
    let connection = question.connection;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let path = question
        .uri
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    let (utf8, raw) = match std::str::from_utf8(body) {
        Ok(utf8) => (utf8.to_owned(), Bytes::new()),
        Err(_) => (String::new(), body.clone()),
    };
    let http = wire::HttpRequest {
        id: headers.get("x-request-id").map(text).unwrap_or_default(),
        method: question.method.to_string(),
        headers: shown_headers(allowed, headers),
        path: path.to_owned(),
        host: question.host.map(text).unwrap_or_default(),
        scheme: connection.scheme().to_owned(),
        size: size(headers, body),
        protocol: protocol(exchange.record.version).to_owned(),
        body: utf8,
        raw_body: raw,
    };
    let destination = SocketAddr::from(([0, 0, 0, 0], connection.bind_port));
    wire::CheckRequest {
        attributes: Some(wire::AttributeContext {
            source: Some(peer(exchange.record.client, "")),
            destination: Some(peer(
                destination,
                connection.server_name.as_deref().unwrap_or(""),
            )),
            request: Some(wire::Request {
                time: Some(now()),
                http: Some(http),
            }),
        }),
    }
}

/// Asks, and returns what a server says that could answer.
///
/// # Errors
/// When the server does not answer, or not with a valid message.
pub(super) async fn call(
    question: &Question<'_>,
    upstream: &Upstream,
    check: &wire::CheckRequest,
) -> Result<wire::CheckResponse, ProxyError> {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_LEN + check.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(check.encoded_len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&check.encode_to_vec());
    let call = Call {
        upstream,
        // gRPC is HTTP/2, whatever the Service says.
        protocol: BackendProtocol::Http2,
        scheme: "http",
        certificate: question.certificate,
        repeatable: true,
    };
    let (head, frame) = (head(upstream)?, frame.freeze());
    let (response, lease) = call.send(question.thread, &head, &frame).await?;
    let (parts, body) = response.into_parts();
    let bytes_max = question.thread.limits.auth_answer_bytes_max;
    let body = Limited::new(body, bytes_max).collect().await;
    let body = body.map_err(|_| ProxyError::UpstreamInvalid)?;
    lease.give_back();
    let status = body
        .trailers()
        .and_then(|trailers| trailers.get(GRPC_STATUS));
    let status = status.or_else(|| parts.headers.get(GRPC_STATUS));
    if parts.status != StatusCode::OK || status.is_none_or(|status| status != "0") {
        return Err(ProxyError::UpstreamInvalid);
    }
    decode(body.to_bytes()).ok_or(ProxyError::UpstreamInvalid)
}

fn head(upstream: &Upstream) -> Result<Head, ProxyError> {
    let backend = &upstream.backend;
    let host = format!(
        "{}.{}:{}",
        backend.object.name, backend.object.namespace, backend.port
    );
    let host = HeaderValue::try_from(host).map_err(|_| ProxyError::AuthUnavailable)?;
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::HOST, host);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(Head {
        method: Method::POST,
        path_and_query: PathAndQuery::from_static(PATH),
        headers,
    })
}

/// The one message of an answer; it may not be compressed, since the question does not offer that.
fn decode(mut frame: Bytes) -> Option<wire::CheckResponse> {
    if frame.len() < FRAME_HEAD_LEN || frame.get_u8() != 0 {
        return None;
    }
    let len = frame.get_u32() as usize;
    let is_whole = frame.len() == len;
    is_whole
        .then(|| wire::CheckResponse::decode(frame).ok())
        .flatten()
}

/// What the answer means: status 0 lets the request pass. It may be left out beside changes for a request
/// that passes, but an empty message lets nothing pass.
pub(super) fn verdict(
    answer: wire::CheckResponse,
    headers: &mut HeaderMap,
    exchange: &mut Exchange,
) -> Refusal {
    let code = answer.status.map(|status| status.code);
    match answer.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => Some(refusal(denied, exchange.record.grpc)),
        Some(HttpResponse::OkResponse(changes)) if code.unwrap_or_default() == 0 => {
            change(changes, headers, exchange);
            None
        }
        None if code == Some(0) => None,
        _ => Some(refusal(
            wire::DeniedHttpResponse::default(),
            exchange.record.grpc,
        )),
    }
}

fn refusal(denied: wire::DeniedHttpResponse, grpc: bool) -> Response<ResponseBody> {
    let status = denied
        .status
        .and_then(|status| u16::try_from(status.code).ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| !status.is_informational());
    let status = status.unwrap_or(StatusCode::FORBIDDEN);
    let mut response = if grpc {
        grpc_refusal(status, &denied.body)
    } else {
        let mut response = Response::new(ResponseBody::whole(denied.body));
        *response.status_mut() = status;
        response
    };
    for option in denied.headers {
        let Some((name, value, append)) = header_of(option) else {
            continue;
        };
        // The answer of a gRPC client keeps its own type and status.
        if grpc && (name == header::CONTENT_TYPE || name.as_str().starts_with("grpc-")) {
            continue;
        }
        if append {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn change(changes: wire::OkHttpResponse, headers: &mut HeaderMap, exchange: &mut Exchange) {
    for name in &changes.headers_to_remove {
        if let Ok(name) = HeaderName::try_from(name)
            && may_set(&name)
        {
            headers.remove(name);
        }
    }
    for option in changes.headers {
        match header_of(option) {
            Some((name, value, true)) => drop(headers.append(name, value)),
            Some((name, value, false)) => drop(headers.insert(name, value)),
            None => {}
        }
    }
    let added = changes.response_headers_to_add.into_iter();
    let added = added.filter_map(header_of);
    exchange
        .added
        .extend(added.map(|(name, value, append)| Added {
            name,
            value,
            append,
        }));
}

/// A header that may be set, and whether it is added to those that are there.
fn header_of(option: wire::HeaderValueOption) -> Option<(HeaderName, HeaderValue, bool)> {
    let header = option.header?;
    let value = if header.raw_value.is_empty() {
        HeaderValue::try_from(header.value).ok()?
    } else {
        HeaderValue::from_maybe_shared(header.raw_value).ok()?
    };
    let name = HeaderName::try_from(header.key).ok()?;
    let append = option.append.is_some_and(|append| append.value);
    may_set(&name).then_some((name, value, append))
}

fn shown_headers(allowed: &[HeaderName], headers: &HeaderMap) -> HashMap<String, String> {
    let is_shown = |name: &&HeaderName| allowed.is_empty() || allowed.contains(name);
    let names = headers.keys().filter(is_shown);
    let joined = |name: &HeaderName| {
        // Crumbs of a cookie are one cookie.
        let comma: &[u8] = if name == header::COOKIE { b"; " } else { b"," };
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        String::from_utf8_lossy(&values.join(comma)).into_owned()
    };
    names.map(|name| (name.to_string(), joined(name))).collect()
}

fn size(headers: &HeaderMap, body: &Bytes) -> i64 {
    let stated = headers.get(header::CONTENT_LENGTH);
    let stated = stated.and_then(|len| len.to_str().ok()?.parse().ok());
    match stated {
        Some(len) => len,
        None if body.is_empty() => -1,
        None => i64::try_from(body.len()).unwrap_or(i64::MAX),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn peer(address: SocketAddr, principal: &str) -> wire::Peer {
    let socket_address = wire::SocketAddress {
        address: address.ip().to_canonical().to_string(),
        port_value: address.port().into(),
    };
    wire::Peer {
        address: Some(wire::Address {
            socket_address: Some(socket_address),
        }),
        principal: principal.to_owned(),
    }
}

fn now() -> wire::Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    wire::Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap_or_default(),
    }
}
