//! `tidegate explain`: what happens to a request, and why nothing else does.

mod report;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tidegate_codec::path::{PathRules, normalize};
use tidegate_ir::Snapshot;
use tidegate_router::{RequestHead, Table, explain, host_of};

use super::write_out;
use crate::api::ServerArgs;
use crate::offline::Offline;
use crate::style::Style;

const EXAMPLES: &str = "\
Examples:
  tidegate explain GET http://shop.example.com/cart -f manifests/
  tidegate explain GET http://localhost:8080/cart -H 'x-canary: always'
  tidegate explain POST https://shop.example.com:8443/orders --server http://127.0.0.1:15010
";

/// Which request.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// Method, such as GET
    method: Method,
    /// URL with scheme and host: http://shop.example.com/cart?size=2
    url: Uri,
    /// Request header, as in curl; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Explain what these files would do, instead of asking a configd; `-` is standard input
    #[arg(short, long = "file", value_name = "PATH", conflicts_with_all = ["server", "data_dir"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// Version to look at; the newest without it
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    version: u64,
    /// Pool of workers; needed where there are several
    #[arg(long, default_value = "")]
    pool: String,
}

/// A request as the user describes it.
struct Request {
    method: Method,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

/// Explains the request.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let request = Request::parse(&args)?;
    let (snapshot, origin, bound) = if args.files.is_empty() {
        let api = args.server.connect().await?;
        let (info, snapshot) = api.snapshot(&args.pool, args.version).await?;
        let version = info.id.map_or(0, |id| id.version);
        let bound = bound_ports(&api.list_workers().await?);
        (
            snapshot,
            format!("snapshot {version} (last change: {})", info.cause),
            bound,
        )
    } else {
        let offline = Offline::load(&args.files)?;
        for finding in &offline.contents.findings {
            eprintln!("{}", super::lint::line(finding, Style::stderr()));
        }
        (
            offline.snapshot(),
            "the files as they are now".to_owned(),
            Vec::new(),
        )
    };
    let bind_port = bind_port(&snapshot, &bound, request.port)?;
    let path = normalize(&request.path, path_rules(&snapshot, bind_port));
    let path = path.with_context(|| format!("the path of {}", args.url))?;
    let table = Table::build(&snapshot, None);
    let head = RequestHead {
        method: &request.method,
        host: &request.host,
        path: &path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let explanation = explain(&table, bind_port, &head);
    let title = format!("{} {}", args.method, args.url);
    let report = report::Report {
        snapshot: &snapshot,
        explanation: &explanation,
    };
    Ok(write_out(&report.text(&title, &origin, Style::stdout()))?)
}

impl Request {
    fn parse(args: &ExplainArgs) -> anyhow::Result<Self> {
        let url = &args.url;
        let Some(authority) = url.authority() else {
            bail!("{url} has no host; write it as http://shop.example.com/cart");
        };
        let mut headers = HeaderMap::new();
        for header in &args.headers {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("header \"{header}\" has no colon: NAME: VALUE"))?;
            let name: HeaderName = name
                .trim()
                .parse()
                .with_context(|| format!("\"{name}\" is no header name"))?;
            let value = HeaderValue::from_str(value.trim())
                .with_context(|| format!("\"{value}\" is no header value"))?;
            headers.append(name, value);
        }
        let given_host = headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let default_port = if url.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        Ok(Self {
            method: args.method.clone(),
            host: host_of(given_host.unwrap_or(authority.as_str())).into_owned(),
            port: url.port_u16().unwrap_or(default_port),
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            headers,
        })
    }
}

/// How paths are read on a port; flags of the workers are not known here.
fn path_rules(snapshot: &Snapshot, bind_port: u16) -> PathRules {
    let mut listeners = snapshot.listeners();
    let listener = listeners.find(|listener| listener.bind_port == bind_port);
    let said = listener.and_then(|listener| listener.edge.merge_slashes);
    let usual = PathRules::default();
    PathRules {
        merge_slashes: said.unwrap_or(usual.merge_slashes),
    }
}

/// The name of each listener and the port of its socket, as the workers say.
fn bound_ports(workers: &[tidegate_proto::snapshots::v1::Worker]) -> Vec<(String, u16)> {
    let listeners = workers.iter().flat_map(|worker| &worker.listeners);
    listeners
        .filter_map(|bound| {
            let (_, port) = bound.address.rsplit_once(':')?;
            Some((bound.listener.clone(), port.parse().ok()?))
        })
        .collect()
}

/// The port by which the snapshot knows the port of the URL: what a worker really bound counts before
/// what the Gateway asks for.
fn bind_port(snapshot: &Snapshot, bound: &[(String, u16)], port: u16) -> anyhow::Result<u16> {
    let by_socket = bound
        .iter()
        .find(|(_, socket)| *socket == port)
        .and_then(|(name, _)| {
            snapshot
                .listeners()
                .find(|listener| *listener.name == **name)
        });
    let by_spec = || snapshot.listeners().find(|listener| listener.port == port);
    if let Some(listener) = by_socket.or_else(by_spec) {
        return Ok(listener.bind_port);
    }
    let mut ports: Vec<_> = snapshot.listeners().map(|listener| listener.port).collect();
    ports.extend(bound.iter().map(|(_, port)| *port));
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        bail!("there is no listener; `tidegate lint` says why, and a Gateway is what is needed");
    }
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    bail!(
        "no listener has port {port}; there are {}: put one in the URL",
        ports.join(", ")
    )
}
