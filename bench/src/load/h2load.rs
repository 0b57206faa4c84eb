//! h2load: requests by HTTP/2.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::Done;

/// How many connections and streams, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    /// On each connection.
    pub(crate) streams: u32,
    pub(crate) seconds: u32,
}

/// Gets a URL; anything but 2xx is an error.
pub(crate) fn get(url: &str, load: Load) -> anyhow::Result<Done> {
    // Windows of 1 MiB and more, so that the client is not what stops a body.
    run(&["-w", "20", "-W", "24", url], load)
}

/// Calls a gRPC method with the message in a file.
pub(crate) fn call(url: &str, message: &Path, load: Load) -> anyhow::Result<Done> {
    let message = message.display().to_string();
    let headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
    run(&[&["-d", &message][..], &headers, &[url]].concat(), load)
}

fn run(what: &[&str], load: Load) -> anyhow::Result<Done> {
    let Load {
        connections,
        streams,
        seconds,
    } = load;
    let mut arguments = vec![
        "-t1".to_owned(),
        format!("-D{seconds}"),
        format!("-c{connections}"),
        format!("-m{streams}"),
    ];
    arguments.extend(what.iter().map(|word| (*word).to_owned()));
    let text = super::output("h2load", &arguments)?;
    let line = text.lines().find(|line| line.starts_with("status codes:"));
    let line = line.with_context(|| format!("h2load printed no status codes:\n{text}"))?;
    let of = |class: &str| -> Option<u64> {
        let before = line.split(class).next()?;
        before.trim().rsplit([' ', ',']).next()?.parse().ok()
    };
    match (of("2xx"), of("4xx"), of("5xx")) {
        (Some(count @ 1..), Some(0), Some(0)) => Ok(Done { count, bytes: 0 }),
        _ => bail!("h2load saw errors:\n{text}"),
    }
}
