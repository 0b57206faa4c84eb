//! Spans of exchanges, linked to the client's and the backend's by W3C Trace Context.
//!
//! Made only where spans leave the process ([`crate::WorkerOptions::traces`]): without, requests pass
//! no line of this file, and trace headers travel on as the client sent them.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::http::exchange::Record;

/// The span of a client's request, as a child of the span that the client names.
pub(crate) fn server_span<B>(request: &Request<B>, scheme: &str) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.name = request.method().as_str(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = request.method().as_str(),
        http.response.status_code = Empty,
        url.scheme = scheme,
        url.path = request.uri().path(),
        http.route = Empty,
        error.type = Empty,
        tidegate.snapshot_version = Empty,
    );
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract(&Headers(request.headers()))
    });
    // It fails only where no layer exports spans, and then the parent does not matter.
    let _ = span.set_parent(parent);
    span
}

/// Adds what the exchange has learned.
pub(crate) fn finish_server_span(span: &Span, record: &Record, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    span.record("tidegate.snapshot_version", record.snapshot_version);
    if let Some(rule) = &record.rule {
        let route = format!("{}/{}", rule.route, rule.label);
        span.record("http.route", route.as_str());
    }
    // A preflight that was answered is no error.
    if let Some(reason) = record
        .reason
        .filter(|_| !status.is_success() || record.grpc)
    {
        span.record("error.type", reason);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of an attempt at a backend, a child of the current one; `headers` name it to the backend.
pub(crate) fn client_span(record: &Record, headers: &mut HeaderMap) -> Span {
    let span = tracing::info_span!(
        "attempt",
        otel.name = record.method.as_str(),
        otel.kind = "client",
        http.request.method = record.method.as_str(),
        http.request.resend_count = record.retries,
        server.address = record.endpoint.map(tracing::field::display),
        tidegate.backend = record.backend.as_deref(),
    );
    let context = span.context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeadersMut(headers));
    });
    span
}

struct Headers<'h>(&'h HeaderMap);

struct HeadersMut<'h>(&'h mut HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
