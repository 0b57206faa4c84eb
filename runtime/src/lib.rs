//! Process plumbing shared by every Tidegate binary: logs and traces, metrics, the admin port,
//! readiness, draining, tasks and backoff.
//!
//! Nothing here knows what a gateway is. A binary builds one [`telemetry::Telemetry`], one
//! [`metrics::Metrics`], one [`ready::Readiness`] and one [`drain::Drain`], hands clones of them to
//! its parts, and serves them to operators through [`admin::AdminServer`].

pub mod admin;
pub mod backoff;
pub mod descriptors;
pub mod drain;
pub mod error;
pub mod identity;
pub mod memory;
pub mod metrics;
pub mod ready;
pub mod seal;
pub mod tasks;
pub mod telemetry;
