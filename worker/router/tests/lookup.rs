//! The indexed lookup against a naive scan in precedence order, on random tables and requests.
#![allow(clippy::unwrap_used, reason = "tests may stop where they fail")]

use http::{HeaderMap, Method};
use proptest::prelude::*;
use proptest::sample::select;
use tidegate_ir::*;
use tidegate_router::{Decision, Outcome, RequestHead, Table, explain};

const PORT: u16 = 80;
const HOSTS: [&str; 6] = [
    "",
    "*.com",
    "*.example.com",
    "a.example.com",
    "b.example.com",
    "*.a.example.com",
];
const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a//b"];

/// What a request looks like, owned.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    host: &'static str,
    path: String,
    query: Option<&'static str>,
    headers: HeaderMap,
}

impl Asked {
    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.host,
            path: &self.path,
            query: self.query,
            headers: &self.headers,
        }
    }
}

fn string_matches() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        select(vec!["1", "2"]).prop_map(|text| StringMatch::Exact(text.into())),
        Just(StringMatch::Regex("[12]".into())),
    ]
}

fn values(name: &'static str) -> impl Strategy<Value = Vec<ValueMatch>> {
    let value = string_matches().prop_map(move |value| ValueMatch {
        name: name.into(),
        value,
    });
    proptest::collection::vec(value, 0..2)
}

fn matches() -> impl Strategy<Value = Match> {
    let service = select(vec![None, Some("a"), Some("b")]);
    let call = select(vec![None, Some("b"), Some("c")]);
    let grpc = (service, call).prop_map(|(service, method)| {
        let exact = |text: &str| StringMatch::Exact(text.into());
        PathMatch::Method(GrpcMethod {
            service: service.map(exact),
            method: method.map(exact),
        })
    });
    let path = prop_oneof![
        2 => grpc,
        3 => select(&PATHS[..]).prop_map(|path| PathMatch::Prefix(path.into())),
        2 => select(&PATHS[..]).prop_map(|path| PathMatch::Exact(path.into())),
        1 => select(vec!["/a.*", "/(a|b)", ".*"]).prop_map(|path| PathMatch::Regex(path.into())),
    ];
    let method = proptest::option::of(select(vec!["GET", "POST"]));
    (path, method, values("x-h"), values("q")).prop_map(|(path, method, headers, query_params)| {
        Match {
            path,
            method: method.map(Into::into),
            headers,
            query_params,
        }
    })
}

fn claims() -> impl Strategy<Value = HostClaim> {
    (select(&HOSTS[..]), select(&HOSTS[..])).prop_map(|(host, claimed)| {
        let (host, claimed) = (
            Hostname::parse(host).unwrap(),
            Hostname::parse(claimed).unwrap(),
        );
        // The claimed hostname covers the intersection, as the compiler guarantees.
        match claimed.intersect(&host) {
            Some(both) if both == host => HostClaim { host, claimed },
            _ => HostClaim::own(host),
        }
    })
}

fn routes(listeners: usize) -> impl Strategy<Value = Vec<Route>> {
    let rule = proptest::collection::vec(matches(), 1..3).prop_map(|matches| Rule {
        name: None,
        matches,
        filters: vec![],
        action: Action::Fault("".into()),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    });
    let rules = proptest::collection::vec(rule, 1..4);
    let attached = (0..listeners, proptest::collection::vec(claims(), 1..3));
    let route = (rules, attached, 0..3_i64).prop_map(|(rules, (listener, hosts), age)| {
        let listener = format!("l{listener}").into();
        (rules, vec![Attachment { listener, hosts }], age)
    });
    proptest::collection::vec(route, 0..8).prop_map(|routes| {
        let named = routes
            .into_iter()
            .enumerate()
            .map(|(index, (rules, attachments, age))| Route {
                kind: RouteKind::Http,
                object: ObjectName::new("ns", format!("r{index}")),
                created_at_unix_s: age,
                attachments,
                rules,
            });
        named.collect()
    })
}

fn listener(index: usize, host: &str) -> Listener {
    Listener {
        name: format!("l{index}").into(),
        gateway: ObjectName::new("ns", "gw"),
        section_name: format!("l{index}").into(),
        port: PORT,
        bind_port: PORT,
        hostname: Hostname::parse(host).unwrap(),
        protocol: ListenerProtocol::Http,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    }
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let hosts = proptest::sample::subsequence(HOSTS.to_vec(), 1..4);
    hosts.prop_flat_map(|hosts| {
        routes(hosts.len()).prop_map(move |routes| {
            let listeners = hosts
                .iter()
                .enumerate()
                .map(|(i, host)| Part::from(listener(i, host)));
            let parts = listeners.chain(routes.into_iter().map(Part::Route));
            Snapshot::new("p", 1, parts.map(EncodedPart::encode))
        })
    })
}

fn requests() -> impl Strategy<Value = Asked> {
    let method = select(vec![Method::GET, Method::POST]);
    let host = select(vec![
        "",
        "a.example.com",
        "b.example.com",
        "x.a.example.com",
        "x.com",
        "x.org",
    ]);
    let path = (select(&PATHS[..]), select(vec!["", "/", "/x", "x"]));
    let path = path.prop_map(|(path, tail)| format!("{path}{tail}"));
    let query = select(vec![None, Some("q=1"), Some("q=3&q=1"), Some("q=%32")]);
    let header = proptest::option::of(select(vec!["1", "2", "3"]));
    let asked = (method, host, path, query, header, any::<bool>());
    asked.prop_map(|(method, host, path, query, header, grpc)| {
        let mut headers = HeaderMap::new();
        if grpc {
            headers.insert("content-type", "application/grpc+proto".parse().unwrap());
        }
        if let Some(header) = header {
            headers.insert("x-h", header.parse().unwrap());
        }
        Asked {
            method,
            host,
            path,
            query,
            headers,
        }
    })
}

/// Route, rule and match that win, by reading everything.
type Place = (ObjectName, usize, usize);

fn naive(snapshot: &Snapshot, asked: &Asked) -> Option<Option<Place>> {
    let of_host = snapshot
        .listeners()
        .filter(|listener| listener.hostname.matches(asked.host));
    let listener = of_host.max_by(|a, b| a.hostname.cmp_specificity(&b.hostname))?;
    let mut all = Vec::new();
    for route in snapshot.routes() {
        let attached = route
            .attachments
            .iter()
            .filter(|a| a.listener == listener.name);
        for claim in attached
            .flat_map(|a| &a.hosts)
            .filter(|c| c.host.matches(asked.host))
        {
            for (r, rule) in route.rules.iter().enumerate() {
                for (m, matching) in rule.matches.iter().enumerate() {
                    all.push((claim, route.order(), matching, (route.object.clone(), r, m)));
                }
            }
        }
    }
    all.sort_by(
        |(a_claim, a_order, a, a_place), (b_claim, b_order, b, b_place)| {
            let host = b_claim.host.cmp_specificity(&a_claim.host);
            host.then(b_claim.claimed.cmp_specificity(&a_claim.claimed))
                .then(b.precedence().cmp(&a.precedence()))
                .then(a_order.cmp(b_order))
                .then((a_place.1, a_place.2).cmp(&(b_place.1, b_place.2)))
        },
    );
    Some(
        all.into_iter()
            .find(|(_, _, matching, _)| holds(matching, asked))
            .map(|(.., place)| place),
    )
}

fn holds(matching: &Match, asked: &Asked) -> bool {
    let whole = |expression: &str, text: &str| {
        let expression = regex::Regex::new(expression).unwrap();
        expression
            .find(text)
            .is_some_and(|found| found.len() == text.len())
    };
    let text = |wanted: &StringMatch, found: Option<&str>| match (wanted, found) {
        (_, None) => false,
        (StringMatch::Exact(exact), Some(found)) => **exact == *found,
        (StringMatch::Regex(expression), Some(found)) => whole(expression, found),
    };
    let path = match &matching.path {
        PathMatch::Exact(exact) => **exact == *asked.path,
        PathMatch::Prefix(prefix) => PathMatch::prefix_matches(prefix, &asked.path),
        PathMatch::Regex(expression) => whole(expression, &asked.path),
        PathMatch::Method(condition) => {
            let called = asked.path[1..].split_once('/');
            let holds = |wanted: &Option<StringMatch>, found| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| text(wanted, Some(found)))
            };
            let is_grpc = asked.headers.get("content-type").is_some();
            is_grpc
                && called.is_some_and(|(service, method)| {
                    holds(&condition.service, service) && holds(&condition.method, method)
                })
        }
    };
    let header = asked
        .headers
        .get("x-h")
        .map(|value| value.to_str().unwrap());
    let param = asked.query.map(|query| match query {
        "q=1" => "1",
        "q=%32" => "2",
        _ => "3",
    });
    path && matching
        .method
        .as_deref()
        .is_none_or(|method| method == asked.method.as_str())
        && matching
            .headers
            .iter()
            .all(|wanted| text(&wanted.value, header))
        && matching
            .query_params
            .iter()
            .all(|wanted| text(&wanted.value, param))
}

fn found(decision: &Decision<'_>) -> Option<Option<Place>> {
    match decision.outcome {
        Outcome::NoListener => None,
        Outcome::NoRoute => Some(None),
        Outcome::Rule(chosen) => Some(Some((
            chosen.rule.route.clone(),
            chosen.rule.index,
            chosen.match_index,
        ))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_index_finds_what_a_naive_scan_finds(
        snapshot in snapshots(),
        asked in proptest::collection::vec(requests(), 8),
    ) {
        let table = Table::build(&snapshot, None);
        prop_assert_eq!(table.problems(), &[]);
        for asked in asked {
            let decision = table.decide(PORT, &asked.head());
            prop_assert_eq!(found(&decision), naive(&snapshot, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn a_table_built_on_another_decides_like_a_fresh_one(
        before in snapshots(),
        after in snapshots(),
        asked in proptest::collection::vec(requests(), 8),
    ) {
        let before = Table::build(&before, None);
        let fresh = Table::build(&after, None);
        let reused = Table::build(&after, Some(&before));
        for asked in asked {
            let (fresh, reused) = (fresh.decide(PORT, &asked.head()), reused.decide(PORT, &asked.head()));
            prop_assert_eq!(found(&fresh), found(&reused));
        }
    }

    #[test]
    fn an_explanation_names_the_winner(snapshot in snapshots(), asked in requests()) {
        let table = Table::build(&snapshot, None);
        let explanation = explain(&table, PORT, &asked.head());
        let winner = explanation.winner();
        let winner = winner.map(|w| (w.route.clone(), w.rule_index, w.match_index));
        prop_assert_eq!(winner, found(&table.decide(PORT, &asked.head())).flatten());
    }
}
