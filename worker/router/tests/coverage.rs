//! Which rules no request reaches.
#![allow(clippy::unwrap_used, reason = "tests may stop where they fail")]

use tidegate_ir::*;
use tidegate_router::{Table, Unreachable, coverage};

fn listener(hostname: &str) -> Part {
    Part::from(Listener {
        name: "web".into(),
        gateway: ObjectName::new("infra", "gw"),
        section_name: "web".into(),
        port: 80,
        bind_port: 80,
        hostname: Hostname::parse(hostname).unwrap(),
        protocol: ListenerProtocol::Http,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    })
}

fn prefix(path: &str) -> Match {
    Match {
        path: PathMatch::Prefix(path.into()),
        method: None,
        headers: vec![],
        query_params: vec![],
    }
}

/// A route of one rule for each list of matches, for hosts as they are and as the route claims them.
fn route(name: &str, hosts: &[(&str, &str)], rules: &[&[Match]]) -> Part {
    let host = |(host, claimed): &(&str, &str)| HostClaim {
        host: Hostname::parse(host).unwrap(),
        claimed: Hostname::parse(claimed).unwrap(),
    };
    let rule = |matches: &&[Match]| Rule {
        name: None,
        matches: matches.to_vec(),
        filters: vec![],
        action: Action::Fault("".into()),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    };
    Part::Route(Route {
        kind: RouteKind::Http,
        object: ObjectName::new("shop", name),
        created_at_unix_s: 0,
        attachments: vec![Attachment {
            listener: "web".into(),
            hosts: hosts.iter().map(host).collect(),
        }],
        rules: rules.iter().map(rule).collect(),
    })
}

/// What is not reached, and what was looked at.
fn unreachable(parts: impl IntoIterator<Item = Part>) -> (Vec<Unreachable>, usize) {
    let parts = parts.into_iter().map(EncodedPart::encode);
    let snapshot = Snapshot::new("p", 1, parts);
    let table = Table::build(&snapshot, None);
    let coverage = coverage(&snapshot, &table);
    (coverage.unreachable, coverage.looked_at)
}

fn text(found: &Unreachable) -> String {
    let (place, by) = (&found.place, &found.by);
    let whole = if found.whole_rule { " whole" } else { "" };
    format!(
        "{} {}.{} by {} {}{whole}",
        place.route, place.rule, place.match_index, by.route, by.rule
    )
}

#[test]
fn the_younger_of_two_equal_rules_is_not_reached() {
    let any = [("", "")];
    let (found, looked_at) = unreachable([
        listener(""),
        route("a", &any, &[&[prefix("/cart")]]),
        route("b", &any, &[&[prefix("/cart")], &[prefix("/")]]),
    ]);
    let texts: Vec<_> = found.iter().map(text).collect();
    assert_eq!(texts, ["shop/b 0.0 by shop/a 0 whole"]);
    assert_eq!(looked_at, 3);
}

#[test]
fn a_rule_that_is_reached_by_another_match_or_host_is_not_lost_whole() {
    let any = [("", "")];
    let (found, _) = unreachable([
        listener(""),
        route("a", &any, &[&[prefix("/cart")]]),
        route("b", &any, &[&[prefix("/cart"), prefix("/basket")]]),
    ]);
    assert_eq!(
        found.iter().map(text).collect::<Vec<_>>(),
        ["shop/b 0.0 by shop/a 0"]
    );
    let (found, _) = unreachable([
        listener(""),
        route("a", &[("a.test", "a.test")], &[&[prefix("/")]]),
        route(
            "b",
            &[("a.test", "a.test"), ("b.test", "b.test")],
            &[&[prefix("/")]],
        ),
    ]);
    assert_eq!(
        found.iter().map(text).collect::<Vec<_>>(),
        ["shop/b 0.0 by shop/a 0"]
    );
}

#[test]
fn a_route_that_claims_the_host_more_exactly_shadows_longer_paths() {
    let (found, _) = unreachable([
        listener("a.test"),
        route("exact", &[("a.test", "a.test")], &[&[prefix("/")]]),
        route("wide", &[("a.test", "*.test")], &[&[prefix("/cart")]]),
    ]);
    assert_eq!(
        found.iter().map(text).collect::<Vec<_>>(),
        ["shop/wide 0.0 by shop/exact 0 whole"]
    );
}

#[test]
fn rules_of_which_each_has_its_requests_are_all_reached() {
    let post = Match {
        method: Some("POST".into()),
        ..prefix("/cart")
    };
    let any = [("", "")];
    let rules: &[&[Match]] = &[&[prefix("/")], &[prefix("/cart")], &[post]];
    let (found, looked_at) = unreachable([listener(""), route("a", &any, rules)]);
    assert_eq!((found, looked_at), (vec![], 3));
}

#[test]
fn of_the_routes_of_a_layer_4_listener_the_first_takes_all() {
    let tcp = |name: &str| {
        Part::L4Route(L4Route {
            kind: L4RouteKind::Tcp,
            object: ObjectName::new("data", name),
            created_at_unix_s: 0,
            attachments: vec![Attachment {
                listener: "web".into(),
                hosts: vec![HostClaim::own(Hostname::Any)],
            }],
            rule_name: None,
            choices: vec![L4Choice {
                weight: 1,
                target: Target::Fault("".into()),
            }],
        })
    };
    let Part::Listener(http) = listener("") else {
        panic!("it is one")
    };
    let listener = Part::from(Listener {
        protocol: ListenerProtocol::Tcp,
        ..*http
    });
    let (found, looked_at) = unreachable([listener, tcp("one"), tcp("two")]);
    assert_eq!(
        found.iter().map(text).collect::<Vec<_>>(),
        ["data/two 0.0 by data/one 0 whole"]
    );
    assert_eq!(looked_at, 2);
}
