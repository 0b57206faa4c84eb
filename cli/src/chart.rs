//! The Helm chart inside of the binary, and what it renders to without Helm.

mod files;
mod functions;
mod merge;
mod render;
mod schema;
mod values;

pub(crate) use render::{Release, render};
pub(crate) use values::{Values, parse_setting};

/// The chart's `values.yaml`: every value with its default, and what it means.
pub(crate) const DEFAULTS: &str = files::VALUES;
