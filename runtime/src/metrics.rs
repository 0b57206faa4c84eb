//! The process's metrics: one registry that every part adds to and the admin port encodes.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

mod process;

/// The registry of one process; clones share it.
///
/// Values are updated without the lock (a metric is a handle of its own); only registering and
/// scraping take it.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    prefix: Arc<str>,
}

impl Metrics {
    /// A registry with `<prefix>_build_info{service, version}` and the process metrics of
    /// Prometheus' conventions (memory, open files, processor time, start time).
    pub fn new(prefix: &str, service: &str, version: &str) -> Self {
        let metrics = Self {
            registry: Arc::default(),
            prefix: Arc::from(prefix),
        };
        let labels = vec![
            ("service".to_owned(), service.to_owned()),
            ("version".to_owned(), version.to_owned()),
        ];
        metrics.register(|registry| {
            registry.register("build", "Which build this is", Info::new(labels));
        });
        metrics.register_conventional(|registry| {
            registry.register_collector(Box::new(process::ProcessCollector));
        });
        metrics
    }

    /// Adds metrics whose names get the prefix: whatever no convention names.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        add(registry.sub_registry_with_prefix(&self.prefix))
    }

    /// Adds metrics without the prefix: those that a convention names, such as OpenTelemetry's
    /// `http.server.request.duration`.
    pub fn register_conventional<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut registry)
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing into a String does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn own_metrics_carry_the_prefix_and_conventional_ones_do_not() {
        let metrics = Metrics::new("tidegate", "worker", "1.2.3");
        let counter: Counter = Counter::default();
        metrics.register(|registry| registry.register("acks", "Acks", counter.clone()));
        metrics.register_conventional(|registry| {
            registry.register("http_requests", "Requests", counter.clone());
        });
        counter.inc();
        let text = metrics.encode();
        assert!(text.contains("tidegate_acks_total 1\n"), "{text}");
        assert!(text.contains("\nhttp_requests_total 1\n"), "{text}");
    }

    #[test]
    fn the_build_and_the_process_are_described() {
        let text = Metrics::new("tidegate", "worker", "1.2.3").encode();
        let build = "tidegate_build_info{service=\"worker\",version=\"1.2.3\"} 1";
        assert!(text.contains(build), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
