//! Every kind of part survives the wire, and what is no part is refused with its field.

use std::num::{NonZeroU8, NonZeroU64};

use bytes::Bytes;

use super::*;
use crate::*;

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
            Filter::Cors(Cors {
                allow_origins: vec!["https://*.example.com".into()],
                allow_methods: vec!["GET".into()],
                allow_headers: vec!["*".into()],
                expose_headers: vec!["x-id".into()],
                allow_credentials: true,
                max_age_s: 5,
            }),
            auth(
                Target::Backend("a".into()),
                AuthProtocol::Http {
                    path_prefix: "/auth".into(),
                    allowed_headers: vec!["cookie".into()],
                    allowed_response_headers: vec!["x-user".into()],
                },
            ),
            auth(
                Target::Fault("Service shop/auth does not exist".into()),
                AuthProtocol::Grpc {
                    allowed_headers: vec![],
                },
            ),
        ],
        action,
        timeouts: Timeouts {
            request_ms: Some(500),
            backend_request_ms: None,
        },
        retry: Some(
            Retry {
                attempts: 2,
                codes: vec![500, 503],
                backoff_ms: 10,
            }
            .into(),
        ),
        session: Some(session().into()),
    }
}

fn auth(target: Target, protocol: AuthProtocol) -> Filter {
    Filter::ExternalAuth(ExternalAuth {
        target,
        protocol,
        forward_body_max: Some(1024),
    })
}

fn session() -> SessionPersistence {
    SessionPersistence {
        name: "id".into(),
        carrier: SessionCarrier::PermanentCookie,
        absolute_timeout_ms: Some(1000),
        path: "/".into(),
    }
}

fn grpc_route() -> Route {
    let mut route = route();
    route.kind = RouteKind::Grpc;
    for rule in &mut route.rules {
        rule.matches[0].path = PathMatch::Method(GrpcMethod {
            service: Some(StringMatch::Exact("shop.Cart".into())),
            method: Some(StringMatch::Regex("Get.*".into())),
        });
    }
    route
}

fn backend() -> Backend {
    let service = ObjectName::new("shop", "cart");
    Backend::of_service("files/shop/cart/80", service, 80)
}

fn external_backend() -> Backend {
    Backend {
        kind: BackendKind::XBackend,
        protocol: BackendProtocol::Http2,
        security: Security::Tls(BackendTls {
            server_name: "api.example.com".into(),
            sans: vec![
                SubjectAltName::Dns("*.example.com".into()),
                SubjectAltName::Uri("spiffe://example/api".into()),
            ],
            trust: Trust::Bundle("ca".into()),
            client_certificate: Some("files/shop/client".into()),
        }),
        destination: Destination::Dns {
            hostname: "api.example.com".into(),
            port: 443,
        },
        balancing: Balancing::RingHash(HashKey::Header("x-user".into())),
        limits: ConnectionLimits {
            connections: Some(7),
            pending_requests: Some(0),
            requests: None,
        },
        ejection: Some(Ejection {
            consecutive_errors: 5,
            base_ms: 30_000,
            max_percent: 50,
            panic_percent: 40,
        }),
        retry_budget: Some(RetryBudget {
            percent: 20,
            interval_ms: 10_000,
            min_retries: 10,
            min_interval_ms: 1_000,
        }),
        session: Some(session()),
        proxy_protocol: Some(ProxyVersion::V2),
        ..backend()
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
            rule(Action::Redirect(redirect.into())),
            rule(Action::Fault("no backends".into())),
        ],
    }
}

/// Every field set, and each to something of its own.
fn edge() -> Edge {
    let number = NonZeroU64::new;
    Edge {
        trust: Some(ClientTrust::Networks(vec![
            "10.0.0.0/8".parse().expect("a network"),
            "fd00::/8".parse().expect("a network"),
        ])),
        proxy_protocol: Some(true),
        send_via: Some(false),
        merge_slashes: Some(false),
        bounds: EdgeBounds {
            request_line_bytes_max: number(1),
            header_bytes_max: number(2),
            header_count_max: number(3),
            request_body_bytes_max: Some(Cap::Off),
            body_pace: Some(Pace {
                bytes_min: 0,
                period_ms: NonZeroU64::MIN,
            }),
            header_timeout_ms: number(4),
            idle_timeout_ms: number(5),
            request_timeout_ms: Some(Cap::from(6)),
            handshake_timeout_ms: number(7),
            write_stall_timeout_ms: number(8),
            connections_max: number(9),
            connections_per_client_max: Some(Cap::from(10)),
        },
    }
}

fn l4_route(kind: L4RouteKind) -> L4Route {
    let choice = |weight, target| L4Choice { weight, target };
    L4Route {
        kind,
        object: ObjectName::new("shop", "db"),
        created_at_unix_s: 7,
        attachments: route().attachments,
        rule_name: Some("only".into()),
        choices: vec![
            choice(9, Target::Backend("files/shop/db/5432/tcp".into())),
            choice(0, Target::Fault("Service shop/gone does not exist".into())),
        ],
    }
}

fn l4_parts() -> impl Iterator<Item = Part> {
    let terminate = TlsMode::Terminate {
        certificates: vec!["files/infra/cert".into()],
        client_validation: None,
    };
    let listener = |protocol| {
        Part::from(Listener {
            protocol,
            ..listener()
        })
    };
    let listeners = [
        ListenerProtocol::Tls(TlsMode::Passthrough),
        ListenerProtocol::Tls(terminate),
        ListenerProtocol::Tcp,
        ListenerProtocol::Udp,
    ];
    let kinds = [L4RouteKind::Tls, L4RouteKind::Tcp, L4RouteKind::Udp];
    let backend = |protocol| {
        Part::Backend(Box::new(Backend {
            protocol,
            ..backend()
        }))
    };
    let backends = [BackendProtocol::Tcp, BackendProtocol::Udp];
    let routes = kinds.map(|kind| Part::L4Route(l4_route(kind)));
    let parts = listeners.map(listener).into_iter().chain(routes);
    parts.chain(backends.map(backend))
}

fn listener() -> Listener {
    Listener {
        name: "infra/web/https".into(),
        gateway: ObjectName::new("infra", "web"),
        listener_set: Some(ObjectName::new("shop", "extra")),
        section_name: "https".into(),
        port: 443,
        bind_port: 8443,
        hostname: Hostname::Any,
        protocol: ListenerProtocol::Https {
            certificates: vec!["files/infra/cert".into()],
            client_validation: Some(ClientValidation {
                trust: "ca".into(),
                insecure_fallback: true,
            }),
        },
        filters: vec![Filter::RequestHeaders(HeaderEdits::default())],
        backend_client_certificate: Some("files/infra/client".into()),
        edge: Box::new(edge()),
    }
}

fn parts() -> Vec<Part> {
    vec![
        Part::from(listener()),
        Part::Route(route()),
        Part::Route(grpc_route()),
        Part::Backend(Box::new(backend())),
        Part::Backend(Box::new(external_backend())),
        Part::Backend(Box::new(Backend {
            security: Security::Broken("no authority".into()),
            ..backend()
        })),
        Part::TrustBundle(TrustBundle {
            name: "ca".into(),
            certificates: vec![Bytes::from_static(b"der")],
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
    for part in parts().into_iter().chain(l4_parts()) {
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
fn a_route_of_layer_4_needs_a_weight_above_zero() {
    let mut wire = proto::L4Route::from(&l4_route(L4RouteKind::Tcp));
    wire.choices.remove(0);
    let refused = decode(PartKind::L4Route, &wire.encode_to_vec()).expect_err("no weight");
    assert_eq!(refused.to_string(), "choices: the weights sum to 0");
    wire.choices[0].weight = 1_000_001;
    let refused = decode(PartKind::L4Route, &wire.encode_to_vec()).expect_err("too much weight");
    assert_eq!(refused.field, "choices[0].weight");
}

#[test]
fn a_route_of_layer_4_refers_to_its_listeners_and_backends() {
    let part = Part::L4Route(l4_route(L4RouteKind::Tls));
    assert_eq!(
        part.key(),
        PartKey::new(PartKind::L4Route, "TLSRoute/shop/db")
    );
    let references = [
        PartKey::new(PartKind::Listener, "infra/web/http"),
        PartKey::new(PartKind::Backend, "files/shop/db/5432/tcp"),
    ];
    assert_eq!(part.references(), references);
}

#[test]
fn truncated_bytes_are_refused() {
    let bytes = encode(&Part::Route(route()));
    assert!(decode(PartKind::Route, &bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn whom_a_listener_trusts_survives_the_wire() {
    for trust in [ClientTrust::Nobody, ClientTrust::Hops(NonZeroU8::MIN)] {
        let wire = proto::ClientTrust::from(&trust);
        assert_eq!(ClientTrust::try_from(wire), Ok(trust));
    }
    let wire = |hops, networks: &[&str]| proto::ClientTrust {
        hops,
        networks: networks.iter().map(ToString::to_string).collect(),
    };
    for wrong in [wire(256, &[]), wire(1, &["10.0.0.0/8"]), wire(0, &["ten"])] {
        assert!(ClientTrust::try_from(wrong).is_err());
    }
}

#[test]
fn bounds_that_let_nothing_pass_are_refused() {
    let mut wire = proto::Edge::from(&edge());
    wire.bounds.get_or_insert_default().header_bytes_max = Some(0);
    let refused = Edge::try_from(wire).expect_err("no header fits");
    assert_eq!(refused.field, "edge.bounds.header_bytes_max");
}
