//! Which other origins may read answers, ready to be asked (GEP-1767).

use std::sync::Arc;

use http::HeaderValue;
use tidegate_ir::Cors;

use crate::filter::header_value;

/// Which other origins may read answers, with the header values that say so.
#[derive(Debug)]
pub struct CompiledCors {
    origins: Vec<OriginTest>,
    /// Methods that a preflight allows.
    pub methods: Listed,
    /// Request headers that a preflight allows.
    pub headers: Listed,
    /// Response headers that scripts may read.
    pub exposed: Listed,
    /// Whether cookies and the like may come along.
    pub credentials: bool,
    /// Seconds for which a preflight's answer holds.
    pub max_age: HeaderValue,
    any_origin: bool,
}

/// A list of names as a header value states it.
#[derive(Debug)]
pub enum Listed {
    /// No name.
    None,
    /// `*`.
    Any,
    /// Joined by commas.
    These(HeaderValue),
}

/// A condition on an origin.
#[derive(Debug)]
enum OriginTest {
    Any,
    Exact(Box<str>),
    /// Scheme with `://`, and what follows any number of labels: the rest of the host, and the port.
    Wildcard {
        scheme: Box<str>,
        rest: Box<str>,
    },
}

impl CompiledCors {
    /// Compiles a CORS filter.
    ///
    /// # Errors
    /// One sentence, when a name cannot stand in a header.
    pub(crate) fn new(cors: &Cors) -> Result<Self, String> {
        let origins: Vec<_> = cors
            .allow_origins
            .iter()
            .map(|o| OriginTest::new(o))
            .collect();
        Ok(Self {
            any_origin: origins.iter().any(|o| matches!(o, OriginTest::Any)),
            origins,
            methods: Listed::new(&cors.allow_methods)?,
            headers: Listed::new(&cors.allow_headers)?,
            exposed: Listed::new(&cors.expose_headers)?,
            credentials: cors.allow_credentials,
            max_age: cors.max_age_s.into(),
        })
    }

    /// Whether a request from that origin may be answered.
    pub fn allows(&self, origin: &str) -> bool {
        if self.any_origin {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        let origin = without_default_port(&origin);
        self.origins.iter().any(|test| test.holds(origin))
    }

    /// Whether answers are the same for all origins, so that caches need not tell them apart.
    pub fn is_same_for_all(&self) -> bool {
        self.any_origin && !self.credentials
    }
}

impl Listed {
    fn new(names: &[Arc<str>]) -> Result<Self, String> {
        if names.is_empty() {
            return Ok(Self::None);
        }
        if names.iter().any(|name| &**name == "*") {
            return Ok(Self::Any);
        }
        Ok(Self::These(header_value(&names.join(", "))?))
    }
}

impl OriginTest {
    fn new(pattern: &str) -> Self {
        if pattern == "*" {
            return Self::Any;
        }
        let pattern = pattern.to_ascii_lowercase();
        let pattern = without_default_port(&pattern);
        match pattern.split_once("://*") {
            Some((scheme, rest)) => Self::Wildcard {
                scheme: format!("{scheme}://").into(),
                rest: rest.into(),
            },
            None => Self::Exact(pattern.into()),
        }
    }

    fn holds(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *origin,
            Self::Wildcard { scheme, rest } => {
                let host = origin.strip_prefix(&**scheme);
                let labels = host.and_then(|host| host.strip_suffix(&**rest));
                // A colon would begin a port, which a wildcard does not stand for.
                labels.is_some_and(|l| !l.is_empty() && !l.contains([':', '/']))
            }
        }
    }
}

/// Origins leave the port of their scheme out; patterns may state it.
fn without_default_port(origin: &str) -> &str {
    let default_port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(default_port).unwrap_or(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_by_scheme_labels_and_port() {
        for (pattern, origin, allowed) in [
            ("https://www.foo.com", "https://www.foo.com", true),
            ("https://www.foo.com", "HTTPS://WWW.FOO.COM", true),
            ("https://www.foo.com", "http://www.foo.com", false),
            ("https://www.foo.com", "https://www.foo.com:8443", false),
            ("https://www.foo.com:443", "https://www.foo.com", true),
            ("https://www.foo.com", "https://www.foo.com:443", true),
            ("http://www.foo.com:8080", "http://www.foo.com:8080", true),
            ("https://*.bar.com", "https://www.bar.com", true),
            ("https://*.bar.com", "https://a.b.c.bar.com", true),
            ("https://*.bar.com", "https://bar.com", false),
            ("https://*.bar.com", "https://.bar.com", false),
            ("https://*.bar.com", "https://evilbar.com", false),
            ("https://*.bar.com", "https://evil.com/.bar.com", false),
            ("https://*.bar.com", "https://www.bar.com.evil.com", false),
            ("https://*.bar.com", "https://www.bar.com:8443", false),
            ("https://*.bar.com:8443", "https://www.bar.com:8443", true),
            ("https://*", "https://anything.org", true),
            ("https://*", "http://anything.org", false),
            ("https://*", "https://anything.org:444", false),
            ("https://*:444", "https://anything.org:444", true),
            ("*", "https://foobar.com:12345", true),
            ("*", "null", true),
            ("https://*.bar.com", "null", false),
        ] {
            let cors = Cors {
                allow_origins: vec![pattern.into()],
                ..Cors::default()
            };
            let cors = CompiledCors::new(&cors).expect("a valid filter");
            assert_eq!(cors.allows(origin), allowed, "{pattern} {origin}");
        }
    }

    #[test]
    fn without_origins_nothing_is_allowed() {
        let cors = CompiledCors::new(&Cors::default()).expect("a valid filter");
        assert!(!cors.allows("https://a.com"));
    }
}
