//! Filters of rules and of backendRefs.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_ir::{
    AuthProtocol, Cors, ExternalAuth, Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite,
    Target,
};

use super::Findings;
use super::backend_ref::{References, Unresolved};
use super::view::FilterView;
use crate::api::http_filter::{
    HttpCorsFilter, HttpExternalAuthFilter, HttpHeader, HttpHeaderFilter, HttpPathModifier,
    HttpRequestMirrorFilter, HttpRequestRedirectFilter,
};
use crate::backend_object::{BackendPort, Traffic};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::objects::{ObjectKey, Objects};

/// The filters of a rule; a redirect is taken out, because it is what the rule does.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) filters: Vec<Filter>,
    pub(super) redirect: Option<Redirect>,
}

/// Reads the filters of a rule; on failure the finding is reported and its message returned.
pub(super) fn of_rule(
    objects: &[FilterView<'_>],
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Result<Filters, String> {
    let mut filters = Filters::default();
    // All are read, so that every finding and every reference of the rule is told at once.
    let mut problem = None;
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        let read = match object.request_redirect {
            Some(object) => redirect(object)
                .map(|redirect| filters.redirect = Some(redirect))
                .map_err(|message| unsupported(&field, message, findings)),
            None => one(object, &field, references, findings)
                .map(|filter| filters.filters.extend(filter)),
        };
        problem = problem.or_else(|| read.err());
    }
    problem.map_or(Ok(filters), Err)
}

/// Reads the filters of a backendRef: all but a redirect, which would come too late.
pub(super) fn of_backend(
    objects: &[FilterView<'_>],
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Result<Vec<Filter>, String> {
    let mut filters = vec![];
    let mut problem = None;
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        let read = match object.request_redirect {
            Some(_) => Err(unsupported_filter(
                object,
                &field,
                " on a backendRef",
                findings,
            )),
            None => one(object, &field, references, findings),
        };
        match read {
            Ok(filter) => filters.extend(filter),
            Err(message) => problem = problem.or(Some(message)),
        }
    }
    problem.map_or(Ok(filters), Err)
}

/// One filter; `None` for a mirror without a usable backend: the request itself goes on.
fn one(
    object: &FilterView<'_>,
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Result<Option<Filter>, String> {
    if let Some(edits) = object.request_header_modifier {
        return Ok(Some(Filter::RequestHeaders(edits_of(edits))));
    }
    if let Some(edits) = object.response_header_modifier {
        return Ok(Some(Filter::ResponseHeaders(edits_of(edits))));
    }
    if let Some(object) = object.url_rewrite {
        let path = object.path.as_ref().map(path_edit).transpose();
        let path = path.map_err(|message| unsupported(field, message, findings))?;
        let hostname = object.hostname.as_deref().map(Arc::from);
        return Ok(Some(Filter::Rewrite(Rewrite { hostname, path })));
    }
    if let Some(object) = object.request_mirror {
        return Ok(mirror(object, field, references, findings));
    }
    if let Some(object) = object.cors {
        return Ok(Some(Filter::Cors(cors(object))));
    }
    if let Some(object) = object.external_auth {
        let field = format!("{field}.externalAuth");
        return external_auth(object, &field, references, findings).map(Some);
    }
    Err(unsupported_filter(object, field, "", findings))
}

/// A server whose reference leads nowhere refuses everything: nothing gets past it.
fn external_auth(
    object: &HttpExternalAuthFilter,
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Result<Filter, String> {
    let traffic = match object.protocol.as_str() {
        "GRPC" => Traffic::Grpc,
        _ => Traffic::Http,
    };
    let lower = |names: &[String]| -> Vec<Arc<str>> {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        names.map(Arc::from).collect()
    };
    let protocol = match object.protocol.as_str() {
        "GRPC" => AuthProtocol::Grpc {
            allowed_headers: lower(
                object
                    .grpc
                    .as_ref()
                    .map_or(&[], |grpc| &grpc.allowed_headers),
            ),
        },
        "HTTP" => {
            let http = object.http.as_ref();
            AuthProtocol::Http {
                path_prefix: http
                    .map_or("", |http| &http.path)
                    .trim_end_matches('/')
                    .into(),
                allowed_headers: lower(http.map_or(&[], |http| &http.allowed_headers)),
                allowed_response_headers: lower(
                    http.map_or(&[], |http| &http.allowed_response_headers),
                ),
            }
        }
        other => {
            let message = format!("protocol {other} is not supported; use HTTP or GRPC");
            return Err(unsupported(&format!("{field}.protocol"), message, findings));
        }
    };
    let backend = format!("{field}.backendRef");
    let target = match references.resolve(&object.backend_ref, traffic, &backend, findings) {
        Ok(backend) => Target::Backend(backend.part_name()),
        Err(problem) => Target::Fault(problem.into()),
    };
    let forward_body_max = object.forward_body.as_ref().map_or(0, |body| body.max_size);
    Ok(Filter::ExternalAuth(ExternalAuth {
        target,
        protocol,
        forward_body_max: u32::try_from(forward_body_max).ok().filter(|max| *max > 0),
    }))
}

/// The same for a filter of a listener that `holder` holds; the ports that it needs are added to
/// `backends`, and what is wrong with its reference stands beside it.
pub(crate) fn listener_auth(
    objects: &Objects,
    holder: &ObjectKey,
    object: &HttpExternalAuthFilter,
    field: &str,
    backends: &mut BTreeSet<BackendPort>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(Filter, Option<Unresolved>), String> {
    let mut findings = Findings {
        key: holder,
        diagnostics: vec![],
    };
    let mut references = References::new(objects, holder);
    let field = field.strip_prefix("spec.").unwrap_or(field);
    let filter = external_auth(object, field, &mut references, &mut findings);
    backends.extend(references.backends);
    diagnostics.extend(findings.diagnostics);
    Ok((filter?, references.unresolved))
}

fn cors(object: &HttpCorsFilter) -> Cors {
    let texts = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    let origins = object.allow_origins.iter();
    Cors {
        allow_origins: origins.map(|o| Arc::from(o.to_ascii_lowercase())).collect(),
        allow_methods: texts(&object.allow_methods),
        allow_headers: texts(&object.allow_headers),
        expose_headers: texts(&object.expose_headers),
        allow_credentials: object.allow_credentials,
        max_age_s: u32::try_from(object.max_age).unwrap_or(0),
    }
}

fn unsupported(field: &str, message: String, findings: &mut Findings<'_>) -> String {
    findings.report(field, &codes::UNSUPPORTED_VALUE, &message);
    format!("{field}: {message}")
}

fn unsupported_filter(
    object: &FilterView<'_>,
    field: &str,
    place: &str,
    findings: &mut Findings<'_>,
) -> String {
    let message = format!("filter {} is not supported{place}; remove it", object.type_);
    findings.report(field, &codes::UNSUPPORTED_FILTER, &message);
    format!("{field}: {message}")
}

fn edits_of(object: &HttpHeaderFilter) -> HeaderEdits {
    let name = |name: &str| Arc::from(name.to_ascii_lowercase());
    let pair = |header: &HttpHeader| (name(&header.name), Arc::from(header.value.as_str()));
    HeaderEdits {
        set: object.set.iter().map(pair).collect(),
        add: object.add.iter().map(pair).collect(),
        remove: object.remove.iter().map(|header| name(header)).collect(),
    }
}

fn redirect(object: &HttpRequestRedirectFilter) -> Result<Redirect, String> {
    let scheme = object.scheme.as_deref();
    if let Some(scheme) = scheme.filter(|scheme| !matches!(*scheme, "http" | "https")) {
        return Err(format!(
            "redirect scheme {scheme} is not supported; use http or https"
        ));
    }
    let status_code = object.status_code;
    if !matches!(status_code, 301 | 302 | 303 | 307 | 308) {
        return Err(format!(
            "redirect status {status_code} is not supported; use 301, 302, 303, 307 or 308"
        ));
    }
    Ok(Redirect {
        scheme: scheme.map(Arc::from),
        hostname: object.hostname.as_deref().map(Arc::from),
        path: object.path.as_ref().map(path_edit).transpose()?,
        port: object.port,
        status_code,
    })
}

fn path_edit(object: &HttpPathModifier) -> Result<PathEdit, String> {
    let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
    match object.type_.as_str() {
        "ReplaceFullPath" => Ok(PathEdit::Full(text(&object.replace_full_path))),
        "ReplacePrefixMatch" => Ok(PathEdit::Prefix(text(&object.replace_prefix_match))),
        other => Err(format!(
            "path modifier {other} is not supported; use ReplaceFullPath or ReplacePrefixMatch"
        )),
    }
}

/// A mirror whose backend cannot be used is left out: the request itself goes on.
fn mirror(
    object: &HttpRequestMirrorFilter,
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Option<Filter> {
    let field = format!("{field}.requestMirror.backendRef");
    let backend = references
        .resolve(&object.backend_ref, references.traffic(), &field, findings)
        .ok()?;
    let share = |number: i64| u32::try_from(number).expect("the rules of the kind bound it");
    let (numerator, denominator) = match (&object.percent, &object.fraction) {
        (_, Some(fraction)) => (share(fraction.numerator), share(fraction.denominator)),
        (Some(percent), None) => (share(*percent), 100),
        (None, None) => (1, 1),
    };
    Some(Filter::Mirror(Mirror {
        backend: backend.part_name(),
        numerator,
        denominator,
    }))
}
