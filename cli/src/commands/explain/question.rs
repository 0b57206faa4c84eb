//! What the user asks about.

use anyhow::{Context as _, bail};
use http::{Method, Uri};
use tidegate_proto::explain::v1::explain_route_request::Arrives;
use tidegate_proto::explain::v1::{ExplainRouteRequest, Header, Request, Tcp, Tls, Udp};

/// Reads a method and a URL, or a connection or datagram alone.
pub(super) fn parse(
    what: &str,
    url: Option<&Uri>,
    headers: &[String],
) -> anyhow::Result<ExplainRouteRequest> {
    let (port, arrives) = match url {
        Some(url) => request(what, url, headers)?,
        None => connection(what)?,
    };
    Ok(ExplainRouteRequest {
        port: port.into(),
        arrives: Some(arrives),
        ..ExplainRouteRequest::default()
    })
}

fn request(method: &str, url: &Uri, headers: &[String]) -> anyhow::Result<(u16, Arrives)> {
    let parsed: Result<Method, _> = method.parse();
    parsed.with_context(|| format!("\"{method}\" is no method"))?;
    let Some(authority) = url.authority() else {
        bail!("{url} has no host; write it as http://shop.example.com/cart");
    };
    let headers: anyhow::Result<Vec<_>> = headers.iter().map(|given| header(given)).collect();
    let https = url.scheme_str() == Some("https");
    let default_port = if https { 443 } else { 80 };
    let path = url.path_and_query().map(ToString::to_string);
    let request = Request {
        method: method.to_owned(),
        host: authority.to_string(),
        path: path.unwrap_or_else(|| "/".to_owned()),
        headers: headers?,
        server_name: https.then(|| authority.host().to_owned()),
    };
    let port = url.port_u16().unwrap_or(default_port);
    Ok((port, Arrives::Request(request)))
}

fn header(given: &str) -> anyhow::Result<Header> {
    let (name, value) = given
        .split_once(':')
        .with_context(|| format!("header \"{given}\" has no colon: NAME: VALUE"))?;
    Ok(Header {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
    })
}

/// Reads `tls://db.example.com:5432`, `tcp://:5432` or `udp://:53`; the port of TLS is 443 if none is given, and only TLS
/// looks at the host.
fn connection(text: &str) -> anyhow::Result<(u16, Arrives)> {
    let Some((scheme, place)) = text.split_once("://") else {
        bail!("{text} is no URL; write GET http://shop.example.com/cart or tcp://:5432");
    };
    let place = place.trim_end_matches('/');
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    let port = port.map(|port| port.parse().with_context(|| format!("the port of {text}")));
    let port = port.transpose()?;
    let (default, arrives) = match scheme {
        "tls" => {
            let server_name = host.to_owned();
            (Some(443), Arrives::Tls(Tls { server_name }))
        }
        "tcp" => (None, Arrives::Tcp(Tcp {})),
        "udp" => (None, Arrives::Udp(Udp {})),
        "http" | "https" => bail!("name the method before the URL: GET {text}"),
        _ => bail!("{scheme} is not explained; use http, https, tls, tcp or udp"),
    };
    let port = port.or(default);
    let port = port.with_context(|| format!("{text} needs a port: {scheme}://:5432"))?;
    Ok((port, arrives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_datagrams_are_written_as_urls() {
        let tls = |name: &str| {
            let server_name = name.to_owned();
            Arrives::Tls(Tls { server_name })
        };
        let read = |text: &str| connection(text).ok();
        let name = || tls("db.example.com");
        assert_eq!(read("tls://db.example.com:5432"), Some((5432, name())));
        assert_eq!(read("tls://db.example.com"), Some((443, name())));
        assert_eq!(read("tls://:443"), Some((443, tls(""))));
        assert_eq!(read("tcp://:5432"), Some((5432, Arrives::Tcp(Tcp {}))));
        assert_eq!(read("udp://10.0.0.1:53/"), Some((53, Arrives::Udp(Udp {}))));
        for bad in [
            "tcp://db",
            "udp://",
            "tcp://:70000",
            "http://a",
            "GET",
            "ftp://a:1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
