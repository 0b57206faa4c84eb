//! Plans that wait to be carried out, bounded in number, bytes and age.

mod draft;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use tidegate_ir::Digest;
use tidegate_proto::plans::v1::{Plan, PlanInfo};
use tidegate_proto::raft::v1::PutObjects;

pub(crate) use draft::{Draft, changed, draft};

/// Plans that are kept, at most; the oldest goes first.
const PLANS_MAX: usize = 32;

/// Bytes of the changes of all plans, at most; the oldest goes first.
const BYTES_MAX: usize = 64 << 20;

/// How long a plan is kept, in milliseconds.
const AGE_MS_MAX: i64 = 3_600_000;

/// The plans of this configd.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    kept: Mutex<VecDeque<Arc<KeptPlan>>>,
    /// Held while one is compiled.
    alone: Mutex<()>,
}

/// A plan with the changes that carry it out.
#[derive(Debug)]
pub(crate) struct KeptPlan {
    /// What it would do.
    pub(crate) plan: Plan,
    /// How it is done.
    pub(crate) put: PutObjects,
}

impl KeptPlan {
    /// A plan that is named after what it is made of.
    pub(crate) fn new(draft: Draft, mut put: PutObjects, now_unix_ms: i64) -> Self {
        let mut named = put.encode_to_vec();
        named.extend(now_unix_ms.to_be_bytes());
        let digest = Digest::of(&named);
        let id = digest.as_bytes().iter().take(8);
        let id: String = id.map(|byte| format!("{byte:02x}")).collect();
        // A second try of the same plan is answered as the first.
        put.request_id.clone_from(&id);
        let info = PlanInfo {
            id,
            base_revision: put.base_revision.unwrap_or_default(),
            created_at_unix_ms: now_unix_ms,
            source: put.source.clone(),
            reason: put.reason.clone(),
            operations: u32::try_from(put.operations.len()).unwrap_or(u32::MAX),
        };
        let plan = draft.plan(info);
        Self { plan, put }
    }

    /// What it is, without what it would do.
    pub(crate) fn info(&self) -> PlanInfo {
        self.plan.info.clone().unwrap_or_default()
    }
}

impl Plans {
    /// Keeps a plan, and lets go of those that are too many, too large or too old.
    pub(crate) fn keep(&self, plan: KeptPlan) -> Arc<KeptPlan> {
        let now = plan.info().created_at_unix_ms;
        let plan = Arc::new(plan);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(plan.clone());
        kept.retain(|plan| is_fresh(plan, now));
        let bytes = |kept: &VecDeque<Arc<KeptPlan>>| -> usize {
            kept.iter().map(|plan| plan.put.encoded_len()).sum()
        };
        while kept.len() > PLANS_MAX || (kept.len() > 1 && bytes(&kept) > BYTES_MAX) {
            kept.pop_front();
        }
        plan
    }

    /// Waits until no other plan is compiled. Blocks.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan with that id.
    pub(crate) fn get(&self, id: &str, now_unix_ms: i64) -> Option<Arc<KeptPlan>> {
        let plans = self.list(now_unix_ms);
        plans.into_iter().find(|plan| plan.put.request_id == id)
    }

    /// All plans, the newest first.
    pub(crate) fn list(&self, now_unix_ms: i64) -> Vec<Arc<KeptPlan>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = kept.iter().rev().filter(|plan| is_fresh(plan, now_unix_ms));
        fresh.cloned().collect()
    }
}

fn is_fresh(plan: &KeptPlan, now_unix_ms: i64) -> bool {
    now_unix_ms.saturating_sub(plan.info().created_at_unix_ms) <= AGE_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base_revision: u64, now_unix_ms: i64) -> KeptPlan {
        let put = PutObjects {
            base_revision: Some(base_revision),
            ..PutObjects::default()
        };
        KeptPlan::new(Draft::default(), put, now_unix_ms)
    }

    #[test]
    fn plans_are_bounded_in_number_and_age() {
        let plans = Plans::default();
        let first = plans.keep(plan(0, 0)).info().id;
        assert!(plans.get(&first, AGE_MS_MAX).is_some());
        assert!(plans.get(&first, AGE_MS_MAX + 1).is_none());
        for revision in 1..=PLANS_MAX as u64 {
            plans.keep(plan(revision, 1));
        }
        assert_eq!(plans.list(1).len(), PLANS_MAX);
        assert!(plans.get(&first, 1).is_none(), "the oldest goes first");
    }
}
