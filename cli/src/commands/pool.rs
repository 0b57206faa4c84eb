//! What the commands about one pool have in common.

use clap::Args;

use super::output::Output;
use crate::api::ServerArgs;

/// Which pool, how its answer is printed, and which configd is asked.
#[derive(Debug, Args)]
pub(crate) struct PoolArgs {
    /// Pool of workers; needed where there are several
    #[arg(long, default_value = "")]
    pub(crate) pool: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
