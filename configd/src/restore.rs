//! A data directory out of a backup.

use std::path::PathBuf;

use clap::Args;

use crate::clock::unix_ms;

/// Which backup, and where to.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file that `tidegate cluster backup` wrote
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// The data directory of the configd to be; it must be empty
    #[arg(long, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

impl RestoreArgs {
    /// Restores, and says how to go on.
    ///
    /// # Errors
    /// The backup must be whole and the directory empty.
    pub async fn run(self) -> anyhow::Result<String> {
        tidegate_store::restore(&self.backup, &self.data_dir, unix_ms()).await?;
        let dir = self.data_dir.display();
        Ok(format!(
            "{dir} is node 1 of a new epoch; start it with `tidegate configd --data-dir {dir}`, and others with empty \
             data directories and --join\n"
        ))
    }
}
