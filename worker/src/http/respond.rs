//! Answers that the worker gives itself.

use http::{HeaderValue, Response, StatusCode, header};
use tidegate_ir::Redirect;

use crate::error::ProxyError;
use crate::http::body::ResponseBody;
use crate::http::filter;

/// The answer to a request that could not be forwarded: its reason, as a line of text.
pub(crate) fn error(error: &ProxyError) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(format!("{error}\n")));
    *response.status_mut() = error.status();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// What a redirect needs to know of the request.
#[derive(Debug)]
pub(crate) struct RedirectSource<'r> {
    pub(crate) scheme: &'static str,
    /// Host without port.
    pub(crate) host: &'r str,
    /// Port of the listener.
    pub(crate) port: u16,
    pub(crate) path: &'r str,
    pub(crate) query: Option<&'r str>,
    /// Bytes of the path that the rule's prefix covers.
    pub(crate) prefix_len: usize,
}

/// The answer of a redirect rule.
pub(crate) fn redirect(redirect: &Redirect, source: &RedirectSource<'_>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(""));
    match HeaderValue::try_from(location(redirect, source)) {
        Ok(location) => {
            let status = StatusCode::from_u16(redirect.status_code);
            *response.status_mut() = status.unwrap_or(StatusCode::FOUND);
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Where a redirect leads (Gateway API, `HTTPRequestRedirectFilter`): an explicit port, else the
/// well-known port of an explicit scheme, else the listener's; well-known ports are left out.
fn location(redirect: &Redirect, source: &RedirectSource<'_>) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(source.scheme);
    let host = redirect.hostname.as_deref().unwrap_or(source.host);
    let well_known = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let of_scheme = redirect.scheme.as_ref().and(well_known);
    let port = redirect.port.or(of_scheme).unwrap_or(source.port);
    let path = match &redirect.path {
        Some(edit) => filter::edit_path(edit, source.path, source.prefix_len),
        None => source.path.into(),
    };
    let mut location = format!("{scheme}://{host}");
    if Some(port) != well_known {
        location.push_str(&format!(":{port}"));
    }
    location.push_str(&path);
    if let Some(query) = source.query {
        location.push('?');
        location.push_str(query);
    }
    location
}

#[cfg(test)]
mod tests {
    use tidegate_ir::PathEdit;

    use super::*;

    fn redirect() -> Redirect {
        Redirect {
            scheme: None,
            hostname: None,
            path: None,
            port: None,
            status_code: 302,
        }
    }

    fn lead(redirect: &Redirect, scheme: &'static str, port: u16) -> String {
        let path = "/a/b";
        let source = RedirectSource {
            scheme,
            host: "x.io",
            port,
            path,
            query: Some("q=1"),
            prefix_len: 2,
        };
        location(redirect, &source)
    }

    #[test]
    fn the_port_is_explicit_or_the_schemes_or_the_listeners() {
        assert_eq!(lead(&redirect(), "http", 8080), "http://x.io:8080/a/b?q=1");
        assert_eq!(lead(&redirect(), "http", 80), "http://x.io/a/b?q=1");
        let https = Redirect {
            scheme: Some("https".into()),
            ..redirect()
        };
        assert_eq!(lead(&https, "http", 8080), "https://x.io/a/b?q=1");
        let port = Redirect {
            port: Some(8443),
            ..https
        };
        assert_eq!(lead(&port, "http", 80), "https://x.io:8443/a/b?q=1");
    }

    #[test]
    fn host_and_path_are_replaced() {
        let prefix = Redirect {
            hostname: Some("y.io".into()),
            path: Some(PathEdit::Prefix("/z".into())),
            ..redirect()
        };
        assert_eq!(lead(&prefix, "http", 80), "http://y.io/z/b?q=1");
        let full = Redirect {
            path: Some(PathEdit::Full("/all".into())),
            ..redirect()
        };
        assert_eq!(lead(&full, "https", 443), "https://x.io/all?q=1");
    }
}
