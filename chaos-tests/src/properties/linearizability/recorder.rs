//! One client of a history: it asks one node until that does not answer, then the next one.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value as Json;
use tidegate_proto::objects::v1::{Precondition, precondition};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::REGISTERS;
use super::plant::Plant;
use crate::chance::Chance;
use crate::client::Client;
use crate::linearizable::{Action, Answer, Call, Value};
use crate::objects;

/// Time that a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between an answer and the next call, at most.
const REST_MS: u64 = 60;
/// Time between the parts of a torn list.
const TORN: Duration = Duration::from_millis(40);

/// A client that notes what it asks and is told.
pub(super) struct Recorder {
    /// One for each node.
    clients: Vec<Client>,
    /// Which of them is asked.
    at: usize,
    plant: Option<Plant>,
    history: String,
    number: u64,
    start: Instant,
    /// What it has seen last in each register, with its revision.
    seen: Vec<(Value, Option<u64>)>,
}

impl Recorder {
    /// The client with a number, for the registers of a history. It begins with the node of its number.
    pub(super) fn new(
        (number, nodes): (usize, &[SocketAddr]),
        history: &str,
        start: Instant,
        plant: Option<Plant>,
    ) -> Self {
        let is_stale = plant == Some(Plant::StaleReads);
        let client =
            |node: &SocketAddr| Client::patient(*node, PATIENCE).with_stale_reads(is_stale);
        Self {
            clients: nodes.iter().map(client).collect(),
            at: number % nodes.len().max(1),
            plant,
            history: history.to_owned(),
            number: number as u64,
            start,
            seen: vec![(None, None); REGISTERS],
        }
    }

    /// Asks until `end`, and returns what it asked and was told.
    pub(super) async fn run(mut self, mut chance: Chance, end: Instant) -> Vec<Call> {
        let mut calls = Vec::new();
        while Instant::now() < end {
            let action = self.choose(&mut chance, calls.len() as u64);
            let start = self.now();
            let answer = self.ask(&action).await;
            let end = match answer {
                Answer::Nothing => u64::MAX,
                _ => self.now(),
            };
            if answer == Answer::Nothing {
                self.at = (self.at + 1) % self.clients.len();
            }
            calls.push(Call {
                start,
                end,
                action,
                answer,
            });
            sleep(Duration::from_millis(chance.below(REST_MS))).await;
        }
        calls
    }

    fn choose(&self, chance: &mut Chance, count: u64) -> Action {
        let register = usize::try_from(chance.below(REGISTERS as u64)).unwrap_or_default();
        let value = (self.number + 1) * 1_000_000 + count;
        match chance.below(10) {
            0..3 => Action::Put { register, value },
            3..5 => Action::CompareAndSet {
                register,
                from: self.seen[register].0,
                to: value,
            },
            5..8 => Action::Get { register },
            _ => Action::List,
        }
    }

    async fn ask(&mut self, action: &Action) -> Answer {
        match action {
            Action::Put { register, value } => self.write(*register, *value, None).await,
            Action::CompareAndSet { register, to, .. } => {
                let condition = match self.seen[*register].1 {
                    Some(revision) => precondition::Condition::Revision(revision),
                    None => precondition::Condition::Absent(true),
                };
                let condition = Precondition {
                    condition: Some(condition),
                };
                let condition = (self.plant != Some(Plant::BlindSwaps)).then_some(condition);
                self.write(*register, *to, condition).await
            }
            Action::Get { register } => self.get(*register).await,
            Action::List => self.list().await,
        }
    }

    async fn write(
        &mut self,
        register: usize,
        value: u64,
        condition: Option<Precondition>,
    ) -> Answer {
        let is_conditional = condition.is_some();
        if self.plant == Some(Plant::LostWrites) && value.is_multiple_of(10) {
            return Answer::Stored;
        }
        let put = objects::put(&self.object(register, value), condition);
        match self.client().apply(vec![put]).await {
            Ok(revision) => {
                self.seen[register] = (Some(value), Some(revision));
                Answer::Stored
            }
            Err(status) if is_conditional && is_refusal(&status) => Answer::Refused,
            Err(_) => Answer::Nothing,
        }
    }

    async fn get(&mut self, register: usize) -> Answer {
        let key = objects::key(&self.object(register, 0));
        match self.client().get(key).await {
            Ok(found) => {
                let revision = found.as_ref().map(|(revision, _)| *revision);
                let value = found.and_then(|(_, content)| value_of(&content));
                self.seen[register] = (value, revision);
                Answer::Found(value)
            }
            Err(_) => Answer::Nothing,
        }
    }

    async fn list(&mut self) -> Answer {
        if self.plant == Some(Plant::TornLists) {
            return self.list_one_by_one().await;
        }
        match self.client().list("ConfigMap").await {
            Ok(found) => {
                let value = |register| {
                    let name = self.name(register);
                    value_of(found.get(&format!("ConfigMap/{name}"))?)
                };
                let registers = 0..self.seen.len();
                Answer::Listed(registers.map(value).collect())
            }
            Err(_) => Answer::Nothing,
        }
    }

    async fn list_one_by_one(&mut self) -> Answer {
        let mut values = Vec::new();
        for register in 0..REGISTERS {
            sleep(TORN).await;
            match self.get(register).await {
                Answer::Found(value) => values.push(value),
                _ => return Answer::Nothing,
            }
        }
        Answer::Listed(values)
    }

    fn client(&self) -> &Client {
        &self.clients[self.at]
    }

    fn object(&self, register: usize, value: u64) -> Json {
        objects::map(&self.name(register), &value.to_string())
    }

    fn name(&self, register: usize) -> String {
        format!("{}-r{register}", self.history)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

/// Whether an object was not as the write required; then nothing was written.
fn is_refusal(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
}

fn value_of(content: &str) -> Value {
    let object: Json = serde_json::from_str(content).ok()?;
    object.pointer("/data/value")?.as_str()?.parse().ok()
}
