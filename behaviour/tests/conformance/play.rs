//! Plays a case: brings its world about, then does what its steps say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::case::{Case, Exchange, Refusal, Step};
use crate::exchange::{Jars, Played};
use crate::objects::{Placeholders, surroundings};
use crate::pattern::Pattern;
use crate::world::{PATIENCE, POLL, Parts, World};

/// Plays a case file to its end.
///
/// # Errors
/// Says which step differs from what the case says, and how.
pub(crate) async fn play(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow!("{error}"))?;
    // The first look is for what the placeholders stand for.
    let case = read(value.clone())?;
    ensure!(
        !case.about.is_empty() && !case.steps.is_empty(),
        "the case says nothing"
    );
    let mut world = World::start(&case.backends, &case.certificates).await?;
    let placeholders = Placeholders {
        certificates: &world.certificates,
        backends: &world.backends,
    };
    let case = read(placeholders.fill(value)?)?;
    let played = Play::new(&mut world, &case).run().await;
    world.stop().await;
    played
}

fn read(value: Value) -> anyhow::Result<Case> {
    serde_path_to_error::deserialize(value).map_err(|error| anyhow!("{error}"))
}

/// A case that is going on.
struct Play<'a> {
    world: &'a mut World,
    case: &'a Case,
    gateway: String,
    begun: Vec<JoinHandle<anyhow::Result<()>>>,
    jars: Jars,
}

impl<'a> Play<'a> {
    fn new(world: &'a mut World, case: &'a Case) -> Self {
        let gateways = case
            .objects
            .keys()
            .filter_map(|name| name.strip_prefix("Gateway "));
        let only = gateways.clone().next().unwrap_or_default();
        Self {
            gateway: case.gateway.clone().unwrap_or_else(|| only.to_owned()),
            world,
            case,
            begun: Vec::new(),
            jars: Jars::default(),
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let mut objects = surroundings(&self.case.objects, &self.world.backends);
        objects.extend(self.case.objects.clone());
        self.world.change(&objects, &[]).await?;
        for (index, step) in self.case.steps.iter().enumerate() {
            let done = self.step(step).await;
            done.with_context(|| format!("steps[{index}]"))?;
        }
        ensure!(
            self.begun.is_empty(),
            "a case that begins exchanges finishes them"
        );
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        for exchange in &step.begin {
            self.begin(exchange)
                .await
                .with_context(|| format!("begin {}", exchange.send))?;
        }
        for refusal in &step.refused {
            self.refuse(refusal).await?;
        }
        let before = match step.changes {
            Some(_) => self.world.parts().await?.1,
            None => Parts::new(),
        };
        if !step.apply.is_empty() || !step.delete.is_empty() {
            self.world.change(&step.apply, &step.delete).await?;
        }
        if let Some(expected) = &step.changes {
            let after = self.world.parts().await?.1;
            let changed = changed(&before, &after);
            ensure!(
                changed == *expected,
                "changes are {changed:?}, not {expected:?}"
            );
        }
        for (name, expected) in &step.status {
            self.settle(name, expected).await?;
        }
        for exchange in &step.requests {
            let played = self
                .exchange(exchange)?
                .play(self.world, &mut self.jars)
                .await;
            played.with_context(|| exchange.send.clone())?;
        }
        if step.finish {
            self.world.release();
            for begun in self.begun.drain(..) {
                begun.await?.context("an exchange that had begun")?;
            }
        }
        Ok(())
    }

    fn exchange<'b>(&self, exchange: &'b Exchange) -> anyhow::Result<Played<'b>> {
        let gateway = exchange.gateway.as_ref().unwrap_or(&self.gateway);
        Played::new(exchange, gateway)
    }

    /// Starts an exchange and waits until it has reached a backend.
    async fn begin(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        let before = self.reached();
        let gateway = exchange
            .gateway
            .clone()
            .unwrap_or_else(|| self.gateway.clone());
        self.begun
            .push(Played::begin(exchange.clone(), gateway, self.world)?);
        let deadline = Instant::now() + PATIENCE;
        while self.reached() == before {
            ensure!(Instant::now() < deadline, "it reaches no backend");
            sleep(POLL).await;
        }
        Ok(())
    }

    fn reached(&self) -> usize {
        self.world
            .backends
            .iter()
            .map(|backend| backend.log.len())
            .sum()
    }

    async fn refuse(&self, refusal: &Refusal) -> anyhow::Result<()> {
        for (name, body) in &refusal.object {
            let message = self.world.refusal(name, body).await?;
            let field = &refusal.field;
            ensure!(
                message.contains(field),
                "{name} is refused without {field}: {message}"
            );
        }
        Ok(())
    }

    /// Waits until a status is what the case says.
    async fn settle(&self, name: &str, expected: &Value) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.world.status(name).await?;
            let mut pattern = Pattern::new(expected);
            if let Some(generation) = self.world.generation(name) {
                pattern = pattern.observing(generation);
            }
            match pattern.check(&status) {
                Ok(()) => return Ok(()),
                Err(differs) if Instant::now() > deadline => bail!("{name}: {differs}"),
                Err(_) => sleep(POLL).await,
            }
        }
    }
}

/// The names of the parts that differ, in order.
fn changed(before: &Parts, after: &Parts) -> Vec<String> {
    let mut all: BTreeMap<&String, ()> = BTreeMap::new();
    all.extend(before.keys().chain(after.keys()).map(|name| (name, ())));
    let changed = all
        .into_keys()
        .filter(|name| before.get(*name) != after.get(*name));
    changed.cloned().collect()
}
