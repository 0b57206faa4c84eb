//! HTTP/1 on the wire, case by case: bytes of a client, what it is answered, and what the backend sees.

mod recorder;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::recorder::{Recorded, Recorder};
use crate::support::Running;
use crate::support::parts::{backend, to};

/// What a client sends behind every case: it is served if, and only if, the connection is still in step.
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// A case. In all texts a character stands for the byte of its number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// RFC and section.
    rfc: String,
    /// What the client sends; `{repeat}` stands for the repeated text.
    send: String,
    repeat: Option<Repeat>,
    /// The statuses of all answers, that to the request behind the case included.
    answers: Vec<u16>,
    /// The request lines that the backend sees; by default as many as there are answers of 200.
    seen: Option<Vec<String>>,
    /// Fields of the first request that the backend sees; `null` for one that must not be there.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    body: Option<String>,
    #[serde(default)]
    no_trailers: bool,
    /// The reason that the worker gives.
    reason: Option<String>,
    /// The client ends its side after the case, instead of sending another request.
    #[serde(default)]
    alone: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeat {
    text: String,
    times: usize,
}

#[tokio::test]
async fn http1_is_read_as_the_vectors_say() {
    let recorder = Recorder::start().await;
    let backends = vec![backend("a", &[recorder.address])];
    let running = Running::serving(vec![to("/", "a")], backends).await;
    let (mut count, mut failures) = (0, String::new());
    for (file, cases) in load() {
        for case in cases {
            count += 1;
            recorder.take();
            let answer = case.run(running.address("http")).await;
            let seen = recorder.take();
            if let Err(problem) = case.check(&answer, &seen, &running.metrics.encode()) {
                let Case { name, rfc, .. } = &case;
                writeln!(failures, "{file}: {name} (RFC {rfc}): {problem}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(count >= 300, "only {count} vectors");
}

fn load() -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/http1");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let cases = serde_saphyr::from_str(&text);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (
            name.clone(),
            cases.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    files.iter().map(read).collect()
}

impl Case {
    async fn run(&self, address: SocketAddr) -> Vec<u8> {
        let mut text = self.send.clone();
        if let Some(Repeat { text: piece, times }) = &self.repeat {
            text = text.replace("{repeat}", &piece.repeat(*times));
        }
        if !self.alone {
            text.push_str(AFTER);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let writing = async {
            // A refused request may be refused while it is still sent.
            let _ = writer.write_all(&bytes(&text)).await;
            if self.alone {
                let _ = writer.shutdown().await;
            }
        };
        let mut answer = Vec::new();
        let reading = async {
            let _ = reader.read_to_end(&mut answer).await;
        };
        let both = async { tokio::join!(writing, reading) };
        if tokio::time::timeout(Duration::from_secs(20), both)
            .await
            .is_err()
        {
            answer.extend_from_slice(b"\r\n(still open after 20 seconds)");
        }
        answer
    }

    fn check(&self, answer: &[u8], seen: &[Recorded], metrics: &str) -> Result<(), String> {
        let is_head = self.send.starts_with("HEAD ");
        let answers = statuses(answer, is_head);
        if answers.as_ref() != Some(&self.answers) {
            let text = String::from_utf8_lossy(answer).into_owned();
            return Err(format!("wanted {:?}, got {text:?}", self.answers));
        }
        let lines: Vec<_> = seen.iter().map(|request| request.line.clone()).collect();
        let served = self.answers.iter().filter(|status| **status == 200).count();
        let is_as_wanted = match &self.seen {
            Some(wanted) => &lines == wanted,
            // One that was begun before its body turned out to be wrong may have been seen in part.
            None => lines.iter().filter(|line| !line.is_empty()).count() == served,
        };
        if !is_as_wanted {
            return Err(format!("the backend saw {lines:?}"));
        }
        if let Some(reason) = &self.reason
            && !metrics.contains(&format!("reason=\"{reason}\""))
        {
            return Err(format!("no reason {reason} in the metrics"));
        }
        self.check_first(seen)
    }

    fn check_first(&self, seen: &[Recorded]) -> Result<(), String> {
        let first = seen.first().cloned().unwrap_or_default();
        for (name, wanted) in &self.headers {
            let found = first.headers.get(name).map(|values| values.join("|"));
            if found.as_ref() != wanted.as_ref() {
                return Err(format!("the backend saw {name}: {found:?}"));
            }
        }
        if let Some(body) = &self.body
            && bytes(body) != first.body
        {
            return Err(format!("the backend saw the body {:?}", first.body));
        }
        if self.no_trailers && !first.trailers.is_empty() {
            return Err(format!("the backend saw the trailers {:?}", first.trailers));
        }
        Ok(())
    }
}

/// The statuses of the answers, if the bytes are answers and nothing else.
fn statuses(mut answer: &[u8], mut is_head: bool) -> Option<Vec<u16>> {
    let mut statuses = Vec::new();
    while !answer.is_empty() {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let status: u16 = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = match length {
            Some(length) if !std::mem::take(&mut is_head) => length.parse().ok()?,
            _ => 0,
        };
        statuses.push(status);
        answer = answer.get(end + length..)?;
    }
    Some(statuses)
}

fn bytes(text: &str) -> Vec<u8> {
    let byte = |character: char| u8::try_from(u32::from(character)).expect("a byte");
    text.chars().map(byte).collect()
}
