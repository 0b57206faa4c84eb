//! Events of objects: what happened, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tracing::debug;

use crate::cluster::{Observed, Resources};
use crate::key::ObjectKey;

/// Events that wait to be written; further ones are dropped, since they are a courtesy.
const QUEUE_LEN_MAX: usize = 1_000;

/// Longest note that the API server takes, in bytes.
const NOTE_LEN_MAX: usize = 1_000;

/// Where events are handed in; clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    resources: Resources,
    queue: mpsc::Sender<(ObjectReference, Event)>,
}

/// Writes what is handed in.
pub(crate) struct EventWriter {
    recorder: Recorder,
    queue: mpsc::Receiver<(ObjectReference, Event)>,
}

impl Events {
    pub(crate) fn new(client: Client, resources: Resources) -> (Self, EventWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let recorder = Recorder::new(client, Reporter::from("tidegate-operator"));
        let events = Self {
            resources,
            queue: sender,
        };
        let writer = EventWriter {
            recorder,
            queue: receiver,
        };
        (events, writer)
    }

    /// Something went as it should.
    pub(crate) fn normal(&self, key: &ObjectKey, observed: &Observed, reason: &str, note: &str) {
        self.add(EventType::Normal, (key, observed), reason, note);
    }

    /// Something needs somebody to look at it.
    pub(crate) fn warning(&self, key: &ObjectKey, observed: &Observed, reason: &str, note: &str) {
        self.add(EventType::Warning, (key, observed), reason, note);
    }

    /// configd does not take an object, so no condition can say what is wrong with it.
    pub(crate) fn refused(&self, key: &ObjectKey, observed: &Observed, reason: &str) {
        let note = format!("It is not served as it is now: {reason}");
        self.warning(key, observed, "Refused", &note);
    }

    fn add(
        &self,
        type_: EventType,
        (key, observed): (&ObjectKey, &Observed),
        reason: &str,
        note: &str,
    ) {
        let text = |text: &str| Some(text.to_owned());
        let reference = ObjectReference {
            api_version: self.resources.api_version(&key.group_kind()),
            kind: text(&key.kind),
            name: text(&key.name),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.to_string()),
            uid: text(&observed.uid),
            resource_version: text(&observed.resource_version),
            ..ObjectReference::default()
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.queue.try_send((reference, event)).is_err() {
            debug!(object = %key, "An event was dropped: too many wait.");
        }
    }
}

/// The text, or as much of it as fits.
fn cut(note: &str) -> String {
    let end = note.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = end.take_while(|end| *end <= NOTE_LEN_MAX).last();
    note[..end.unwrap_or(0)].to_owned()
}

impl EventWriter {
    /// Writes until nobody hands in events any more.
    pub(crate) async fn run(mut self) {
        while let Some((reference, event)) = self.queue.recv().await {
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                let name = reference.name.unwrap_or_default();
                debug!(object = name, %error, "An event could not be written.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_ends_between_two_characters() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ü".repeat(2_000));
        assert_eq!(long, "ü".repeat(NOTE_LEN_MAX / 2));
    }
}
