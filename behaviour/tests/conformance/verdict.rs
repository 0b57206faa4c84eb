//! Whether what came of an exchange is what the case says.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;

use crate::case::{Exchange, Over};
use crate::client::Answer;
use crate::echo::header_map;
use crate::exchange::{Tally, check_share};
use crate::pattern::Pattern;

/// Judges one answer.
pub(crate) fn answer(answer: &Answer, exchange: &Exchange) -> anyhow::Result<()> {
    let expect = &exchange.expect;
    let usual = match exchange.over {
        Over::Websocket => 101,
        Over::Http1 | Over::Http2 | Over::Grpc | Over::WebsocketHttp2 => 200,
        Over::Udp => 0,
    };
    let status = answer.status;
    let is_usual = expect.status.is_empty() && status == usual;
    let fits = is_usual || expect.status.contains(&status);
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(fits, "the status is {status}: {body}");
    let wanted = (exchange.over == Over::Grpc).then(|| expect.grpc.unwrap_or(0));
    ensure!(
        answer.grpc == wanted,
        "the gRPC status is {:?}",
        answer.grpc
    );
    if let Some(headers) = &expect.headers {
        let fits = Pattern::new(headers).check(&header_map(&answer.headers));
        fits.map_err(|differs| anyhow!("headers{differs}"))?;
    }
    if let Some(expected) = &expect.body {
        let fits = Pattern::new(&Value::from(expected.as_str())).check(&Value::from(body));
        fits.map_err(|differs| anyhow!("the body{differs}"))?;
    }
    backend(answer, exchange)
}

fn backend(answer: &Answer, exchange: &Exchange) -> anyhow::Result<()> {
    let expect = &exchange.expect;
    let echo = answer.echo();
    if let Some(expected) = &expect.backend {
        let answered = echo.as_ref().map_or(String::new(), |echo| {
            let text = |key: &str| echo[key].as_str().unwrap_or_default();
            format!("{}/{}", text("namespace"), text("service"))
        });
        let fits = answered == *expected || answered.split('/').nth(1) == Some(expected);
        ensure!(fits, "{answered:?} answers, not {expected:?}");
    }
    if let Some(sees) = &expect.sees {
        let echo = echo.context("no backend answers")?;
        let fits = Pattern::new(sees).check(&echo);
        fits.map_err(|differs| anyhow!("what the backend sees{differs}"))?;
    }
    Ok(())
}

/// Judges who answered over all times.
pub(crate) fn shares(tally: &Tally, exchange: &Exchange) -> anyhow::Result<()> {
    let expect = &exchange.expect;
    if let Some(pods) = expect.pods {
        ensure!(
            tally.pods.len() == pods,
            "{:?} answer, not {pods}",
            tally.pods
        );
    }
    for (name, percent) in &expect.shares {
        let is_named = |backend: &str| backend == name || backend.split('/').nth(1) == Some(name);
        let counts = tally
            .backends
            .iter()
            .filter(|(backend, _)| is_named(backend));
        let count = counts.map(|(_, count)| count).sum();
        check_share(name, *percent, count, exchange.times)?;
    }
    Ok(())
}

/// Judges what reached backends, their answers aside.
pub(crate) fn seen(
    requests: &BTreeMap<&str, Vec<Value>>,
    exchange: &Exchange,
) -> anyhow::Result<()> {
    let expect = &exchange.expect;
    for (name, expected) in &expect.seen {
        let all = &requests[name.as_str()];
        let fits = match expected.as_u64() {
            Some(count) if u64::try_from(all.len())? == count => Ok(()),
            Some(count) => Err(format!(" are {}, not {count}", all.len())),
            None => Pattern::new(expected).check(&Value::from(all.as_slice())),
        };
        fits.map_err(|differs| anyhow!("the requests to {name}{differs}"))?;
    }
    for (name, percent) in &expect.copies {
        check_share(
            name,
            *percent,
            requests[name.as_str()].len(),
            exchange.times,
        )?;
    }
    Ok(())
}
