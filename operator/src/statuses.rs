//! Writes what configd and the cluster say about each object into its `.status`.

mod addresses;
mod bundle;
mod features;
mod follow;
mod merge;
mod transition;
mod write;

use serde_json::Value;

use crate::table::Table;

pub(crate) use bundle::Bundle;
pub(crate) use follow::Follower;
pub(crate) use write::Writer;

/// What configd wants the statuses of the cluster's objects to be.
pub(crate) type Board = Table<Wanted>;

/// What configd wants of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// Our part of its status.
    Status {
        /// The object that it is about.
        uid: String,
        /// The generation that it is about.
        generation: i64,
        /// The fields, without times.
        status: Value,
    },
    /// Nothing of ours.
    Nothing,
}

impl Wanted {
    /// Whether a condition of the whole object is true.
    pub(crate) fn is_true(&self, condition: &str) -> bool {
        let Self::Status { status, .. } = self else {
            return false;
        };
        let conditions = status["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == condition && one["status"] == "True")
        })
    }
}
