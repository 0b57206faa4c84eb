//! Connections and datagrams of layer 4 go where a naive reading of listeners and routes says.
#![allow(clippy::unwrap_used, reason = "tests may stop where they fail")]

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tidegate_ir::*;
use tidegate_router::*;

const PORT: u16 = 443;
const HOSTS: [&str; 5] = [
    "",
    "*.com",
    "*.example.com",
    "a.example.com",
    "b.example.com",
];
const NAMES: [&str; 5] = [
    "",
    "a.example.com",
    "B.Example.com",
    "x.a.example.com",
    "x.org",
];

fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

fn listener(name: &str, hostname: &str, protocol: ListenerProtocol) -> Listener {
    Listener {
        name: name.into(),
        gateway: ObjectName::new("ns", "gw"),
        section_name: name.into(),
        port: PORT,
        bind_port: PORT,
        hostname: host(hostname),
        protocol,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    }
}

fn https() -> ListenerProtocol {
    ListenerProtocol::Https {
        certificates: vec![],
        client_validation: None,
    }
}

fn terminate() -> ListenerProtocol {
    ListenerProtocol::Tls(TlsMode::Terminate {
        certificates: vec![],
        client_validation: None,
    })
}

fn passthrough() -> ListenerProtocol {
    ListenerProtocol::Tls(TlsMode::Passthrough)
}

fn route(kind: L4RouteKind, name: &str, age: i64, listener: &str, hosts: &[&str]) -> L4Route {
    L4Route {
        kind,
        object: ObjectName::new("ns", name),
        created_at_unix_s: age,
        attachments: vec![Attachment {
            listener: listener.into(),
            hosts: hosts
                .iter()
                .map(|text| HostClaim::own(host(text)))
                .collect(),
        }],
        rule_name: None,
        choices: vec![to(name, 1)],
    }
}

fn to(backend: &str, weight: u32) -> L4Choice {
    L4Choice {
        weight,
        target: Target::Backend(backend.into()),
    }
}

fn snapshot(listeners: Vec<Listener>, routes: Vec<L4Route>) -> Snapshot {
    let listeners = listeners.into_iter().map(Part::from);
    let parts = listeners.chain(routes.into_iter().map(Part::L4Route));
    Snapshot::new("p", 1, parts.map(EncodedPart::encode))
}

fn table(listeners: Vec<Listener>, routes: Vec<L4Route>) -> Table {
    let table = Table::build(&snapshot(listeners, routes), None);
    assert_eq!(table.problems(), []);
    table
}

/// Listener and route that a connection goes to, or what becomes of it otherwise.
fn decided(table: &Table, name: Option<&str>) -> String {
    let Some(port) = table.l4().tls(PORT) else {
        return "no TLS listener".to_owned();
    };
    match port.decide(name) {
        SniDecision::Https => "HTTPS".to_owned(),
        SniDecision::Terminate(l, t) => format!("{} ends, {}", l.listener.name, t.route.name),
        SniDecision::Passthrough(l, t) => format!("{} passes, {}", l.listener.name, t.route.name),
        SniDecision::NoListener => "no listener".to_owned(),
        SniDecision::NoRoute(listener) => format!("{}, no route", listener.listener.name),
    }
}

#[test]
fn https_and_tls_listeners_share_a_port_by_server_name() {
    use L4RouteKind::Tls;
    let listeners = vec![
        listener("web", "*.example.com", https()),
        listener("ends", "a.example.com", terminate()),
        listener("passes", "*.example.org", passthrough()),
    ];
    let routes = vec![
        route(Tls, "a", 1, "ends", &["a.example.com"]),
        route(Tls, "b", 1, "passes", &["b.example.org"]),
    ];
    let table = table(listeners, routes);
    assert_eq!(decided(&table, Some("a.example.com")), "ends ends, a");
    assert_eq!(decided(&table, Some("b.example.com")), "HTTPS");
    assert_eq!(decided(&table, Some("B.Example.org")), "passes passes, b");
    assert_eq!(decided(&table, Some("c.example.org")), "passes, no route");
    assert_eq!(decided(&table, Some("c.example.net")), "no listener");
    assert_eq!(decided(&table, None), "no listener");
}

#[test]
fn a_port_without_a_tls_listener_needs_no_client_hello() {
    let table = table(vec![listener("web", "", https())], vec![]);
    assert!(table.l4().tls(PORT).is_none());
}

#[test]
fn udp_and_tcp_have_ports_of_their_own_and_the_oldest_route_serves() {
    let listeners = vec![
        listener("dns-tcp", "", ListenerProtocol::Tcp),
        listener("dns-udp", "", ListenerProtocol::Udp),
    ];
    let routes = vec![
        route(L4RouteKind::Tcp, "young", 2, "dns-tcp", &[""]),
        route(L4RouteKind::Tcp, "old", 1, "dns-tcp", &[""]),
        route(L4RouteKind::Udp, "b", 1, "dns-udp", &[""]),
        route(L4RouteKind::Udp, "a", 1, "dns-udp", &[""]),
    ];
    let table = table(listeners, routes);
    let serves = |listener: Option<&Arc<L4Listener>>| {
        let target = listener?.target("")?;
        Some(target.route.name.to_string())
    };
    assert_eq!(serves(table.l4().tcp(PORT)), Some("old".to_owned()));
    assert_eq!(serves(table.l4().udp(PORT)), Some("a".to_owned()));
    assert!(table.l4().tcp(PORT + 1).is_none());
}

#[test]
fn the_routes_own_hostname_decides_between_equal_intersections() {
    let mut wide = route(L4RouteKind::Tls, "wide", 1, "l", &["a.example.com"]);
    wide.attachments[0].hosts[0].claimed = host("*.example.com");
    let narrow = route(L4RouteKind::Tls, "narrow", 2, "l", &["a.example.com"]);
    let listeners = vec![listener("l", "a.example.com", passthrough())];
    let table = table(listeners, vec![wide, narrow]);
    assert_eq!(decided(&table, Some("a.example.com")), "l passes, narrow");
    let explained = explain_l4(&table, PORT, L4Request::Tls("a.example.com"));
    let verdicts: Vec<_> = explained.candidates.iter().map(|c| c.verdict).collect();
    assert_eq!(verdicts, [L4Verdict::Won, L4Verdict::LessSpecific]);
}

#[test]
fn shares_go_on_where_they_were_when_a_route_did_not_change() {
    let parts = |version| {
        let mut shared = route(L4RouteKind::Tcp, "r", 1, "l", &[""]);
        shared.choices = vec![to("a", 3), to("b", 1)];
        let mut other = route(L4RouteKind::Tcp, "other", version, "elsewhere", &[""]);
        other.choices = vec![to("c", 1)];
        let listeners = vec![listener("l", "", ListenerProtocol::Tcp)];
        snapshot(listeners, vec![shared, other])
    };
    let target = |table: &Table| table.l4().tcp(PORT).unwrap().target("").unwrap().clone();
    let mut table = Table::build(&parts(2), None);
    let first = target(&table);
    let mut went_to_b = 0;
    for version in 3..11 {
        went_to_b += i32::from(*target(&table).next() == Target::Backend("b".into()));
        table = Table::build(&parts(version), Some(&table));
        assert!(Arc::ptr_eq(&first, &target(&table)));
    }
    assert_eq!(went_to_b, 2);
}

#[test]
fn listeners_that_take_a_port_from_each_other_are_refused() {
    let of = |a, b| {
        let listeners = vec![listener("a", "", a), listener("b", "", b)];
        Table::build(&snapshot(listeners, vec![]), None)
            .problems()
            .len()
    };
    use ListenerProtocol::{Http, Tcp, Udp};
    assert_eq!(of(Tcp, Tcp), 1);
    assert_eq!(of(Udp, Udp), 1);
    assert_eq!(of(Tcp, Http), 1);
    assert_eq!(of(https(), Tcp), 1);
    assert_eq!(of(Tcp, passthrough()), 1);
    assert_eq!(of(passthrough(), Http), 1);
    assert_eq!(of(passthrough(), terminate()), 1);
    assert_eq!(of(passthrough(), https()), 1);
    for beside in [Http, https(), passthrough(), terminate(), Tcp] {
        assert_eq!(of(Udp, beside.clone()), 0, "{beside:?}");
    }
}

#[test]
fn an_explanation_says_why_each_listener_was_passed_over() {
    let mut elsewhere = listener("elsewhere", "", ListenerProtocol::Tcp);
    elsewhere.bind_port = 9000;
    let listeners = vec![
        elsewhere,
        listener("a", "a.example.com", passthrough()),
        listener("b", "*.example.com", https()),
        listener("c", "*.example.org", terminate()),
        listener("d", "", ListenerProtocol::Udp),
    ];
    let table = table(listeners, vec![]);
    let explained = explain_l4(&table, PORT, L4Request::Tls("A.example.com"));
    let verdict = |name: &str| {
        let found = explained.listeners.iter().find(|(l, _)| **l == *name);
        found.unwrap().1.clone()
    };
    assert_eq!(verdict("a"), ListenerVerdict::Chosen);
    let hostname = host("*.example.com");
    assert_eq!(verdict("b"), ListenerVerdict::LessSpecific { hostname });
    let hostname = host("*.example.org");
    assert_eq!(verdict("c"), ListenerVerdict::OtherHost { hostname });
    let protocol = "UDP";
    assert_eq!(verdict("d"), ListenerVerdict::OtherProtocol { protocol });
    assert_eq!(
        verdict("elsewhere"),
        ListenerVerdict::OtherPort { port: 9000 }
    );
    assert_eq!(explained.winner(), None);
    let https = explain_l4(&table, PORT, L4Request::Tls("b.example.com"));
    assert_eq!(https.listeners[1], ("b".into(), ListenerVerdict::Chosen));
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let protocol = select(vec![https(), terminate(), passthrough()]);
    let listeners = subsequence(HOSTS.to_vec(), 1..=HOSTS.len()).prop_flat_map(move |hosts| {
        let protocols = proptest::collection::vec(protocol.clone(), hosts.len());
        protocols.prop_map(move |protocols| {
            let named = hosts.iter().zip(protocols).enumerate();
            let named = named.map(|(i, (host, p))| listener(&format!("l{i}"), host, p));
            named.collect::<Vec<_>>()
        })
    });
    let claim = (
        0..HOSTS.len(),
        select(&HOSTS[..]),
        select(&HOSTS[..]),
        0..3_i64,
    );
    let claims = proptest::collection::vec(claim, 0..8);
    (listeners, claims).prop_map(|(listeners, claims)| {
        let routes = claims.into_iter().enumerate();
        let routes = routes.map(|(i, (on, claimed, other, age))| {
            let on = format!("l{}", on % listeners.len());
            let mut route = route(L4RouteKind::Tls, &format!("r{i}"), age, &on, &[claimed]);
            // As the compiler would write it for a listener with that hostname, where they meet.
            let claim = &mut route.attachments[0].hosts[0];
            claim.host = claim
                .host
                .intersect(&host(other))
                .unwrap_or_else(|| claim.host.clone());
            route
        });
        let routes = routes.collect();
        snapshot(listeners, routes)
    })
}

/// What [`decided`] says of a port with a TLS listener, by reading everything.
fn naive(snapshot: &Snapshot, name: &str) -> String {
    let listeners: Vec<_> = snapshot.listeners().collect();
    let name = name.to_ascii_lowercase();
    let of_name = listeners.iter().filter(|l| l.hostname.matches(&name));
    let Some(listener) = of_name.max_by(|a, b| a.hostname.cmp_specificity(&b.hostname)) else {
        return "no listener".to_owned();
    };
    if listener.protocol.is_http() {
        return "HTTPS".to_owned();
    }
    let claims = snapshot.l4_routes().flat_map(|route| {
        let attached = route.attachments.iter();
        let attached = attached.filter(|a| a.listener == listener.name);
        attached.flat_map(move |a| a.hosts.iter().map(move |claim| (claim, route)))
    });
    let claims = claims.filter(|(claim, _)| claim.host.matches(&name));
    let best = claims.min_by(|(a, a_route), (b, b_route)| {
        let host = b.host.cmp_specificity(&a.host);
        host.then(b.claimed.cmp_specificity(&a.claimed))
            .then(a_route.order().cmp(&b_route.order()))
    });
    let verb = if listener.protocol == passthrough() {
        "passes"
    } else {
        "ends"
    };
    match best {
        None => format!("{}, no route", listener.name),
        Some((_, route)) => format!("{} {verb}, {}", listener.name, route.object.name),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_finds_what_a_naive_scan_finds(before in snapshots(), after in snapshots()) {
        let before = Table::build(&before, None);
        let table = Table::build(&after, Some(&before));
        prop_assert_eq!(table.problems(), &[]);
        let has_tls = after.listeners().any(|listener| !listener.protocol.is_http());
        prop_assert_eq!(table.l4().tls(PORT).is_some(), has_tls);
        for name in NAMES.iter().filter(|_| has_tls) {
            prop_assert_eq!(decided(&table, Some(name)), naive(&after, name), "{}", name);
        }
    }

    #[test]
    fn an_explanation_names_the_winner(snapshot in snapshots(), name in select(&NAMES[..])) {
        let table = Table::build(&snapshot, None);
        let explained = explain_l4(&table, PORT, L4Request::Tls(name));
        let winner = explained.winner().map(|winner| winner.route.name.to_string());
        let decision = naive(&snapshot, name);
        let served = decision.split_once("s, ").map(|(_, route)| route.to_owned());
        prop_assert_eq!(winner, served.filter(|route| route != "no route"));
        let chosen = explained.listeners.iter().find(|(_, v)| *v == ListenerVerdict::Chosen);
        prop_assert_eq!(chosen.is_some(), decision != "no listener");
    }
}
