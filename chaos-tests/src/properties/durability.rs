//! What configd acknowledged is there after `kill -9`, at whatever moment it comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tidegate_proto::objects::v1::WaitFor;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::client::Client;
use crate::configd::Place;
use crate::ledger::Ledger;
use crate::objects;
use crate::properties::Setting;

/// Writers at once.
const WRITERS: u64 = 4;
/// Objects that each of them changes.
const NAMES: u64 = 12;

/// Kill configd while it writes, again and again, and look for what it acknowledged.
#[derive(Debug, Clone, Args)]
pub struct DurabilityArgs {
    /// Number of kills
    #[arg(long, default_value_t = 25)]
    cycles: u64,
}

/// What is known from one cycle to the next.
#[derive(Debug, Clone, Default)]
struct Known {
    ledger: Arc<Mutex<Ledger>>,
    /// The digests of versions that were seen.
    versions: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

/// Runs the cycles.
///
/// # Errors
/// Where something acknowledged is gone, or configd does not come back.
pub async fn run(setting: &Setting, args: &DurabilityArgs) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let place = Place::new(work.path())?;
    let known = Known::default();
    let mut slowest = Duration::ZERO;
    for cycle in 0..=args.cycles {
        let mut chance = Chance::new(setting.seed ^ (cycle << 32));
        let started = Instant::now();
        let mut process = place.start(&setting.tidegate)?;
        if cycle < args.cycles && chance.once_in(8) {
            // While it opens.
            sleep(Duration::from_millis(chance.below(400))).await;
            process.kill()?;
            continue;
        }
        let checked = match place.ready(&mut process).await {
            Ok(client) => known.check(&client).await.map(|wrong| (client, wrong)),
            Err(error) => Err(error),
        };
        slowest = slowest.max(started.elapsed());
        let wrong = match checked {
            Ok((client, wrong)) if wrong.is_empty() => {
                known
                    .write_until_killed(&client, &mut chance, || process.kill())
                    .await?;
                continue;
            }
            Ok((_, wrong)) => wrong.join("\n"),
            Err(error) => format!("{error:#}"),
        };
        drop(process);
        let kept = work.keep();
        return setting.violated(&format!(
            "cycle {cycle}: {wrong}\nfiles: {}",
            kept.display()
        ));
    }
    let (acknowledged, unanswered) = known.ledger().counts();
    println!(
        "{} kills: {acknowledged} acknowledged writes are there, {unanswered} got no answer, {} versions; \
         the slowest start took {} ms",
        args.cycles,
        known
            .versions()
            .last_key_value()
            .map_or(0, |(version, _)| *version),
        slowest.as_millis()
    );
    Ok(())
}

impl Known {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn versions(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not as it was acknowledged, as sentences.
    async fn check(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let mut found = client.list("").await?;
        found.retain(|name, _| !name.starts_with("Gateway"));
        let mut wrong = self.ledger().settle(&found);
        let versions = client.versions().await.unwrap_or_default();
        for (version, digest) in self.versions().iter() {
            let oldest = versions.first_key_value().map_or(0, |(oldest, _)| *oldest);
            if *version >= oldest && versions.get(version) != Some(digest) {
                wrong.push(format!("version {version} is gone or another one"));
            }
        }
        Ok(wrong)
    }

    async fn write_until_killed(
        &self,
        client: &Client,
        chance: &mut Chance,
        kill: impl FnOnce() -> anyhow::Result<std::process::ExitStatus>,
    ) -> anyhow::Result<()> {
        let gateway = objects::gateway(8080);
        let gateway = gateway.iter().map(|object| objects::put(object, None));
        client.apply(gateway.collect()).await?;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(self.clone(), client.clone(), writer, chance.fork()));
        }
        writers.spawn(watch(self.clone(), client.clone()));
        sleep(Duration::from_micros(chance.below(600_000))).await;
        kill()?;
        writers.join_all().await;
        Ok(())
    }
}

/// Writes until nobody answers.
async fn write(known: Known, client: Client, writer: u64, mut chance: Chance) {
    loop {
        let (number, at) = (chance.number(), chance.below(NAMES));
        let object = object(writer, at, number, &mut chance);
        let key = objects::key(&object);
        let name = format!("{}/{}", key.kind, key.name);
        let (operation, content) = if chance.once_in(5) {
            (objects::delete(&object), None)
        } else {
            (objects::put(&object, None), Some(object.to_string()))
        };
        // Some wait for the snapshot, so that one is committed before the next write.
        let until = match chance.once_in(4) {
            true => WaitFor::Compiled,
            false => WaitFor::Committed,
        };
        known.ledger().try_to(&name, content.as_deref());
        if client.apply_and_wait(vec![operation], until).await.is_err() {
            return;
        }
        known.ledger().acknowledge(&name);
    }
}

/// Half of them change snapshots; some are far larger than a row of the log.
fn object(writer: u64, at: u64, number: u64, chance: &mut Chance) -> Value {
    let name = format!("w{writer}-{at}");
    match at.is_multiple_of(2) {
        true => objects::route(&name, &format!("/{name}/{number}")),
        false => {
            let times = if chance.once_in(6) { 3_000 } else { 3 };
            objects::map(&name, &format!("{number:020} ").repeat(times))
        }
    }
}

/// Notes the versions that are there until nobody answers.
async fn watch(known: Known, client: Client) {
    while let Ok(versions) = client.versions().await {
        *known.versions() = versions;
        sleep(Duration::from_millis(20)).await;
    }
}
