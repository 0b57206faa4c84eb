//! Logs to stderr and, where the standard `OTEL_*` variables ask for it, traces over OTLP.

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as log_format, reload};

pub use filter::{InvalidFilter, LogFilter};

mod filter;
mod otlp;

/// The variable that sets the log filter; it wins over `RUST_LOG`.
pub const LOG_VARIABLE: &str = "TIDEGATE_LOG";

/// What a binary decides about its logs and traces; the environment decides the rest.
#[derive(Debug, Clone)]
pub struct TelemetryOptions {
    /// The service's name in traces, such as `tidegate-worker`; `OTEL_SERVICE_NAME` wins.
    pub service_name: String,
    /// The form of a log line.
    pub log_format: LogFormat,
    /// The filter where neither `TIDEGATE_LOG` nor `RUST_LOG` is set, such as `info,openraft=warn`.
    pub default_filter: String,
}

/// The form of a log line on stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// The process's telemetry; dropping it sends what is still buffered, for at most three seconds.
#[must_use = "dropping it ends the export of traces"]
#[derive(Debug)]
pub struct Telemetry {
    filter: LogFilter,
    export: Option<otlp::Export>,
}

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// A log filter from the environment or the options does not parse.
    #[error("log filter from {origin}")]
    Filter {
        /// Where the filter came from: a variable's name or `the default`.
        origin: &'static str,
        /// What is wrong with it.
        #[source]
        source: InvalidFilter,
    },
    /// Another subscriber is installed already: `init` was called twice.
    #[error("installing the log subscriber failed")]
    Install(#[source] TryInitError),
}

impl Telemetry {
    /// Installs the process's subscriber and the W3C Trace Context propagator.
    ///
    /// Traces are exported when `OTEL_EXPORTER_OTLP_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, unless `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`. An exporter that cannot be built is a warning, not an error: a
    /// proxy must not stay down because of its traces.
    ///
    /// # Errors
    /// When the log filter does not parse or a subscriber is installed already.
    pub fn init(options: &TelemetryOptions) -> Result<Self, TelemetryError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (filter, filter_layer) = log_filter(options, variable)?;
        let export = otlp::Settings::from_variables(variable)
            .map(|settings| otlp::Export::start(&settings, &options.service_name));
        let (export, failure) = match export {
            Some(Ok(export)) => (Some(export), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        tracing_subscriber::registry()
            .with(log_layer(options.log_format).with_filter(filter_layer))
            .with(export.as_ref().map(otlp::Export::layer))
            .try_init()
            .map_err(TelemetryError::Install)?;
        otlp::install_propagator();
        if let Some(failure) = failure {
            let cause = std::error::Error::source(&failure).map(ToString::to_string);
            tracing::warn!(cause, "{failure}; traces are not exported");
        }
        Ok(Self { filter, export })
    }

    /// The handle that changes the log filter of the running process.
    pub fn log_filter(&self) -> LogFilter {
        self.filter.clone()
    }

    /// Whether spans leave the process: data planes make none otherwise.
    pub fn exports_traces(&self) -> bool {
        self.export.is_some()
    }
}

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(InvalidLogFormat(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// A word that is no [`LogFormat`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no log format: use text or json")]
pub struct InvalidLogFormat(String);

type FilterLayer = reload::Layer<EnvFilter, Registry>;

fn log_filter(
    options: &TelemetryOptions,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(LogFilter, FilterLayer), TelemetryError> {
    let (origin, directives) = [LOG_VARIABLE, "RUST_LOG"]
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)))
        .unwrap_or_else(|| ("the default", options.default_filter.clone()));
    LogFilter::new(&directives).map_err(|source| TelemetryError::Filter { origin, source })
}

fn log_layer(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = log_format::layer()
        .with_writer(std::io::stderr)
        .with_ansi(wants_color());
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

/// Files and collectors get no escape sequences, nor does who does not want them (<https://no-color.org>).
fn wants_color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TelemetryOptions {
        TelemetryOptions {
            service_name: "test".to_owned(),
            log_format: LogFormat::Text,
            default_filter: "warn".to_owned(),
        }
    }

    fn filter_with(variables: &[(&str, &str)]) -> Result<String, TelemetryError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        // The layer must outlive the handle that is asked.
        let (filter, _layer) = log_filter(&options(), variable)?;
        Ok(filter.current())
    }

    #[test]
    fn the_own_variable_wins_over_rust_log_and_the_default() {
        let both = [("RUST_LOG", "debug"), (LOG_VARIABLE, "trace")];
        assert_eq!(filter_with(&both).expect("valid"), "trace");
        assert_eq!(filter_with(&both[..1]).expect("valid"), "debug");
        assert_eq!(filter_with(&[]).expect("valid"), "warn");
    }

    #[test]
    fn a_broken_filter_names_its_variable() {
        let error = filter_with(&[(LOG_VARIABLE, "tide=loud")]).expect_err("loud is no level");
        assert_eq!(error.to_string(), "log filter from TIDEGATE_LOG");
        let source = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert!(source.contains("`tide=loud`"), "{source}");
    }

    #[test]
    fn log_formats_are_read_as_they_are_shown() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
