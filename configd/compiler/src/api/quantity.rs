//! Numbers of bytes as Kubernetes writes them: `65536`, `64Ki`, `10M`.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

const UNITS: [(&str, u64); 6] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Quantity(pub(crate) u64);

fn parse(text: &str) -> Option<u64> {
    let (digits, unit) = UNITS
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1));
    // A sign is a number to `parse`, but none to Kubernetes here.
    let number: u64 = digits
        .starts_with(|first: char| first.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    number.checked_mul(unit)
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes such as 65536, 64Ki or 10Mi")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
        Ok(Quantity(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        let refused = || {
            E::custom(format!(
                "{text:?} is no size; write it such as 65536, 64Ki or 10Mi"
            ))
        };
        parse(text).map(Quantity).ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_or_without_a_unit() {
        let cases = [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("64Ki", Some(65_536)),
            ("10M", Some(10_000_000)),
            ("1Gi", Some(1 << 30)),
            ("", None),
            ("Ki", None),
            ("+1", None),
            ("-1", None),
            ("1.5Mi", None),
            ("1KiB", None),
            ("99999999999Gi", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
