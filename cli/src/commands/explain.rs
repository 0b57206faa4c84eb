//! `tidegate explain`: what happens to a request, connection or datagram, and why nothing else does.

mod flow;
mod report;
mod target;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tidegate_codec::path::{PathRules, normalize};
use tidegate_ir::{Listener, ListenerProtocol, Snapshot};
use tidegate_router::{RequestHead, SniDecision, Table, explain, host_of};

use self::flow::{Flow, Told};
use super::write_out;
use crate::api::ServerArgs;
use crate::offline::Offline;
use crate::style::Style;

const EXAMPLES: &str = "\
Examples:
  tidegate explain GET http://shop.example.com/cart -f manifests/
  tidegate explain GET http://localhost:8080/cart -H 'x-canary: always'
  tidegate explain POST https://shop.example.com:8443/orders --server http://127.0.0.1:15010
  tidegate explain tls://db.example.com:5432
  tidegate explain tcp://:5432
  tidegate explain udp://:53
";

/// Which request.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// Method of a request, such as GET; or a connection or datagram, such as tls://db.example.com:5432,
    /// tcp://:5432 or udp://:53
    #[arg(value_name = "METHOD|FLOW")]
    what: String,
    /// URL with scheme and host: http://shop.example.com/cart?size=2
    url: Option<Uri>,
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

/// What the user asks about.
enum Asked {
    Request(Request),
    Flow(Flow),
}

/// A request as the user describes it.
struct Request {
    method: Method,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    /// The server name of its ClientHello, for HTTPS.
    server_name: Option<String>,
}

/// What is asked about, and where that was read.
struct Source {
    snapshot: Snapshot,
    origin: String,
    /// The name of each listener and the port of its socket, as the workers say.
    bound: Vec<(String, u16)>,
}

/// Explains the request, connection or datagram.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let asked = Asked::parse(&args)?;
    let source = Source::read(&args).await?;
    let bind_port = source.bind_port(&asked)?;
    let table = Table::build(&source.snapshot, None);
    let url = args.url.as_ref().map(|url| format!(" {url}"));
    let told = Told {
        snapshot: &source.snapshot,
        table: &table,
        title: &format!("{}{}", args.what, url.unwrap_or_default()),
        origin: &source.origin,
    };
    let style = Style::stdout();
    let text = match &asked {
        Asked::Flow(flow) => flow.text(&told, bind_port, style),
        Asked::Request(request) => request.text(&told, bind_port, style)?,
    };
    Ok(write_out(&text)?)
}

impl Asked {
    fn parse(args: &ExplainArgs) -> anyhow::Result<Self> {
        let Some(url) = &args.url else {
            return Ok(Self::Flow(Flow::parse(&args.what)?));
        };
        let method = args.what.parse();
        let method = method.with_context(|| format!("\"{}\" is no method", args.what))?;
        Ok(Self::Request(Request::parse(method, url, &args.headers)?))
    }

    fn port(&self) -> u16 {
        match self {
            Self::Request(request) => request.port,
            Self::Flow(flow) => flow.port,
        }
    }

    /// Whether it can arrive at such a listener at all: TCP and UDP have ports of their own.
    fn can_reach(&self, listener: &Listener) -> bool {
        match self {
            Self::Request(_) => listener.protocol != ListenerProtocol::Udp,
            Self::Flow(flow) => flow.can_reach(listener),
        }
    }
}

impl Source {
    async fn read(args: &ExplainArgs) -> anyhow::Result<Self> {
        if args.files.is_empty() {
            let api = args.server.connect().await?;
            let (info, snapshot) = api.snapshot(&args.pool, args.version).await?;
            let version = info.id.map_or(0, |id| id.version);
            return Ok(Self {
                snapshot,
                origin: format!("snapshot {version} (last change: {})", info.cause),
                bound: bound_ports(&api.list_workers().await?),
            });
        }
        let offline = Offline::load(&args.files)?;
        for finding in &offline.contents.findings {
            eprintln!("{}", super::lint::line(finding, Style::stderr()));
        }
        Ok(Self {
            snapshot: offline.snapshot(),
            origin: "the files as they are now".to_owned(),
            bound: Vec::new(),
        })
    }

    /// The port by which the snapshot knows the port of the URL: what a worker really bound counts before
    /// what the Gateway asks for.
    fn bind_port(&self, asked: &Asked) -> anyhow::Result<u16> {
        let port = asked.port();
        let listeners = || {
            let all = self.snapshot.listeners();
            all.filter(|listener| asked.can_reach(listener))
        };
        let by_socket = || {
            let mut bound = self.bound.iter().filter(|(_, socket)| *socket == port);
            bound.find_map(|(name, _)| listeners().find(|listener| *listener.name == **name))
        };
        let by_spec = || listeners().find(|listener| listener.port == port);
        if let Some(listener) = by_socket().or_else(by_spec) {
            return Ok(listener.bind_port);
        }
        let mut ports: Vec<_> = listeners().map(|listener| listener.port).collect();
        let bound = self
            .bound
            .iter()
            .filter(|(name, _)| listeners().any(|listener| *listener.name == **name));
        ports.extend(bound.map(|(_, port)| *port));
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            bail!(
                "there is no listener; `tidegate lint` says why, and a Gateway is what is needed"
            );
        }
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        bail!(
            "no listener has port {port}; there are {}: put one in the URL",
            ports.join(", ")
        )
    }
}

impl Request {
    fn parse(method: Method, url: &Uri, given: &[String]) -> anyhow::Result<Self> {
        let Some(authority) = url.authority() else {
            bail!("{url} has no host; write it as http://shop.example.com/cart");
        };
        let mut headers = HeaderMap::new();
        for header in given {
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
        let https = url.scheme_str() == Some("https");
        let default_port = if https { 443 } else { 80 };
        Ok(Self {
            method,
            host: host_of(given_host.unwrap_or(authority.as_str())).into_owned(),
            port: url.port_u16().unwrap_or(default_port),
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            headers,
            server_name: https.then(|| authority.host().to_owned()),
        })
    }

    fn text(&self, told: &Told<'_>, bind_port: u16, style: Style) -> anyhow::Result<String> {
        if let Some(name) = &self.server_name
            && let Some(port) = told.table.l4().tls(bind_port)
            && !matches!(port.decide(Some(name)), SniDecision::Https)
        {
            // The ClientHello leads elsewhere, so the request is never read.
            return Ok(Flow::of_https(name, self.port).text(told, bind_port, style));
        }
        let path = normalize(&self.path, path_rules(told.snapshot, bind_port));
        let head = RequestHead {
            method: &self.method,
            host: &self.host,
            path: &path.with_context(|| format!("the path of {}", told.title))?,
            query: self.query.as_deref(),
            headers: &self.headers,
        };
        let report = report::Report {
            snapshot: told.snapshot,
            explanation: &explain(told.table, bind_port, &head),
        };
        Ok(report.text(told.title, told.origin, style))
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
