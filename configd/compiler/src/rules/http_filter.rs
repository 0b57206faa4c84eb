//! Rules of the filters of HTTPRoutes.

use std::collections::BTreeSet;

use super::Violations;
use super::cors::cors;
use super::external_auth::external_auth;
use super::http_route::{service_port, token};
use crate::api::http_filter::{
    HttpHeaderFilter, HttpPathModifier, HttpRequestMirrorFilter, HttpRouteFilter,
};
use crate::api::http_route::{HttpRouteMatch, HttpRouteRule};

pub(super) fn filters(
    violations: &mut Violations,
    field: &str,
    filters: &[HttpRouteFilter],
    rule: &HttpRouteRule,
) {
    violations.length(&format!("{field}.filters"), filters, 0, 16);
    let mut once = BTreeSet::new();
    for (index, filter) in filters.iter().enumerate() {
        let path = format!("{field}.filters[{index}]");
        let type_ = filter.type_.as_str();
        let may_repeat = matches!(type_, "RequestMirror" | "ExternalAuth" | "ExtensionRef");
        let message = format!("filter {type_} can stand here once only; join the two");
        violations.require(may_repeat || once.insert(type_), &path, &message);
        filter_fields(violations, &path, filter);
        let paths = [
            (
                "urlRewrite",
                filter
                    .url_rewrite
                    .as_ref()
                    .and_then(|filter| filter.path.as_ref()),
            ),
            (
                "requestRedirect",
                filter
                    .request_redirect
                    .as_ref()
                    .and_then(|filter| filter.path.as_ref()),
            ),
        ];
        for (name, modifier) in paths {
            if let Some(modifier) = modifier {
                path_modifier(violations, &format!("{path}.{name}.path"), modifier, rule);
            }
        }
    }
    let both = once.contains("RequestRedirect") && once.contains("URLRewrite");
    let message = "RequestRedirect and URLRewrite cannot stand together; remove one of them";
    violations.require(!both, &format!("{field}.filters"), message);
}

/// `type` names the one field that is set.
fn filter_fields(violations: &mut Violations, path: &str, filter: &HttpRouteFilter) {
    let fields = [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            filter.request_header_modifier.is_some(),
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            filter.response_header_modifier.is_some(),
        ),
        (
            "RequestMirror",
            "requestMirror",
            filter.request_mirror.is_some(),
        ),
        (
            "RequestRedirect",
            "requestRedirect",
            filter.request_redirect.is_some(),
        ),
        ("URLRewrite", "urlRewrite", filter.url_rewrite.is_some()),
        ("CORS", "cors", filter.cors.is_some()),
        (
            "ExternalAuth",
            "externalAuth",
            filter.external_auth.is_some(),
        ),
        (
            "ExtensionRef",
            "extensionRef",
            filter.extension_ref.is_some(),
        ),
    ];
    violations.one_of_type(path, &filter.type_, &fields);
    if let Some(own) = &filter.cors {
        cors(violations, &format!("{path}.cors"), own);
    }
    if let Some(auth) = &filter.external_auth {
        external_auth(violations, &format!("{path}.externalAuth"), auth);
    }
    let edits = [
        ("requestHeaderModifier", &filter.request_header_modifier),
        ("responseHeaderModifier", &filter.response_header_modifier),
    ];
    for (field, edits) in edits {
        if let Some(edits) = edits {
            header_filter(violations, &format!("{path}.{field}"), edits);
        }
    }
    if let Some(mirror) = &filter.request_mirror {
        mirror_filter(violations, &format!("{path}.requestMirror"), mirror);
    }
    let redirect = filter.request_redirect.as_ref();
    if let Some(hostname) = redirect.and_then(|redirect| redirect.hostname.as_ref()) {
        violations.precise_hostname(&format!("{path}.requestRedirect.hostname"), hostname);
    }
    if let Some(port) = redirect.and_then(|redirect| redirect.port) {
        violations.port(&format!("{path}.requestRedirect.port"), port);
    }
    let rewrite = filter.url_rewrite.as_ref();
    if let Some(hostname) = rewrite.and_then(|rewrite| rewrite.hostname.as_ref()) {
        violations.precise_hostname(&format!("{path}.urlRewrite.hostname"), hostname);
    }
}

/// One header cannot be changed in two ways.
pub(super) fn header_filter(violations: &mut Violations, path: &str, filter: &HttpHeaderFilter) {
    let mut known = BTreeSet::new();
    let set = filter
        .set
        .iter()
        .map(|header| ("set", &header.name, Some(&header.value)));
    let add = filter
        .add
        .iter()
        .map(|header| ("add", &header.name, Some(&header.value)));
    let remove = filter.remove.iter().map(|name| ("remove", name, None));
    for (list, items) in [
        ("set", filter.set.len()),
        ("add", filter.add.len()),
        ("remove", filter.remove.len()),
    ] {
        violations.require(
            items <= 16,
            &format!("{path}.{list}"),
            "at most 16 headers are allowed",
        );
    }
    for (list, name, value) in set.chain(add).chain(remove) {
        let path = format!("{path}.{list}");
        token(violations, &path, name);
        let message = format!("header {name} is changed twice; keep one of the changes");
        violations.require(known.insert(name.to_ascii_lowercase()), &path, &message);
        let value = value.map(String::as_str).unwrap_or_default();
        let good = value
            .bytes()
            .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        let message = format!("the value of header {name} has control characters");
        violations.require(good && value.len() <= 4096, &path, &message);
    }
}

pub(super) fn mirror_filter(
    violations: &mut Violations,
    path: &str,
    mirror: &HttpRequestMirrorFilter,
) {
    let both = mirror.percent.is_some() && mirror.fraction.is_some();
    violations.require(
        !both,
        path,
        "percent and fraction cannot stand together; remove one of them",
    );
    let percent = mirror.percent.unwrap_or(0);
    violations.require(
        (0..=100).contains(&percent),
        &format!("{path}.percent"),
        "it is a number from 0 to 100",
    );
    if let Some(fraction) = &mirror.fraction {
        let good = fraction.denominator >= 1
            && (0..=fraction.denominator).contains(&fraction.numerator)
            && u32::try_from(fraction.denominator).is_ok();
        let message = "numerator is a number from 0 to denominator, and denominator at least 1";
        violations.require(good, &format!("{path}.fraction"), message);
    }
    let path = format!("{path}.backendRef");
    let reference = &mirror.backend_ref;
    violations.name(&format!("{path}.name"), &reference.name);
    service_port(
        violations,
        &path,
        &reference.group,
        &reference.kind,
        reference.port,
    );
}

fn path_modifier(
    violations: &mut Violations,
    path: &str,
    modifier: &HttpPathModifier,
    rule: &HttpRouteRule,
) {
    let fields = [
        (
            "ReplaceFullPath",
            "replaceFullPath",
            &modifier.replace_full_path,
        ),
        (
            "ReplacePrefixMatch",
            "replacePrefixMatch",
            &modifier.replace_prefix_match,
        ),
    ];
    for (type_, field, value) in fields {
        if value.is_some() && modifier.type_ != type_ {
            let message = format!(
                "{field} belongs to type {type_}, but type is {}",
                modifier.type_
            );
            violations.add(format!("{path}.{field}"), message);
        }
        if value.is_none() && modifier.type_ == type_ {
            violations.add(path, format!("type {type_} needs the field {field}"));
        }
        let value = value.as_deref().unwrap_or_default();
        violations.require(
            value.len() <= 1024,
            path,
            "a path has at most 1024 characters",
        );
    }
    if modifier.type_ != "ReplacePrefixMatch" {
        return;
    }
    let prefix = |item: &HttpRouteMatch| {
        item.path
            .as_ref()
            .is_none_or(|path| path.type_ == "PathPrefix")
    };
    let one_prefix = match rule.matches.as_slice() {
        [] => true,
        [only] => prefix(only),
        _ => false,
    };
    let message = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix; split the rule";
    violations.require(one_prefix, path, message);
}
