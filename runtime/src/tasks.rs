//! The one place that starts background tasks, so that draining can wait for all of them by name.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// A group of running tasks; clones share the group.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    names: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `task` on the current tokio runtime and counts it under `name` until it ends.
    ///
    /// Dropping the handle does not stop the task. The task must watch the drain itself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = self.enter(name);
        self.tracker.spawn(async move {
            let _running = running;
            task.await
        })
    }

    /// Starts blocking work (files, fsync) on tokio's blocking pool and counts it under `name`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn_blocking<F, T>(&self, name: &'static str, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let running = self.enter(name);
        self.tracker.spawn_blocking(move || {
            let _running = running;
            work()
        })
    }

    /// How many tasks are running.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task is running.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// The names of the running tasks, each once, in order.
    pub fn running(&self) -> Vec<&'static str> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.keys().copied().collect()
    }

    /// Waits until the group is empty; tasks may still be added meanwhile and are waited for.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn enter(&self, name: &'static str) -> Running {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        *names.entry(name).or_default() += 1;
        Running {
            name,
            names: Arc::clone(&self.names),
        }
    }
}

/// Keeps a name in the list of running tasks until the task ends, is aborted or panics.
struct Running {
    name: &'static str,
    names: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_running_task_is_listed_until_it_ends() {
        let tasks = Tasks::new();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("feed", stopped);
        assert_eq!(tasks.running(), ["feed"]);
        drop(stop);
        tasks.wait().await;
        assert!(tasks.running().is_empty());
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn a_panicking_task_leaves_the_list() {
        let tasks = Tasks::new();
        let task = tasks.spawn("broken", async { panic!("on purpose") });
        assert!(task.await.expect_err("the task panicked").is_panic());
        assert!(tasks.running().is_empty());
    }

    #[tokio::test]
    async fn blocking_work_is_waited_for() {
        let tasks = Tasks::new();
        let work = tasks.spawn_blocking("flush", || 7);
        tasks.wait().await;
        assert_eq!(work.await.expect("the work ends"), 7);
    }
}
