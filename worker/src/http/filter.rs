//! Changes to requests and responses.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tidegate_ir::{Mirror, PathEdit};
use tidegate_router::{CompiledEdits, CompiledFilter, CompiledFilters};

use crate::http::forwarded;

/// Headers that belong to one connection (RFC 9110, section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the filters of a request have changed so far.
#[derive(Debug, Default)]
pub(crate) struct Changes<'f> {
    /// The new path, `None` where it is kept.
    pub(crate) path: Option<String>,
    /// Copies to send.
    pub(crate) mirrors: Vec<&'f Mirror>,
}

/// Applies the filters of a rule or of a backend to a request.
pub(crate) fn on_request<'f>(
    filters: &'f [CompiledFilter],
    headers: &mut HeaderMap,
    path: &str,
    prefix_len: usize,
    changes: &mut Changes<'f>,
) {
    for filter in filters {
        match filter {
            CompiledFilter::RequestHeaders(edits) => edit_headers(edits, headers),
            CompiledFilter::ResponseHeaders(_) => {}
            CompiledFilter::Rewrite(rewrite) => {
                if let Some(hostname) = &rewrite.hostname {
                    headers.insert(header::HOST, hostname.clone());
                }
                if let Some(edit) = &rewrite.path {
                    changes.path = Some(edit_path(edit, path, prefix_len).into_owned());
                }
            }
            CompiledFilter::Mirror(mirror) => changes.mirrors.push(mirror),
            // Whoever applies filters asks between them.
            CompiledFilter::ExternalAuth(_) => {}
        }
    }
}

/// Applies the filters of a rule or of a backend to a response.
pub(crate) fn on_response(filters: &CompiledFilters, headers: &mut HeaderMap) {
    for filter in filters.list() {
        if let CompiledFilter::ResponseHeaders(edits) = filter {
            edit_headers(edits, headers);
        }
    }
}

/// The path after an edit; the prefix that the rule's match covers is `prefix_len` bytes long.
pub(crate) fn edit_path<'p>(edit: &'p PathEdit, path: &'p str, prefix_len: usize) -> Cow<'p, str> {
    match edit {
        PathEdit::Full(full) => Cow::Borrowed(full),
        PathEdit::Prefix(prefix) => {
            let rest = path.get(prefix_len..).unwrap_or_default();
            let edited = format!("{}{rest}", prefix.trim_end_matches('/'));
            Cow::Owned(if edited.is_empty() {
                "/".to_owned()
            } else {
                edited
            })
        }
    }
}

/// Removes what belongs to one connection; keeps `te: trailers`, which gRPC needs.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !has_hop_by_hop(headers) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        let named = headers.get_all(header::CONNECTION).iter();
        let named = named
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",");
        for name in named
            .split(',')
            .map(str::trim)
            .filter(|name| !is_end_to_end(name))
        {
            headers.remove(name);
        }
    }
    let trailers = headers.get(header::TE).is_some_and(accepts_trailers);
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes headers that HTTP/2 does not have (RFC 9113, section 8.2.2).
pub(crate) fn remove_connection_headers(headers: &mut HeaderMap) {
    if has_hop_by_hop(headers) {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Whether there is anything to remove, which mostly there is not: looking once is cheaper than asking for each.
fn has_hop_by_hop(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| HOP_BY_HOP.contains(name))
}

/// Headers that a client may not have removed by naming them in `Connection`.
fn is_end_to_end(name: &str) -> bool {
    let is = |kept: &str| name.eq_ignore_ascii_case(kept);
    ["host", "te", "content-length"].into_iter().any(is)
        || forwarded::ALL.iter().any(|kept| is(kept.as_str()))
}

/// Whether a header belongs to one message on one connection, so that it is never copied to another.
pub(crate) fn is_framing(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || name == header::CONTENT_LENGTH || name == header::TRAILER
}

fn accepts_trailers(te: &HeaderValue) -> bool {
    let te = te.to_str().unwrap_or_default();
    te.split(',')
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Carries out header changes.
pub(crate) fn edit_headers(edits: &CompiledEdits, headers: &mut HeaderMap) {
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
    for name in &edits.remove {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_as_the_specification_lists() {
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "", "/xyz", "/xyz/bar"),
        ] {
            let edit = PathEdit::Prefix(replacement.into());
            let edited = edit_path(&edit, path, prefix.len());
            assert_eq!(edited, expected, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn connection_headers_do_not_travel_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-one"),
            ("x-one", "1"),
            ("te", "gzip, Trailers"),
            ("x-two", "2"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["te", "x-two"]);
        assert_eq!(headers["te"], "trailers");
    }
}
