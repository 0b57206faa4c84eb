//! Counting the datagrams that go no further, by port.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{ThreadMetrics, WorkerMetrics, add, lock};
use crate::l4::udp::Dropped;

/// A UDP port on one thread, which alone writes it.
#[derive(Debug, Default)]
pub(crate) struct UdpPortCounts {
    /// By the number of [`Dropped`].
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl UdpPortCounts {
    /// Counts datagrams that went no further.
    pub(crate) fn dropped(&self, reason: Dropped, datagrams: u64) {
        add(&self.dropped[reason as usize], datagrams);
    }
}

impl ThreadMetrics {
    /// The counts of a UDP port.
    pub(crate) fn udp_port(&self, bind_port: u16) -> Arc<UdpPortCounts> {
        let mut ports = lock(&self.shared.udp_ports);
        ports.entry(bind_port).or_default().clone()
    }
}

impl WorkerMetrics {
    pub(super) fn encode_udp(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut totals: BTreeMap<(u16, &str), u64> = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (port, counts) in lock(&thread.shared.udp_ports).iter() {
                for reason in Dropped::ALL {
                    let dropped = counts.dropped[reason as usize].load(Ordering::Relaxed);
                    *totals.entry((*port, reason.reason())).or_default() += dropped;
                }
            }
        }
        let (name, help) = (
            "udp_datagrams_dropped",
            "Datagrams that went no further, by the listeners' port",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((port, reason), dropped) in totals.into_iter().filter(|(_, dropped)| *dropped > 0) {
            let labels = [("port", port.to_string()), ("reason", reason.to_owned())];
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&dropped, None)?;
        }
        Ok(())
    }
}
