//! Traces: the backend's parent is the worker's span, in the client's trace.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tidegate_ir::Part;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::backend::Echo;
use crate::support::client::{request, send};
use crate::support::configd::snapshot;
use crate::support::parts::{backend, listener, route, to};
use crate::support::{Running, Setup};

const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn traceparent_at_backend(traces: bool) -> String {
    let echo = Echo::start("a").await;
    let running = Running::start_with(Setup {
        traces,
        ..Setup::default()
    })
    .await;
    let parts = [
        Part::Listener(listener()),
        Part::Route(route("r", vec![to("/", "a")])),
    ];
    let parts = parts.into_iter().chain(backend("a", &[echo.address]));
    running.configd.apply(&snapshot(1, parts)).await;
    let asked = request("GET", "h", "/").header("traceparent", SENT);
    send(
        running.address("http"),
        asked.body(Default::default()).unwrap(),
    )
    .await;
    echo.last().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_trace_goes_on_with_the_workers_span_and_untouched_without_export() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing_subscriber::registry().with(layer).init();

    assert_eq!(traceparent_at_backend(false).await, SENT);
    let passed_on = traceparent_at_backend(true).await;
    assert_ne!(passed_on, SENT);
    assert_eq!(passed_on[..36], SENT[..36], "the trace is the client's");
    assert!(passed_on.ends_with("-01"), "{passed_on}");
}
