//! What a file of vectors says. Texts are bytes: each character of `"\x00"` to `"\xFF"` is one.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A file: vectors about one subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// The section that all vectors without one of their own are about.
    rfc: String,
    vectors: Vec<VectorSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorSpec {
    name: String,
    rfc: Option<String>,
    /// Makes a vector of each, by putting it in the place of `{}` wherever that stands.
    #[serde(default)]
    each: Vec<String>,
    #[serde(flatten)]
    vector: Vector,
}

/// One connection of a client.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Vector {
    #[serde(skip)]
    pub(crate) rfc: String,
    pub(crate) send: Steps,
    /// What the backend answers; a plain 200 without it.
    pub(crate) backend: Option<BackendAnswer>,
    /// The status of the refusal; it is the last answer, and the connection closes after it.
    pub(crate) refused: Option<u16>,
    /// What the backend gets, and nothing else.
    #[serde(default)]
    pub(crate) forwarded: Vec<Expected>,
    /// What the client gets before a refusal; without it, a 200 for each forwarded request.
    pub(crate) answers: Option<Vec<Expected>>,
    /// The connection is closed after the last answer; without it and without a refusal, it serves another request.
    #[serde(default)]
    pub(crate) closed: bool,
    /// The backend may get the beginning of the refused request, but never its end.
    #[serde(default)]
    pub(crate) may_begin: bool,
}

/// What the client does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Steps {
    One(String),
    Many(Vec<Step>),
}

/// One thing that the client does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Step {
    Send(String),
    Repeat { repeat: String, times: usize },
    Bytewise { bytewise: String },
    Pause { pause_ms: u64 },
    Await { await_status: u16 },
    HalfClose { half_close: bool },
}

/// An answer of the backend, as it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendAnswer {
    pub(crate) send: String,
    /// Before it reads the request's body.
    #[serde(default)]
    pub(crate) early: bool,
    /// It closes the connection after it.
    #[serde(default)]
    pub(crate) close: bool,
}

/// A request at the backend, or a response at the client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The request line; of a response, how its status line begins.
    pub(crate) line: Option<String>,
    pub(crate) status: Option<u16>,
    /// All values of headers.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    /// Headers that are not there.
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    pub(crate) body: Option<String>,
    /// The body is so long.
    pub(crate) body_len: Option<usize>,
    /// All of them; without it there is none.
    #[serde(default)]
    pub(crate) trailers: BTreeMap<String, String>,
    /// It is an answer to HEAD.
    #[serde(default)]
    pub(crate) to_head: bool,
    /// It breaks off before its end.
    #[serde(default)]
    pub(crate) broken: bool,
}

/// One value or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    One(String),
    Many(Vec<String>),
}

impl CaseFile {
    /// Each vector with its name.
    pub(crate) fn vectors(self) -> Vec<(String, Vector)> {
        let mut vectors = Vec::new();
        for spec in self.vectors {
            let mut vector = spec.vector;
            vector.rfc = spec.rfc.unwrap_or_else(|| self.rfc.clone());
            if spec.each.is_empty() {
                vectors.push((spec.name, vector));
                continue;
            }
            for insert in &spec.each {
                let name = format!("{}[{}]", spec.name, short(insert));
                vectors.push((name, vector.with(insert)));
            }
        }
        vectors
    }
}

impl Vector {
    fn with(&self, insert: &str) -> Self {
        let put = |text: &mut String| *text = text.replace("{}", insert);
        let mut vector = self.clone();
        match &mut vector.send {
            Steps::One(text) => put(text),
            Steps::Many(steps) => steps.iter_mut().for_each(|step| match step {
                Step::Send(text) | Step::Repeat { repeat: text, .. } => put(text),
                Step::Bytewise { bytewise } => put(bytewise),
                Step::Pause { .. } | Step::Await { .. } | Step::HalfClose { .. } => {}
            }),
        }
        if let Some(backend) = &mut vector.backend {
            put(&mut backend.send);
        }
        let answers = vector.answers.iter_mut().flatten();
        for expected in vector.forwarded.iter_mut().chain(answers) {
            expected.put(insert);
        }
        vector
    }
}

impl Expected {
    /// Puts a text in the place of each `{}`.
    pub(crate) fn put(&mut self, insert: &str) {
        let put = |text: &mut String| *text = text.replace("{}", insert);
        self.line.iter_mut().for_each(put);
        self.body.iter_mut().for_each(put);
        self.headers.values_mut().for_each(|values| match values {
            Values::One(value) => put(value),
            Values::Many(values) => values.iter_mut().for_each(put),
        });
    }
}

impl Steps {
    /// Whether the first request is HEAD, so that its answer has no body.
    pub(crate) fn is_head(&self) -> bool {
        match self {
            Self::One(text) => text.starts_with("HEAD "),
            Self::Many(steps) => {
                matches!(steps.first(), Some(Step::Send(text)) if text.starts_with("HEAD "))
            }
        }
    }
}

impl Values {
    pub(crate) fn list(&self) -> Vec<&str> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values.iter().map(String::as_str).collect(),
        }
    }
}

fn short(text: &str) -> String {
    let text: String = text.chars().take(60).collect();
    text.escape_default().to_string()
}
