//! The tools of this folder that are programs: `tidegate-edge-tests NAME TIDEGATE`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tidegate_edge_tests::{floods, slow, smuggling};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments
        .next()
        .context("usage: tidegate-edge-tests NAME TIDEGATE")?;
    let tidegate = arguments
        .next()
        .context("the path of the tidegate binary is missing")?;
    let tidegate = PathBuf::from(tidegate);
    let only = arguments.next().unwrap_or_default();
    let only = only.to_string_lossy();
    match name.to_str() {
        Some("smuggling") => smuggling::table::print(&tidegate),
        Some("slow-clients") => slow::print(&tidegate, &only),
        Some("floods") => floods::table::print(&tidegate, &only),
        _ => bail!("there is no tool {}", name.display()),
    }
}
