//! The flags that name the master keys.

use std::path::PathBuf;

use clap::Args;

use super::{Kms, SealKeys, SealKeysError};

/// Where the master keys are, if there are any.
#[derive(Debug, Clone, Default, Args)]
pub struct SealArgs {
    /// Keys that seal private keys on the disk, one in each line; the first seals, all open
    #[arg(long, env = "TIDEGATE_SEAL_KEY", value_name = "FILE")]
    pub seal_key: Option<PathBuf>,
    /// Program that unwraps the keys of --seal-key, as `PROGRAM unwrap`, from standard input to standard output
    #[arg(long, env = "TIDEGATE_SEAL_KMS", value_name = "PROGRAM")]
    pub seal_kms: Option<PathBuf>,
}

impl SealArgs {
    /// Reads the keys; `None` where no file is named.
    ///
    /// # Errors
    /// The file must be usable.
    pub fn keys(&self) -> Result<Option<SealKeys>, SealKeysError> {
        let kms = self.seal_kms.clone().map(Kms::new);
        let path = self.seal_key.as_deref();
        path.map(|path| SealKeys::load(path, kms.as_ref()))
            .transpose()
    }
}
