//! A server that decides on other requests: it lets in who says `authorization: let-me-in`.

use anyhow::Context as _;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use prost::Message as _;
use serde_json::{Value, json};
use tidegate_proto::auth::v3::check_response::HttpResponse;
use tidegate_proto::auth::v3::{
    self as auth, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpStatus,
    OkHttpResponse, Status,
};

use crate::echo::{Body, full};
use crate::grpc;

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

/// What `envoy.service.auth.v3.Authorization/Check` is asked, in the form of what a backend sees.
pub(crate) async fn asked(question: Incoming) -> anyhow::Result<Value> {
    let message = grpc::Messages::new(question).next().await?;
    let question = CheckRequest::decode(message.context("no question")?)?;
    let attributes = question.attributes.context("no attributes")?;
    let request = attributes.request.and_then(|request| request.http);
    let request = request.context("no HTTP request")?;
    Ok(json!({
        "method": request.method,
        "path": request.path,
        "host": request.host,
        "headers": request.headers,
        "body": request.body,
    }))
}

/// Decides by gRPC: lets in with who the user is, or refuses with 403.
pub(crate) fn check(asked: &Value) -> Response<Body> {
    let said = asked["headers"]["authorization"]
        .as_str()
        .map(str::as_bytes);
    let (code, outcome) = if said == Some(PASSWORD) {
        let ok = OkHttpResponse {
            headers: vec![header("x-user", "alice")],
            headers_to_remove: vec!["x-secret".to_owned()],
            response_headers_to_add: vec![header("x-let-in-by", "authorizer")],
        };
        (0, HttpResponse::OkResponse(ok))
    } else {
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus { code: 403 }),
            headers: vec![header("x-denied-by", "authorizer")],
            body: "the authorizer says no".to_owned(),
        };
        (7, HttpResponse::DeniedResponse(denied))
    };
    let message = String::new();
    let response = CheckResponse {
        status: Some(Status { code, message }),
        http_response: Some(outcome),
    };
    grpc::unary(&response.encode_to_vec())
}

fn header(key: &str, value: &str) -> HeaderValueOption {
    let header = auth::HeaderValue {
        key: key.to_owned(),
        value: value.to_owned(),
        ..auth::HeaderValue::default()
    };
    HeaderValueOption {
        header: Some(header),
        append: None,
    }
}
