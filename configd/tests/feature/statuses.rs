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

/// A certificate that was valid in 1999.
const OLD_CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJSRENCNnFBREFnRUNBZ0VCTUFvR0NDcUdTTTQ5QkFNQ01BNHhEREFLQmdOVkJBTU1BMjlzWkRBZUZ3MDUKT1RBeE1ERXdNREF3TURCYUZ3MHdNREF4TURFd01EQXdNREJhTUE0eEREQUtCZ05WQkFNTUEyOXNaREJaTUJNRwpCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQkc4dDdvU3JnbTNOc05HUnMwY0pmMjVDS3FGUTdQZ2JRNERYCjFVYW96K2dXRVRpcHZmZ2lyeEd2VXdoSUpjaTJybWxSWTl3MTlXSWV3K3B2SFVSb2JzeWpPVEEzTUJZR0ExVWQKRVFRUE1BMkNDMjlzWkM1bGVHRnRjR3hsTUIwR0ExVWREZ1FXQkJScXk2eHZKWHZxb3A1QnY1NEJYN1Y3aVBRVApNVEFLQmdncWhrak9QUVFEQWdOSkFEQkdBaUVBdm9NZU8wTVdLcFRJbjdaUjlYRW83NjZjK21jUmR2UlRid1JaCjhTeGZVdXNDSVFDMmNaVXFxSGFGRE01ZlVXOVVUZFQzWjB1bUtLeUtqYUpOSVRZSytxVXJiUT09Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";
const OLD_KEY: &str = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0hBZ0VBTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEJHMHdhd0lCQVFRZzd1MHpYT0o5RnB3YTVlQnMKNVdVb2MyRlZ5Vm03cXBZVDJnbjJSdlJodEJHaFJBTkNBQVJ2TGU2RXE0SnR6YkRSa2JOSENYOXVRaXFoVU96NApHME9BMTlWR3FNL29GaEU0cWIzNElxOFJyMU1JU0NYSXRxNXBVV1BjTmZWaUhzUHFieDFFYUc3TQotLS0tLUVORCBQUklWQVRFIEtFWS0tLS0tCg==";

#[tokio::test]
async fn an_expired_certificate_is_a_condition_of_its_listener() {
    let (bench, _dir) = Bench::temporary().await;
    let mut objects = shop();
    objects[1]["spec"]["listeners"] = json!([{
        "name": "https", "port": 443, "protocol": "HTTPS", "hostname": "old.example",
        "tls": {"certificateRefs": [{"name": "old"}]},
    }]);
    objects.push(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "old", "namespace": "shop"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": OLD_CERTIFICATE, "tls.key": OLD_KEY},
    }));
    bench.compiled(bench.apply(&objects).await.revision).await;
    let gateway = bench.status("Gateway", "web").await;
    let listener = &gateway["listeners"][0];
    assert_eq!(condition(listener, "ResolvedRefs").0, json!("True"));
    assert_eq!(
        condition(listener, "tidegate.dev/CertificateOutOfDate"),
        (json!("True"), json!("Expired"))
    );
}
