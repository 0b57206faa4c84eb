//! Rules of cross-origin filters.

use super::Violations;
use super::http_route::token;
use crate::api::http_filter::HttpCorsFilter;

/// Methods that a browser may ask for, and all of them.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*",
];

pub(super) fn cors(violations: &mut Violations, path: &str, cors: &HttpCorsFilter) {
    let lists = [
        ("allowOrigins", &cors.allow_origins, 64),
        ("allowMethods", &cors.allow_methods, 9),
        ("allowHeaders", &cors.allow_headers, 64),
        ("exposeHeaders", &cors.expose_headers, 64),
    ];
    for (field, items, most) in lists {
        let at = format!("{path}.{field}");
        violations.length(&at, items, 0, most);
        let all = items.iter().any(|item| item == "*");
        let good = !all || items.len() == 1 || field == "exposeHeaders";
        violations.require(
            good,
            &at,
            "* stands for all, so nothing can stand beside it",
        );
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}[{index}]");
            match field {
                "allowOrigins" => {
                    let message = format!(
                        "{item:?} is no origin; write * or one such as https://shop.example.com, https://*.example.com or http://localhost:8080"
                    );
                    violations.require(is_origin(item), &at, &message);
                }
                "allowMethods" => {
                    let message = format!("{item:?} is not one of {}", METHODS.join(", "));
                    violations.require(METHODS.contains(&item.as_str()), &at, &message);
                }
                _ => token(violations, &at, item),
            }
        }
    }
    let good = (1..=i64::from(i32::MAX)).contains(&cors.max_age);
    violations.require(
        good,
        &format!("{path}.maxAge"),
        "it is a number of seconds, at least 1",
    );
}

fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest.filter(|_| text.len() <= 253) else {
        return false;
    };
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let host = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port && (host == "*" || host.split('.').all(label))
}
