//! The binary `tidegate-worker`: one worker process.

use clap::Parser;
use tidegate_runtime::descriptors;
use tidegate_runtime::memory::{self, Allocator};
use tidegate_worker::WorkerArgs;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Tidegate's data plane.
#[derive(Debug, Parser)]
#[command(name = "tidegate-worker", version)]
struct Command {
    #[command(flatten)]
    args: WorkerArgs,
}

fn main() -> anyhow::Result<()> {
    memory::refuse_huge_pages();
    descriptors::reserve();
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command.args.run())
}
