//! From the wire's messages to the model's filters.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use super::InvalidPart;
use super::decode::{Decoded, optional, port, set, text};
use crate::{
    AuthProtocol, Cors, ExternalAuth, Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite,
    Target,
};

/// The largest body that may go along to an authorization server, in bytes.
const FORWARD_BODY_MAX: u32 = 1 << 20;

impl TryFrom<proto::Filter> for Filter {
    type Error = InvalidPart;

    fn try_from(wire: proto::Filter) -> Decoded<Self> {
        use proto::filter::Filter as Wire;
        Ok(match set("filter", wire.filter)? {
            Wire::RequestHeaders(edits) => Self::RequestHeaders(edits.into()),
            Wire::ResponseHeaders(edits) => Self::ResponseHeaders(edits.into()),
            Wire::Rewrite(rewrite) => Self::Rewrite(Rewrite {
                hostname: optional(rewrite.hostname),
                path: path_edit(rewrite.path)?,
            }),
            Wire::Mirror(mirror) => Self::Mirror(mirror.try_into()?),
            Wire::Cors(cors) => Self::Cors(cors.into()),
            Wire::ExternalAuth(auth) => Self::ExternalAuth(auth.try_into()?),
        })
    }
}

impl From<proto::HeaderEdits> for HeaderEdits {
    fn from(wire: proto::HeaderEdits) -> Self {
        let pairs = |headers: Vec<proto::Header>| {
            headers
                .into_iter()
                .map(|header| (header.name.into(), header.value.into()))
                .collect()
        };
        Self {
            set: pairs(wire.set),
            add: pairs(wire.add),
            remove: wire.remove.into_iter().map(Arc::from).collect(),
        }
    }
}

fn path_edit(wire: Option<proto::PathEdit>) -> Decoded<Option<PathEdit>> {
    let Some(wire) = wire else { return Ok(None) };
    Ok(Some(match set("path.edit", wire.edit)? {
        proto::path_edit::Edit::Full(path) => PathEdit::Full(path.into()),
        proto::path_edit::Edit::Prefix(path) => PathEdit::Prefix(path.into()),
    }))
}

impl TryFrom<proto::Redirect> for Redirect {
    type Error = InvalidPart;

    fn try_from(wire: proto::Redirect) -> Decoded<Self> {
        let status_code = match wire.status_code {
            301 | 302 | 303 | 307 | 308 => wire.status_code as u16,
            other => {
                return Err(InvalidPart::new(
                    "status_code",
                    format!("{other} is no redirect"),
                ));
            }
        };
        Ok(Self {
            scheme: optional(wire.scheme),
            hostname: optional(wire.hostname),
            path: path_edit(wire.path)?,
            port: if wire.port == 0 {
                None
            } else {
                Some(port("port", wire.port)?)
            },
            status_code,
        })
    }
}

impl TryFrom<proto::Mirror> for Mirror {
    type Error = InvalidPart;

    fn try_from(wire: proto::Mirror) -> Decoded<Self> {
        if wire.denominator == 0 || wire.numerator > wire.denominator {
            let share = format!("{}/{} is no share", wire.numerator, wire.denominator);
            return Err(InvalidPart::new("mirror", share));
        }
        Ok(Self {
            backend: text("mirror.backend", wire.backend)?,
            numerator: wire.numerator,
            denominator: wire.denominator,
        })
    }
}

fn names(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Arc::from).collect()
}

impl From<proto::Cors> for Cors {
    fn from(wire: proto::Cors) -> Self {
        Self {
            allow_origins: names(wire.allow_origins),
            allow_methods: names(wire.allow_methods),
            allow_headers: names(wire.allow_headers),
            expose_headers: names(wire.expose_headers),
            allow_credentials: wire.allow_credentials,
            max_age_s: wire.max_age_s,
        }
    }
}

impl TryFrom<proto::ExternalAuth> for ExternalAuth {
    type Error = InvalidPart;

    fn try_from(wire: proto::ExternalAuth) -> Decoded<Self> {
        use proto::external_auth::{Protocol, Target as Wire};
        let target = match set("external_auth.target", wire.target)? {
            Wire::Backend(name) => Target::Backend(text("external_auth.backend", name)?),
            Wire::Fault(fault) => Target::Fault(fault.reason.into()),
        };
        let protocol = match set("external_auth.protocol", wire.protocol)? {
            Protocol::Grpc(grpc) => AuthProtocol::Grpc {
                allowed_headers: names(grpc.allowed_headers),
            },
            Protocol::Http(http) => AuthProtocol::Http {
                path_prefix: http.path_prefix.into(),
                allowed_headers: names(http.allowed_headers),
                allowed_response_headers: names(http.allowed_response_headers),
            },
        };
        if wire.forward_body_max > FORWARD_BODY_MAX {
            let cause = format!("{} is over {FORWARD_BODY_MAX}", wire.forward_body_max);
            return Err(InvalidPart::new("external_auth.forward_body_max", cause));
        }
        Ok(Self {
            target,
            protocol,
            forward_body_max: (wire.forward_body_max > 0).then_some(wire.forward_body_max),
        })
    }
}
