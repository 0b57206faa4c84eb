//! Every write and every refusal leaves a record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_configd::audit::{self, Record};
use tidegate_proto::objects::v1::object_service_client::ObjectServiceClient;
use tidegate_proto::objects::v1::{ApplyMode, ApplyRequest};
use tonic::Code;

use crate::bench::{Bench, put, route};
use crate::identities::{Secured, batch};

fn records(folder: &Path) -> Vec<Record> {
    let mut records = vec![];
    audit::read(folder, &mut |record| records.push(record)).unwrap();
    records
}

fn folder(data: &Path) -> PathBuf {
    data.join(audit::FOLDER)
}

#[tokio::test]
async fn writes_and_refusals_are_recorded_with_who_and_what() {
    let secured = Secured::start().await;
    let folder = folder(&secured.folder.path().join("data"));
    let mut operator = ObjectServiceClient::new(secured.as_principal("operator/eu-1"));
    let request = ApplyRequest {
        request_id: "r-7".to_owned(),
        reason: "a rollout".to_owned(),
        ..batch("", "")
    };
    let revision = operator.apply(request).await.unwrap().into_inner().revision;
    operator.apply(batch("eu-2", "eu-2")).await.unwrap_err();
    let mut reader = ObjectServiceClient::new(secured.as_principal("automation/read/grafana"));
    reader.apply(batch("eu-1", "eu-1")).await.unwrap_err();
    secured.bench.stop().await;

    let records = records(&folder);
    let [write, source, role] = &records[..] else {
        panic!("three records: {records:#?}");
    };
    assert_eq!(write.event.caller, "spiffe://tidegate.test/operator/eu-1");
    assert_eq!(
        write.event.method,
        "/tidegate.objects.v1.ObjectService/Apply"
    );
    assert_eq!(
        (write.event.source.as_str(), write.event.request_id.as_str()),
        ("eu-1", "r-7")
    );
    assert_eq!(write.event.reason, "a rollout");
    assert_eq!(write.event.changes, ["put HTTPRoute shop/cart"]);
    assert_eq!(
        (write.event.outcome.as_str(), write.event.revision),
        ("OK", revision)
    );
    assert_eq!(source.event.outcome, "PERMISSION_DENIED");
    assert_eq!(source.event.source, "eu-2");
    assert_eq!(
        role.event.caller,
        "spiffe://tidegate.test/automation/read/grafana"
    );
    assert!(role.event.message.contains("may not call"), "{role:?}");
}

#[tokio::test]
async fn what_is_not_valid_is_recorded_and_what_is_only_tried_is_not() {
    let (bench, dir) = Bench::temporary().await;
    let tried = ApplyRequest {
        mode: ApplyMode::DryRun.into(),
        ..batch("files", "files")
    };
    bench.objects().apply(tried).await.unwrap();
    bench
        .objects()
        .apply(batch("files", "others"))
        .await
        .unwrap_err();
    bench.stop().await;
    let records = records(&folder(dir.path()));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.caller, "in-process");
    assert_eq!(records[0].event.outcome, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let (bench, dir) = Bench::temporary().await;
    bench.try_apply(vec![put(&route("a", "/a"))]).await.unwrap();
    bench.stop().await;
    let bench = Bench::start(dir.path()).await;
    bench.try_apply(vec![put(&route("b", "/b"))]).await.unwrap();
    bench.stop().await;
    let numbers: Vec<_> = records(&folder(dir.path()))
        .iter()
        .map(|record| record.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_write_waits_until_the_log_can_be_written_again() {
    let (bench, dir) = Bench::temporary().await;
    let folder = folder(dir.path());
    // The first record needs a file in a folder that is gone.
    fs::remove_dir_all(&folder).unwrap();
    let status = bench
        .try_apply(vec![put(&route("a", "/a"))])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("without a record of it"),
        "{status:?}"
    );
    let status = bench
        .try_apply(vec![put(&route("b", "/b"))])
        .await
        .unwrap_err();
    assert!(
        status
            .message()
            .starts_with("the audit log cannot be written"),
        "{status:?}"
    );
    fs::create_dir_all(&folder).unwrap();
    while bench.try_apply(vec![put(&route("b", "/b"))]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.stop().await;
    assert!(
        records(&folder)
            .iter()
            .any(|record| record.event.outcome == "OK")
    );
}
