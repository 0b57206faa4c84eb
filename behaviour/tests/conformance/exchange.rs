//! Plays an exchange: sends its requests over a connection and judges what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail, ensure};
use http::Uri;
use serde_json::Value;
use tidegate_runtime::tasks::Tasks;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::case::Exchange;
use crate::certificates::Certificates;
use crate::client::{Answer, Connection, Target};
use crate::echo::EXCHANGE;
use crate::verdict;
use crate::world::{PATIENCE, POLL, World};

/// How often what backends have seen must stay the same to be final.
const QUIET_POLLS: usize = 20;

/// What clients keep, by the name of the jar: cookies and session headers.
pub(crate) type Jars = BTreeMap<String, BTreeMap<String, String>>;

/// An exchange with all that is the same each time.
#[derive(Debug)]
pub(crate) struct Played<'a> {
    exchange: &'a Exchange,
    gateway: String,
    uri: Uri,
    number: String,
}

/// What came of all times of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers by `namespace/name` of the backend.
    pub(crate) backends: BTreeMap<String, usize>,
    /// The pods that answered.
    pub(crate) pods: BTreeSet<String>,
}

impl<'a> Played<'a> {
    /// Reads the URL.
    pub(crate) fn new(exchange: &'a Exchange, gateway: &str) -> anyhow::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (_, url) = exchange
            .send
            .split_once(' ')
            .context("send says a method and a URL")?;
        Ok(Self {
            exchange,
            gateway: gateway.to_owned(),
            uri: url.parse()?,
            number: NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
        })
    }

    /// Starts a single request in a task.
    pub(crate) fn begin(
        exchange: Exchange,
        gateway: String,
        world: &World,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        let address = Played::new(&exchange, &gateway)?.address(world)?;
        let (certificates, tasks) = (world.certificates.clone(), world.tasks.clone());
        Ok(world.tasks.spawn("exchange", async move {
            let played = Played::new(&exchange, &gateway)?;
            let mut jars = Jars::default();
            let run = Run::new(&played, address, &certificates, &tasks);
            run.all(&mut jars).await.map(drop)
        }))
    }

    /// Plays it to its end.
    pub(crate) async fn play(&self, world: &World, jars: &mut Jars) -> anyhow::Result<()> {
        if self.exchange.expect.eventually == 0 {
            return self.once(world, jars).await;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut in_a_row = 0;
        while in_a_row < self.exchange.expect.eventually {
            match self.once(world, jars).await {
                Ok(()) => in_a_row += 1,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {
                    in_a_row = 0;
                    sleep(POLL).await;
                }
            }
        }
        Ok(())
    }

    async fn once(&self, world: &World, jars: &mut Jars) -> anyhow::Result<()> {
        let before: Vec<usize> = world
            .backends
            .iter()
            .map(|backend| backend.log.len())
            .collect();
        let address = match self.address(world) {
            Err(_) if self.exchange.expect.fails => return Ok(()),
            address => address?,
        };
        if let Some(reason) = &self.exchange.expect.dropped {
            self.dropped(world, address, reason).await?;
            return self.seen(world, &before).await;
        }
        let (certificates, tasks) = (world.certificates.clone(), world.tasks.clone());
        let run = Run::new(self, address, &certificates, &tasks);
        let tally = run.all(jars).await?;
        verdict::shares(&tally, self.exchange)?;
        self.seen(world, &before).await
    }

    fn address(&self, world: &World) -> anyhow::Result<SocketAddr> {
        world.address(&self.gateway, self.port())
    }

    fn port(&self) -> u16 {
        let usual = if self.uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let said = self.exchange.port.or_else(|| self.uri.port_u16());
        said.unwrap_or(usual)
    }

    /// Sends datagrams and waits until the worker says that it has dropped each.
    async fn dropped(
        &self,
        world: &World,
        address: SocketAddr,
        reason: &str,
    ) -> anyhow::Result<()> {
        for _ in 0..self.exchange.times {
            let before = world.dropped(self.port(), reason);
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let bytes = self.exchange.body.as_bytes();
            socket.send_to(bytes, address).await?;
            let deadline = Instant::now() + PATIENCE;
            while world.dropped(self.port(), reason) == before {
                ensure!(Instant::now() < deadline, "it is not dropped as {reason}");
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Waits until backends have seen what they should, and nothing more comes.
    async fn seen(&self, world: &World, before: &[usize]) -> anyhow::Result<()> {
        let expect = &self.exchange.expect;
        if expect.seen.is_empty() && expect.copies.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let (mut quiet, mut last) = (0, None);
        loop {
            let mut requests: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
            for name in expect.seen.keys().chain(expect.copies.keys()) {
                let place = world.backends.iter().zip(before);
                let wanted = world.backend(name)?;
                let mut place = place.filter(|(backend, _)| std::ptr::eq(*backend, wanted));
                let (backend, before) = place.next().context("all backends have a place")?;
                requests.insert(name, backend.log.since(*before, &self.number));
            }
            let fits = verdict::seen(&requests, self.exchange);
            let counts: Vec<usize> = requests.values().map(Vec::len).collect();
            quiet = if last.as_ref() == Some(&counts) {
                quiet + 1
            } else {
                0
            };
            last = Some(counts);
            match fits {
                Ok(()) if quiet >= QUIET_POLLS => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => sleep(POLL).await,
            }
        }
    }
}

/// An exchange on its way.
struct Run<'a> {
    target: Target<'a>,
    exchange: &'a Exchange,
    number: &'a str,
}

impl<'a> Run<'a> {
    fn new(
        played: &'a Played<'a>,
        address: SocketAddr,
        certificates: &'a Arc<Certificates>,
        tasks: &'a Tasks,
    ) -> Self {
        let target = Target {
            address,
            uri: &played.uri,
            exchange: played.exchange,
            certificates,
            tasks,
        };
        Self {
            target,
            exchange: played.exchange,
            number: &played.number,
        }
    }

    /// Sends all requests.
    async fn all(&self, jars: &mut Jars) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut connection: Option<Connection> = None;
        for _ in 0..self.exchange.times {
            connection = connection.filter(|open| open.is_open() && !self.exchange.fresh);
            let answer = self.one(&mut connection, jars).await;
            if self.exchange.expect.fails {
                if let Ok(answer) = answer {
                    bail!("it must fail, yet the answer is {answer:?}");
                }
                continue;
            }
            let answer = answer.context("no answer comes")?;
            verdict::answer(&answer, self.exchange)?;
            self.keep(&answer, jars);
            tally.add(&answer);
        }
        Ok(tally)
    }

    async fn one(
        &self,
        connection: &mut Option<Connection>,
        jars: &Jars,
    ) -> anyhow::Result<Answer> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => self.target.connect().await?,
        };
        let headers = self.headers(jars);
        let answer = tokio::time::timeout(PATIENCE, self.target.send(&mut open, &headers)).await;
        *connection = Some(open);
        answer.context("the answer takes too long")?
    }

    fn headers(&self, jars: &Jars) -> Vec<(String, String)> {
        let mut headers = vec![(EXCHANGE.to_owned(), self.number.to_owned())];
        for (name, values) in &self.exchange.headers {
            let values = values.values().iter();
            headers.extend(values.map(|value| (name.clone(), value.clone())));
        }
        let jar = self.exchange.jar.as_ref().and_then(|jar| jars.get(jar));
        for (name, value) in jar.into_iter().flatten() {
            match name.strip_prefix("cookie ") {
                Some(cookie) => headers.push(("cookie".to_owned(), format!("{cookie}={value}"))),
                None => headers.push((name.clone(), value.clone())),
            }
        }
        headers
    }

    /// Puts cookies and session headers into the jar.
    fn keep(&self, answer: &Answer, jars: &mut Jars) {
        let Some(jar) = &self.exchange.jar else {
            return;
        };
        let jar = jars.entry(jar.clone()).or_default();
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            if name == "set-cookie" {
                let pair = value.split(';').next().unwrap_or_default();
                if let Some((cookie, value)) = pair.split_once('=') {
                    jar.insert(format!("cookie {cookie}"), value.to_owned());
                }
            } else if name.as_str().starts_with("x-session") {
                jar.insert(name.to_string(), value.into_owned());
            }
        }
    }
}

impl Tally {
    fn add(&mut self, answer: &Answer) {
        let Some(echo) = answer.echo() else { return };
        let text = |key: &str| echo[key].as_str().unwrap_or_default().to_owned();
        let backend = format!("{}/{}", text("namespace"), text("service"));
        *self.backends.entry(backend).or_default() += 1;
        self.pods.insert(text("pod"));
    }
}

/// Says that a list of percentages does not fit the counts.
pub(crate) fn check_share(
    name: &str,
    percent: f64,
    count: usize,
    times: usize,
) -> anyhow::Result<()> {
    let share = percent / 100.0;
    let total = f64::from(u32::try_from(times)?);
    let count = f64::from(u32::try_from(count)?);
    let deviation = (total * share * (1.0 - share)).sqrt();
    let fits = (count - total * share).abs() <= 4.0 * deviation;
    ensure!(fits, "{name} got {count} of {times}, not about {percent} %");
    Ok(())
}
