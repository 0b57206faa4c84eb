//! Process metrics under Prometheus' conventional names, read from `/proc` at every scrape.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::memory;

/// Clock ticks per second in `/proc/<pid>/stat`: part of Linux' ABI (`USER_HZ`) on every
/// architecture that Tidegate builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the running process at each scrape; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = memory::resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            let help = "Memory held in RAM.";
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?)?;
        }
        if let Some(count) = open_files() {
            let gauge = ConstGauge::new(count);
            let help = "Open file descriptors.";
            gauge.encode(encoder.encode_descriptor(
                "process_open_fds",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        if let Some(times) = Times::read() {
            times.encode(&mut encoder)?;
        }
        Ok(())
    }
}

/// The times of `/proc/self/stat`, in seconds.
struct Times {
    cpu: f64,
    started_since_epoch: f64,
}

impl Times {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let kernel = fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&stat, &kernel)
    }

    /// See proc_pid_stat(5); the second field is a name in parentheses that may contain spaces.
    fn parse(stat: &str, kernel: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let booted = kernel
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        Some(Self {
            cpu: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
            started_since_epoch: booted.trim().parse::<f64>().ok()? + ticks(22)? / TICKS_PER_SECOND,
        })
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = ConstCounter::new(self.cpu);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu",
            "Processor time used, user and system.",
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?)?;
        let started = ConstGauge::new(self.started_since_epoch);
        started.encode(encoder.encode_descriptor(
            "process_start_time",
            "When the process started, since the Unix epoch.",
            Some(&Unit::Seconds),
            started.metric_type(),
        )?)
    }
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_conventional_names_are_used() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let mut scrape = String::new();
        text::encode(&mut scrape, &registry).expect("a String takes all");
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            let value = scrape
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                .unwrap_or_else(|| panic!("{name} is missing in {scrape}"));
            let value: f64 = value.parse().expect("a number");
            assert!(value >= 0.0, "{name} is {value}");
        }
    }

    #[test]
    fn a_process_name_with_spaces_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 12300 0 0";
        let times = Times::parse(stat, "cpu 1\nbtime 1000\n").expect("well formed");
        assert!((times.cpu - 3.0).abs() < 1e-9);
        assert!((times.started_since_epoch - 1123.0).abs() < 1e-9);
    }
}
