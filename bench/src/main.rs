//! Measures Tidegate next to its peers, on this machine, in one run.

mod backend;
mod certificates;
mod compile;
mod cpu;
mod fleet;
mod http;
mod load;
mod memory;
mod objects;
mod peers;
mod process;
mod propagation;
mod store;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measurements of Tidegate, as ratios against peers in the same run.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
    /// The binary to measure
    #[arg(long, global = true, default_value = "tidegate", value_name = "FILE")]
    tidegate: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU of the proxy for each piece of work, by peer and kind of work
    Cpu(cpu::Options),
    /// Memory without work, and for each connection that waits for its next request
    Memory(memory::Options),
    /// Time of one compilation after one route changed, with 1, 1,000 and 10,000 routes in place
    Compile(compile::Options),
    /// Time from Apply to served, with 1, 1,000 and 10,000 routes in place
    Propagation(propagation::Options),
    /// Workers that connect all at once: time until each has the newest snapshot, and memory of configd
    Fleet(fleet::Options),
    /// Objects committed in a second and the p99 of a commit, beside etcd, with one node and with three
    Store(store::Options),
}

fn main() -> anyhow::Result<()> {
    let Command { what, tidegate } = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match what {
        What::Compile(options) => compile::run(&options),
        What::Cpu(options) => runtime.block_on(cpu::run(&tidegate, &options)),
        What::Memory(options) => runtime.block_on(memory::run(&tidegate, &options)),
        What::Fleet(options) => runtime.block_on(fleet::run(&tidegate, &options)),
        What::Store(options) => runtime.block_on(store::run(&tidegate, &options)),
        What::Propagation(options) => runtime.block_on(propagation::run(&tidegate, &options)),
    }
}
