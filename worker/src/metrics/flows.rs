//! Counting connections of layer 4, by where they go and why they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;

use super::{SERIES_MAX, ThreadMetrics, add, lock};
use crate::l4::Record;

/// What a series is about; bounded by the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct FlowKey {
    protocol: &'static str,
    gateway_namespace: Arc<str>,
    gateway: Arc<str>,
    listener: Arc<str>,
    route_kind: &'static str,
    route_namespace: Arc<str>,
    route: Arc<str>,
    backend: Arc<str>,
}

/// Flows that ended for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct EndKey {
    #[prometheus(flatten)]
    flow: FlowKey,
    /// `none` where both sides said their last.
    reason: &'static str,
}

/// The flows of one series. One thread writes, so a load and a store are enough.
#[derive(Debug, Default)]
pub(crate) struct FlowSeries {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    /// From clients.
    pub(super) received_bytes: AtomicU64,
    /// To clients.
    pub(super) sent_bytes: AtomicU64,
    /// UDP only; directions as above.
    pub(super) received_datagrams: AtomicU64,
    pub(super) sent_datagrams: AtomicU64,
}

impl ThreadMetrics {
    /// The series of a flow whose way is settled.
    pub(crate) fn flows(&self, record: &Record) -> Arc<FlowSeries> {
        let key = FlowKey::of(record);
        let mut flows = lock(&self.shared.flows);
        if let Some(known) = flows.get(&key) {
            return known.clone();
        }
        let has_room = flows.len() < SERIES_MAX;
        let key = if has_room { key } else { FlowKey::overflow() };
        flows.entry(key).or_default().clone()
    }

    /// A flow has ended.
    pub(crate) fn flow_ended(&self, record: &Record) {
        let reason = record.reason.unwrap_or("none");
        let key = |flow| EndKey { flow, reason };
        let wanted = key(FlowKey::of(record));
        let mut ended = lock(&self.shared.flows_ended);
        let has_room = ended.len() < SERIES_MAX || ended.contains_key(&wanted);
        let wanted = if has_room {
            wanted
        } else {
            key(FlowKey::overflow())
        };
        *ended.entry(wanted).or_default() += 1;
    }
}

impl FlowSeries {
    pub(crate) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn closed(&self) {
        add(&self.closed, 1);
    }

    /// So many bytes more came from the client, and went to it.
    pub(crate) fn passed(&self, received: u64, sent: u64) {
        add(&self.received_bytes, received);
        add(&self.sent_bytes, sent);
    }

    /// So many datagrams more came from the client, and went to it.
    pub(crate) fn passed_datagrams(&self, received: u64, sent: u64) {
        add(&self.received_datagrams, received);
        add(&self.sent_datagrams, sent);
    }
}

impl FlowKey {
    fn of(record: &Record) -> Self {
        let mut key = Self::overflow();
        key.protocol = record.protocol.name();
        key.route = "__unmatched__".into();
        if let Some(listener) = &record.listener {
            let listener = &listener.listener;
            key.gateway_namespace = listener.gateway.namespace.clone();
            key.gateway = listener.gateway.name.clone();
            key.listener = listener.section_name.clone();
        }
        if let Some(target) = &record.target {
            key.route_kind = target.kind.object_kind();
            key.route_namespace = target.route.namespace.clone();
            key.route = target.route.name.clone();
        }
        if let Some(backend) = &record.backend {
            key.backend = backend.clone();
        }
        key
    }

    fn overflow() -> Self {
        let empty: Arc<str> = "".into();
        Self {
            protocol: "",
            gateway_namespace: empty.clone(),
            gateway: empty.clone(),
            listener: empty.clone(),
            route_kind: "",
            route_namespace: empty.clone(),
            route: "__overflow__".into(),
            backend: empty,
        }
    }
}

/// The sum of a series over all threads.
#[derive(Debug, Default)]
pub(super) struct FlowTotal {
    pub(super) open: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_datagrams: u64,
    pub(super) sent_datagrams: u64,
}

impl FlowTotal {
    pub(super) fn add(&mut self, series: &FlowSeries) {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        // In this order, so that a flow that ends meanwhile is not counted off before it was counted on.
        let closed = read(&series.closed);
        self.open += read(&series.opened).saturating_sub(closed);
        self.received_bytes += read(&series.received_bytes);
        self.sent_bytes += read(&series.sent_bytes);
        self.received_datagrams += read(&series.received_datagrams);
        self.sent_datagrams += read(&series.sent_datagrams);
    }
}
