//! The short way from JSON to a typed object, for the usual case that nothing is wrong with it.
//!
//! The long way goes by a tree of values, which takes several times as long, and knows what to say about mistakes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Identity, Input, InvalidField};

/// JSON in which nothing has to be left out before it is read.
pub(super) struct Straight<'a>(&'a str);

/// What an object says about itself. It is all read, and is sound.
#[derive(Default)]
struct Named<'a> {
    api_version: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    metadata: Option<Metadata<'a>>,
}

#[derive(Default)]
struct Metadata<'a> {
    namespace: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
}

impl<'a> Straight<'a> {
    /// The JSON with what it says about itself; `None` where it has to go the long way: it is no JSON, or has nulls.
    pub(super) fn new(content: &'a [u8]) -> Option<(Self, Identity<'a>)> {
        let text = std::str::from_utf8(content).ok()?;
        let named: Named<'a> = serde_json::from_str(text).ok()?;
        let metadata = named.metadata.unwrap_or_default();
        let identity = Identity {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            kind: named.kind.unwrap_or_default(),
            api_version: named.api_version.unwrap_or_default(),
        };
        Some((Self(text), identity))
    }
}

impl Input for Straight<'_> {
    fn typed<T: DeserializeOwned>(self) -> Result<T, Vec<InvalidField>> {
        // What is wrong where is said by those who go the long way.
        serde_json::from_str(self.0).map_err(|_| vec![])
    }
}

/// A map of which each field is read or looked at, whatever it is called.
trait Fields<'de>: Default {
    /// Reads the value of a field, or looks whether it is sound.
    fn read<A: MapAccess<'de>>(&mut self, name: &str, fields: &mut A) -> Result<(), A::Error>;
}

impl<'de> Fields<'de> for Named<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, fields: &mut A) -> Result<(), A::Error> {
        match name {
            "apiVersion" => once(&mut self.api_version, fields, |Word(word)| word),
            "kind" => once(&mut self.kind, fields, |Word(word)| word),
            "metadata" => once(&mut self.metadata, fields, |OfMap(metadata)| metadata),
            _ => fields.next_value_seed(Sound).map(drop),
        }
    }
}

impl<'de> Fields<'de> for Metadata<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, fields: &mut A) -> Result<(), A::Error> {
        match name {
            "namespace" => once(&mut self.namespace, fields, |Word(word)| word),
            "name" => once(&mut self.name, fields, |Word(word)| word),
            _ => fields.next_value_seed(Sound).map(drop),
        }
    }
}

impl<'de> Deserialize<'de> for Named<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OfMap::deserialize(deserializer).map(|OfMap(named)| named)
    }
}

/// Reads a field that may be there once.
fn once<'de, A: MapAccess<'de>, R: Deserialize<'de>, T>(
    place: &mut Option<T>,
    fields: &mut A,
    value: impl FnOnce(R) -> T,
) -> Result<(), A::Error> {
    match place.replace(value(fields.next_value()?)) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("a field is there twice")),
    }
}

/// Text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is a map and no list.
struct OfMap<T>(T);

impl<'de, T: Fields<'de>> Deserialize<'de> for OfMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Fields<'de>> Visitor<'de> for Reader<T> {
            type Value = OfMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<OfMap<T>, A::Error> {
                let mut read = T::default();
                while let Some(Word(name)) = fields.next_key()? {
                    read.read(&name, &mut fields)?;
                }
                Ok(OfMap(read))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// Any JSON without a null. serde's own `IgnoredAny` does not look into strings and numbers that it skips.
struct Sound;

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything but null")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_key_seed(Self)?.is_some() {
            fields.next_value_seed(Self)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_straight(content: &str) -> bool {
        Straight::new(content.as_bytes()).is_some()
    }

    #[test]
    fn what_is_no_json_or_has_nulls_goes_the_long_way() {
        assert!(goes_straight(
            r#"{"metadata": {"name": "a"}, "spec": {"x": [1, -2, 0.5, true, "\u00e9"]}}"#
        ));
        for long in [
            r#"{"metadata": {"name": "a", "labels": null}}"#,
            r#"{"metadata": {"name": "a", "labels": {"x": [null]}}}"#,
            r#"{"metadata": {"name": "a", "labels": {"x": "\ud800"}}}"#,
            r#"{"metadata": {"name": "a", "labels": {"x": 1e999}}}"#,
            r#"{"metadata": {"name": 7}}"#,
            r#"{"metadata": ["a"]}"#,
            r#"{"kind": "A", "kind": "B"}"#,
            r#"{"kind": "A", "x": null}"#,
            r#"{"metadata": {"name": "a"}, "metadata": {"name": "b"}}"#,
            r#"{"metadata": {}} x"#,
            "[]",
            "",
        ] {
            assert!(!goes_straight(long), "{long}");
        }
        assert!(Straight::new(b"{\"metadata\": {\"x\": \"\xff\"}}").is_none());
    }
}
