//! The access log: one JSON object per exchange or connection of layer 4 on stdout, written by a thread of its own.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use http::Version;
use serde::Serialize;

use crate::http::exchange::Record;
use crate::l4;
use crate::listen::ended::Ended;
use crate::metrics::WorkerMetrics;

/// How long lines wait at most while there are many.
const REST: Duration = Duration::from_millis(1);

/// Where the lines of the access log go.
#[derive(Debug, Clone, Default)]
pub enum AccessLogTo {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Standard output, by a thread of its own.
    Stdout,
    /// Whoever holds the other end.
    Queue(SyncSender<Vec<u8>>),
}

/// Takes lines; clones share the queue. A full queue drops lines and counts them.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    metrics: WorkerMetrics,
}

/// One line; names follow OpenTelemetry's where it has them.
#[derive(Debug, Serialize)]
struct Line<'r> {
    time_unix_ms: u128,
    client: std::net::IpAddr,
    peer: std::net::SocketAddr,
    method: &'r str,
    scheme: &'static str,
    host: Option<&'r str>,
    path: Option<&'r str>,
    query: Option<&'r str>,
    protocol: &'static str,
    status: u16,
    reason: Option<&'r str>,
    gateway: Option<String>,
    listener: Option<&'r str>,
    route: Option<String>,
    rule: Option<&'r str>,
    backend: Option<&'r str>,
    endpoint: Option<std::net::SocketAddr>,
    retries: u32,
    response_bytes: u64,
    duration_us: u128,
    upstream_us: Option<u128>,
    snapshot_version: u64,
    user_agent: Option<&'r str>,
    request_id: Option<&'r str>,
}

/// The line of a connection of layer 4.
#[derive(Debug, Serialize)]
struct FlowLine<'r> {
    time_unix_ms: u128,
    client: std::net::IpAddr,
    peer: std::net::SocketAddr,
    protocol: &'static str,
    server_name: Option<&'r str>,
    reason: Option<&'r str>,
    gateway: Option<String>,
    listener: Option<&'r str>,
    route: Option<String>,
    rule: Option<&'r str>,
    backend: Option<&'r str>,
    endpoint: Option<std::net::SocketAddr>,
    retries: u32,
    received_bytes: u64,
    sent_bytes: u64,
    received_datagrams: Option<u64>,
    sent_datagrams: Option<u64>,
    duration_us: u128,
    connect_us: Option<u128>,
    snapshot_version: u64,
}

/// The line of a connection that ended before its time, without a request.
#[derive(Debug, Serialize)]
struct EndedLine {
    time_unix_ms: u128,
    client: std::net::IpAddr,
    peer: std::net::SocketAddr,
    bind_port: u16,
    reason: &'static str,
}

impl AccessLog {
    /// Starts the writer, which ends with the last clone; `None` where no log is wanted.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        to: AccessLogTo,
        queue_max: usize,
        metrics: WorkerMetrics,
    ) -> io::Result<Option<Self>> {
        let lines = match to {
            AccessLogTo::Nowhere => return Ok(None),
            AccessLogTo::Queue(lines) => lines,
            AccessLogTo::Stdout => {
                let (lines, queue) = sync_channel(queue_max);
                std::thread::Builder::new()
                    .name("access-log".to_owned())
                    .spawn(move || write_lines(&queue, io::stdout()))?;
                lines
            }
        };
        Ok(Some(Self { lines, metrics }))
    }

    /// Writes the line of a connection that ended before its time.
    pub(crate) fn write_ended(&self, bind_port: u16, peer: std::net::SocketAddr, ended: Ended) {
        self.write_line(&EndedLine {
            time_unix_ms: unix_ms(),
            client: peer.ip().to_canonical(),
            peer,
            bind_port,
            reason: ended.reason(),
        });
    }

    /// Writes the line of an exchange.
    pub(crate) fn write(&self, record: &Record, duration: Duration) {
        self.write_line(&Line::of(record, duration));
    }

    /// Writes the line of a connection of layer 4 that ends now.
    pub(crate) fn write_flow(&self, record: &l4::Record) {
        self.write_line(&FlowLine::of(record));
    }

    fn write_line(&self, line: &impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(line) else {
            return;
        };
        line.push(b'\n');
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(line)
        {
            self.metrics.log_line_dropped();
        }
    }
}

impl<'r> Line<'r> {
    fn of(record: &'r Record, duration: Duration) -> Self {
        let details = record.details.as_deref();
        let text = |value: &'r Option<http::HeaderValue>| value.as_ref()?.to_str().ok();
        let listener = record.listener.as_ref().map(|listener| &listener.listener);
        Self {
            time_unix_ms: unix_ms(),
            client: record.client.ip().to_canonical(),
            peer: record.peer,
            method: record.method.as_str(),
            scheme: if record.tls { "https" } else { "http" },
            host: details.and_then(|details| text(&details.host)),
            path: details.map(|details| details.uri.path()),
            query: details.and_then(|details| details.uri.query()),
            protocol: protocol(record.version),
            status: record.status,
            reason: record.reason,
            gateway: listener.map(|listener| listener.gateway.to_string()),
            listener: listener.map(|listener| &*listener.section_name),
            route: record.rule.as_ref().map(|rule| rule.route.to_string()),
            rule: record.rule.as_ref().map(|rule| &*rule.label),
            backend: record.backend.as_deref(),
            endpoint: record.endpoint,
            retries: record.retries,
            response_bytes: record.response_bytes,
            duration_us: duration.as_micros(),
            upstream_us: record.upstream.map(|upstream| upstream.as_micros()),
            snapshot_version: record.snapshot_version,
            user_agent: details.and_then(|details| text(&details.user_agent)),
            request_id: details.and_then(|details| text(&details.request_id)),
        }
    }
}

impl<'r> FlowLine<'r> {
    fn of(record: &'r l4::Record) -> Self {
        let listener = record.listener.as_ref().map(|listener| &listener.listener);
        let target = record.target.as_ref();
        Self {
            time_unix_ms: unix_ms(),
            client: record.client.ip().to_canonical(),
            peer: record.client,
            protocol: record.protocol.name(),
            server_name: record.server_name.as_deref(),
            reason: record.reason,
            gateway: listener.map(|listener| listener.gateway.to_string()),
            listener: listener.map(|listener| &*listener.section_name),
            route: target.map(|target| target.route.to_string()),
            rule: target.map(|target| &*target.rule),
            backend: record.backend.as_deref(),
            endpoint: record.endpoint,
            retries: record.retries,
            received_bytes: record.received_bytes,
            sent_bytes: record.sent_bytes,
            received_datagrams: record
                .datagrams
                .as_ref()
                .map(|datagrams| datagrams.received),
            sent_datagrams: record.datagrams.as_ref().map(|datagrams| datagrams.sent),
            duration_us: record.started.elapsed().as_micros(),
            connect_us: record.connect.map(|connect| connect.as_micros()),
            snapshot_version: record.snapshot_version,
        }
    }
}

fn unix_ms() -> u128 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_millis()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Flushes whenever the queue is empty, so that a quiet gateway's lines are seen at once. Then it rests: to wake it for
/// each line costs a data thread more than the line itself.
fn write_lines(queue: &Receiver<Vec<u8>>, out: impl Write) {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    while let Ok(line) = queue.recv() {
        let mut written = out.write_all(&line);
        while let Ok(line) = queue.try_recv() {
            written = written.and_then(|()| out.write_all(&line));
        }
        if written.and_then(|()| out.flush()).is_err() {
            // Whoever read the log is gone; the gateway serves on without.
            return;
        }
        std::thread::park_timeout(REST);
    }
}
