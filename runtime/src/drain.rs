//! Draining: on a signal let work finish until a deadline, then shut down.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// The end of a process's life, watched by many tasks; clones share it.
///
/// It moves one way: running, draining ([`Drain::start`]), shut down ([`Drain::shut_down_now`], or
/// the end of [`Drain::finish`]).
#[derive(Debug, Clone)]
pub struct Drain {
    started: CancellationToken,
    shut_down: CancellationToken,
    cause: Arc<OnceLock<String>>,
    tasks: Tasks,
    deadline: Duration,
}

/// How a drain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every task ended by itself.
    Clean,
    /// The deadline passed first; the names of the tasks that were still running.
    DeadlinePassed(Vec<&'static str>),
    /// A second signal cut it short; the names of the tasks that were still running.
    Interrupted(Vec<&'static str>),
}

/// Why signals cannot be watched.
#[derive(Debug, Error)]
pub enum DrainError {
    /// The kernel or the runtime refused to install the handler.
    #[error("watching signal {name} failed")]
    WatchSignal {
        /// The signal's name.
        name: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl Drain {
    /// A running process whose drain, once started, may take at most `deadline`.
    pub fn new(deadline: Duration) -> Self {
        let shut_down = CancellationToken::new();
        Self {
            started: shut_down.child_token(),
            shut_down,
            cause: Arc::default(),
            tasks: Tasks::new(),
            deadline,
        }
    }

    /// Starts draining on SIGTERM or SIGINT; a second one of either shuts down at once.
    ///
    /// # Errors
    /// When a signal handler cannot be installed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen_for_signals(&self) -> Result<(), DrainError> {
        let mut terminate = watch_signal("SIGTERM", SignalKind::terminate())?;
        let mut interrupt = watch_signal("SIGINT", SignalKind::interrupt())?;
        let drain = self.clone();
        // Outside of `self.tasks`: a drain that waited for its own signals would never end.
        let detached = Tasks::new();
        detached.spawn("signals", async move {
            let first = next_signal(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = first, deadline = ?drain.deadline, "draining");
            drain.start(first);
            let second = next_signal(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = second, "shutting down at once");
            drain.shut_down_now();
        });
        Ok(())
    }

    /// The tasks that [`Drain::finish`] waits for.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The longest that a drain may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Starts draining; the first `cause` is kept.
    pub fn start(&self, cause: impl Into<String>) {
        // A later cause loses: the first one is what an operator looks for.
        let _ = self.cause.set(cause.into());
        self.started.cancel();
    }

    /// Why draining started: a signal's name or what a part of the process gave.
    pub fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }

    /// Whether draining has started.
    pub fn is_started(&self) -> bool {
        self.started.is_cancelled()
    }

    /// Waits until draining starts: stop taking new work then.
    pub async fn started(&self) {
        self.started.cancelled().await;
    }

    /// Shuts down without waiting for work; also starts draining for those who only watch that.
    pub fn shut_down_now(&self) {
        self.shut_down.cancel();
    }

    /// Waits until work must stop, finished or not.
    pub async fn shut_down(&self) {
        self.shut_down.cancelled().await;
    }

    /// Waits until draining starts and then until the tasks have ended, the deadline has passed or
    /// a second signal came; afterwards [`Drain::shut_down`] holds for whoever is left.
    pub async fn finish(&self) -> DrainOutcome {
        self.started().await;
        let outcome = tokio::select! {
            biased;
            () = self.tasks.wait() => DrainOutcome::Clean,
            () = self.shut_down() => DrainOutcome::Interrupted(self.tasks.running()),
            () = tokio::time::sleep(self.deadline) => {
                DrainOutcome::DeadlinePassed(self.tasks.running())
            }
        };
        self.shut_down_now();
        outcome
    }
}

fn watch_signal(name: &'static str, kind: SignalKind) -> Result<Signal, DrainError> {
    signal(kind).map_err(|source| DrainError::WatchSignal { name, source })
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_drain_waits_for_work_to_finish() {
        let drain = Drain::new(LONG);
        let watcher = drain.clone();
        drain
            .tasks()
            .spawn("work", async move { watcher.started().await });
        drain.start("test");
        assert_eq!(drain.finish().await, DrainOutcome::Clean);
        assert_eq!(drain.cause(), Some("test"));
    }

    #[tokio::test]
    async fn work_that_does_not_finish_is_named_at_the_deadline() {
        let drain = Drain::new(Duration::from_millis(20));
        drain.tasks().spawn("stuck", std::future::pending::<()>());
        drain.start("test");
        assert_eq!(
            drain.finish().await,
            DrainOutcome::DeadlinePassed(vec!["stuck"])
        );
        drain.shut_down().await;
    }

    #[tokio::test]
    async fn an_immediate_shutdown_does_not_wait_for_the_deadline() {
        let drain = Drain::new(LONG);
        drain.tasks().spawn("stuck", std::future::pending::<()>());
        drain.shut_down_now();
        assert!(drain.is_started());
        assert_eq!(
            drain.finish().await,
            DrainOutcome::Interrupted(vec!["stuck"])
        );
    }

    #[tokio::test]
    async fn the_first_cause_is_kept() {
        let drain = Drain::new(LONG);
        drain.start("SIGTERM");
        drain.start("SIGINT");
        assert_eq!(drain.cause(), Some("SIGTERM"));
    }
}
