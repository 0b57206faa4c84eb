//! Durations as GEP-2257 writes them.

/// Milliseconds of a duration such as `1h30m`, `500ms` or `0s`; `None` if it is not one.
pub(crate) fn parse_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        let (unit_ms, after) = unit(&rest[digits..])?;
        total += number * unit_ms;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

fn unit(text: &str) -> Option<(u64, &str)> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let mut units = units.into_iter();
    units.find_map(|(unit, ms)| Some((ms, text.strip_prefix(unit)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_up_to_four_numbers_with_units() {
        let cases = [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1s1s", Some(2_000)),
            ("99999h", Some(359_996_400_000)),
            ("1h1m1s1ms", Some(3_661_001)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_durations() {
        for text in [
            "",
            "1",
            "s",
            "1.5s",
            "-1s",
            "100000s",
            "1d",
            "1s 1s",
            "1h1m1s1ms1s",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }
}
