//! The functions of Helm that the chart's templates call. Another one is an unknown function, which a test finds.

use std::collections::HashMap;

use gtmpl_ng::{Func, FuncError, Number, Value as Data};
use serde_json::{Number as JsonNumber, Value};
use sha2::{Digest as _, Sha256};

use super::files;
use super::merge::merge;
use super::render;
use super::values::document;

type Answer = Result<Data, FuncError>;

/// All of them, by their names.
pub(super) const TABLE: &[(&str, Func)] = &[
    ("append", append),
    ("contains", contains),
    ("default", default),
    ("dict", dict),
    ("filesGet", files_get),
    ("filesGlob", files_glob),
    ("fromYaml", from_yaml),
    ("include", include),
    ("int", int),
    ("join", join),
    ("list", list),
    ("mergeOverwrite", merge_overwrite),
    ("nindent", nindent),
    ("quote", quote),
    ("replace", replace),
    ("sha256sum", sha256sum),
    ("toYaml", to_yaml),
    ("trimSuffix", trim_suffix),
    ("trunc", trunc),
    ("until", until),
];

/// `include NAME CONTEXT`: the text of a named piece.
fn include(arguments: &[Data]) -> Answer {
    let [name, context] = exactly("include", arguments)?;
    let name = text(name)?;
    let call = format!("{{{{ template {} . }}}}", Value::from(name));
    render::execute(&format!("include {name}"), &call, context.clone())
        .map(Data::String)
        .map_err(FuncError::Other)
}

/// `.Files.Glob PATTERN`, which rendering writes so: the files of a folder, `FOLDER/*.yaml`.
fn files_glob(arguments: &[Data]) -> Answer {
    let [pattern] = exactly("Glob", arguments)?;
    let folder = text(pattern)?.trim_end_matches("*.yaml");
    let found = files::DATA
        .iter()
        .filter(|(path, _)| path.starts_with(folder));
    let found = found.map(|(path, content)| ((*path).to_owned(), Data::from(*content)));
    Ok(Data::Map(found.collect()))
}

/// `.Files.Get PATH`: the content of a file.
fn files_get(arguments: &[Data]) -> Answer {
    let [path] = exactly("Get", arguments)?;
    let path = text(path)?;
    let found = files::DATA.iter().find(|(known, _)| *known == path);
    Ok(Data::from(found.map_or("", |(_, content)| *content)))
}

fn append(arguments: &[Data]) -> Answer {
    let [list, item] = exactly("append", arguments)?;
    let mut items = items(list)?.to_vec();
    items.push(item.clone());
    Ok(Data::Array(items))
}

fn contains(arguments: &[Data]) -> Answer {
    let [part, whole] = exactly("contains", arguments)?;
    Ok(Data::Bool(text(whole)?.contains(text(part)?)))
}

/// `default OTHER VALUE`: the value, unless it is empty.
fn default(arguments: &[Data]) -> Answer {
    let [other, value] = exactly("default", arguments)?;
    let is_empty = match json_of(value) {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    };
    Ok(if is_empty { other } else { value }.clone())
}

fn dict(arguments: &[Data]) -> Answer {
    let mut fields = HashMap::new();
    for pair in arguments.chunks(2) {
        let [field, value] = exactly("dict", pair)?;
        fields.insert(text(field)?.to_owned(), value.clone());
    }
    Ok(Data::Map(fields))
}

fn from_yaml(arguments: &[Data]) -> Answer {
    let [yaml] = exactly("fromYaml", arguments)?;
    document(text(yaml)?)
        .map(|value| data_of(&value))
        .map_err(FuncError::Other)
}

fn int(arguments: &[Data]) -> Answer {
    let [number] = exactly("int", arguments)?;
    let Data::Number(number) = number else {
        return Err(FuncError::UnableToConvertFromValue);
    };
    let whole = number.as_i64().ok_or(FuncError::UnableToConvertFromValue)?;
    Ok(Data::Number(Number::signed(whole)))
}

fn join(arguments: &[Data]) -> Answer {
    let [separator, list] = exactly("join", arguments)?;
    let items: Vec<String> = items(list)?.iter().map(Data::to_string).collect();
    Ok(Data::String(items.join(text(separator)?)))
}

fn list(arguments: &[Data]) -> Answer {
    Ok(Data::Array(arguments.to_vec()))
}

fn merge_overwrite(arguments: &[Data]) -> Answer {
    let [below, over] = exactly("mergeOverwrite", arguments)?;
    let mut below = json_of(below);
    merge(&mut below, json_of(over));
    Ok(data_of(&below))
}

/// `nindent WIDTH TEXT`: a new line, and each line moved to the right.
fn nindent(arguments: &[Data]) -> Answer {
    let [width, whole] = exactly("nindent", arguments)?;
    let indent = " ".repeat(count(width)?.min(64));
    let lines = text(whole)?
        .split('\n')
        .map(|line| format!("\n{indent}{line}"));
    Ok(Data::String(lines.collect()))
}

fn quote(arguments: &[Data]) -> Answer {
    let [value] = exactly("quote", arguments)?;
    Ok(Data::String(Value::from(value.to_string()).to_string()))
}

fn replace(arguments: &[Data]) -> Answer {
    let [old, new, whole] = exactly("replace", arguments)?;
    Ok(Data::String(text(whole)?.replace(text(old)?, text(new)?)))
}

fn sha256sum(arguments: &[Data]) -> Answer {
    let [of] = exactly("sha256sum", arguments)?;
    let digest = Sha256::digest(text(of)?.as_bytes());
    Ok(Data::String(
        digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

fn to_yaml(arguments: &[Data]) -> Answer {
    let [value] = exactly("toYaml", arguments)?;
    let text = serde_saphyr::to_string(&json_of(value));
    let text = text.map_err(|error| FuncError::Generic(error.to_string()))?;
    Ok(Data::from(text.trim_end()))
}

fn trim_suffix(arguments: &[Data]) -> Answer {
    let [suffix, whole] = exactly("trimSuffix", arguments)?;
    let whole = text(whole)?;
    Ok(Data::from(
        whole.strip_suffix(text(suffix)?).unwrap_or(whole),
    ))
}

/// `trunc LENGTH TEXT`: the first characters.
fn trunc(arguments: &[Data]) -> Answer {
    let [length, whole] = exactly("trunc", arguments)?;
    let whole = text(whole)?.chars();
    Ok(Data::String(whole.take(count(length)?).collect()))
}

/// `until COUNT`: the numbers from 0.
fn until(arguments: &[Data]) -> Answer {
    let [end] = exactly("until", arguments)?;
    let end = i64::try_from(count(end)?.min(1_000)).unwrap_or(0);
    let numbers = (0..end).map(|number| Data::Number(Number::signed(number)));
    Ok(Data::Array(numbers.collect()))
}

fn exactly<'a, const N: usize>(
    name: &str,
    arguments: &'a [Data],
) -> Result<&'a [Data; N], FuncError> {
    arguments
        .try_into()
        .map_err(|_| FuncError::ExactlyXArgs(name.to_owned(), N))
}

fn text(value: &Data) -> Result<&str, FuncError> {
    match value {
        Data::String(text) => Ok(text),
        _ => Err(FuncError::UnableToConvertFromValue),
    }
}

fn items(value: &Data) -> Result<&[Data], FuncError> {
    match value {
        Data::Array(items) => Ok(items),
        _ => Err(FuncError::UnableToConvertFromValue),
    }
}

fn count(value: &Data) -> Result<usize, FuncError> {
    let Data::Number(number) = value else {
        return Err(FuncError::UnableToConvertFromValue);
    };
    let count = number
        .as_u64()
        .and_then(|count| usize::try_from(count).ok());
    count.ok_or(FuncError::UnableToConvertFromValue)
}

/// A value as templates have it.
pub(super) fn data_of(value: &Value) -> Data {
    match value {
        Value::Null => Data::Nil,
        Value::Bool(value) => Data::Bool(*value),
        Value::String(text) => Data::from(text.as_str()),
        Value::Array(items) => Data::Array(items.iter().map(data_of).collect()),
        Value::Object(fields) => {
            let fields = fields.iter();
            Data::Map(
                fields
                    .map(|(field, value)| (field.clone(), data_of(value)))
                    .collect(),
            )
        }
        Value::Number(number) => Data::Number(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Number::signed(number),
            (None, Some(number)) => Number::unsigned(number),
            (None, None) => Number::float(number.as_f64().unwrap_or_default()),
        }),
    }
}

/// The reverse; functions, and what is not there, are null.
fn json_of(value: &Data) -> Value {
    match value {
        Data::NoValue | Data::Nil | Data::Function(_) => Value::Null,
        Data::Bool(value) => Value::Bool(*value),
        Data::String(text) => Value::String(text.clone()),
        Data::Array(items) => items.iter().map(json_of).collect(),
        Data::Object(fields) | Data::Map(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(field, value)| (field.clone(), json_of(value)))
                    .collect(),
            )
        }
        Data::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number
                .as_f64()
                .and_then(JsonNumber::from_f64)
                .map_or(Value::Null, Value::Number),
        },
    }
}
