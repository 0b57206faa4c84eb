//! Endpoints that fail in a row are left out for a while, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_ir::{Backend, Ejection, ObjectName, Part};

use crate::support::Running;
use crate::support::backend::Echo;
use crate::support::client::get;
use crate::support::parts::{backend, to};
use crate::support::scripted::{Reply, Scripted};

#[tokio::test]
async fn a_failing_endpoint_is_left_out_and_comes_back_when_it_is_well() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let failing = Scripted::start(move |_, _| {
        let status = if is_broken.load(Ordering::SeqCst) {
            500
        } else {
            200
        };
        Reply::status(status)
    })
    .await;
    let good = Echo::start("good").await;
    let mut parts = backend("a", &[failing.address, good.address]);
    parts[0] = Part::Backend(Box::new(Backend {
        ejection: Some(Ejection {
            consecutive_errors: 2,
            base_ms: 3_000,
            max_percent: 50,
            panic_percent: 0,
        }),
        ..Backend::of_service("a", ObjectName::new("shop", "a"), 80)
    }));
    let running = Running::serving(vec![to("/", "a")], vec![parts]).await;
    let address = running.address("http");
    while failing.count() < 2 {
        get(address, "h", "/").await;
    }
    let counted = "tidegate_upstream_ejections_total{backend=\"a\"} 1";
    running.wait_for_metric(counted).await;
    broken.store(false, Ordering::SeqCst);
    let before = good.count();
    let mut served = 0;
    // All go to the good one until the ejection ends; then the other one has its turns again.
    while failing.count() < 3 {
        assert_eq!(get(address, "h", "/").await.status(), 200);
        served += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(served < 3_000, "the endpoint never came back");
    }
    assert!(served > 2, "the endpoint was not left out");
    assert_eq!(good.count() - before, served - 1);
}
