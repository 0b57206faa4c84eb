//! The way to a reader, who is cut off with a reason where it does not keep up.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_proto::objects::v1::WatchObjectsResponse;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

type Message = Result<WatchObjectsResponse, Status>;

/// Messages to a reader, bounded, with a place for the last word.
#[derive(Debug)]
pub(in super::super) struct Outlet {
    queue: mpsc::Sender<Message>,
    last: mpsc::OwnedPermit<Message>,
    patience: Duration,
}

/// Why nothing is sent any more.
#[derive(Debug)]
pub(super) enum Closed {
    /// The reader went.
    Gone,
    /// The reader is told why.
    Failed(Status),
}

impl Outlet {
    /// At most `queue_len_max` messages wait, and none for longer than `patience`.
    pub(super) fn new(queue_len_max: usize, patience: Duration) -> (Self, mpsc::Receiver<Message>) {
        let (queue, messages) = mpsc::channel(queue_len_max + 1);
        let last = queue.clone().try_reserve_owned();
        let last = last.unwrap_or_else(|_| unreachable!("a new queue has room"));
        let outlet = Self {
            queue,
            last,
            patience,
        };
        (outlet, messages)
    }

    /// Sends a message as soon as there is room.
    pub(super) async fn send(&self, message: WatchObjectsResponse) -> Result<(), Closed> {
        match tokio::time::timeout(self.patience, self.queue.reserve()).await {
            Ok(Ok(place)) => {
                place.send(Ok(message));
                Ok(())
            }
            Ok(Err(_)) => Err(Closed::Gone),
            Err(_) => Err(Closed::Failed(self.too_slow())),
        }
    }

    /// Waits until the reader goes.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Says why no more comes, after what waits.
    pub(super) fn end(self, status: Status) {
        self.last.send(Err(status));
    }

    fn too_slow(&self) -> Status {
        let seconds = self.patience.as_secs_f32();
        let message = format!(
            "the watch was ended because its reader took no message for {seconds} s; begin again after the last \
             revision that came"
        );
        let about = HashMap::<String, String>::new();
        let details = ErrorDetails::with_error_info("WATCH_TOO_SLOW", "tidegate.dev", about);
        Status::with_error_details(Code::ResourceExhausted, message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(revision: u64) -> WatchObjectsResponse {
        WatchObjectsResponse {
            revision,
            ..WatchObjectsResponse::default()
        }
    }

    #[tokio::test]
    async fn a_reader_that_does_not_keep_up_gets_what_waits_and_then_the_reason() {
        let (outlet, mut messages) = Outlet::new(2, Duration::from_millis(1));
        outlet.send(numbered(1)).await.unwrap();
        outlet.send(numbered(2)).await.unwrap();
        let Err(Closed::Failed(status)) = outlet.send(numbered(3)).await else {
            panic!("there is no room for a third one");
        };
        outlet.end(status);
        for revision in [1, 2] {
            assert_eq!(messages.recv().await.unwrap().unwrap(), numbered(revision));
        }
        let reason = messages.recv().await.unwrap().unwrap_err();
        assert_eq!(reason.code(), Code::ResourceExhausted);
        let info = reason.get_details_error_info().unwrap();
        assert_eq!(info.reason, "WATCH_TOO_SLOW");
        assert!(messages.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_goes_ends_the_watch() {
        let (outlet, messages) = Outlet::new(2, Duration::from_secs(60));
        drop(messages);
        outlet.closed().await;
        let sent = outlet.send(numbered(1)).await;
        assert!(matches!(sent, Err(Closed::Gone)));
    }
}
