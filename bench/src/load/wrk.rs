//! wrk: requests by HTTP/1.1 over connections that are kept.

use anyhow::{Context as _, bail};

use super::Done;

/// Runs wrk; anything but 2xx is an error.
pub(crate) fn run(url: &str, connections: u32, seconds: u32) -> anyhow::Result<Done> {
    let arguments = [
        "-t1".to_owned(),
        format!("-c{connections}"),
        format!("-d{seconds}s"),
        url.to_owned(),
    ];
    let text = super::output("wrk", &arguments)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("wrk saw errors:\n{text}");
    }
    let line = text.lines().find(|line| line.contains(" requests in "));
    let requests = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    let count = requests.with_context(|| format!("wrk printed no count:\n{text}"))?;
    Ok(Done { count, bytes: 0 })
}
