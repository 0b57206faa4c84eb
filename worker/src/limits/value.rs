//! The values of bounds as people write them: `64KiB`, `10s`, `off`.

use std::time::Duration;

/// Something that a bound can be.
pub(super) trait Value: Sized {
    /// Reads what a person wrote.
    fn read(text: &str) -> Result<Self, String>;
    /// The shortest form that is read as the same.
    fn write(&self) -> String;
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

fn number(text: &str) -> Result<u64, String> {
    let refused = || format!("\"{text}\" is no number; write it such as 100, 64KiB, 8MiB or 1GiB");
    let (digits, unit) = UNITS
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1));
    let count: u64 = digits.parse().map_err(|_| refused())?;
    count.checked_mul(unit).ok_or_else(refused)
}

/// A number of bytes in the largest unit that it is a multiple of; other texts stay.
pub(super) fn in_units(text: String) -> String {
    let Ok(number) = text.parse::<u64>() else {
        return text;
    };
    let unit = UNITS
        .into_iter()
        .find(|(_, unit)| number >= *unit && number.is_multiple_of(*unit));
    unit.map_or_else(
        || number.to_string(),
        |(name, unit)| format!("{}{name}", number / unit),
    )
}

macro_rules! numbers {
    ($($kind:ty),+) => {$(
        impl Value for $kind {
            fn read(text: &str) -> Result<Self, String> {
                let number = number(text)?;
                let most = Self::MAX;
                number.try_into().map_err(|_| format!("{text} is more than {most}"))
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

numbers!(usize, u64, u32, i32);

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let refused =
            || format!("\"{text}\" is no time; write it with a unit: 500ms, 10s, 2m or 1h");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = TIMES
            .into_iter()
            .find(|(name, _)| *name == &text[digits.len()..]);
        let (_, unit) = unit.ok_or_else(refused)?;
        let count: u64 = digits.parse().map_err(|_| refused())?;
        count
            .checked_mul(unit)
            .map(Self::from_millis)
            .ok_or_else(refused)
    }

    fn write(&self) -> String {
        let time_ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let unit = TIMES
            .into_iter()
            .find(|(_, unit)| time_ms >= *unit && time_ms.is_multiple_of(*unit));
        unit.map_or_else(
            || "0s".to_owned(),
            |(name, unit)| format!("{}{name}", time_ms / unit),
        )
    }
}

impl<V: Value> Value for Option<V> {
    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(None);
        }
        V::read(text).map(Some)
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| "off".to_owned(), V::write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for text in ["0", "100", "64KiB", "8MiB", "1GiB", "1025"] {
            let written = u64::read(text).map(|value| in_units(value.write()));
            assert_eq!(written.as_deref(), Ok(text));
        }
        for text in ["500ms", "10s", "2m", "1h", "90s"] {
            assert_eq!(
                Duration::read(text).map(|value| value.write()).as_deref(),
                Ok(text)
            );
        }
        assert_eq!(Option::<u64>::read("off"), Ok(None));
        assert_eq!(Option::<u64>::read("5"), Ok(Some(5)));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["", "-1", "1.5", "1kb", "KiB", "99999999999GiB"] {
            assert!(u64::read(text).is_err(), "{text}");
        }
        assert!(u32::read("5GiB").is_err());
        for text in ["", "5", "s", "5 s", "5d", "1.5s", "99999999999999999999h"] {
            assert!(Duration::read(text).is_err(), "{text}");
        }
    }
}
