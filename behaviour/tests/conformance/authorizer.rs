//! A server that decides on other requests: it lets in who says `authorization: let-me-in`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::echo::{Body, full};

/// What a request must say to be let in.
const PASSWORD: &[u8] = b"let-me-in";

/// Decides by HTTP: 200 with who the user is, or 403.
pub(crate) fn decide(headers: &HeaderMap) -> Response<Body> {
    let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if said != Some(PASSWORD) {
        let mut refusal = Response::new(full("the authorizer says no"));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        let by = HeaderValue::from_static("authorizer");
        refusal.headers_mut().insert("x-denied-by", by);
        return refusal;
    }
    let mut answer = Response::new(full(""));
    let headers = answer.headers_mut();
    headers.insert("x-user", HeaderValue::from_static("alice"));
    headers.insert("x-internal", HeaderValue::from_static("not for backends"));
    answer
}

/// Decides by gRPC: an OK or a denied answer of `envoy.service.auth.v3.Authorization/Check`.
pub(crate) async fn check(request: Request<Incoming>) -> Response<Body> {
    drop(request);
    let mut answer = Response::new(full(""));
    answer
        .headers_mut()
        .insert("grpc-status", HeaderValue::from_static("12"));
    answer
}
