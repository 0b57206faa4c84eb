//! Cross-origin requests: preflights are answered for the backends, and answers say who may read them
//! (GEP-1767; Fetch standard, section 3.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tidegate_router::{CompiledCors, Listed};

use crate::http::body::ResponseBody;

/// Headers by which a backend would say who may read its answers; the rule says it in its place.
const OF_BACKENDS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// What a rule's CORS filter says about one request.
#[derive(Debug)]
pub(crate) struct Grant<'r> {
    cors: &'r CompiledCors,
    /// The request's origin where the filter allows it.
    origin: Option<HeaderValue>,
}

/// The method that a preflight asks for; `None` for every other request.
pub(crate) fn asked_method<'p>(method: &Method, headers: &'p HeaderMap) -> Option<&'p HeaderValue> {
    let is_preflight = *method == Method::OPTIONS && headers.contains_key(header::ORIGIN);
    is_preflight
        .then(|| headers.get(header::ACCESS_CONTROL_REQUEST_METHOD))
        .flatten()
}

impl<'r> Grant<'r> {
    pub(crate) fn new(cors: &'r CompiledCors, headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN);
        let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|text| cors.allows(text)));
        Self {
            cors,
            origin: allowed.cloned(),
        }
    }

    /// The answer to a preflight, `None` for every other request. An origin that is not allowed gets it
    /// without a word about CORS, and its browser refuses the request.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Response<ResponseBody>> {
        let method = asked_method(&request.method, &request.headers)?;
        let mut response = Response::new(ResponseBody::whole(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let asked = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if self.origin.is_some() {
            self.allow(headers);
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                &self.cors.methods,
                Some(method),
            );
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                &self.cors.headers,
                asked,
            );
            self.expose(headers, None);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.cors.max_age.clone());
        }
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        headers.insert(header::VARY, HeaderValue::from_static(vary));
        Some(response)
    }

    /// Says on an answer who may read it; what the backend says about that is replaced.
    pub(crate) fn apply(&self, response: &mut Response<ResponseBody>) {
        let headers = response.headers_mut();
        for name in OF_BACKENDS {
            headers.remove(name);
        }
        if !self.cors.is_same_for_all() {
            vary_by_origin(headers);
        }
        if self.origin.is_some() {
            let names = matches!(self.cors.exposed, Listed::Any).then(|| names_of(headers));
            self.allow(headers);
            self.expose(headers, names.as_ref());
        }
    }

    fn allow(&self, headers: &mut HeaderMap) {
        let origin = match &self.origin {
            Some(_) if self.cors.is_same_for_all() => HeaderValue::from_static("*"),
            Some(origin) => origin.clone(),
            None => return,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.cors.credentials {
            let allowed = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
    }

    /// `*` has no meaning with credentials: then the names of the answer's headers stand for it.
    fn expose(&self, headers: &mut HeaderMap, names: Option<&HeaderValue>) {
        let any = HeaderValue::from_static("*");
        let any = if self.cors.credentials {
            names
        } else {
            Some(&any)
        };
        set(
            headers,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            &self.cors.exposed,
            any,
        );
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, listed: &Listed, any: Option<&HeaderValue>) {
    let value = match listed {
        Listed::None => None,
        Listed::Any => any,
        Listed::These(names) => Some(names),
    };
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}

fn names_of(headers: &HeaderMap) -> HeaderValue {
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// Caches must not give one origin's answer to another.
fn vary_by_origin(headers: &mut HeaderMap) {
    let named = headers.get_all(header::VARY).iter().any(|vary| {
        let mut names = vary.to_str().unwrap_or_default().split(',').map(str::trim);
        names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin"))
    });
    if !named {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
