//! A version on its way to the workers of its pool, step by step.

use tidegate_proto::raft::v1::{self, Track};

use crate::{
    level::{FIRST_LEVEL, WORKERS_OF_A_STEP},
    marks::{Note, check_note},
};

/// Steps of a rollout, at most.
const STEPS_MAX: usize = 20;
/// Time that a step takes, at most, in milliseconds.
const BAKE_MS_MAX: u64 = 86_400_000;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Share of the workers that have the version; up to 100.
    pub percent: u32,
    /// As many of the connected workers have it in any case.
    pub workers: u32,
    /// How long they must serve it before the next step, in milliseconds.
    pub bake_ms: u64,
    /// What stops it.
    pub gates: Gates,
}

/// What the workers of a step must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gates {
    /// By how much their share of errors may be greater than that of the others, in thousandths; `None` to not look at it.
    pub max_5xx_delta_permille: Option<u32>,
    /// How many of them may refuse the version.
    pub max_nacks: u32,
    /// Share of them that must serve it, in percent; 1 to 100.
    pub min_ready_percent: u32,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            max_5xx_delta_permille: None,
            max_nacks: 0,
            min_ready_percent: 100,
        }
    }
}

/// The steps of a rollout, and who wants them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// In order, growing.
    pub steps: Vec<Step>,
    /// Who wants them, and why.
    pub note: Note,
}

/// A rollout that is under way. Addresses of endpoints are followed on both sides of it, so each has versions of its own,
/// and those of the workers that are in a step are always the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The version that began it.
    pub id: u64,
    /// What workers are sent that are not in a step yet.
    pub stable: u64,
    /// What workers are sent that are.
    pub canary: u64,
    /// At least one.
    pub steps: Steps,
    /// The present step, from 0.
    pub step: u32,
    /// Since when, in milliseconds since 1970-01-01 UTC.
    pub since_unix_ms: i64,
    /// Whether it stays at this step.
    pub paused: bool,
}

impl Rollout {
    /// The present step.
    pub fn present(&self) -> Step {
        let step = self.steps.steps.get(self.step as usize);
        step.copied().unwrap_or_else(|| Step {
            percent: 100,
            workers: 0,
            bake_ms: 0,
            gates: Gates::default(),
        })
    }

    /// The first step of what a commit begins.
    pub(crate) fn begin(commit: &v1::CommitSnapshot, steps: &v1::RolloutSteps) -> Self {
        let version = commit.parent + 1;
        Self {
            id: version,
            stable: commit.parent,
            canary: version,
            steps: steps.clone().into(),
            step: 0,
            since_unix_ms: commit.committed_at_unix_ms,
            paused: false,
        }
    }

    /// Takes in a later version of one side.
    pub(crate) fn committed(&mut self, commit: &v1::CommitSnapshot) {
        match commit.track() {
            Track::Stable => self.stable = commit.parent + 1,
            Track::Canary => self.canary = commit.parent + 1,
            Track::Unspecified => {}
        }
    }

    /// The rollout at another step; `None` where it is over. An error is a sentence.
    pub(crate) fn moved(mut self, to: &v1::RolloutMove) -> Result<Option<Self>, String> {
        if to.step < self.step {
            return Err(format!("the rollout is in step {} already", self.step));
        }
        if to.step as usize >= self.steps.steps.len() {
            return Ok(None);
        }
        if to.step > self.step {
            self.since_unix_ms = to.at_unix_ms;
        }
        (self.step, self.paused) = (to.step, to.paused);
        Ok(Some(self))
    }
}

/// Holds steps against the documented bounds; an error is a sentence.
pub(crate) fn check(steps: &v1::RolloutSteps) -> Result<(), String> {
    steps.note.as_ref().map_or(Ok(()), check_note)?;
    let count = steps.steps.len();
    if count > STEPS_MAX {
        return Err(format!(
            "a rollout has at most {STEPS_MAX} steps, not {count}"
        ));
    }
    let mut before = (0, 0);
    for step in &steps.steps {
        let (percent, workers) = (step.percent, step.workers);
        let grows = percent >= before.0 && workers >= before.1 && (percent, workers) != before;
        if !grows || percent > 100 {
            return Err(format!(
                "a step of {} after one of {} is none: steps grow, up to 100 %",
                size(percent, workers),
                size(before.0, before.1)
            ));
        }
        if step.bake_ms > BAKE_MS_MAX {
            return Err("a step takes at most a day".to_owned());
        }
        if step
            .max_5xx_delta_permille
            .is_some_and(|delta| delta > 1_000)
        {
            return Err("a share of errors is at most 1,000 thousandths".to_owned());
        }
        if step
            .min_ready_percent
            .is_some_and(|share| !(1..=100).contains(&share))
        {
            return Err("of the workers of a step 1 to 100 % must serve it".to_owned());
        }
        before = (percent, workers);
    }
    Ok(())
}

fn size(percent: u32, workers: u32) -> String {
    match (percent, workers) {
        (percent, 0) => format!("{percent} %"),
        (0, workers) => format!("{workers} workers"),
        (percent, workers) => format!("{percent} % and {workers} workers"),
    }
}

/// The feature level that all nodes must know to keep these steps.
pub(crate) fn level(steps: &v1::RolloutSteps) -> u32 {
    match steps.steps.iter().any(|step| step.workers > 0) {
        true => WORKERS_OF_A_STEP,
        false => FIRST_LEVEL,
    }
}

impl From<v1::RolloutSteps> for Steps {
    fn from(steps: v1::RolloutSteps) -> Self {
        let step = |step: v1::RolloutStep| Step {
            percent: step.percent,
            workers: step.workers,
            bake_ms: step.bake_ms,
            gates: Gates {
                max_5xx_delta_permille: step.max_5xx_delta_permille,
                max_nacks: step.max_nacks,
                min_ready_percent: step.min_ready_percent.unwrap_or(100),
            },
        };
        Self {
            steps: steps.steps.into_iter().map(step).collect(),
            note: steps.note.unwrap_or_default().into(),
        }
    }
}

impl From<Steps> for v1::RolloutSteps {
    fn from(steps: Steps) -> Self {
        let step = |step: Step| v1::RolloutStep {
            percent: step.percent,
            workers: step.workers,
            bake_ms: step.bake_ms,
            max_5xx_delta_permille: step.gates.max_5xx_delta_permille,
            max_nacks: step.gates.max_nacks,
            min_ready_percent: share_below_all(step.gates.min_ready_percent),
        };
        Self {
            steps: steps.steps.into_iter().map(step).collect(),
            note: Some(steps.note.into()),
        }
    }
}

/// All of them is what is meant without a number, and what is written so.
fn share_below_all(percent: u32) -> Option<u32> {
    (percent != 100).then_some(percent)
}
