//! Filters of rules and of backendRefs.

use std::sync::Arc;

use tidegate_ir::{Filter, HeaderEdits, Mirror, PathEdit, Redirect, Rewrite};

use super::Findings;
use super::backend_ref::References;
use crate::api::http_filter::{
    HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpRouteFilter,
};
use crate::codes;

/// The filters of a rule; a redirect is taken out, because it is what the rule does.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) filters: Vec<Filter>,
    pub(super) redirect: Option<Redirect>,
}

/// Reads the filters of a rule; on failure the finding is reported and its message returned.
pub(super) fn of_rule(
    objects: &[HttpRouteFilter],
    field: &str,
    references: &mut References<'_>,
    findings: &mut Findings<'_>,
) -> Result<Filters, String> {
    let mut filters = Filters::default();
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        let unsupported = |message: String, findings: &mut Findings<'_>| {
            findings.report(&field, &codes::UNSUPPORTED_VALUE, &message);
            format!("{field}: {message}")
        };
        if let Some(edits) = header_edits(object) {
            filters.filters.push(edits);
        } else if let Some(object) = &object.request_redirect {
            let redirect = redirect(object).map_err(|message| unsupported(message, findings))?;
            filters.redirect = Some(redirect);
        } else if let Some(object) = &object.url_rewrite {
            let path = object.path.as_ref().map(path_edit).transpose();
            let path = path.map_err(|message| unsupported(message, findings))?;
            let hostname = object.hostname.as_deref().map(Arc::from);
            filters
                .filters
                .push(Filter::Rewrite(Rewrite { hostname, path }));
        } else if let Some(object) = &object.request_mirror {
            filters
                .filters
                .extend(mirror(object, &field, references, findings));
        } else {
            return Err(unsupported_filter(object, &field, "", findings));
        }
    }
    Ok(filters)
}

/// Reads the filters of a backendRef: only changes of headers can be made so late.
pub(super) fn of_backend(
    objects: &[HttpRouteFilter],
    field: &str,
    findings: &mut Findings<'_>,
) -> Result<Vec<Filter>, String> {
    let objects = objects.iter().enumerate();
    let filters = objects.map(|(index, object)| {
        header_edits(object).ok_or_else(|| {
            let field = format!("{field}.filters[{index}]");
            unsupported_filter(object, &field, " on a backendRef", findings)
        })
    });
    filters.collect()
}

fn unsupported_filter(
    object: &HttpRouteFilter,
    field: &str,
    place: &str,
    findings: &mut Findings<'_>,
) -> String {
    let message = format!("filter {} is not supported{place}; remove it", object.type_);
    findings.report(field, &codes::UNSUPPORTED_FILTER, &message);
    format!("{field}: {message}")
}

fn header_edits(object: &HttpRouteFilter) -> Option<Filter> {
    if let Some(edits) = &object.request_header_modifier {
        return Some(Filter::RequestHeaders(edits_of(edits)));
    }
    let edits = object.response_header_modifier.as_ref()?;
    Some(Filter::ResponseHeaders(edits_of(edits)))
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
        .resolve(&object.backend_ref, &field, findings)
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
