//! Envoy as a peer: one worker thread, no logs, no statistics of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Ports, Site};
use crate::certificates::{Certificate, HOST};
use crate::process::Process;

/// Starts Envoy on its ports.
pub(super) fn start(site: Site<'_>, ports: Ports) -> anyhow::Result<Process> {
    let file = site.dir.join("envoy.json");
    std::fs::write(&file, configuration(site, ports).to_string())?;
    let words = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "critical",
        "-c",
    ];
    let mut arguments: Vec<String> = words.map(str::to_owned).into();
    arguments.push(file.display().to_string());
    Process::start(0, &binary()?, &arguments, &site.dir.join("envoy.log"))
}

/// The binary inside of the Python package that brings it.
fn binary() -> anyhow::Result<PathBuf> {
    let python = std::env::var("TIDEGATE_BENCH_PYTHON")
        .context("TIDEGATE_BENCH_PYTHON is not set; bench/run sets it")?;
    let program =
        "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let output = Command::new(python).args(["-c", program]).output()?;
    let path = String::from_utf8(output.stdout)?;
    anyhow::ensure!(
        !path.trim().is_empty(),
        "Envoy is not there; bench/setup installs it"
    );
    Ok(path.trim().into())
}

fn configuration(site: Site<'_>, ports: Ports) -> Value {
    let (backends, certificates) = (site.backends, site.certificates);
    let plain = |filters: Value| json!([{"filters": filters}]);
    let by_name = json!([{
        "filter_chain_match": {"server_names": [HOST]},
        "filters": [stream("tls")],
    }]);
    let listeners = json!([
        listener("http", ports.http, plain(json!([http("http", "AUTO")]))),
        listener("https", ports.https, secure(&certificates.ecdsa)),
        listener("https_rsa", ports.https_rsa, secure(&certificates.rsa)),
        listener("grpc", ports.grpc, plain(json!([http("grpc", "HTTP2")]))),
        listener("tcp", ports.tcp, plain(json!([stream("tcp")]))),
        listener("source", ports.source, plain(json!([stream("source")]))),
        passthrough(ports.passthrough, by_name),
        datagrams(ports.udp),
    ]);
    let clusters = json!([
        cluster("http", backends.http, false),
        cluster("grpc", backends.grpc, true),
        cluster("tcp", backends.tcp, false),
        cluster("source", backends.source, false),
        cluster("tls", backends.tls, false),
        cluster("udp", backends.udp, false),
    ]);
    json!({"static_resources": {"listeners": listeners, "clusters": clusters}})
}

fn listener(name: &str, at: SocketAddr, chains: Value) -> Value {
    json!({"name": name, "address": address(at), "filter_chains": chains})
}

fn passthrough(at: SocketAddr, chains: Value) -> Value {
    let inspector = typed(
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        json!({}),
    );
    let mut listener = listener("passthrough", at, chains);
    listener["listener_filters"] = json!([inspector]);
    listener
}

fn datagrams(at: SocketAddr) -> Value {
    let route = typed(
        "route",
        "envoy.extensions.filters.udp.udp_proxy.v3.Route",
        json!({"cluster": "udp"}),
    );
    let proxy = typed(
        "envoy.filters.udp_listener.udp_proxy",
        "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
        json!({"stat_prefix": "udp", "matcher": {"on_no_match": {"action": route}}}),
    );
    let mut address = address(at);
    address["socket_address"]["protocol"] = json!("UDP");
    json!({
        "name": "udp", "address": address,
        "udp_listener_config": {"downstream_socket_config": {"max_rx_datagram_size": 9000}},
        "listener_filters": [proxy],
    })
}

fn secure(certificate: &Certificate) -> Value {
    let files = json!({
        "certificate_chain": {"filename": certificate.chain_file},
        "private_key": {"filename": certificate.key_file},
    });
    let socket = typed(
        "tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [files],
        }}),
    );
    json!([{"filters": [http("http", "AUTO")], "transport_socket": socket}])
}

fn http(cluster: &str, codec: &str) -> Value {
    let router = typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({"dynamic_stats": false, "suppress_envoy_headers": true}),
    );
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "60s"}});
    typed(
        "http",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "http", "codec_type": codec, "generate_request_id": false,
            "http2_protocol_options": {"max_concurrent_streams": 1000},
            "http_filters": [router],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        }),
    )
}

fn stream(cluster: &str) -> Value {
    typed(
        "tcp",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({"stat_prefix": "tcp", "cluster": cluster}),
    )
}

fn cluster(name: &str, at: SocketAddr, http2: bool) -> Value {
    let endpoint = json!({"endpoint": {"address": address(at)}});
    let bounds = json!({"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000});
    let mut cluster = json!({
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [bounds]},
    });
    if http2 {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"] = json!({options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 1000}},
        }});
    }
    cluster
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

/// A named extension with its configuration.
fn typed(name: &str, of: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{of}"));
    json!({"name": name, "typed_config": config})
}
