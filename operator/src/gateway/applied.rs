//! What was applied, so that what is as it was is left alone.

use serde_json::Value;

use super::apply::Generations;
use super::build::{Metadata, front, workers};
use super::dereference::Parts;
use super::names;
use crate::cluster::Mirror;
use crate::key::ObjectKey;

/// What was applied for a Gateway, or for workers that several share.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Applied {
    pub(super) name: String,
    /// Of the Gateways that own it.
    pub(super) uids: Vec<String>,
    pub(super) objects: Vec<Value>,
    /// As the API server has counted when they were applied.
    pub(super) generations: Generations,
}

impl Applied {
    /// Whether the same was wanted.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.uids, &self.objects) == (&other.name, &other.uids, &other.objects)
    }

    /// What is to be applied.
    pub(super) fn of(parts: &Parts) -> Self {
        let pool = parts.pool.iter();
        let metadata = pool.clone().map(|pool| &pool.metadata);
        let metadata = metadata.chain(parts.front.iter().map(|front| &front.metadata));
        let objects = pool
            .flat_map(workers)
            .chain(parts.front.iter().flat_map(front));
        let objects = objects.collect();
        // Where there are both, both are one Gateway's.
        metadata
            .last()
            .map_or_else(Self::default, |metadata: &Metadata| Self {
                name: metadata.name.clone(),
                uids: metadata
                    .owners
                    .iter()
                    .map(|owner| owner.uid.clone())
                    .collect(),
                objects,
                generations: Generations::new(),
            })
    }

    /// Shared workers from before this process began, by their Secret.
    pub(super) fn left_behind(mirror: &Mirror, pool: &ObjectKey) -> Option<Self> {
        let name = names::of_shared_pool(&pool.name);
        let secret = ObjectKey::new("", "Secret", &pool.namespace, &name);
        let secret = mirror.objects.get(&secret)?;
        let owners = secret.whole["metadata"]["ownerReferences"].as_array()?;
        let uids = owners.iter().filter_map(|owner| owner["uid"].as_str());
        Some(Self {
            name,
            uids: uids.map(str::to_owned).collect(),
            ..Self::default()
        })
    }
}
