//! What a pod answers: who it is and what it saw, as JSON over HTTP, gRPC, WebSocket or UDP.
//!
//! Headers of a request make it answer otherwise: `x-echo-delay` (milliseconds) waits, `x-echo-hold`
//! waits until the case lets all that wait go, `x-echo-status`
//! is the status, the gRPC status in a gRPC request, and `x-echo-fail` the number of attempts at one
//! exchange that get that status.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tidegate_runtime::tasks::Tasks;
use tokio::sync::watch;

use crate::backend::Log;
use crate::{authorizer, grpc, websocket};

/// The header that carries the number of the exchange.
pub(crate) const EXCHANGE: &str = "x-exchange";

/// A body of any kind.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its Service.
    pub(crate) service: String,
    /// Its name.
    pub(crate) pod: String,
    /// The status of all its answers, if they have one.
    pub(crate) answers: Option<u16>,
    /// Whether it decides on other requests.
    pub(crate) authorizer: bool,
    /// Turns true when what is held may be answered.
    pub(crate) released: watch::Receiver<bool>,
    /// Where requests are kept.
    pub(crate) log: Log,
    /// What the connections run in.
    pub(crate) tasks: Tasks,
}

/// What a handshake told.
#[derive(Debug)]
pub(crate) struct TlsSeen {
    /// The name that was asked for.
    pub(crate) sni: Option<String>,
    /// The name of the client's certificate.
    pub(crate) client: Option<String>,
}

impl Echo {
    /// Answers a request.
    pub(crate) async fn answer(
        self,
        mut request: Request<Incoming>,
        tls: Option<Arc<TlsSeen>>,
    ) -> Result<Response<Body>, Infallible> {
        let headers = request.headers().clone();
        let mut seen = self.seen(&request, tls.as_deref());
        if self.authorizer && is_grpc(&headers) {
            let asked = authorizer::asked(request.into_body()).await;
            // What cannot be read is not let in either.
            let asked = asked.unwrap_or_default();
            self.log.add(&asked);
            return Ok(authorizer::check(&asked));
        }
        if is_grpc(&headers) {
            let before = self.log.add(&seen);
            self.pause(&headers).await;
            let refusal = status(&headers, before);
            return Ok(grpc::echo(request.into_body(), seen, refusal, &self.tasks));
        }
        if headers.contains_key(UPGRADE) {
            self.log.add(&seen);
            let upgrade = hyper::upgrade::on(&mut request);
            self.tasks
                .spawn("WebSocket", websocket::echo(upgrade, seen));
            return Ok(websocket::accept(&headers));
        }
        // A body that was cut off counts as far as it came.
        let body = request
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes());
        let body = body.unwrap_or_default();
        seen["body"] = json!(String::from_utf8_lossy(&body));
        let before = self.log.add(&seen);
        self.pause(&headers).await;
        if self.authorizer {
            return Ok(authorizer::decide(&headers));
        }
        let status = self.answers.or_else(|| status(&headers, before));
        Ok(json_answer(status.unwrap_or(200), &seen))
    }

    /// Answers a datagram.
    pub(crate) fn datagram(&self, bytes: &[u8]) -> Vec<u8> {
        let seen = json!({
            "namespace": self.namespace,
            "service": self.service,
            "pod": self.pod,
            "protocol": "UDP",
            "body": String::from_utf8_lossy(bytes),
        });
        self.log.add(&seen);
        seen.to_string().into_bytes()
    }

    async fn pause(&self, headers: &HeaderMap) {
        if let Some(millis) = number(headers, "x-echo-delay") {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        if headers.contains_key("x-echo-hold") {
            // An error means that the case has ended, and nobody waits for the answer any more.
            let _ = self.released.clone().wait_for(|released| *released).await;
        }
    }

    fn seen(&self, request: &Request<Incoming>, tls: Option<&TlsSeen>) -> Value {
        let uri = request.uri();
        let host = request.headers().get("host");
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
        json!({
            "namespace": self.namespace,
            "service": self.service,
            "pod": self.pod,
            "protocol": format!("{:?}", request.version()),
            "method": request.method().as_str(),
            "path": uri.path_and_query().map(|path| path.as_str()),
            "host": host,
            "headers": header_map(request.headers()),
            "tls": tls.map(|tls| json!({"sni": tls.sni, "client": tls.client})),
        })
    }
}

/// Headers as JSON; several fields of one name are one, joined by commas (RFC 9110, section 5.2), but
/// for cookies.
pub(crate) fn header_map(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let values: Vec<_> = values.collect();
        let value = if name == http::header::SET_COOKIE {
            json!(values)
        } else {
            json!(values.join(","))
        };
        map.insert(name.as_str().to_owned(), value);
    }
    Value::Object(map)
}

/// A body that is known from the start.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn json_answer(status: u16, seen: &Value) -> Response<Body> {
    let mut answer = Response::new(full(seen.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    for (name, value) in seen["headers"].as_object().into_iter().flatten() {
        // What a test wants to find in the answer's headers it sends as x-answer-<name>.
        let name = name
            .strip_prefix("x-answer-")
            .map(str::parse::<http::HeaderName>);
        let value = value.as_str().map(str::parse::<http::HeaderValue>);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    answer
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn number<N: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<N> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The status that the request asks for, after `before` attempts at it.
fn status(headers: &HeaderMap, before: usize) -> Option<u16> {
    let failing = number(headers, "x-echo-fail").is_none_or(|fail: usize| before < fail);
    number(headers, "x-echo-status").filter(|_| failing)
}
