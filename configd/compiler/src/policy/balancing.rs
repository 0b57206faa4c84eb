//! BackendPolicy: how endpoints share the work, how much of it there may be, and who is left out.

use std::sync::Arc;

use tidegate_ir::{Balancing, ConnectionLimits, Ejection, HashKey, ProxyVersion};

use crate::api::backend_policy::{BackendPolicySpec, HashOn, PolicyEjection};
use crate::duration::parse_ms;

/// What holds for a backend without a policy: an endpoint that fails five times in a row rests.
pub(crate) const DEFAULT_EJECTION: Ejection = Ejection {
    consecutive_errors: 5,
    base_ms: 30_000,
    max_percent: 50,
    panic_percent: 50,
};

/// How an endpoint is chosen.
pub(crate) fn balancing(spec: &BackendPolicySpec) -> Balancing {
    let Some(object) = &spec.load_balancing else {
        return Balancing::RoundRobin;
    };
    match object.type_.as_str() {
        "LeastRequest" => Balancing::LeastRequest,
        "RingHash" => Balancing::RingHash(hash_key(object.hash_on.as_ref())),
        _ => Balancing::RoundRobin,
    }
}

fn hash_key(object: Option<&HashOn>) -> HashKey {
    let Some(object) = object else {
        return HashKey::ClientIp;
    };
    let name = object.name.as_deref().unwrap_or_default();
    match object.type_.as_str() {
        "Header" => HashKey::Header(Arc::from(name.to_ascii_lowercase())),
        "Cookie" => HashKey::Cookie(Arc::from(name)),
        _ => HashKey::ClientIp,
    }
}

/// Bounds on what one worker gives the backend.
pub(crate) fn limits(spec: &BackendPolicySpec) -> ConnectionLimits {
    let Some(object) = &spec.connections else {
        return ConnectionLimits::default();
    };
    ConnectionLimits {
        connections: object.max_connections.map(|number| count(number).max(1)),
        pending_requests: object.max_pending_requests.map(count),
        requests: object.max_requests.map(|number| count(number).max(1)),
    }
}

/// The PROXY header that the backend's connections begin with.
pub(crate) fn proxy_protocol(spec: &BackendPolicySpec) -> Option<ProxyVersion> {
    match spec.proxy_protocol.as_deref() {
        Some("V1") => Some(ProxyVersion::V1),
        Some("V2") => Some(ProxyVersion::V2),
        _ => None,
    }
}

/// When an endpoint is left out; `None` means never.
pub(crate) fn ejection(spec: &BackendPolicySpec) -> Option<Ejection> {
    let Some(object) = &spec.ejection else {
        return Some(DEFAULT_EJECTION);
    };
    (!object.disabled).then(|| ejection_of(object))
}

fn ejection_of(object: &PolicyEjection) -> Ejection {
    let default = DEFAULT_EJECTION;
    let percent = |number: Option<i64>, default: u8| {
        number.map_or(default, |number| {
            u8::try_from(number.clamp(0, 100)).unwrap_or(100)
        })
    };
    let errors = object.consecutive_errors;
    let base = object.base_ejection_time.as_deref();
    Ejection {
        consecutive_errors: errors
            .map_or(default.consecutive_errors, |number| count(number).max(1)),
        base_ms: base.and_then(parse_ms).unwrap_or(default.base_ms),
        max_percent: percent(object.max_ejected_percent, default.max_percent),
        panic_percent: percent(object.panic_threshold_percent, default.panic_percent),
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
