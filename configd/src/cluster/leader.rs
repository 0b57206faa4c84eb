//! The way to the configd that leads.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_store::{Store, StoreError};
use tonic::Status;
use tonic::transport::Channel;

use super::services;
use crate::error;
use crate::listen::Security;

/// The way to the gRPC services of the configd that leads. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    store: Store,
    security: Security,
    connection: Arc<Mutex<Option<(String, Channel)>>>,
}

impl Leader {
    pub(crate) fn new(store: Store, security: Security) -> Self {
        Self {
            store,
            security,
            connection: Arc::default(),
        }
    }

    /// The end of this configd's lead: what only a leader knows is not waited for any longer.
    pub(crate) async fn until_deposed(store: Store) {
        let mut leads = store.watch_leader();
        // What is followed may be a moment later than what is known.
        while store.is_leader() || *leads.borrow_and_update() {
            if leads.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether it is this configd.
    pub(super) fn is_here(&self) -> bool {
        self.store.is_leader()
    }

    /// A channel to it.
    ///
    /// # Errors
    /// UNAVAILABLE where nobody leads, or the leader does not say how to reach it.
    pub(super) fn channel(&self) -> Result<Channel, Status> {
        let (_, leader) = self
            .store
            .leader()
            .ok_or_else(|| error::store(&StoreError::NoLeader { hint: None }))?;
        let url = leader.api_address;
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = &*connection
            && *known == url
        {
            return Ok(channel.clone());
        }
        let channel = services(&self.security, &url).ok_or_else(|| {
            let name = &leader.name;
            Status::unavailable(format!(
                "the leader {name} cannot be reached at {url:?}; start it with --api-address"
            ))
        })?;
        *connection = Some((url, channel.clone()));
        Ok(channel)
    }

    /// The answer to what another configd has passed on to this one, which does not lead.
    pub(super) fn not_here(&self) -> Status {
        let hint = self.store.leader().map(|(_, member)| member);
        error::store(&StoreError::NoLeader { hint })
    }
}
