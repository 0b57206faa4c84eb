//! The short way from JSON to a typed object, for the usual case that nothing is wrong with it.
//!
//! The long way goes by a tree of values, which takes several times as long, and knows what to say about mistakes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Identity, Input, InvalidField};

/// JSON in which nothing has to be left out before it is read.
pub(super) struct Straight<'a>(&'a str);

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default, rename = "apiVersion")]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "of_map")]
    metadata: Metadata<'a>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

impl<'a> Straight<'a> {
    /// The JSON with what it says about itself; `None` where it has to go the long way: it is no JSON, or has nulls.
    pub(super) fn new(content: &'a [u8]) -> Option<(Self, Identity<'a>)> {
        let text = std::str::from_utf8(content).ok()?;
        serde_json::from_str::<Sound>(text).ok()?;
        let named: Named<'a> = of_map(&mut serde_json::Deserializer::from_str(text)).ok()?;
        let identity = Identity {
            namespace: named.metadata.namespace,
            name: named.metadata.name,
            kind: named.kind,
            api_version: named.api_version,
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

/// A struct that is no list: serde would take one for the fields in their order.
fn of_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OfMap<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(fields))
        }
    }
    deserializer.deserialize_map(OfMap(PhantomData))
}

/// Any JSON without a null. serde's own `IgnoredAny` does not look into strings and numbers that it skips.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

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
            r#"{"metadata": {}} x"#,
            "[]",
            "",
        ] {
            assert!(!goes_straight(long), "{long}");
        }
        assert!(Straight::new(b"{\"metadata\": {\"x\": \"\xff\"}}").is_none());
    }
}
