//! The export of spans over OTLP/gRPC, on a thread of its own.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use thiserror::Error;
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{Filtered, LevelFilter, Targets};
use tracing_subscriber::layer::Layer as _;
use tracing_subscriber::registry::LookupSpan;

/// The longest that the end of the process waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The parts of the exporter itself, whose spans would feed the export for ever.
const EXPORTER_TARGETS: [&str; 6] = [
    "h2",
    "hyper",
    "hyper_util",
    "tonic",
    "tower",
    "opentelemetry",
];

/// What the standard variables say, where they switch the export on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where spans go: kept for messages only, the exporter reads the variable itself.
    endpoint: String,
    /// A wire protocol that was asked for; only `grpc` is built in.
    protocol: Option<String>,
    /// Whether `OTEL_SERVICE_NAME` names the service.
    service_is_named: bool,
}

impl Settings {
    /// `None` when the export is off.
    ///
    /// Source: OpenTelemetry specification, "Environment Variable Specification".
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is = |name: &str, value: &str| {
            variable(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
        let protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
        Some(Self {
            endpoint,
            protocol,
            service_is_named: variable("OTEL_SERVICE_NAME").is_some(),
        })
    }
}

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub(super) enum ExportError {
    #[error("OTLP protocol `{0}` is not built in: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc")]
    Protocol(String),
    #[error("starting the export thread for {endpoint} failed")]
    Thread {
        endpoint: String,
        #[source]
        source: std::io::Error,
    },
    #[error("setting up the OTLP exporter for {endpoint} failed")]
    Build {
        endpoint: String,
        #[source]
        source: ExporterBuildError,
    },
}

/// A running export; dropping it sends what is buffered.
#[derive(Debug)]
pub(super) struct Export {
    provider: SdkTracerProvider,
    /// The exporter's own runtime, so that a flush never waits for the thread that it blocks.
    runtime: Option<Runtime>,
}

impl Export {
    pub(super) fn start(settings: &Settings, service_name: &str) -> Result<Self, ExportError> {
        if let Some(other) = settings.protocol.as_deref().filter(|name| *name != "grpc") {
            return Err(ExportError::Protocol(other.to_owned()));
        }
        let endpoint = settings.endpoint.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otlp-export")
            .enable_all()
            .build()
            .map_err(|source| ExportError::Thread {
                endpoint: endpoint.clone(),
                source,
            })?;
        let exporter = {
            let _entered = runtime.enter();
            SpanExporter::builder().with_tonic().build()
        };
        let exporter = exporter.map_err(|source| ExportError::Build { endpoint, source });
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(settings, service_name))
            .with_batch_exporter(exporter)
            .build();
        opentelemetry::global::set_tracer_provider(provider.clone());
        Ok(Self {
            provider,
            runtime: Some(runtime),
        })
    }

    /// The layer that turns spans of level `info` and above into OpenTelemetry's.
    pub(super) fn layer<S>(&self) -> Filtered<OpenTelemetryLayer<S, SdkTracer>, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let silent = EXPORTER_TARGETS.map(|target| (target, LevelFilter::OFF));
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(silent);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("tidegate"))
            .with_filter(filter)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
        if let Some(runtime) = self.runtime.take() {
            // Allowed in async code, unlike the runtime's own drop.
            runtime.shutdown_background();
        }
    }
}

/// Reads and writes `traceparent` and `tracestate` (W3C Trace Context) for the whole process.
pub(super) fn install_propagator() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
}

fn resource(settings: &Settings, service_name: &str) -> Resource {
    let builder = Resource::builder();
    if settings.service_is_named {
        return builder.build();
    }
    builder.with_service_name(service_name.to_owned()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Option<Settings> {
        Settings::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert_eq!(settings(&[("OTEL_SERVICE_NAME", "edge")]), None);
    }

    #[test]
    fn the_endpoint_of_traces_wins_over_the_common_one() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
        let settings = settings(&[ENDPOINT, own]).expect("switched on");
        assert_eq!(settings.endpoint, "http://traces:4317");
    }

    #[test]
    fn the_standard_switches_turn_the_export_off() {
        assert_eq!(settings(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(
            settings(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]),
            None
        );
    }

    #[test]
    fn a_protocol_that_is_not_built_in_is_named() {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let settings = settings(&[ENDPOINT, protocol]).expect("switched on");
        let error = Export::start(&settings, "test").expect_err("only grpc is built in");
        assert!(error.to_string().contains("`http/protobuf`"), "{error}");
    }
}
