//! A table built on another one shares with it what did not change.
#![allow(clippy::unwrap_used, reason = "tests may stop where they fail")]

use std::sync::Arc;

use http::{HeaderMap, Method};
use tidegate_ir::*;
use tidegate_router::{CompiledRule, Outcome, RequestHead, Table};

const ROUTES: usize = 2000;

fn listener() -> Part {
    Part::from(Listener {
        name: "l".into(),
        gateway: ObjectName::new("infra", "gw"),
        section_name: "l".into(),
        port: 80,
        bind_port: 80,
        hostname: Hostname::Any,
        protocol: ListenerProtocol::Http,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    })
}

fn route(index: usize, reason: &str) -> Part {
    let path = PathMatch::Prefix("/".into());
    let matching = Match {
        path,
        method: None,
        headers: vec![],
        query_params: vec![],
    };
    let host = Hostname::parse(&format!("h{index}.example")).unwrap();
    Part::Route(Route {
        kind: RouteKind::Http,
        object: ObjectName::new("ns", format!("r{index}")),
        created_at_unix_s: 0,
        attachments: vec![Attachment {
            listener: "l".into(),
            hosts: vec![HostClaim::own(host)],
        }],
        rules: vec![Rule {
            name: None,
            matches: vec![matching],
            filters: vec![],
            action: Action::Fault(reason.into()),
            timeouts: Timeouts::default(),
            retry: None,
            session: None,
        }],
    })
}

fn rule(table: &Table, index: usize) -> Arc<CompiledRule> {
    let (host, headers) = (format!("h{index}.example"), HeaderMap::new());
    let head = RequestHead {
        method: &Method::GET,
        host: &host,
        path: "/",
        query: None,
        headers: &headers,
    };
    match table.decide(80, &head).outcome {
        Outcome::Rule(chosen) => chosen.rule.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_changed_route_leaves_the_others_as_they_were_built() {
    let parts = |changed: &str| {
        let reason = |index| if index == 7 { changed } else { "same" };
        let routes = (0..ROUTES).map(|index| route(index, reason(index)));
        [listener()]
            .into_iter()
            .chain(routes)
            .map(EncodedPart::encode)
            .collect::<Vec<_>>()
    };
    let before = Table::build(&Snapshot::new("p", 1, parts("one")), None);
    let after = Table::build(&Snapshot::new("p", 2, parts("two")), Some(&before));
    assert_eq!(after.version, 2);
    for index in [0, 6, 8, ROUTES - 1] {
        assert!(
            Arc::ptr_eq(&rule(&before, index), &rule(&after, index)),
            "{index}"
        );
    }
    assert!(!Arc::ptr_eq(&rule(&before, 7), &rule(&after, 7)));
}
