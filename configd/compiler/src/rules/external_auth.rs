//! Rules of external authorization, on rules, backendRefs and listeners.

use super::Violations;
use super::http_route::{has_only_path_characters, service_port, token};
use crate::api::http_filter::HttpExternalAuthFilter;

/// The largest body that may go along, in bytes.
const BODY_SIZE_MAX: i64 = 1 << 20;

pub(super) fn external_auth(
    violations: &mut Violations,
    path: &str,
    auth: &HttpExternalAuthFilter,
) {
    let protocol = auth.protocol.as_str();
    let known = matches!(protocol, "HTTP" | "GRPC");
    violations.require(
        known,
        &format!("{path}.protocol"),
        "it must be HTTP or GRPC",
    );
    let blocks = [
        ("GRPC", "grpc", auth.grpc.is_some()),
        ("HTTP", "http", auth.http.is_some()),
    ];
    for (needed_by, field, is_set) in blocks {
        let message = format!("protocol {needed_by} needs the field {field}; {{}} will do");
        violations.require(is_set || protocol != needed_by, path, &message);
        let message =
            format!("{field} belongs to protocol {needed_by}, but protocol is {protocol}");
        let good = !is_set || protocol == needed_by;
        violations.require(good, &format!("{path}.{field}"), &message);
    }
    let reference = &auth.backend_ref;
    let at = format!("{path}.backendRef");
    violations.name(&format!("{at}.name"), &reference.name);
    service_port(
        violations,
        &at,
        &reference.group,
        &reference.kind,
        reference.port,
    );
    if let Some(grpc) = &auth.grpc {
        headers(
            violations,
            &format!("{path}.grpc.allowedHeaders"),
            &grpc.allowed_headers,
        );
    }
    if let Some(http) = &auth.http {
        let at = format!("{path}.http");
        headers(
            violations,
            &format!("{at}.allowedHeaders"),
            &http.allowed_headers,
        );
        let answered = &http.allowed_response_headers;
        headers(
            violations,
            &format!("{at}.allowedResponseHeaders"),
            answered,
        );
        let text = http.path.as_str();
        let good = text.len() <= 1024 && has_only_path_characters(text.as_bytes());
        let message = "a path has at most 1024 characters of RFC 3986; encode others as %XX";
        violations.require(good && !text.contains('#'), &format!("{at}.path"), message);
    }
    let size = auth.forward_body.as_ref().map_or(0, |body| body.max_size);
    let message = "it is a number from 0 to 1048576, the largest body that is kept for the server";
    let good = (0..=BODY_SIZE_MAX).contains(&size);
    violations.require(good, &format!("{path}.forwardBody.maxSize"), message);
}

fn headers(violations: &mut Violations, path: &str, names: &[String]) {
    violations.length(path, names, 0, 64);
    for (index, name) in names.iter().enumerate() {
        token(violations, &format!("{path}[{index}]"), name);
    }
}
