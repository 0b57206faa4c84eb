//! Reads YAML and JSON documents into JSON values, and remembers where each field stands.
//!
//! Plain scalars mean what the core schema of YAML 1.2 says, so `no` and `on` are texts. Aliases are
//! expanded within [`NODES_MAX`], and depth is bounded, so no file can make reading it expensive.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::position::{Position, Positions, field_path};

/// Most values in one file, expanded aliases included.
const NODES_MAX: usize = 4_000_000;
/// Deepest nesting of lists and mappings.
const DEPTH_MAX: usize = 64;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// What it says. `Null` for an empty document.
    pub(crate) value: Value,
    /// Where it says it.
    pub(crate) positions: Positions,
}

/// Why a file is no YAML that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct InvalidYaml {
    /// Where reading stopped.
    pub(crate) position: Position,
    /// One clause with the cause.
    pub(crate) message: String,
}

/// Reads every document of a text.
///
/// # Errors
/// When the text is not YAML, repeats a field, or is beyond a bound.
pub(crate) fn parse_yaml(text: &str) -> Result<Vec<Document>, InvalidYaml> {
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        if let Event::DocumentStart(_) = event {
            documents.push(reader.document(&span)?);
        }
    }
    Ok(documents)
}

/// Reads one JSON text.
///
/// # Errors
/// When the text is not JSON.
pub(crate) fn parse_json(text: &str) -> Result<Vec<Document>, InvalidYaml> {
    let value: Value = serde_json::from_str(text).map_err(|e| InvalidYaml {
        position: Position {
            line: e.line().max(1),
            column: e.column().max(1),
        },
        message: e
            .to_string()
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned(),
    })?;
    // JSON is YAML too, and only that reader knows where fields stand. Where the two differ the
    // strict reading above counts, and messages name the file alone.
    let positions = parse_yaml(text)
        .ok()
        .and_then(|mut documents| documents.pop())
        .filter(|document| document.value == value)
        .map(|document| document.positions)
        .unwrap_or_default();
    Ok(vec![Document { value, positions }])
}

struct Reader<'input> {
    parser: Parser<'input, StrInput<'input>>,
    anchors: BTreeMap<usize, (Value, usize)>,
    positions: Positions,
    nodes: usize,
    depth: usize,
}

impl<'input> Reader<'input> {
    fn new(text: &'input str) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            anchors: BTreeMap::new(),
            positions: Positions::default(),
            nodes: 0,
            depth: 0,
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'input>, Span)>, InvalidYaml> {
        self.parser
            .next_event()
            .transpose()
            .map_err(|e| scan_error(&e))
    }

    /// The next event of an open document.
    fn expect_next(&mut self, within: &Span) -> Result<(Event<'input>, Span), InvalidYaml> {
        self.next()?
            .ok_or_else(|| invalid(within, "the document ends too early"))
    }

    fn document(&mut self, start: &Span) -> Result<Document, InvalidYaml> {
        self.anchors.clear();
        self.positions = Positions::default();
        let (event, span) = self.expect_next(start)?;
        let value = self.value(event, &span, "")?;
        Ok(Document {
            value,
            positions: std::mem::take(&mut self.positions),
        })
    }

    fn value(
        &mut self,
        event: Event<'input>,
        span: &Span,
        path: &str,
    ) -> Result<Value, InvalidYaml> {
        self.positions.insert(path, position(span));
        let before = self.nodes;
        self.count(1, span)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_deref(), span)?)
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(span, path)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(span, path)?),
            Event::Alias(anchor) => (0, self.alias(anchor, span)?),
            _ => return Err(invalid(span, "expected a value")),
        };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (value.clone(), self.nodes - before));
        }
        Ok(value)
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Value, InvalidYaml> {
        let Some((value, nodes)) = self.anchors.get(&anchor).cloned() else {
            return Err(invalid(
                span,
                "an alias may not stand inside of what it names",
            ));
        };
        self.count(nodes, span)?;
        Ok(value)
    }

    fn sequence(&mut self, start: &Span, path: &str) -> Result<Value, InvalidYaml> {
        self.enter(start)?;
        let mut elements = Vec::new();
        loop {
            let (event, span) = self.expect_next(start)?;
            if matches!(event, Event::SequenceEnd) {
                self.depth -= 1;
                return Ok(Value::Array(elements));
            }
            let path = format!("{path}[{}]", elements.len());
            elements.push(self.value(event, &span, &path)?);
        }
    }

    fn mapping(&mut self, start: &Span, path: &str) -> Result<Value, InvalidYaml> {
        self.enter(start)?;
        let mut fields = Map::new();
        loop {
            let (event, key_span) = self.expect_next(start)?;
            let name = match event {
                Event::MappingEnd => {
                    self.depth -= 1;
                    return Ok(Value::Object(fields));
                }
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err(invalid(&key_span, "the name of a field must be a text")),
            };
            let path = field_path(path, &name);
            self.positions.insert(&path, position(&key_span));
            let (event, span) = self.expect_next(&key_span)?;
            let value = self.value(event, &span, &path)?;
            if fields.insert(name.clone(), value).is_some() {
                let message = format!("field \"{name}\" stands twice in the same mapping");
                return Err(invalid(&key_span, message));
            }
        }
    }

    fn enter(&mut self, span: &Span) -> Result<(), InvalidYaml> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid(
                span,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), InvalidYaml> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values once aliases are expanded");
            return Err(invalid(span, message));
        }
        Ok(())
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, InvalidYaml> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Value::String(text.to_owned())),
        Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => {
            Ok(Value::String(text.to_owned()))
        }
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" | "binary" => Ok(Value::String(text.to_owned())),
            _ => Ok(plain(text)),
        },
        Some(tag) => Err(invalid(
            span,
            format!("tag \"{}{}\" is not supported", tag.handle, tag.suffix),
        )),
    }
}

/// A plain scalar by the core schema: YAML 1.2.2, section 10.3.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return only(digits, |b| b.is_ascii_hexdigit())
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return only(digits, |b| b.is_ascii_digit())
            .and_then(|digits| u64::from_str_radix(digits, 8).ok())
            .map(Number::from);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if only(unsigned, |b| b.is_ascii_digit()).is_some() {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if let Ok(value) = digits.parse::<i64>() {
            return Some(value.into());
        }
        if let Ok(value) = digits.parse::<u64>() {
            return Some(value.into());
        }
    }
    let digits = unsigned.bytes().filter(u8::is_ascii_digit).count();
    let float = digits > 0
        && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && only(unsigned, |b| b.is_ascii_digit() || b".eE+-".contains(&b)).is_some();
    float
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .and_then(Number::from_f64)
}

fn only(text: &str, allowed: impl Fn(u8) -> bool) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(allowed)).then_some(text)
}

fn position(span: &Span) -> Position {
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

fn invalid(span: &Span, message: impl Into<String>) -> InvalidYaml {
    InvalidYaml {
        position: position(span),
        message: message.into(),
    }
}

fn scan_error(error: &ScanError) -> InvalidYaml {
    InvalidYaml {
        position: Position {
            line: error.marker().line(),
            column: error.marker().col() + 1,
        },
        message: error.info().to_owned(),
    }
}

#[cfg(test)]
mod tests;
