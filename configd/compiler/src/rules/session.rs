//! Rules of session persistence (GEP-1619).

use super::Violations;
use crate::api::meta::SessionPersistence;
use crate::duration::parse_ms;

/// Checks a session; `field` is its path.
pub(super) fn session(violations: &mut Violations, field: &str, spec: &SessionPersistence) {
    let type_ = spec.type_.as_str();
    let known = matches!(type_, "Cookie" | "Header");
    violations.require(
        known,
        &format!("{field}.type"),
        "it must be Cookie or Header",
    );
    if let Some(timeout) = &spec.absolute_timeout {
        let message = "it must be a duration such as 30m";
        let path = format!("{field}.absoluteTimeout");
        violations.require(parse_ms(timeout).is_some(), &path, message);
    }
    union(
        violations,
        field,
        "cookie",
        spec.cookie.is_some(),
        type_ == "Cookie",
    );
    union(
        violations,
        field,
        "header",
        spec.header.is_some(),
        type_ == "Header",
    );
    if let Some(header) = &spec.header {
        let path = format!("{field}.header.name");
        violations.require(is_token(&header.name), &path, "it is no name of a header");
    }
    let Some(cookie) = &spec.cookie else {
        return;
    };
    if let Some(name) = &cookie.name {
        let path = format!("{field}.cookie.name");
        violations.require(is_token(name), &path, "it is no name of a cookie");
    }
    let lifetime = cookie.lifetime_type.as_deref().unwrap_or("Session");
    let path = format!("{field}.cookie.lifetimeType");
    let known = matches!(lifetime, "Session" | "Permanent");
    violations.require(known, &path, "it must be Session or Permanent");
    let bounded = lifetime != "Permanent" || spec.absolute_timeout.is_some();
    violations.require(bounded, field, "a Permanent cookie needs absoluteTimeout");
    let path = cookie.path.as_deref().unwrap_or("/");
    let good = path.starts_with('/') && path.len() <= 1_024 && !path.contains([';', ' ']);
    let message = "it must begin with /, with at most 1024 characters and no semicolon or space";
    violations.require(good, &format!("{field}.cookie.path"), message);
}

/// A member of a union must be there when it is chosen, and only then.
fn union(violations: &mut Violations, field: &str, name: &str, is_set: bool, is_chosen: bool) {
    match (is_set, is_chosen) {
        (false, true) => violations.add(field, format!("the type needs {name}")),
        (true, false) => {
            violations.add(
                format!("{field}.{name}"),
                "the type has no such field; remove it",
            );
        }
        _ => {}
    }
}

/// A token of RFC 9110, as names of headers and cookies are.
fn is_token(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(inner)
}
