//! The binary `tidegate-configd`: one configd process.

use clap::Parser;
use tidegate_configd::ConfigdArgs;
use tidegate_runtime::descriptors;
use tidegate_runtime::memory::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Tidegate's config store.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: ConfigdArgs,
}

fn main() -> anyhow::Result<()> {
    memory::refuse_huge_pages();
    descriptors::reserve();
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command.args.run())
}
