//! One session: opened, begun with the full set, then a write for what has changed since the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tidegate_proto::objects::v1::{
    ApplyMode, ApplyRequest, Object, ResyncEnd, ResyncRequest, ResyncResponse,
};
use tidegate_proto::sources::v1::{OpenSessionRequest, RenewLeaseRequest};
use tokio_stream::iter;
use tonic::Status;
use tracing::{info, warn};

use super::refusal::{Verdict, refused_places, verdict};
use super::selection::{Affected, Selection};
use super::{Feed, batch, kept};
use crate::cluster::Observed;
use crate::gateway;
use crate::key::ObjectKey;
use crate::kinds::GATEWAY_GROUP;
use crate::table::Changes;

/// How often a write is sent again whose answer did not come.
const TRIES_MAX: u32 = 10;
/// Pause before it is.
const TRY_INTERVAL: Duration = Duration::from_millis(300);
/// Time that a write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a full set may take.
const RESYNC_TIMEOUT: Duration = Duration::from_secs(900);
/// How often a full set is sent again without the objects that configd does not take: it names 100 at a time.
const REFUSALS_MAX: u32 = 50;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Another writer has a newer one.
    #[error("a newer session of the source is open")]
    Fenced,
    /// A call failed.
    #[error("configd has not carried out {call}")]
    Call {
        /// Which one.
        call: &'static str,
        /// configd's answer.
        #[source]
        status: Box<Status>,
    },
    /// An answer did not come in time.
    #[error("configd has not answered {0} in time")]
    Late(&'static str),
}

/// What is kept of Secrets that are gone, from one session to the next: at most as many as configd has.
pub(super) type Kept = BTreeMap<ObjectKey, Arc<Observed>>;

/// A session that is open.
pub(super) struct Session<'f> {
    feed: &'f Feed,
    kept: &'f mut Kept,
    number: u64,
    /// Writes that were carried out.
    sequence: u64,
    changes: Changes,
    selection: Selection,
    /// What configd has.
    sent: BTreeMap<ObjectKey, Arc<Observed>>,
    /// Contents that configd does not take.
    refused: BTreeMap<ObjectKey, Bytes>,
}

impl<'f> Session<'f> {
    /// Opens one, after which older writers are refused.
    pub(super) async fn open(feed: &'f Feed, kept: &'f mut Kept) -> Result<Self, SessionError> {
        let request = OpenSessionRequest {
            source: feed.source.clone(),
            requested_by: feed.writer.clone(),
            incarnation: feed.incarnation.clone(),
            lease_ms: u64::try_from(feed.lease.as_millis()).unwrap_or(0),
        };
        let mut sources = feed.configds.current().sources;
        let answer = within(WRITE_TIMEOUT, "OpenSession", sources.open_session(request)).await?;
        let number = answer.session;
        info!(session = number, source = feed.source, "Session opened.");
        feed.metrics.sessions.inc();
        Ok(Self {
            feed,
            kept,
            number,
            sequence: 0,
            changes: feed.mirror.objects.subscribe(),
            selection: Selection::default(),
            sent: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Makes configd's objects equal to those of the cluster.
    pub(super) async fn resync(&mut self) -> Result<(), SessionError> {
        self.changes.take();
        let all = self.feed.mirror.objects.all();
        for (key, observed) in &all {
            self.selection.look_at(key, &observed.whole);
        }
        let mut wanted = all;
        wanted.retain(|(key, _)| self.selection.wants(key));
        let mirror = &self.feed.mirror.objects;
        self.kept
            .retain(|key, _| self.selection.wants(key) && mirror.get(key).is_none());
        wanted.extend(
            self.kept
                .iter()
                .map(|(key, last)| (key.clone(), last.clone())),
        );
        for (key, observed) in &mut wanted {
            *observed = self.as_sent(key, observed);
        }
        for _ in 0..REFUSALS_MAX {
            match self.send_set(&wanted).await {
                Ok(answer) => {
                    self.sequence += 1;
                    self.sent = wanted.into_iter().collect();
                    self.note_set(&answer);
                    return Ok(());
                }
                Err(error) => {
                    for ((key, observed), reason) in take_refused(&mut wanted, "objects", error)? {
                        self.refuse(key, &observed, &reason);
                    }
                }
            }
        }
        Err(SessionError::Late("Resync"))
    }

    async fn send_set(
        &self,
        wanted: &[(ObjectKey, Arc<Observed>)],
    ) -> Result<ResyncResponse, SessionError> {
        let source = &self.feed.source;
        let objects = wanted.iter();
        let objects: Vec<Object> = objects
            .map(|(key, observed)| batch::object(source, key, observed))
            .collect();
        let count = objects.len() as u64;
        let request = |objects| ResyncRequest {
            source: source.clone(),
            objects,
            ..ResyncRequest::default()
        };
        let mut requests: Vec<_> = batch::messages(objects).into_iter().map(request).collect();
        if let Some(first) = requests.first_mut() {
            "the operator has begun a session".clone_into(&mut first.reason);
            first.session = self.number;
            first.sequence = self.sequence + 1;
        }
        if let Some(last) = requests.last_mut() {
            last.end = Some(ResyncEnd { objects: count });
        }
        let mut objects = self.feed.configds.current().objects;
        within(RESYNC_TIMEOUT, "Resync", objects.resync(iter(requests))).await
    }

    fn note_set(&self, answer: &ResyncResponse) {
        let (revision, held) = (answer.revision, answer.held);
        let (put, deleted, objects) = (answer.put, answer.deleted, self.sent.len());
        info!(revision, objects, put, deleted, "The full set is stored.");
        self.feed.revision.send_replace(revision);
        self.feed.metrics.held.set(held.into());
        if held > 0 {
            let source = &self.feed.source;
            warn!(
                held,
                "configd keeps objects that the cluster does not have, since they are many; \
                 `tidegate sources list` shows them, and `tidegate sources confirm-deletions {source} ID` deletes them."
            );
        }
    }

    /// Sends what changes, and signs of life, until something fails.
    pub(super) async fn follow(&mut self) -> Result<Infallible, SessionError> {
        loop {
            let quiet = tokio::time::sleep(self.feed.lease / 3);
            let keys = tokio::select! {
                keys = self.changes.next() => Some(keys),
                () = quiet => None,
            };
            match keys {
                Some(keys) => self.send(keys).await?,
                None => self.renew().await?,
            }
        }
    }

    async fn renew(&self) -> Result<(), SessionError> {
        let request = RenewLeaseRequest {
            source: self.feed.source.clone(),
            session: self.number,
            lease_ms: None,
        };
        let mut tries = 0;
        loop {
            let mut sources = self.feed.configds.current().sources;
            let renewed = sources.renew_lease(request.clone());
            match within(WRITE_TIMEOUT, "RenewLease", renewed).await {
                Ok(_) => return Ok(()),
                Err(error) => self.may_try_again(error, &mut tries).await?,
            }
        }
    }

    /// Sends what of these is not at configd as it should be.
    async fn send(&mut self, keys: BTreeSet<ObjectKey>) -> Result<(), SessionError> {
        let keys = self.affected(keys);
        let changed = self.differing(keys);
        for mut batch in batch::batches(changed) {
            while !batch.is_empty() {
                match self.apply(&batch).await {
                    Ok(()) => break,
                    Err(error) => {
                        let refused = take_refused(&mut batch, "operations", error)?;
                        for ((key, wanted), reason) in refused {
                            if let Some(observed) = wanted {
                                self.refuse(key, &observed, &reason);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// These, what they name or have ceased to name, and what is sent with a part of them.
    fn affected(&mut self, mut keys: BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let objects = &self.feed.mirror.objects;
        let mut namespaces = BTreeSet::new();
        for key in keys.clone() {
            let observed = objects.get(&key);
            let whole = observed.as_ref().map_or(&Value::Null, |own| &own.whole);
            let Affected {
                objects,
                namespaces: more,
            } = self.selection.look_at(&key, whole);
            keys.extend(objects);
            keys.extend(gateway::remembered_by(&key, whole));
            namespaces.extend(more);
        }
        if !namespaces.is_empty() {
            let pods = objects.of_kind("", "Pod").into_iter().map(|(key, _)| key);
            keys.extend(pods.filter(|key| namespaces.contains(&key.namespace)));
        }
        keys
    }

    /// An object as configd gets it.
    fn as_sent(&self, key: &ObjectKey, observed: &Arc<Observed>) -> Arc<Observed> {
        match key.is(GATEWAY_GROUP, "Gateway") {
            true => {
                let sent = self.sent.get(key).map(|sent| &**sent);
                gateway::remembering(&self.feed.mirror, key, observed, sent)
            }
            false => observed.clone(),
        }
    }

    /// What configd is to have of an object.
    fn wanted(&self, key: &ObjectKey) -> Option<Arc<Observed>> {
        if !self.selection.wants(key) {
            return None;
        }
        match self.feed.mirror.objects.get(key) {
            Some(observed) => Some(self.as_sent(key, &observed)),
            None if kept::is_kept(key) => self.sent.get(key).map(kept::deleted),
            None => None,
        }
    }

    /// Remembers what is sent of an object that is gone.
    fn note_kept(&mut self, key: &ObjectKey, wanted: Option<&Arc<Observed>>) {
        if !kept::is_kept(key) {
            return;
        }
        let is_gone = self.feed.mirror.objects.get(key).is_none();
        match wanted.filter(|_| is_gone) {
            Some(last) => drop(self.kept.insert(key.clone(), last.clone())),
            None => drop(self.kept.remove(key)),
        }
    }

    fn differing(&self, keys: BTreeSet<ObjectKey>) -> Vec<batch::Wanted> {
        let changed = keys.into_iter().filter_map(|key| {
            let wanted = self.wanted(&key);
            let is_refused = |own: &Arc<Observed>| self.refused.get(&key) == Some(&own.content);
            match (&wanted, self.sent.get(&key)) {
                (Some(wanted), Some(sent)) if is_same(wanted, sent) => None,
                (Some(wanted), _) if is_refused(wanted) => None,
                (None, None) => None,
                _ => Some((key, wanted)),
            }
        });
        changed.collect()
    }

    async fn apply(&mut self, batch: &[batch::Wanted]) -> Result<(), SessionError> {
        let source = &self.feed.source;
        let operations = batch.iter();
        let request = ApplyRequest {
            source: source.clone(),
            operations: operations
                .map(|change| batch::operation(source, change))
                .collect(),
            mode: ApplyMode::Commit.into(),
            reason: "the cluster changed".to_owned(),
            session: self.number,
            sequence: self.sequence + 1,
            ..ApplyRequest::default()
        };
        let mut tries = 0;
        let answer = loop {
            let mut objects = self.feed.configds.current().objects;
            let applied = objects.apply(request.clone());
            match within(WRITE_TIMEOUT, "Apply", applied).await {
                Ok(answer) => break answer,
                Err(error) => self.may_try_again(error, &mut tries).await?,
            }
        };
        self.sequence += 1;
        self.feed.revision.send_replace(answer.revision);
        self.feed.metrics.changes.inc_by(batch.len() as u64);
        for (key, wanted) in batch {
            self.refused.remove(key);
            self.note_kept(key, wanted.as_ref());
            match wanted {
                Some(observed) => drop(self.sent.insert(key.clone(), observed.clone())),
                None => drop(self.sent.remove(key)),
            }
        }
        Ok(())
    }

    /// Waits before another try of the same write; the error where there is no use in one.
    async fn may_try_again(
        &self,
        error: SessionError,
        tries: &mut u32,
    ) -> Result<(), SessionError> {
        let again = match &error {
            SessionError::Call { status, .. } => verdict(status),
            SessionError::Late(_) => Verdict::Again,
            SessionError::Fenced => Verdict::Fenced,
        };
        *tries += 1;
        match again {
            Verdict::Fenced => Err(SessionError::Fenced),
            Verdict::Again if *tries < TRIES_MAX => {
                self.feed.configds.advance();
                tokio::time::sleep(TRY_INTERVAL * *tries).await;
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Leaves a version of an object out; what configd has of it stays in force.
    fn refuse(&mut self, key: ObjectKey, observed: &Observed, reason: &str) {
        warn!(object = %key, reason, "configd does not take an object.");
        self.feed.metrics.refused.inc();
        self.feed.events.refused(&key, observed, reason);
        self.refused.insert(key, observed.content.clone());
    }
}

/// One bad object breaks only itself: takes those out that configd refuses, by their places in a list of the request. The
/// error where it names none.
fn take_refused<T>(
    sent: &mut Vec<T>,
    list: &str,
    error: SessionError,
) -> Result<Vec<(T, String)>, SessionError> {
    let places = match &error {
        SessionError::Call { status, .. } => refused_places(status, list),
        _ => BTreeMap::new(),
    };
    if places.is_empty() {
        return Err(error);
    }
    let mut refused = Vec::with_capacity(places.len());
    for (place, reason) in places.into_iter().rev() {
        if place < sent.len() {
            refused.push((sent.remove(place), reason));
        }
    }
    Ok(refused)
}

/// Whether configd would see no difference.
fn is_same(one: &Observed, other: &Observed) -> bool {
    one.uid == other.uid && one.generation == other.generation && one.content == other.content
}

async fn within<T>(
    time: Duration,
    call: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, SessionError> {
    match tokio::time::timeout(time, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if verdict(&status) == Verdict::Fenced => Err(SessionError::Fenced),
        Ok(Err(status)) => Err(SessionError::Call {
            call,
            status: Box::new(status),
        }),
        Err(_) => Err(SessionError::Late(call)),
    }
}
