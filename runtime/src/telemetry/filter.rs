//! The log filter of a running process, changeable without a restart.

use thiserror::Error;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// A handle on the log filter; clones change the same filter.
#[derive(Debug, Clone)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// A log filter that does not parse.
#[derive(Debug, Error)]
#[error("`{directives}` is no log filter: use a level such as `info`, or `info,<target>=debug`")]
pub struct InvalidFilter {
    directives: String,
    #[source]
    source: ParseError,
}

impl LogFilter {
    pub(super) fn new(
        directives: &str,
    ) -> Result<(Self, reload::Layer<EnvFilter, Registry>), InvalidFilter> {
        let (layer, handle) = reload::Layer::new(parse(directives)?);
        Ok((Self { handle }, layer))
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// When `directives` does not parse; the old filter stays.
    pub fn set(&self, directives: &str) -> Result<(), InvalidFilter> {
        let filter = parse(directives)?;
        // It fails only when the subscriber is gone, and then nobody logs.
        let _ = self.handle.reload(filter);
        Ok(())
    }

    /// The filter in force, in the form that [`LogFilter::set`] takes; empty when logging ended.
    pub fn current(&self) -> String {
        self.handle
            .with_current(ToString::to_string)
            .unwrap_or_default()
    }
}

fn parse(directives: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| InvalidFilter {
            directives: directives.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_filter_takes_the_old_ones_place() {
        let (filter, _layer) = LogFilter::new("info").expect("valid");
        filter.set("debug").expect("valid");
        assert_eq!(filter.current(), "debug");
    }

    #[test]
    fn a_broken_filter_changes_nothing() {
        let (filter, _layer) = LogFilter::new("info").expect("valid");
        assert!(filter.set("a=b=c").is_err());
        assert_eq!(filter.current(), "info");
    }
}
