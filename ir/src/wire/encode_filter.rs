//! From the model's filters to the wire's messages.

use std::sync::Arc;

use tidegate_proto::ir::v1 as proto;

use super::encode::{fault, names, optional};
use crate::{
    AuthProtocol, Cors, ExternalAuth, Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite,
    Target,
};

impl From<&Filter> for proto::Filter {
    fn from(filter: &Filter) -> Self {
        use proto::filter::Filter as Wire;
        let filter = match filter {
            Filter::RequestHeaders(edits) => Wire::RequestHeaders(edits.into()),
            Filter::ResponseHeaders(edits) => Wire::ResponseHeaders(edits.into()),
            Filter::Rewrite(rewrite) => Wire::Rewrite(rewrite.into()),
            Filter::Mirror(mirror) => Wire::Mirror(mirror.into()),
            Filter::Cors(cors) => Wire::Cors(cors.into()),
            Filter::ExternalAuth(auth) => Wire::ExternalAuth(auth.into()),
        };
        Self {
            filter: Some(filter),
        }
    }
}

impl From<&HeaderEdits> for proto::HeaderEdits {
    fn from(edits: &HeaderEdits) -> Self {
        let headers = |pairs: &[(Arc<str>, Arc<str>)]| {
            let header = |(name, value): &(Arc<str>, Arc<str>)| proto::Header {
                name: name.to_string(),
                value: value.to_string(),
            };
            pairs.iter().map(header).collect()
        };
        Self {
            set: headers(&edits.set),
            add: headers(&edits.add),
            remove: names(&edits.remove),
        }
    }
}

impl From<&PathEdit> for proto::PathEdit {
    fn from(edit: &PathEdit) -> Self {
        let edit = match edit {
            PathEdit::Full(path) => proto::path_edit::Edit::Full(path.to_string()),
            PathEdit::Prefix(path) => proto::path_edit::Edit::Prefix(path.to_string()),
        };
        Self { edit: Some(edit) }
    }
}

impl From<&Rewrite> for proto::Rewrite {
    fn from(rewrite: &Rewrite) -> Self {
        Self {
            hostname: optional(rewrite.hostname.as_ref()),
            path: rewrite.path.as_ref().map(Into::into),
        }
    }
}

impl From<&Redirect> for proto::Redirect {
    fn from(redirect: &Redirect) -> Self {
        Self {
            scheme: optional(redirect.scheme.as_ref()),
            hostname: optional(redirect.hostname.as_ref()),
            path: redirect.path.as_ref().map(Into::into),
            port: redirect.port.map_or(0, u32::from),
            status_code: redirect.status_code.into(),
        }
    }
}

impl From<&Mirror> for proto::Mirror {
    fn from(mirror: &Mirror) -> Self {
        Self {
            backend: mirror.backend.to_string(),
            numerator: mirror.numerator,
            denominator: mirror.denominator,
        }
    }
}

impl From<&Cors> for proto::Cors {
    fn from(cors: &Cors) -> Self {
        Self {
            allow_origins: names(&cors.allow_origins),
            allow_methods: names(&cors.allow_methods),
            allow_headers: names(&cors.allow_headers),
            expose_headers: names(&cors.expose_headers),
            allow_credentials: cors.allow_credentials,
            max_age_s: cors.max_age_s,
        }
    }
}

impl From<&ExternalAuth> for proto::ExternalAuth {
    fn from(auth: &ExternalAuth) -> Self {
        use proto::external_auth::{Protocol, Target as Wire};
        let target = match &auth.target {
            Target::Backend(name) => Wire::Backend(name.to_string()),
            Target::Fault(reason) => Wire::Fault(fault(reason)),
        };
        let protocol = match &auth.protocol {
            AuthProtocol::Grpc { allowed_headers } => Protocol::Grpc(proto::GrpcAuth {
                allowed_headers: names(allowed_headers),
            }),
            AuthProtocol::Http {
                path_prefix,
                allowed_headers,
                allowed_response_headers,
            } => Protocol::Http(proto::HttpAuth {
                path_prefix: path_prefix.to_string(),
                allowed_headers: names(allowed_headers),
                allowed_response_headers: names(allowed_response_headers),
            }),
        };
        Self {
            target: Some(target),
            protocol: Some(protocol),
            forward_body_max: auth.forward_body_max.unwrap_or(0),
        }
    }
}
