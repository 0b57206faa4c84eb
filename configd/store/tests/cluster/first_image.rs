//! A learner that is killed while its first image comes in, before it has a log, gets it again.

use std::fs;
use std::path::Path;

use tidegate_store::{Digest, Store};
use tokio::net::TcpListener;

use crate::commit::commit_command;
use crate::membership::{eventually_added, newcomer};
use crate::replication::flip_last_bits;
use crate::support::{Cluster, PATIENCE, copy, eventually, names, options, put};

/// What is on its disk, besides its id and an empty log.
#[derive(Debug, Clone, Copy)]
enum Left {
    Nothing,
    HalfOfWhatComes,
    AllOfWhatComes,
    /// The parts are in their place, the image is not.
    Parts,
    HalfAnImage,
    /// The image is there, and nothing was done with it.
    Image,
}

impl Left {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::HalfOfWhatComes,
        Self::AllOfWhatComes,
        Self::Parts,
        Self::HalfAnImage,
        Self::Image,
    ];

    /// Puts it there, from what the leader sends.
    fn leave(self, leader: &Path, learner: &Path) {
        let incoming = learner.join("incoming");
        let _ = fs::remove_dir_all(&incoming);
        if matches!(self, Self::Nothing) {
            return;
        }
        let (name, image) = newest_image(leader);
        fs::create_dir_all(&incoming).unwrap();
        let half = &image[..image.len() / 2];
        let comes = match self {
            Self::HalfOfWhatComes => half,
            _ => &image,
        };
        fs::write(incoming.join("0.part"), comes).unwrap();
        if matches!(self, Self::Parts | Self::HalfAnImage | Self::Image) {
            copy(&leader.join("blobs"), &learner.join("blobs"));
        }
        let images = learner.join("images");
        let place = images.join(&name);
        if matches!(self, Self::HalfAnImage | Self::Image) {
            fs::write(place.with_extension("received"), "").unwrap();
        }
        match self {
            Self::HalfAnImage => fs::write(place.with_extension("tmp"), half).unwrap(),
            Self::Image => fs::write(place, image).unwrap(),
            _ => {}
        }
    }
}

fn newest_image(dir: &Path) -> (String, Vec<u8>) {
    let entries = fs::read_dir(dir.join("images")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let images = paths.filter(|path| path.extension().is_some_and(|end| end == "image"));
    let newest = images.max().unwrap();
    let name = newest.file_name().unwrap().to_string_lossy().into_owned();
    (name, fs::read(newest).unwrap())
}

#[tokio::test]
async fn a_learner_that_is_killed_during_its_first_image_gets_it_again() {
    futures_util::future::join_all(Left::ALL.map(gets_it_again)).await;
}

async fn gets_it_again(left: Left) {
    let cluster = Cluster::with_images(1, 20).await;
    let leader = cluster.node(0);
    leader.propose(commit_command(0, b"v1")).await.unwrap();
    for number in 0..80 {
        put(leader, &format!("{number:02}")).await;
    }
    eventually("the log is purged", || {
        leader.metrics().purged_index.filter(|index| *index > 20)
    })
    .await;
    // With a damaged part the learner takes no image until it is stopped.
    let packs = flip_last_bits(&cluster.dir(0).join("blobs"));
    let (address, opening) = newcomer(&cluster, "new").await;
    let id = eventually_added(leader, &address).await;
    let learner = opening.await.unwrap().unwrap();
    let dir = cluster.dir(0).with_file_name("new");
    eventually("the image arrives", || {
        dir.join("incoming").exists().then_some(())
    })
    .await;
    learner.shutdown().await;
    drop(learner);
    for (path, bytes) in packs {
        fs::write(path, bytes).unwrap();
    }

    left.leave(&cluster.dir(0), &dir);
    let listener = TcpListener::bind(&address).await.unwrap();
    let opened = Store::open(options(&dir, listener, &[], &cluster.cuts, 20)).await;
    let learner = opened.unwrap_or_else(|error| panic!("{left:?}: {error}"));
    assert_eq!(learner.node_id(), id, "{left:?}");
    let ready = learner.ready(PATIENCE).await;
    ready.unwrap_or_else(|error| panic!("{left:?}: {error}"));
    assert_eq!(names(&learner).len(), 80, "{left:?}");
    assert_eq!(
        &learner.blob(&Digest::of(b"v1")).unwrap()[..],
        b"v1",
        "{left:?}"
    );
    learner.shutdown().await;
}
