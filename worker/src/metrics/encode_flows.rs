//! The metrics of layer 4 in the exposition format.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::flows::{EndKey, FlowKey, FlowTotal};
use super::{WorkerMetrics, lock};

impl WorkerMetrics {
    fn flows(&self) -> BTreeMap<FlowKey, FlowTotal> {
        let mut totals: BTreeMap<FlowKey, FlowTotal> = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (key, series) in lock(&thread.shared.flows).iter() {
                totals.entry(key.clone()).or_default().add(series);
            }
        }
        totals
    }

    fn flows_ended(&self) -> BTreeMap<EndKey, u64> {
        let mut totals = BTreeMap::new();
        for thread in lock(&self.shared.threads).iter() {
            for (key, count) in lock(&thread.shared.flows_ended).iter() {
                *totals.entry(key.clone()).or_default() += count;
            }
        }
        totals
    }

    pub(super) fn encode_flows(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), fmt::Error> {
        let flows = self.flows();
        let help = "Open connections of layer 4";
        let mut family = encoder.encode_descriptor("flows", help, None, MetricType::Gauge)?;
        for (key, total) in &flows {
            family.encode_family(key)?.encode_gauge(&total.open)?;
        }
        for (name, help, read) in [
            (
                "flow_received_bytes",
                "Bytes of layer 4 that clients sent and backends got",
                (|total| total.received_bytes) as fn(&FlowTotal) -> u64,
            ),
            (
                "flow_sent_bytes",
                "Bytes of layer 4 that backends sent and clients got",
                |total| total.sent_bytes,
            ),
            (
                "flow_received_datagrams",
                "Datagrams that clients sent and backends got",
                |total| total.received_datagrams,
            ),
            (
                "flow_sent_datagrams",
                "Datagrams that backends sent and clients got",
                |total| total.sent_datagrams,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (key, total) in &flows {
                family
                    .encode_family(key)?
                    .encode_counter::<NoLabelSet, _, u64>(&read(total), None)?;
            }
        }
        let help = "Connections of layer 4 that ended, by the reason";
        let mut family =
            encoder.encode_descriptor("flows_ended", help, None, MetricType::Counter)?;
        for (key, count) in &self.flows_ended() {
            family
                .encode_family(key)?
                .encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        Ok(())
    }
}
