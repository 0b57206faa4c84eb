//! Gateway API objects in, snapshots, statuses and findings out: pure, total and deterministic.
//!
//! What a user got wrong is a condition of the object or a [`Diagnostic`], never an error of the
//! compiler. No clock, no I/O: equal objects give equal bytes, in whatever order they come.

mod address;
mod api;
mod backend_object;
mod backends;
mod codes;
mod competition;
mod compile;
mod diagnostic;
mod duration;
mod endpoints;
mod features;
mod frontend;
mod gateway;
mod gateway_class;
mod grants;
mod key_match;
mod listener;
mod listener_set;
mod objects;
mod output;
mod parameters;
mod policy;
mod read;
mod route;
mod rules;
mod secret;
mod service;
mod session;
mod status;
mod tls;
mod totals;
mod trust;
mod x_backend;

pub use codes::{CODES, Code, explain_code};
pub use compile::{Compilation, Compiler, Pooling, Settings, compile};
pub use diagnostic::{Diagnostic, Severity};
pub use features::SUPPORTED_FEATURES;
pub use objects::{Object, ObjectKey, is_known};
pub use output::{AllStatuses, Parts};
pub use read::{Checked, InvalidField, check, check_named, validate};
pub use status::{BoundPort, ObjectStatus, ShownCertificate, StatusText};
