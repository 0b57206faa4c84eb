//! Every kind of part survives the wire, and what is no part is refused with its field.

use bytes::Bytes;

use super::*;
use crate::{
    Action, Attachment, Backend, BackendProtocol, Certificate, EncodedPart, Endpoint, EndpointSet,
    Filter, HeaderEdits, HostClaim, Hostname, Listener, ListenerProtocol, Match, Mirror,
    ObjectName, PathEdit, PathMatch, PrivateKey, Redirect, Rewrite, Route, RouteKind, Rule,
    SecretBytes, StringMatch, Target, Timeouts, ValueMatch, WeightedBackend,
};

fn host(text: &str) -> Hostname {
    Hostname::parse(text).expect("valid hostname")
}

fn rule(action: Action) -> Rule {
    let value = |name: &str, value| ValueMatch {
        name: name.into(),
        value,
    };
    Rule {
        name: Some("first".into()),
        matches: vec![Match {
            path: PathMatch::Prefix("/cart".into()),
            method: Some("GET".into()),
            headers: vec![value("x-env", StringMatch::Regex("ca.*".into()))],
            query_params: vec![value("q", StringMatch::Exact("1".into()))],
        }],
        filters: vec![
            Filter::RequestHeaders(HeaderEdits {
                set: vec![("a".into(), "1".into())],
                add: vec![("b".into(), "2".into())],
                remove: vec!["c".into()],
            }),
            Filter::ResponseHeaders(HeaderEdits::default()),
            Filter::Rewrite(Rewrite {
                hostname: Some("inner".into()),
                path: Some(PathEdit::Prefix("/".into())),
            }),
            Filter::Mirror(Mirror {
                backend: "m".into(),
                numerator: 1,
                denominator: 3,
            }),
        ],
        action,
        timeouts: Timeouts {
            request_ms: Some(500),
            backend_request_ms: None,
        },
    }
}

fn route() -> Route {
    let choice = |target| WeightedBackend {
        weight: 9,
        target,
        filters: vec![],
    };
    let redirect = Redirect {
        scheme: Some("https".into()),
        hostname: None,
        path: Some(PathEdit::Full("/new".into())),
        port: Some(8443),
        status_code: 308,
    };
    Route {
        kind: RouteKind::Http,
        object: ObjectName::new("shop", "cart"),
        created_at_unix_s: 7,
        attachments: vec![Attachment {
            listener: "infra/web/http".into(),
            hosts: vec![HostClaim {
                host: host("a.example.com"),
                claimed: host("*.example.com"),
            }],
        }],
        rules: vec![
            rule(Action::Forward(vec![
                choice(Target::Backend("files/shop/cart/80".into())),
                choice(Target::Fault("Service shop/gone does not exist".into())),
            ])),
            rule(Action::Redirect(redirect)),
            rule(Action::Fault("no backends".into())),
        ],
    }
}

fn parts() -> Vec<Part> {
    vec![
        Part::Listener(Listener {
            name: "infra/web/https".into(),
            gateway: ObjectName::new("infra", "web"),
            section_name: "https".into(),
            port: 443,
            bind_port: 8443,
            hostname: Hostname::Any,
            protocol: ListenerProtocol::Https {
                certificates: vec!["files/infra/cert".into()],
            },
        }),
        Part::Route(route()),
        Part::Backend(Backend {
            name: "files/shop/cart/80".into(),
            service: ObjectName::new("shop", "cart"),
            port: 80,
            protocol: BackendProtocol::H2c,
            endpoints: "files/shop/cart/80".into(),
        }),
        Part::EndpointSet(EndpointSet {
            name: "files/shop/cart/80".into(),
            endpoints: vec![Endpoint {
                address: "[2001:db8::7]:8080".parse().expect("valid address"),
                draining: true,
            }],
        }),
        Part::Certificate(Certificate {
            name: "files/infra/cert".into(),
            chain: vec![Bytes::from_static(b"der")],
            dns_names: vec![host("*.example.com"), host("example.com")],
            not_after_unix_s: 99,
            private_key: "files/infra/cert".into(),
        }),
        Part::PrivateKey(PrivateKey {
            name: "files/infra/cert".into(),
            der: SecretBytes::new(&b"key"[..]),
        }),
    ]
}

#[test]
fn every_part_survives_the_wire() {
    for part in parts() {
        let encoded = EncodedPart::encode(part.clone());
        let decoded = EncodedPart::decode(part.kind(), encoded.bytes().clone());
        let decoded = decoded.expect("own encoding");
        assert_eq!(**decoded.part(), part);
        assert_eq!(decoded, encoded);
    }
}

#[test]
fn a_wrong_field_is_named_by_its_path() {
    let mut wire = proto::Route::from(&route());
    wire.rules[1].matches[0].headers[0].r#type = 9;
    let refused = decode(PartKind::Route, &wire.encode_to_vec()).expect_err("type 9");
    assert_eq!(refused.field, "rules[1].matches[0].headers[0].type");
}

#[test]
fn weights_that_sum_to_zero_are_refused() {
    let mut wire = proto::Route::from(&route());
    if let Some(proto::rule::Action::Forward(forward)) = &mut wire.rules[0].action {
        forward
            .backends
            .iter_mut()
            .for_each(|backend| backend.weight = 0);
    }
    let refused = decode(PartKind::Route, &wire.encode_to_vec()).expect_err("no weight");
    assert_eq!(
        refused.to_string(),
        "rules[0].forward.backends: the weights sum to 0"
    );
}

#[test]
fn truncated_bytes_are_refused() {
    let bytes = encode(&Part::Route(route()));
    assert!(decode(PartKind::Route, &bytes[..bytes.len() - 1]).is_err());
}
