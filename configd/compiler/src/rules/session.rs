//! Rules of session persistence, on rules, backends and policies.

use super::Violations;
use super::http_route::token;
use crate::api::meta::SessionPersistence;

pub(super) fn session(violations: &mut Violations, path: &str, session: &SessionPersistence) {
    let type_ = session.type_.as_str();
    let known = matches!(type_, "Cookie" | "Header");
    violations.require(
        known,
        &format!("{path}.type"),
        "it must be Cookie or Header",
    );
    let blocks = [
        ("Cookie", "cookie", session.cookie.is_some()),
        ("Header", "header", session.header.is_some()),
    ];
    for (needed_by, field, is_set) in blocks {
        let message = format!("type {needed_by} needs the field {field}");
        violations.require(is_set || type_ != needed_by, path, &message);
        let message = format!("{field} belongs to type {needed_by}, but type is {type_}");
        let good = !is_set || type_ == needed_by;
        violations.require(good, &format!("{path}.{field}"), &message);
    }
    let timeout = session.absolute_timeout.as_deref();
    if let Some(timeout) = timeout {
        violations.duration(&format!("{path}.absoluteTimeout"), timeout);
    }
    if let Some(header) = &session.header {
        token(violations, &format!("{path}.header.name"), &header.name);
    }
    let Some(cookie) = &session.cookie else {
        return;
    };
    if let Some(name) = &cookie.name {
        token(violations, &format!("{path}.cookie.name"), name);
    }
    let text = cookie.path.as_deref().unwrap_or("/");
    let good = text.starts_with('/') && text.len() <= 1024 && is_attribute(text);
    let message = "a cookie's path begins with /, has at most 1024 characters, and no ; among them";
    violations.require(good, &format!("{path}.cookie.path"), message);
    let lifetime = cookie.lifetime_type.as_deref().unwrap_or("Session");
    let at = format!("{path}.cookie.lifetimeType");
    let known = matches!(lifetime, "Permanent" | "Session");
    violations.require(known, &at, "it must be Permanent or Session");
    let good = lifetime != "Permanent" || timeout.is_some();
    violations.require(
        good,
        path,
        "a Permanent cookie needs absoluteTimeout, which says how long it lasts",
    );
}

/// What can stand in an attribute of a cookie (RFC 6265, section 4.1.1).
fn is_attribute(text: &str) -> bool {
    text.bytes()
        .all(|byte| (b' '..0x7f).contains(&byte) && byte != b';')
}
