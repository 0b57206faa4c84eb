//! The operator: feeds the objects of a Kubernetes cluster to configd, writes statuses back, and turns
//! Gateways into worker pools. The only crate that talks to a Kubernetes API.
//!
//! ```text
//! cluster::watch ─▶ Mirror ─▶ feed ─── ObjectService ──▶ configd
//!                     │ ▲                                   │ StatusService
//!                     ▼ │                                   ▼
//!            gateway::reconcile                         statuses ─▶ `.status`
//! ```

mod agenda;
mod app;
mod certificates;
mod cluster;
mod configd;
mod connect;
mod covers;
mod error;
mod events;
mod feed;
mod gateway;
mod key;
mod kinds;
mod leaf;
mod lease;
mod metrics;
mod process;
mod retire;
mod statuses;
mod table;

pub use certificates::CertificateSecretsArgs;
pub use kinds::{KINDS, Kind};
pub use process::OperatorArgs;
pub use retire::RetireArgs;
