//! Writes what configd and the cluster say about each object into its `.status`.

mod addresses;
mod bundle;
mod features;
mod follow;
mod merge;
mod transition;
mod write;

use serde_json::Value;
use tidegate_proto::statuses::v1::BoundPort;

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
        /// Where a Gateway is served.
        served: Served,
    },
    /// Nothing of ours.
    Nothing,
}

/// Where configd serves a Gateway; empty for other kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Served {
    /// What configd calls the pool of workers.
    pub(crate) pool: String,
    /// The ports of its listeners, and where workers bind them.
    pub(crate) ports: Vec<BoundPort>,
    /// The GatewayParameters by which it is served, `{"own": …, "ofClass": …}`; empty where it is not.
    pub(crate) parameters: String,
}

impl Wanted {
    /// Where the object is served.
    pub(crate) fn served(&self) -> Option<&Served> {
        match self {
            Self::Status { served, .. } => Some(served),
            Self::Nothing => None,
        }
    }

    /// Whether workers serve a Gateway, accepted or with what it had before.
    pub(crate) fn is_served(&self) -> bool {
        let remembers = self
            .served()
            .is_some_and(|served| !served.parameters.is_empty());
        remembers || self.is_true("Accepted")
    }

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
