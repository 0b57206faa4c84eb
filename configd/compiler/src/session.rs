//! Session persistence, of rules and of backends (GEP-1619).

use tidegate_ir::{Digest, SessionCarrier, SessionPersistence};

use crate::api::meta;
use crate::duration;

/// Compiles a session; `owner` names what it belongs to, for a cookie without a name of its own.
pub(crate) fn compile(object: &meta::SessionPersistence, owner: &str) -> SessionPersistence {
    let absolute = object.absolute_timeout.as_deref();
    let absolute = absolute.and_then(duration::parse_ms).filter(|ms| *ms > 0);
    if let ("Header", Some(header)) = (object.type_.as_str(), &object.header) {
        return SessionPersistence {
            name: header.name.to_ascii_lowercase().into(),
            carrier: SessionCarrier::Header,
            absolute_timeout_ms: absolute,
            path: "".into(),
        };
    }
    let cookie = object.cookie.clone().unwrap_or_default();
    let generated = || format!("tidegate-{}", &Digest::of(owner.as_bytes()).short());
    let carrier = match cookie.lifetime_type.as_deref() {
        Some("Permanent") => SessionCarrier::PermanentCookie,
        _ => SessionCarrier::SessionCookie,
    };
    SessionPersistence {
        name: cookie.name.unwrap_or_else(generated).into(),
        carrier,
        absolute_timeout_ms: absolute,
        path: cookie.path.unwrap_or_else(|| "/".to_owned()).into(),
    }
}
