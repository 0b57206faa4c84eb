//! Matches of rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::RegexBuilder;
use tidegate_ir::{GrpcMethod, Match, PathMatch, StringMatch, ValueMatch};

use super::Findings;
use crate::api::grpc_route::{GrpcMethodMatch, GrpcRouteMatch};
use crate::api::http_route::{HttpPathMatch, HttpRouteMatch, HttpValueMatch};
use crate::codes;

/// The most memory that a compiled expression may take, in bytes; the worker allows no less.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// Methods that a match may ask for.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// Reads one match; on failure the finding is reported and its message returned.
pub(super) fn compile(
    object: &HttpRouteMatch,
    field: &str,
    findings: &mut Findings<'_>,
) -> Result<Match, String> {
    let path = path_match(object.path.as_ref(), &format!("{field}.path"), findings)?;
    let method = object.method.as_deref().map(|method| {
        if METHODS.contains(&method) {
            return Ok(Arc::from(method));
        }
        let message = format!(
            "method {method} is not supported; use one of {}",
            METHODS.join(", ")
        );
        Err(unsupported(&format!("{field}.method"), message, findings))
    });
    let lower = |name: &str| name.to_ascii_lowercase();
    let exact = |name: &str| name.to_owned();
    let headers = value_matches(
        &object.headers,
        &format!("{field}.headers"),
        lower,
        findings,
    )?;
    let query = &object.query_params;
    let query_params = value_matches(query, &format!("{field}.queryParams"), exact, findings)?;
    Ok(Match {
        path,
        method: method.transpose()?,
        headers,
        query_params,
    })
}

/// Reads one match of a GRPCRoute; on failure the finding is reported and its message returned.
pub(super) fn compile_call(
    object: &GrpcRouteMatch,
    field: &str,
    findings: &mut Findings<'_>,
) -> Result<Match, String> {
    let method = object.method.as_ref();
    let method = method.map(|method| grpc_method(method, &format!("{field}.method"), findings));
    let lower = |name: &str| name.to_ascii_lowercase();
    let headers = value_matches(
        &object.headers,
        &format!("{field}.headers"),
        lower,
        findings,
    )?;
    Ok(Match {
        path: PathMatch::Method(method.transpose()?.unwrap_or_default()),
        headers,
        ..any_call()
    })
}

/// The match of a GRPCRoute's rule that has none: every call.
pub(super) fn any_call() -> Match {
    Match {
        path: PathMatch::Method(GrpcMethod::default()),
        ..any()
    }
}

fn grpc_method(
    object: &GrpcMethodMatch,
    field: &str,
    findings: &mut Findings<'_>,
) -> Result<GrpcMethod, String> {
    let mut part = |name: &str, text: &Option<String>| {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match object.type_.as_str() {
            "Exact" => Ok(Some(StringMatch::Exact(text.into()))),
            "RegularExpression" => {
                check_regex(text, &format!("{field}.{name}"), findings)?;
                Ok(Some(StringMatch::Regex(text.into())))
            }
            other => {
                let message = format!(
                    "method match type {other} is not supported; use Exact or RegularExpression"
                );
                Err(unsupported(&format!("{field}.type"), message, findings))
            }
        }
    };
    Ok(GrpcMethod {
        service: part("service", &object.service)?,
        method: part("method", &object.method)?,
    })
}

/// The match of a rule that has none.
pub(super) fn any() -> Match {
    Match {
        path: PathMatch::Prefix("/".into()),
        method: None,
        headers: vec![],
        query_params: vec![],
    }
}

fn path_match(
    object: Option<&HttpPathMatch>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Result<PathMatch, String> {
    let Some(object) = object else {
        return Ok(PathMatch::Prefix("/".into()));
    };
    let value = object.value.as_str();
    match object.type_.as_str() {
        "Exact" => Ok(PathMatch::Exact(value.into())),
        "PathPrefix" => {
            let prefix = value.trim_end_matches('/');
            let prefix = if prefix.is_empty() { "/" } else { prefix };
            Ok(PathMatch::Prefix(prefix.into()))
        }
        "RegularExpression" => {
            check_regex(value, &format!("{field}.value"), findings)?;
            Ok(PathMatch::Regex(value.into()))
        }
        other => {
            let message = format!(
                "path match type {other} is not supported; use Exact, PathPrefix or RegularExpression"
            );
            Err(unsupported(&format!("{field}.type"), message, findings))
        }
    }
}

/// Only the first of several conditions on one name counts.
fn value_matches(
    objects: &[HttpValueMatch],
    field: &str,
    normal: impl Fn(&str) -> String,
    findings: &mut Findings<'_>,
) -> Result<Vec<ValueMatch>, String> {
    let mut known = BTreeSet::new();
    let mut matches = vec![];
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let name = normal(&object.name);
        if !known.insert(name.clone()) {
            let message =
                format!("{name} stands here already; only the first condition on it counts");
            findings.report(&field, &codes::DUPLICATE_NAME, &message);
            continue;
        }
        let value = object.value.as_str();
        let value = match object.type_.as_str() {
            "Exact" => StringMatch::Exact(value.into()),
            "RegularExpression" => {
                check_regex(value, &format!("{field}.value"), findings)?;
                StringMatch::Regex(value.into())
            }
            other => {
                let message =
                    format!("match type {other} is not supported; use Exact or RegularExpression");
                return Err(unsupported(&format!("{field}.type"), message, findings));
            }
        };
        matches.push(ValueMatch {
            name: name.into(),
            value,
        });
    }
    Ok(matches)
}

fn check_regex(text: &str, field: &str, findings: &mut Findings<'_>) -> Result<(), String> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(REGEX_SIZE_MAX).build();
    // Alone first, for a message about the user's text; then as the worker anchors it: an expression
    // in verbose mode may comment the anchor out.
    let compiled = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
    compiled.map(drop).map_err(|error| {
        // The last line of the library's text is the cause; those before draw the place.
        let cause = error.to_string();
        let cause = cause.lines().last().unwrap_or_default();
        let cause = cause.trim_start_matches("error: ").to_owned();
        let message = format!("the regular expression {text:?} does not compile: {cause}");
        findings.report(field, &codes::INVALID_REGEX, &message);
        format!("{field}: {message}")
    })
}

fn unsupported(field: &str, message: String, findings: &mut Findings<'_>) -> String {
    findings.report(field, &codes::UNSUPPORTED_VALUE, &message);
    format!("{field}: {message}")
}
