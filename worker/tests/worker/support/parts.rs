//! Parts of snapshots, with the defaults that tests want.

use std::net::SocketAddr;

use tidegate_ir::*;

pub const LISTENER: &str = "infra/gw/http";

pub fn listener() -> Listener {
    listener_at("http", 80, "")
}

pub fn listener_at(section: &str, port: u16, host: &str) -> Listener {
    Listener {
        name: format!("infra/gw/{section}").into(),
        gateway: ObjectName::new("infra", "gw"),
        section_name: section.into(),
        port,
        bind_port: port,
        hostname: Hostname::parse(host).unwrap(),
        protocol: ListenerProtocol::Http,
        listener_set: None,
        filters: vec![],
        backend_client_certificate: None,
        edge: Box::default(),
    }
}

pub fn backend(name: &str, addresses: &[SocketAddr]) -> Vec<Part> {
    backend_of(name, addresses, BackendProtocol::Http1)
}

pub fn backend_of(name: &str, addresses: &[SocketAddr], protocol: BackendProtocol) -> Vec<Part> {
    let mut endpoints: Vec<_> = addresses
        .iter()
        .map(|address| Endpoint {
            address: *address,
            draining: false,
        })
        .collect();
    endpoints.sort();
    vec![
        Part::Backend(Box::new(Backend {
            protocol,
            ..Backend::of_service(name, ObjectName::new("shop", name), 80)
        })),
        Part::EndpointSet(EndpointSet {
            name: name.into(),
            endpoints,
        }),
    ]
}

pub fn route(name: &str, rules: Vec<Rule>) -> Route {
    Route {
        kind: RouteKind::Http,
        object: ObjectName::new("shop", name),
        created_at_unix_s: 0,
        attachments: vec![attachment(LISTENER, &[""])],
        rules,
    }
}

pub fn l4_listener(section: &str, port: u16, host: &str, protocol: ListenerProtocol) -> Listener {
    Listener {
        protocol,
        ..listener_at(section, port, host)
    }
}

pub fn l4_route(
    kind: L4RouteKind,
    name: &str,
    attachments: Vec<Attachment>,
    choices: Vec<L4Choice>,
) -> L4Route {
    L4Route {
        kind,
        object: ObjectName::new("shop", name),
        created_at_unix_s: 0,
        attachments,
        rule_name: None,
        choices,
    }
}

/// A share of a route of layer 4.
pub fn share(backend: &str, weight: u32) -> L4Choice {
    L4Choice {
        weight,
        target: Target::Backend(backend.into()),
    }
}

pub fn attachment(listener: &str, hosts: &[&str]) -> Attachment {
    let claim = |host: &&str| HostClaim::own(Hostname::parse(host).unwrap());
    Attachment {
        listener: listener.into(),
        hosts: hosts.iter().map(claim).collect(),
    }
}

pub fn prefix(path: &str) -> Match {
    matching(PathMatch::Prefix(path.into()))
}

pub fn matching(path: PathMatch) -> Match {
    Match {
        path,
        method: None,
        headers: vec![],
        query_params: vec![],
    }
}

pub fn rule(matches: Vec<Match>, action: Action) -> Rule {
    Rule {
        name: None,
        matches,
        filters: vec![],
        action,
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    }
}

/// A rule for a path prefix that forwards to one backend.
pub fn to(path: &str, backend: &str) -> Rule {
    rule(
        vec![prefix(path)],
        Action::Forward(vec![weighted(backend, 1)]),
    )
}

pub fn weighted(backend: &str, weight: u32) -> WeightedBackend {
    WeightedBackend {
        weight,
        target: Target::Backend(backend.into()),
        filters: vec![],
    }
}

pub fn edits(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    HeaderEdits {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|name| (*name).into()).collect(),
    }
}
