//! What must hold, one property per file.

use std::path::PathBuf;

pub mod damage;
pub mod durability;
pub mod election;
pub mod fdatasync;
pub mod linearizability;
pub mod upgrade;

/// What every property is told.
#[derive(Debug, Clone)]
pub struct Setting {
    /// From what the faults are drawn.
    pub seed: u64,
    /// The `tidegate` binary under test.
    pub tidegate: PathBuf,
    /// How the same faults are had again.
    pub replay: String,
}

impl Setting {
    /// Prints what a run came to; where the property does not hold, its files stay.
    ///
    /// # Errors
    /// As [`Setting::violated`], where the run has failed.
    pub fn concluded(
        &self,
        outcome: anyhow::Result<String>,
        work: tempfile::TempDir,
    ) -> anyhow::Result<()> {
        match outcome {
            Ok(text) => {
                println!("{text}");
                Ok(())
            }
            Err(error) => {
                let kept = work.keep();
                self.violated(&format!("{error:#}\nfiles: {}", kept.display()))
            }
        }
    }

    /// Says that a property does not hold, and how to see it again.
    ///
    /// # Errors
    /// Always.
    pub fn violated<T>(&self, what: &str) -> anyhow::Result<T> {
        anyhow::bail!("VIOLATED: {what}\nreplay: {}", self.replay)
    }
}
