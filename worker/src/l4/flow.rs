//! One connection of layer 4: what is remembered of it for the metrics and the access log.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_ir::PartName;
use tidegate_router::{L4Listener, L4Target};

use crate::l4::relay::{End, Passed};
use crate::metrics::FlowSeries;
use crate::thread::Thread;
use crate::upstream::Upstream;

/// A connection in progress; dropping it ends it, whatever the way.
#[derive(Debug)]
pub(crate) struct Flow {
    thread: Rc<Thread>,
    pub(crate) record: Record,
    /// What the client connected to, where somebody in front has told.
    pub(crate) destination: Option<SocketAddr>,
    series: Option<Arc<FlowSeries>>,
}

/// What is remembered of a connection.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) client: SocketAddr,
    pub(crate) protocol: Protocol,
    /// From the ClientHello.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) snapshot_version: u64,
    pub(crate) listener: Option<Arc<L4Listener>>,
    pub(crate) target: Option<Arc<L4Target>>,
    pub(crate) backend: Option<PartName>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// Why it ended otherwise than by the last word of both sides.
    pub(crate) reason: Option<&'static str>,
    /// Endpoints that were tried beyond the first.
    pub(crate) retries: u32,
    /// From the client.
    pub(crate) received_bytes: u64,
    /// To the client.
    pub(crate) sent_bytes: u64,
    /// UDP only.
    pub(crate) datagrams: Option<Datagrams>,
    /// From the start of the first attempt at an endpoint to the connection.
    pub(crate) connect: Option<Duration>,
}

/// Datagrams of a flow.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// From the client.
    pub(crate) received: u64,
    /// To the client.
    pub(crate) sent: u64,
}

/// What a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    /// TCP that is told apart by the server name of its TLS.
    Tls,
    /// Datagrams.
    Udp,
}

impl Flow {
    pub(crate) fn start(
        thread: &Rc<Thread>,
        protocol: Protocol,
        client: SocketAddr,
        snapshot_version: u64,
    ) -> Self {
        Self {
            thread: thread.clone(),
            record: Record::start(protocol, client, snapshot_version, Instant::now()),
            destination: None,
            series: None,
        }
    }

    /// Where it goes is settled: from now on it counts among the open ones.
    pub(crate) fn routed(&mut self) {
        let series = self.thread.metrics.flows(&self.record);
        series.opened();
        self.series = Some(series);
    }

    pub(crate) fn thread(&self) -> &Rc<Thread> {
        &self.thread
    }

    /// An endpoint was left out because this flow, among others, did not get a connection.
    pub(crate) fn ejected(&self, upstream: &Upstream) {
        self.thread
            .metrics
            .backend(&upstream.backend.name)
            .ejected();
    }

    /// So many bytes more were passed on.
    pub(crate) fn passed(&mut self, passed: Passed) {
        self.record.received_bytes += passed.to_backend;
        self.record.sent_bytes += passed.to_client;
        if let Some(series) = &self.series {
            series.passed(passed.to_backend, passed.to_client);
        }
    }

    pub(crate) fn ended(&mut self, end: End) {
        self.record.reason = match end {
            End::Closed => None,
            End::ClientReset => Some("client_reset"),
            End::BackendReset => Some("backend_reset"),
            End::Idle => Some("idle_timeout"),
        };
    }
}

impl Record {
    pub(crate) fn start(
        protocol: Protocol,
        client: SocketAddr,
        snapshot_version: u64,
        now: Instant,
    ) -> Self {
        Self {
            started: now,
            client,
            protocol,
            server_name: None,
            snapshot_version,
            listener: None,
            target: None,
            backend: None,
            endpoint: None,
            // What ends it without a word is the end of the worker.
            reason: Some("shut_down"),
            retries: 0,
            received_bytes: 0,
            sent_bytes: 0,
            datagrams: (protocol == Protocol::Udp).then(Datagrams::default),
            connect: None,
        }
    }
}

impl Protocol {
    /// Its name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if self.series.is_none() {
            self.routed();
        }
        if let Some(series) = &self.series {
            series.closed();
        }
        self.thread.metrics.flow_ended(&self.record);
        if let Some(log) = &self.thread.access_log {
            log.write_flow(&self.record);
        }
    }
}
