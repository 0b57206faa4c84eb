//! A version goes to some workers first; it goes on, or back, by what they say.

use std::time::Duration;

use serde_json::json;
use tidegate_configd::audit;
use tidegate_proto::history::v1::ListPoolsRequest;
use tidegate_proto::ir::v1::PartKey;
use tidegate_proto::rollouts::v1::{
    AbortRolloutRequest, Gates, ListRolloutsRequest, PauseRolloutRequest, PoolRollout,
    PromoteRolloutRequest, RolloutStep, SetRolloutPolicyRequest, StartRolloutRequest,
};
use tidegate_proto::snapshots::v1::subscribe_response::Message;
use tidegate_proto::snapshots::v1::{ListWorkersRequest, Problem, SnapshotInfo, Update};
use tonic::Code;

use crate::bench::{Bench, FakeWorker, route, shop};

const MOMENT: Duration = Duration::from_millis(400);
const LONG: u64 = 86_400_000;

fn version(info: &SnapshotInfo) -> u64 {
    info.id.as_ref().unwrap().version
}

fn version_of(update: &Update) -> u64 {
    version(update.info.as_ref().unwrap())
}

fn step(percent: u32, bake_ms: u64) -> RolloutStep {
    RolloutStep {
        percent,
        workers: 0,
        bake_ms,
        gates: None,
    }
}

/// Two workers that serve the first version: the one that is chosen first, and another.
struct Pair {
    first: FakeWorker,
    other: FakeWorker,
}

impl Bench {
    async fn rollout(&self) -> PoolRollout {
        let listed = self.rollouts().list_rollouts(ListRolloutsRequest {}).await;
        listed.unwrap().into_inner().pools.remove(0)
    }

    async fn start_rollout(&self, steps: Vec<RolloutStep>) {
        let request = StartRolloutRequest {
            steps,
            requested_by: "anna".to_owned(),
            ..StartRolloutRequest::default()
        };
        self.rollouts().start_rollout(request).await.unwrap();
    }

    /// A rollout of one changed route is under way in its first step, of one worker.
    async fn pair_in_rollout(&self, steps: Vec<RolloutStep>) -> (Pair, Update) {
        self.compiled(self.apply(&shop()).await.revision).await;
        let mut workers = vec![];
        for name in ["one", "two"] {
            let mut worker = FakeWorker::connect(self, name, None).await;
            let update = worker.update().await.remove(0);
            worker.ack(&update).await;
            workers.push(worker);
        }
        self.serving(&[1, 1]).await;
        self.start_rollout(steps).await;
        self.apply(&[route("cart", "/basket")]).await;
        let mut other = workers.pop().unwrap();
        let mut first = workers.pop().unwrap();
        // Which of the two is chosen is decided by their names.
        let update = tokio::select! {
            update = first.update() => update,
            update = other.update() => {
                std::mem::swap(&mut first, &mut other);
                update
            }
        };
        (Pair { first, other }, update.into_iter().next().unwrap())
    }

    /// Waits until the workers serve these versions, whoever serves which.
    async fn serving(&self, versions: &[u64]) {
        for _ in 0..4_000 {
            let listed = self
                .snapshots()
                .list_workers(ListWorkersRequest::default())
                .await
                .unwrap();
            let workers = listed.into_inner().workers;
            let serving = workers
                .iter()
                .map(|w| w.serving.as_ref().map_or(0, |id| id.version));
            let mut serving: Vec<u64> = serving.collect();
            serving.sort_unstable();
            if serving == versions {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the workers never serve {versions:?}");
    }

    async fn until_over(&self) {
        for _ in 0..4_000 {
            if self.rollout().await.rollout.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the rollout never ends");
    }

    async fn is_frozen(&self) -> bool {
        let pools = self
            .history()
            .list_pools(ListPoolsRequest {})
            .await
            .unwrap();
        pools.into_inner().pools.remove(0).freeze.is_some()
    }
}

#[tokio::test]
async fn the_first_step_is_for_one_worker_and_the_others_wait_until_it_is_promoted() {
    let (bench, _dir) = Bench::temporary().await;
    let (mut pair, update) = bench.pair_in_rollout(vec![step(1, LONG)]).await;
    assert_eq!(version_of(&update), 2);
    assert!(pair.other.next_within(MOMENT).await.is_none());
    pair.first.ack(&update).await;
    bench.serving(&[1, 2]).await;
    let under_way = bench.rollout().await.rollout.unwrap();
    assert_eq!((under_way.id, under_way.step, under_way.chosen), (2, 0, 1));
    assert_eq!((under_way.ready, &*under_way.by), (1, "anna"));
    assert!(pair.other.next_within(MOMENT).await.is_none(), "it bakes");

    let request = PromoteRolloutRequest::default();
    bench.rollouts().promote_rollout(request).await.unwrap();
    let update = pair.other.update().await.remove(0);
    assert_eq!(version_of(&update), 2);
    assert_eq!(bench.rollout().await.rollout, None);
    assert!(!bench.is_frozen().await);
}

#[tokio::test]
async fn a_step_that_has_baked_leads_to_the_next_one_by_itself() {
    let (bench, _dir) = Bench::temporary().await;
    let steps = vec![step(1, 0), step(100, 0)];
    let (mut pair, update) = bench.pair_in_rollout(steps).await;
    pair.first.ack(&update).await;
    let update = pair.other.update().await.remove(0);
    pair.other.ack(&update).await;
    bench.serving(&[2, 2]).await;
    bench.until_over().await;
    assert_eq!(bench.rollout().await.next, [], "it was for one version");
}

#[tokio::test]
async fn a_refusal_takes_the_version_back_from_all_and_freezes_the_pool() {
    let (bench, _dir) = Bench::temporary().await;
    let (mut pair, update) = bench.pair_in_rollout(vec![step(1, LONG)]).await;
    let problem = Problem {
        part: Some(PartKey {
            kind: 2,
            name: "HTTPRoute/shop/cart".to_owned(),
        }),
        message: "no such backend".to_owned(),
    };
    pair.first.refuse(&update, vec![problem]).await;
    bench.until_over().await;
    let newest = bench.newest().await;
    assert_eq!((version(&newest), newest.restores), (3, 1));
    assert!(
        newest.cause.contains("rollout aborted: worker "),
        "{}",
        newest.cause
    );
    assert!(
        newest
            .cause
            .contains("HTTPRoute/shop/cart: no such backend"),
        "{}",
        newest.cause
    );
    assert!(bench.is_frozen().await);
    for worker in [&mut pair.first, &mut pair.other] {
        let update = worker.update().await.remove(0);
        assert_eq!(version_of(&update), 3);
        assert_eq!(update.base_version, 1);
        assert!(update.put.is_empty(), "it has what it had");
    }
}

#[tokio::test]
async fn an_aborted_rollout_is_a_newer_version_of_what_was_served_before() {
    let (bench, _dir) = Bench::temporary().await;
    let (mut pair, update) = bench.pair_in_rollout(vec![step(1, LONG)]).await;
    pair.first.ack(&update).await;
    bench.serving(&[1, 2]).await;
    let request = AbortRolloutRequest {
        reason: "carts are empty".to_owned(),
        requested_by: "anna".to_owned(),
        ..AbortRolloutRequest::default()
    };
    let made = bench.rollouts().abort_rollout(request).await.unwrap();
    let made = made.into_inner().snapshot.unwrap();
    assert_eq!(
        made.cause,
        "rollback to 1 by anna: rollout aborted: carts are empty"
    );
    let update = pair.first.update().await.remove(0);
    assert_eq!((version_of(&update), update.put.len()), (3, 1));
    assert!(bench.is_frozen().await);
}

#[tokio::test]
async fn both_sides_of_a_rollout_follow_addresses() {
    let (bench, _dir) = Bench::temporary().await;
    let (mut pair, update) = bench.pair_in_rollout(vec![step(1, LONG)]).await;
    pair.first.ack(&update).await;
    bench.serving(&[1, 2]).await;
    let mut slice = shop().remove(3);
    slice["ports"][0]["port"] = json!(4000);
    bench.apply(&[slice, route("other", "/other")]).await;
    let stable = pair.other.update().await.remove(0);
    let canary = pair.first.update().await.remove(0);
    assert_eq!((version_of(&stable), version_of(&canary)), (3, 4));
    for update in [&stable, &canary] {
        let parts: Vec<_> = update.put.iter().map(|part| &*part.name).collect();
        assert_eq!(parts, ["files/shop/cart/80"], "other changes wait");
    }
    pair.other.ack(&stable).await;
    pair.first.ack(&canary).await;
    let request = PromoteRolloutRequest::default();
    bench.rollouts().promote_rollout(request).await.unwrap();
    let update = pair.other.update().await.remove(0);
    let mut parts: Vec<_> = update.put.iter().map(|part| &*part.name).collect();
    parts.retain(|name| name.starts_with("HTTPRoute"));
    assert!(parts.contains(&"HTTPRoute/shop/cart"), "{parts:?}");
}

#[tokio::test]
async fn a_rollout_goes_on_where_it_was_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path()).await;
    let (pair, update) = bench
        .pair_in_rollout(vec![step(1, LONG), step(50, LONG)])
        .await;
    pair.first.ack(&update).await;
    bench.serving(&[1, 2]).await;
    let pause = PauseRolloutRequest::default();
    bench.rollouts().pause_rollout(pause).await.unwrap();
    let before = bench.rollout().await.rollout.unwrap();
    drop(pair);
    bench.stop().await;

    let bench = Bench::start(dir.path()).await;
    let after = bench.rollout().await.rollout.unwrap();
    assert!(after.paused);
    assert_eq!(
        (after.id, after.step, after.steps),
        (before.id, before.step, before.steps)
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_policy_rolls_every_version_out_but_not_addresses() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let request = SetRolloutPolicyRequest {
        steps: vec![step(10, LONG)],
        ..SetRolloutPolicyRequest::default()
    };
    bench.rollouts().set_rollout_policy(request).await.unwrap();
    let mut slice = shop().remove(3);
    slice["ports"][0]["port"] = json!(4000);
    bench.compiled(bench.apply(&[slice]).await.revision).await;
    assert_eq!(bench.rollout().await.rollout, None);
    bench
        .compiled(bench.apply(&[route("cart", "/basket")]).await.revision)
        .await;
    assert_eq!(bench.rollout().await.rollout.unwrap().id, 3);
}

#[tokio::test]
async fn a_gateway_in_a_rollout_is_programmed_only_afterwards() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    let mut worker = FakeWorker::connect(&bench, "one", None).await;
    let update = worker.update().await.remove(0);
    worker.ack(&update).await;
    bench.start_rollout(vec![step(1, LONG)]).await;
    let mut gateway = shop().remove(1);
    let more = json!({"name": "more", "port": 81, "protocol": "HTTP"});
    gateway["spec"]["listeners"]
        .as_array_mut()
        .unwrap()
        .push(more);
    bench.compiled(bench.apply(&[gateway]).await.revision).await;
    let update = worker.update().await.remove(0);
    worker.ack(&update).await;
    bench.serving(&[2]).await;
    let status = bench.status("Gateway", "web").await;
    let conditions = status["conditions"].as_array().unwrap();
    let programmed = conditions
        .iter()
        .find(|one| one["type"] == "Programmed")
        .unwrap();
    assert_eq!(programmed["status"], "False");
    let message = programmed["message"].as_str().unwrap();
    assert!(message.contains("being rolled out"), "{message}");
}

#[tokio::test]
async fn steps_that_do_not_grow_and_rollouts_that_are_not_there_are_refused() {
    let (bench, _dir) = Bench::temporary().await;
    bench.compiled(bench.apply(&shop()).await.revision).await;
    for steps in [
        vec![],
        vec![step(50, 0), step(10, 0)],
        vec![step(101, 0)],
        vec![step(0, 0)],
    ] {
        let request = StartRolloutRequest {
            steps,
            ..StartRolloutRequest::default()
        };
        let refusal = bench.rollouts().start_rollout(request).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
    }
    let request = PromoteRolloutRequest::default();
    let refusal = bench.rollouts().promote_rollout(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
}

/// A step that lets the share of errors be one percent greater.
fn gated(percent: u32, bake_ms: u64) -> RolloutStep {
    let gates = Gates {
        max_5xx_delta_permille: Some(10),
        ..Gates::default()
    };
    RolloutStep {
        gates: Some(gates),
        ..step(percent, bake_ms)
    }
}

impl FakeWorker {
    /// Waits until it is asked what it answers.
    async fn asked_for_traffic(&mut self) {
        loop {
            if let Some(every_ms) = self.asked_every_ms.take() {
                assert!(every_ms > 0);
                return;
            }
            if let Message::ReportTraffic(report) = self.next().await {
                self.asked_every_ms = Some(report.every_ms);
            }
        }
    }
}

#[tokio::test]
async fn more_errors_than_before_take_a_version_back_and_that_is_recorded() {
    let (bench, dir) = Bench::temporary().await;
    let (mut pair, update) = bench.pair_in_rollout(vec![gated(1, LONG)]).await;
    pair.first.ack(&update).await;
    pair.other.asked_for_traffic().await;
    pair.other.answered(1, 4_000, 0).await;
    pair.first.answered(2, 99, 99).await;
    pair.first.asked_for_traffic().await;
    assert!(bench.rollout().await.rollout.is_some(), "too few to judge");
    pair.first.answered(2, 1_000, 11).await;

    bench.until_over().await;
    assert!(bench.is_frozen().await);
    let update = pair.first.update().await.remove(0);
    let info = update.info.unwrap();
    assert_eq!((info.restores, version(&info)), (1, 3));
    assert!(info.cause.contains("11 of 1000 requests"), "{}", info.cause);
    bench.stop().await;
    let mut steps = vec![];
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        if record.event.caller == "configd" {
            steps.push((record.event.changes.concat(), record.event.reason));
        }
    })
    .unwrap();
    let [(change, why)] = &steps[..] else {
        panic!("one record: {steps:?}");
    };
    assert_eq!(change, "rollout 2: abort");
    assert!(why.contains("11 of 1000 requests"), "{why}");
}

#[tokio::test]
async fn as_many_errors_as_the_gate_allows_go_on_and_each_step_is_recorded() {
    let (bench, dir) = Bench::temporary().await;
    let steps = vec![gated(1, 0), gated(100, 0)];
    let (mut pair, update) = bench.pair_in_rollout(steps).await;
    pair.first.answered(2, 1_000, 10).await;
    pair.first.ack(&update).await;
    let update = pair.other.update().await.remove(0);
    pair.other.ack(&update).await;
    bench.until_over().await;
    assert!(!bench.is_frozen().await);
    bench.stop().await;
    let mut steps = vec![];
    audit::read(&dir.path().join(audit::FOLDER), &mut |record| {
        if record.event.caller == "configd" {
            steps.extend(record.event.changes);
        }
    })
    .unwrap();
    assert_eq!(steps, ["rollout 2: to step 1", "rollout 2: to step 2"]);
}
