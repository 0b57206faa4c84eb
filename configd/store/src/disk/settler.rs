//! A thread that makes a file durable a moment after it was written, for those who do not wait for it.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// From a write to its sync; writes meanwhile share it.
const PAUSE: Duration = Duration::from_millis(20);

/// Syncs one file; ends with this value.
#[derive(Debug)]
pub(super) struct Settler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_written: bool,
    is_closed: bool,
    /// The first failure.
    failed: Option<String>,
}

impl Settler {
    pub(super) fn start(file: File) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = thread::Builder::new()
            .name("store-settle".to_owned())
            .spawn({
                let shared = shared.clone();
                move || shared.run(&file)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that the file was written.
    ///
    /// # Errors
    ///
    /// Where an earlier sync failed.
    pub(super) fn written(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if let Some(why) = &state.failed {
            return Err(io::Error::other(why.clone()));
        }
        if !std::mem::replace(&mut state.is_written, true) {
            self.shared.changed.notify_one();
        }
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, file: &File) {
        let mut state = self.state();
        loop {
            let idle = |state: &mut State| !state.is_written && !state.is_closed;
            let waited = self.changed.wait_while(state, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            let open = |state: &mut State| !state.is_closed;
            let paused = self.changed.wait_timeout_while(state, PAUSE, open);
            state = paused.unwrap_or_else(PoisonError::into_inner).0;
            if state.is_closed {
                return;
            }
            state.is_written = false;
            drop(state);
            let synced = file.sync_data();
            state = self.state();
            if let Err(error) = synced {
                state.failed.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
