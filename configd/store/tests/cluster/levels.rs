//! Upgrades, one node after the other: what is written is known to all of them.

use std::time::Duration;

use tidegate_proto::raft::v1::{ChangePool, RolloutStep, RolloutSteps, change_pool::Change};
use tidegate_store::{
    Command, HIGHEST_LEVEL, ObjectFilter, OpenOptions, Outcome, Store, StoreError,
};
use tokio::net::TcpListener;

use crate::support::{Cluster, PATIENCE, copy, eventually, names, options, put};

/// Between two questions.
const MOMENT: Duration = Duration::from_millis(20);
const OLD: u32 = HIGHEST_LEVEL - 1;

/// A command that releases of before do not know. There is no pool, so it changes nothing.
fn new_command() -> Command {
    let step = RolloutStep {
        workers: 1,
        ..RolloutStep::default()
    };
    let steps = RolloutSteps {
        steps: vec![step],
        note: None,
    };
    Command::ChangePool(ChangePool {
        pool: "none".to_owned(),
        head: 0,
        change: Some(Change::NextRollout(steps)),
    })
}

fn message(opened: Result<Store, StoreError>) -> String {
    match opened {
        Err(error @ StoreError::LevelAbove { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn upgrade(cluster: &mut Cluster, at: usize) {
    cluster.stop(at).await;
    cluster.levels.remove(&at);
    cluster.restart(at).await.unwrap();
    cluster.node(at).ready(PATIENCE).await.unwrap();
}

/// Waits until the log has what each node knows.
async fn recorded(cluster: &Cluster, levels: &[u32]) {
    for node in cluster.nodes.iter().flatten() {
        eventually("the log has what each node knows", || {
            let members = node.members().into_iter();
            let known: Vec<u32> = members.map(|known| known.member.level).collect();
            (known == levels).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_level_goes_up_when_the_last_node_is_upgraded_and_nothing_newer_is_written_before() {
    let mut cluster = Cluster::at_level(3, OLD).await;
    recorded(&cluster, &[OLD; 3]).await;
    let mut expected = vec!["before".to_owned()];
    put(cluster.node(0), "before").await;
    let last = cluster.leader().await;
    let mut levels = [OLD; 3];
    for at in (0..3).filter(|at| *at != last).chain([last]) {
        for node in cluster.nodes.iter().flatten() {
            assert_eq!(node.level(), OLD);
            let refused = node.propose(new_command()).await.unwrap_err();
            assert!(
                matches!(refused, StoreError::LevelBelow { .. }),
                "{refused}"
            );
        }
        cluster.node(at).hand_over().await.unwrap();
        upgrade(&mut cluster, at).await;
        levels[at] = HIGHEST_LEVEL;
        recorded(&cluster, &levels).await;
        let name = format!("with-{at}-upgraded");
        put(cluster.node((at + 1) % 3), &name).await;
        expected.push(name);
    }
    for node in cluster.nodes.iter().flatten() {
        eventually("the level goes up", || {
            (node.level() == HIGHEST_LEVEL).then_some(())
        })
        .await;
        let answer = node.propose(new_command()).await.unwrap();
        assert!(matches!(answer, Outcome::Refused { .. }), "{answer}");
    }
    expected.sort();
    for node in cluster.nodes.iter().flatten() {
        node.linearize().await.unwrap();
        assert_eq!(names(node), expected);
    }
}

#[tokio::test]
async fn a_level_does_not_go_up_while_a_node_does_not_answer() {
    let mut cluster = Cluster::at_level(3, OLD).await;
    let down = (cluster.leader().await + 1) % 3;
    upgrade(&mut cluster, down).await;
    let mut levels = [OLD; 3];
    levels[down] = HIGHEST_LEVEL;
    recorded(&cluster, &levels).await;
    cluster.stop(down).await;
    for at in (0..3).filter(|at| *at != down) {
        upgrade(&mut cluster, at).await;
    }
    recorded(&cluster, &[HIGHEST_LEVEL; 3]).await;
    put(cluster.node(cluster.leader().await), "cart").await;
    let levels = cluster.nodes.iter().flatten().map(Store::level);
    assert_eq!(levels.collect::<Vec<_>>(), [OLD; 2]);
    // It came back as the release of before: the others wait for it still, and it takes part.
    cluster.levels.insert(down, OLD);
    cluster.restart(down).await.unwrap();
    cluster.node(down).ready(PATIENCE).await.unwrap();
    assert_eq!(names(cluster.node(down)), ["cart"]);
}

#[tokio::test]
async fn a_node_of_a_release_that_is_too_old_does_not_open() {
    let mut cluster = Cluster::of(3).await;
    let at = (cluster.leader().await + 1) % 3;
    cluster.stop(at).await;
    cluster.levels.insert(at, OLD);
    let message = message(cluster.restart(at).await.map(|()| cluster.node(at).clone()));
    assert!(
        message.contains(&format!("at feature level {HIGHEST_LEVEL}")),
        "{message}"
    );
    assert!(message.contains(&format!("up to {OLD}")), "{message}");
    assert!(message.contains("tidegate cluster restore"), "{message}");
    upgrade_what_is_stopped(&mut cluster, at).await;
    put(cluster.node(at), "cart").await;
}

async fn upgrade_what_is_stopped(cluster: &mut Cluster, at: usize) {
    cluster.levels.remove(&at);
    cluster.restart(at).await.unwrap();
}

#[tokio::test]
async fn a_node_whose_log_is_gone_into_an_image_does_not_open_with_an_older_release_either() {
    let mut cluster = Cluster::with_images(1, 5).await;
    for step in 0..20 {
        put(cluster.node(0), &format!("s{step}")).await;
    }
    eventually("the log is purged", || {
        cluster.node(0).metrics().purged_index
    })
    .await;
    cluster.stop(0).await;
    cluster.levels.insert(0, OLD);
    message(cluster.restart(0).await.map(|()| cluster.node(0).clone()));
}

#[tokio::test]
async fn a_node_that_meets_a_higher_level_than_it_knows_stays_out_and_says_so() {
    let mut cluster = Cluster::at_level(3, OLD).await;
    put(cluster.node(0), "cart").await;
    let at = (cluster.leader().await + 1) % 3;
    cluster.stop(at).await;
    let (dir, aside) = (cluster.dir(at), cluster.dir(7));
    copy(&dir, &aside);
    cluster.levels.clear();
    cluster.restart(at).await.unwrap();
    for other in (0..3).filter(|other| *other != at) {
        cluster.stop(other).await;
        cluster.restart(other).await.unwrap();
    }
    let leader = cluster.leader().await;
    eventually("the level goes up", || {
        (cluster.node(leader).level() == HIGHEST_LEVEL).then_some(())
    })
    .await;
    // The node comes back with the release and the disk of before, which says nothing of the new level.
    cluster.stop(at).await;
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::rename(&aside, &dir).unwrap();
    cluster.levels.insert(at, OLD);
    cluster.restart(at).await.unwrap();
    let waiting = async {
        loop {
            match cluster.node(at).linearize().await {
                Err(error @ StoreError::LevelAbove { .. }) => return error.to_string(),
                _ => tokio::time::sleep(MOMENT).await,
            }
        }
    };
    let message = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(message.contains(&format!("up to {OLD}")), "{message}");
    put(cluster.node(cluster.leader_but(at).await), "desk").await;
}

#[tokio::test]
async fn a_newcomer_of_a_release_that_is_too_old_gets_no_place() {
    let cluster = Cluster::of(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dir = cluster.dir(0).with_file_name("new");
    let mut options = options(&dir, listener, &[], &cluster.cuts, 5_000);
    options.highest_level = OLD;
    #[allow(clippy::disallowed_methods, reason = "the test ends it")]
    let opening = tokio::spawn(Store::open(options));
    let refusal = async {
        loop {
            let refused = cluster.node(0).add_member(&address).await.unwrap_err();
            let text = refused.to_string();
            if text.contains("feature levels") {
                return text;
            }
            tokio::time::sleep(MOMENT).await;
        }
    };
    let refusal = tokio::time::timeout(PATIENCE, refusal).await.unwrap();
    assert!(refusal.contains(&format!("up to {OLD}")), "{refusal}");
    assert_eq!(cluster.node(0).members().len(), 1);
    opening.abort();
}

#[tokio::test]
async fn a_node_that_is_alone_goes_up_as_soon_as_its_release_does_and_not_down() {
    let dir = tempfile::tempdir().unwrap();
    let of = |highest_level| OpenOptions {
        highest_level,
        ..OpenOptions::new(dir.path())
    };
    let old = Store::open(of(OLD)).await.unwrap();
    put(&old, "cart").await;
    assert_eq!((old.level(), old.highest_level()), (OLD, OLD));
    old.shutdown().await;
    drop(old);
    let new = Store::open(of(HIGHEST_LEVEL)).await.unwrap();
    assert_eq!(new.level(), HIGHEST_LEVEL);
    let (_, objects) = new.objects(&ObjectFilter::default());
    assert_eq!(objects.len(), 1);
    new.shutdown().await;
    drop(new);
    message(Store::open(of(OLD)).await);
}
