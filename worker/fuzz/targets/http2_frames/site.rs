//! A gateway with a route to the one backend, a redirect and a fault, and bounds that a short input can reach.

use tidegate_ir::*;
use tidegate_worker::Limits;

/// The port of the clients.
pub const PORT: u16 = 80;

/// Bounds that a short input reaches.
pub fn limits() -> Limits {
    Limits {
        header_bytes_max: 16 << 10,
        header_count_max: 32,
        request_body_bytes_max: Some(64 << 10),
        h2_streams_max: 16,
        h2_resets_max: 8,
        h2_local_resets_max: 16,
        h2_cancels_max: 16,
        h2_pings_max: 16,
        h2_settings_max: 8,
        h2_control_frames_max: 64,
        h2_stream_window_bytes_max: 64 << 10,
        h2_connection_window_bytes: 256 << 10,
        ..Limits::default()
    }
}

/// All requests to the backend, save for two paths.
pub fn snapshot() -> Snapshot {
    let (listener, backend) = ("site/gateway/http", "site/backend");
    let redirect = Redirect {
        scheme: Some("https".into()),
        hostname: None,
        path: Some(PathEdit::Prefix("/elsewhere".into())),
        port: None,
        status_code: 301,
    };
    let choice = WeightedBackend {
        weight: 1,
        target: Target::Backend(backend.into()),
        filters: vec![],
    };
    let rules = vec![
        rule("/", Action::Forward(vec![choice])),
        rule("/redirect", Action::Redirect(redirect.into())),
        rule("/fault", Action::Fault("it is broken".into())),
    ];
    let endpoint = Endpoint {
        address: ([192, 0, 2, 2], 80).into(),
        draining: false,
    };
    let parts = [
        Part::from(Listener {
            name: listener.into(),
            gateway: ObjectName::new("site", "gateway"),
            section_name: "http".into(),
            port: PORT,
            bind_port: PORT,
            hostname: Hostname::Any,
            protocol: ListenerProtocol::Http,
            listener_set: None,
            filters: vec![],
            backend_client_certificate: None,
            edge: Box::default(),
        }),
        Part::Route(Route {
            kind: RouteKind::Http,
            object: ObjectName::new("site", "all"),
            created_at_unix_s: 0,
            attachments: vec![Attachment {
                listener: listener.into(),
                hosts: vec![HostClaim::own(Hostname::Any)],
            }],
            rules,
        }),
        Part::Backend(Box::new(Backend::of_service(
            backend,
            ObjectName::new("site", "backend"),
            80,
        ))),
        Part::EndpointSet(EndpointSet {
            name: backend.into(),
            endpoints: vec![endpoint],
        }),
    ];
    Snapshot::new("pool", 1, parts.map(EncodedPart::encode))
}

fn rule(prefix: &str, action: Action) -> Rule {
    Rule {
        name: None,
        matches: vec![Match {
            path: PathMatch::Prefix(prefix.into()),
            method: None,
            headers: vec![],
            query_params: vec![],
        }],
        filters: vec![],
        action,
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    }
}
