//! Explanations as a person reads them.
#![allow(clippy::unwrap_used, reason = "tests may stop where they fail")]

use http::{HeaderMap, Method};
use tidegate_ir::*;
use tidegate_router::{ListenerVerdict, Mismatch, RequestHead, Table, Verdict, explain};

fn listener(name: &str, port: u16, host: &str) -> Part {
    Part::from(Listener {
        name: name.into(),
        gateway: ObjectName::new("infra", "gw"),
        section_name: name.into(),
        port,
        bind_port: port,
        hostname: Hostname::parse(host).unwrap(),
        protocol: ListenerProtocol::Http,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    })
}

fn matching(path: &str, method: Option<&str>, header: Option<&str>) -> Match {
    let header = header.map(|value| ValueMatch {
        name: "x-env".into(),
        value: StringMatch::Exact(value.into()),
    });
    Match {
        path: PathMatch::Prefix(path.into()),
        method: method.map(Into::into),
        headers: header.into_iter().collect(),
        query_params: vec![],
    }
}

fn route(matches: Vec<Match>) -> Part {
    let rules = matches.into_iter().map(|matching| Rule {
        name: None,
        matches: vec![matching],
        filters: vec![],
        action: Action::Fault("".into()),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    });
    Part::Route(Route {
        kind: RouteKind::Http,
        object: ObjectName::new("shop", "cart"),
        created_at_unix_s: 0,
        attachments: vec![Attachment {
            listener: "any".into(),
            hosts: vec![HostClaim::own(Hostname::Any)],
        }],
        rules: rules.collect(),
    })
}

#[test]
fn every_listener_and_rule_says_why_it_lost() {
    let parts = [
        listener("any", 80, ""),
        listener("other-host", 80, "shop.example"),
        listener("other-port", 81, ""),
        route(vec![
            matching("/", None, None),
            matching("/cart", Some("POST"), None),
            matching("/cart", None, Some("test")),
            matching("/cart", None, None),
        ]),
    ];
    let snapshot = Snapshot::new("p", 3, parts.map(EncodedPart::encode));
    let table = Table::build(&snapshot, None);
    let mut headers = HeaderMap::new();
    headers.insert("x-env", "live".parse().unwrap());
    let (method, host, path) = (&Method::GET, "x.example", "/cart/1");
    let head = RequestHead {
        method,
        host,
        path,
        query: None,
        headers: &headers,
    };
    let explanation = explain(&table, 80, &head);

    let listeners: Vec<_> = explanation
        .listeners
        .iter()
        .map(|(_, verdict)| verdict.clone())
        .collect();
    let other_host = Hostname::parse("shop.example").unwrap();
    assert_eq!(
        listeners,
        [
            ListenerVerdict::Chosen,
            ListenerVerdict::OtherHost {
                hostname: other_host
            },
            ListenerVerdict::OtherPort { port: 81 },
        ]
    );
    let verdicts: Vec<_> = explanation
        .candidates
        .iter()
        .map(|c| (c.rule_index, c.verdict.clone()))
        .collect();
    let wanted = ValueMatch {
        name: "x-env".into(),
        value: StringMatch::Exact("test".into()),
    };
    assert_eq!(
        verdicts,
        [
            (
                1,
                Verdict::Lost(Mismatch::Method {
                    wanted: "POST".into()
                })
            ),
            (
                2,
                Verdict::Lost(Mismatch::Header {
                    wanted,
                    found: Some("live".to_owned())
                })
            ),
            (3, Verdict::Won),
            (0, Verdict::Outranked),
        ]
    );
}

#[test]
fn expressions_must_match_the_whole_path_and_bad_ones_are_named() {
    let mut expression = matching("/", None, None);
    expression.path = PathMatch::Regex("/v[0-9]".into());
    let snapshot = Snapshot::new(
        "p",
        1,
        [listener("any", 80, ""), route(vec![expression])].map(EncodedPart::encode),
    );
    let table = Table::build(&snapshot, None);
    let headers = HeaderMap::new();
    for (path, matched) in [("/v1", true), ("/v1/x", false), ("/x/v1", false)] {
        let head = RequestHead {
            method: &Method::GET,
            host: "h",
            path,
            query: None,
            headers: &headers,
        };
        assert_eq!(
            explain(&table, 80, &head).winner().is_some(),
            matched,
            "{path}"
        );
    }
    let mut huge = matching("/", None, None);
    huge.path = PathMatch::Regex("(a{1000}){1000}".into());
    let parts = [listener("any", 80, ""), route(vec![huge])].map(EncodedPart::encode);
    let table = Table::build(&Snapshot::new("p", 1, parts), None);
    assert_eq!(&*table.problems()[0].part.name, "HTTPRoute/shop/cart");
    assert!(
        table.problems()[0].message.contains("rules[0]"),
        "{:?}",
        table.problems()
    );
}
