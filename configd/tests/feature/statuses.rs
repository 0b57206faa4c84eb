//! Statuses follow the compiler and the workers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, FakeWorker, delete, shop};

fn condition(owner: &Value, wanted: &str) -> (Value, Value) {
    let conditions = owner["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions
        .into_iter()
        .find(|condition| condition["type"] == wanted);
    let found = found.unwrap_or(Value::Null);
    (found["status"].clone(), found["reason"].clone())
}

async fn until(bench: &Bench, wanted: Value) -> bool {
    for _ in 0..200 {
        if condition(&bench.status("Gateway", "web").await, "Programmed").0 == wanted {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn programmed_means_that_the_workers_serve_it() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let gateway = bench.status("Gateway", "web").await;
    assert_eq!(condition(&gateway, "Accepted").0, json!("True"));
    assert_eq!(
        condition(&gateway, "Programmed"),
        (json!("False"), json!("Pending"))
    );
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    worker.ack(&update).await;
    assert!(until(&bench, json!("True")).await);
    let second = FakeWorker::connect(&bench, "two", None).await;
    assert!(
        until(&bench, json!("False")).await,
        "a new worker does not serve it yet"
    );
    drop(second);
    assert!(until(&bench, json!("True")).await);
}

#[tokio::test]
async fn a_missing_service_is_a_condition_of_its_route_alone() {
    let (bench, _dir) = Bench::temporary().await;
    bench.apply(&shop()).await;
    let gone = bench.try_apply(vec![delete(&shop()[2])]).await.unwrap();
    bench.compiled(gone.revision).await;
    let route = bench.status("HTTPRoute", "cart").await;
    let parent = &route["parents"][0];
    assert_eq!(condition(parent, "Accepted").0, json!("True"));
    assert_eq!(
        condition(parent, "ResolvedRefs"),
        (json!("False"), json!("BackendNotFound"))
    );
    let gateway = bench.status("Gateway", "web").await;
    assert_eq!(condition(&gateway, "Accepted").0, json!("True"));
}
