//! Vectors of HTTP/2 on the way to HTTP/1: header fields as they are, what comes of the stream, and what the
//! backend sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tidegate_edge_tests::backend::{Backend, PROBE_BODY, PROBE_PATH};
use tidegate_edge_tests::octets;
use tidegate_edge_tests::stream::{Connection, Field, Outcome, Request};

use crate::case::Expected;
use crate::play::compare_requests;

/// A file: vectors about one subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The section that all vectors without one of their own are about.
    rfc: String,
    vectors: Vec<Vector>,
}

/// One stream. In all texts a character is a byte.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    name: String,
    pub(crate) rfc: Option<String>,
    /// Makes a vector of each, by putting it in the place of `{}` wherever that stands.
    #[serde(default)]
    each: Vec<String>,
    /// Header fields in place of those of a plain GET; `null` takes one away.
    #[serde(default)]
    with: BTreeMap<String, Option<String>>,
    /// Header fields behind them.
    #[serde(default)]
    and: Vec<(String, String)>,
    /// All header fields, in place of the others.
    only: Option<Vec<(String, String)>>,
    /// As many header fields more.
    #[serde(default)]
    fields_more: usize,
    #[serde(default)]
    data: Vec<String>,
    trailers: Option<Vec<(String, String)>>,
    /// The status of the worker's own answer, which the backend has no part in.
    refused: Option<u16>,
    /// The stream is reset, before an answer or behind one.
    #[serde(default)]
    reset: bool,
    /// The connection ends.
    #[serde(default)]
    ends: bool,
    /// What the backend gets; the client gets its 200 then.
    forwarded: Option<Expected>,
}

/// The vectors of all files, with names.
pub(crate) fn load(folder: &Path) -> anyhow::Result<Vec<(String, Vector)>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut vectors = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let file: File =
            serde_saphyr::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let subject = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for vector in file.vectors {
            let rfc = vector.rfc.clone().unwrap_or_else(|| file.rfc.clone());
            vectors.extend(vector.each(&subject, &rfc));
        }
    }
    Ok(vectors)
}

/// Plays a vector, and a plain request behind it.
pub(crate) fn play(
    vector: &Vector,
    (address, backend): &(SocketAddr, Backend),
) -> anyhow::Result<()> {
    backend.reset(None);
    let mut connection = Connection::open(*address)?;
    let outcome = connection.exchange(&vector.request()?)?;
    let seen = backend.seen();
    vector
        .check(&outcome)
        .and_then(|()| compare_requests(vector.forwarded.as_slice(), false, &seen))
        .with_context(|| format!("{outcome:?}; the backend saw {seen:#?}"))?;
    if vector.ends {
        return Ok(());
    }
    let probe = Request {
        fields: plain(PROBE_PATH),
        ..Request::default()
    };
    let probed = connection.exchange(&probe).context("the next request")?;
    let body = PROBE_BODY.as_bytes().to_vec();
    ensure!(
        probed == Outcome::Answer { status: 200, body },
        "the next request got {probed:?}"
    );
    Ok(())
}

impl Vector {
    fn each(self, subject: &str, rfc: &str) -> Vec<(String, Self)> {
        let name = format!("http2/{subject}/{}", self.name);
        let rfc = Some(rfc.to_owned());
        if self.each.is_empty() {
            return vec![(name, Self { rfc, ..self })];
        }
        let with = |insert: &String| {
            let vector = Self {
                rfc: rfc.clone(),
                ..self.put(insert)
            };
            let short: String = insert.chars().take(60).collect();
            (format!("{name}[{}]", short.escape_default()), vector)
        };
        self.each.iter().map(with).collect()
    }

    fn put(&self, insert: &str) -> Self {
        let put = |text: &String| text.replace("{}", insert);
        let both = |(name, value): &(String, String)| (put(name), put(value));
        let mut vector = self.clone();
        vector.with = self
            .with
            .iter()
            .map(|(name, value)| (put(name), value.as_ref().map(put)))
            .collect();
        vector.and = self.and.iter().map(both).collect();
        vector.only = self
            .only
            .as_ref()
            .map(|fields| fields.iter().map(both).collect());
        vector.trailers = self
            .trailers
            .as_ref()
            .map(|fields| fields.iter().map(both).collect());
        vector
            .forwarded
            .iter_mut()
            .for_each(|expected| expected.put(insert));
        vector
    }

    fn request(&self) -> anyhow::Result<Request> {
        let bytes = |text: &str| octets::bytes(text).context("a character above \\xFF");
        let field = |(name, value): &(String, String)| anyhow::Ok((bytes(name)?, bytes(value)?));
        let mut fields = match &self.only {
            Some(only) => only.iter().map(field).collect::<Result<Vec<_>, _>>()?,
            None => plain("/"),
        };
        for (name, value) in &self.with {
            let name = bytes(name)?;
            match value {
                None => fields.retain(|(there, _)| *there != name),
                Some(value) => match fields.iter_mut().find(|(there, _)| *there == name) {
                    Some((_, there)) => *there = bytes(value)?,
                    None => fields.push((name, bytes(value)?)),
                },
            }
        }
        for and in &self.and {
            fields.push(field(and)?);
        }
        fields.extend(
            (0..self.fields_more).map(|index| (format!("x-{index}").into_bytes(), b"y".to_vec())),
        );
        let trailers = self.trailers.as_ref();
        let trailers =
            trailers.map(|trailers| trailers.iter().map(field).collect::<Result<Vec<_>, _>>());
        Ok(Request {
            fields,
            data: self
                .data
                .iter()
                .map(|piece| bytes(piece))
                .collect::<Result<_, _>>()?,
            trailers: trailers.transpose()?,
        })
    }

    fn check(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let is_as_wanted = match outcome {
            Outcome::Answer { status, .. } => {
                let wanted = self
                    .refused
                    .or_else(|| self.forwarded.as_ref().map(|_| 200));
                !self.reset && !self.ends && wanted == Some(*status)
            }
            Outcome::Reset(_) => self.reset,
            Outcome::GoAway(_) | Outcome::Closed => self.ends,
        };
        ensure!(is_as_wanted, "that is not as it must be");
        Ok(())
    }
}

fn plain(path: &str) -> Vec<Field> {
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", path),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
    .into()
}
