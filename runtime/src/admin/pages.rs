//! What each admin path answers.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::{Pages, Response, response, text_response};

/// The content type of the OpenMetrics text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The longest log filter that PUT `/debug/log` takes, in bytes.
const LOG_FILTER_BYTES_MAX: usize = 1024;

impl Pages {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let path = request.uri().path();
        if path == "/debug/log" && request.method() == Method::PUT {
            return Ok(self.set_log_filter(request.into_body()).await);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Ok(method_not_allowed(path));
        }
        Ok(self.get(path))
    }

    fn get(&self, path: &str) -> Response {
        match path {
            "/livez" => text_response(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness_page(self.readiness.is_ready()),
            "/startupz" => self.readiness_page(self.readiness.has_started()),
            "/metrics" => response(StatusCode::OK, OPENMETRICS, self.metrics.encode().into()),
            "/debug/log" => self.log_filter_page(),
            other => match self.added.get(other) {
                Some(page) => page(),
                None => self.not_found(other),
            },
        }
    }

    fn readiness_page(&self, good: bool) -> Response {
        if good {
            return text_response(StatusCode::OK, "ok\n");
        }
        let mut reasons = String::new();
        for unmet in self.readiness.unmet() {
            writeln!(reasons, "{}: {}", unmet.condition, unmet.reason)
                .expect("writing into a String does not fail");
        }
        text_response(StatusCode::SERVICE_UNAVAILABLE, reasons)
    }

    fn log_filter_page(&self) -> Response {
        match &self.log_filter {
            Some(filter) => text_response(StatusCode::OK, format!("{}\n", filter.current())),
            None => self.not_found("/debug/log"),
        }
    }

    async fn set_log_filter(&self, body: Incoming) -> Response {
        let Some(filter) = &self.log_filter else {
            return self.not_found("/debug/log");
        };
        let Ok(body) = Limited::new(body, LOG_FILTER_BYTES_MAX).collect().await else {
            let text = format!("a log filter has at most {LOG_FILTER_BYTES_MAX} bytes\n");
            return text_response(StatusCode::PAYLOAD_TOO_LARGE, text);
        };
        let body: Bytes = body.to_bytes();
        let directives = String::from_utf8_lossy(&body);
        match filter.set(directives.trim()) {
            Ok(()) => text_response(StatusCode::OK, format!("{}\n", filter.current())),
            Err(error) => text_response(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }

    fn not_found(&self, path: &str) -> Response {
        let mut text = format!("no page {path}; there are:\n");
        let built_in = ["/livez", "/readyz", "/startupz", "/metrics"];
        let log = self.log_filter.is_some().then_some("/debug/log");
        let added = self.added.keys().map(String::as_str);
        for known in built_in.into_iter().chain(log).chain(added) {
            writeln!(text, "  {known}").expect("writing into a String does not fail");
        }
        text_response(StatusCode::NOT_FOUND, text)
    }
}

fn method_not_allowed(path: &str) -> Response {
    let allowed = if path == "/debug/log" {
        "GET, PUT"
    } else {
        "GET"
    };
    let text = format!("{path} takes {allowed}\n");
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, text);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
