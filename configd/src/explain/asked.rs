//! A question as it is understood.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_ir::{Listener, ListenerProtocol};
use tidegate_proto::explain::v1::explain_route_request::Arrives;
use tidegate_proto::explain::v1::{ExplainRouteRequest, Header, Request as WireRequest};
use tidegate_router::host_of;

use super::Unexplained;
use super::connection::Connection;
use super::request::Request;

/// Headers of a request, at most.
const HEADERS_MAX: usize = 100;
/// Bytes of a path with its query, at most.
const PATH_LEN_MAX: usize = 64 << 10;

/// What is asked about.
pub(super) enum Asked {
    Request(Request),
    Connection(Connection),
}

impl Asked {
    pub(super) fn parse(question: &ExplainRouteRequest) -> Result<Self, Unexplained> {
        Ok(match &question.arrives {
            Some(Arrives::Request(wire)) => Self::Request(request(wire)?),
            Some(Arrives::Tls(tls)) => Self::Connection(Connection::Tls(tls.server_name.clone())),
            Some(Arrives::Tcp(_)) => Self::Connection(Connection::Tcp),
            Some(Arrives::Udp(_)) => Self::Connection(Connection::Udp),
            None => {
                let text = "say what arrives: a request, a connection or a datagram";
                return Err(Unexplained::field("arrives", text));
            }
        })
    }

    /// Whether it can arrive at such a listener at all: TCP and UDP have ports of their own.
    pub(super) fn can_reach(&self, listener: &Listener) -> bool {
        let is_datagram = matches!(self, Self::Connection(Connection::Udp));
        (listener.protocol == ListenerProtocol::Udp) == is_datagram
    }
}

fn request(wire: &WireRequest) -> Result<Request, Unexplained> {
    let method: Result<Method, _> = wire.method.parse();
    let method = method.map_err(|_| {
        let text = format!("\"{}\" is no method", wire.method);
        Unexplained::field("request.method", text)
    })?;
    if wire.path.len() > PATH_LEN_MAX {
        let text = format!("the path is longer than {PATH_LEN_MAX} bytes");
        return Err(Unexplained::field("request.path", text));
    }
    let (path, query) = match wire.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (&*wire.path, None),
    };
    let headers = headers(&wire.headers)?;
    let said = headers.get(http::header::HOST);
    let said = said.and_then(|host| host.to_str().ok());
    Ok(Request {
        method,
        host: host_of(said.unwrap_or(&wire.host)).into_owned(),
        path: path.to_owned(),
        query,
        server_name: wire.server_name.clone(),
        headers,
    })
}

fn headers(wire: &[Header]) -> Result<HeaderMap, Unexplained> {
    if wire.len() > HEADERS_MAX {
        let text = format!("a request has at most {HEADERS_MAX} headers here");
        return Err(Unexplained::field("request.headers", text));
    }
    let mut headers = HeaderMap::new();
    for (index, header) in wire.iter().enumerate() {
        let name: Result<HeaderName, _> = header.name.parse();
        let name = name.map_err(|_| {
            let text = format!("\"{}\" is no header name", header.name);
            Unexplained::field(format!("request.headers[{index}].name"), text)
        })?;
        let value = HeaderValue::from_str(&header.value).map_err(|_| {
            let text = format!("\"{}\" is no header value", header.value);
            Unexplained::field(format!("request.headers[{index}].value"), text)
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}
