//! Connections that leave HTTP: after 101 the bytes of both sides are passed on as they are.

use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::http::body::ResponseBody;
use crate::thread::Open;

/// The protocol that a request asks to change to (RFC 9110, section 7.8).
pub(crate) fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut named = headers.get_all(header::CONNECTION).iter();
    let asked = named.any(|value| {
        let names = value.to_str().unwrap_or_default();
        names
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    asked
        .then(|| headers.get(header::UPGRADE).cloned())
        .flatten()
}

/// Asks the backend for the same change.
pub(crate) fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Answers 101 and passes bytes on until either side ends, or `stop`.
pub(crate) fn tunnel(
    client: OnUpgrade,
    mut response: Response<Incoming>,
    open: Open,
    stop: CancellationToken,
) -> Response<ResponseBody> {
    let backend = hyper::upgrade::on(&mut response);
    tokio::task::spawn_local(async move {
        let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else {
            return;
        };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        tokio::select! {
            // Either side may just go away; there is nobody left to tell.
            _ = tokio::io::copy_bidirectional(&mut client, &mut backend) => {}
            () = stop.cancelled() => {}
        }
        drop(open);
    });
    response.map(|_| ResponseBody::whole(""))
}
