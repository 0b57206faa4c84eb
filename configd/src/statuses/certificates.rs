//! Certificates that are not valid now: they are shown all the same, and their listeners say so.

use serde_json::{Value, json};
use tidegate_compiler::{ObjectStatus, ShownCertificate};

/// A condition of ours: clients will refuse what the listener shows.
const OUT_OF_DATE: &str = "tidegate.dev/CertificateOutOfDate";

/// Adds the condition to each listener in `status` that shows a certificate out of date.
pub(super) fn note(status: &mut Value, of: &ObjectStatus, now_unix_s: i64) {
    let late = of.shown.iter().filter_map(|shown| {
        let (reason, message) = problem(shown, now_unix_s)?;
        Some((shown, reason, message))
    });
    let late: Vec<_> = late.collect();
    let listeners = status.get_mut("listeners").and_then(Value::as_array_mut);
    for listener in listeners.into_iter().flatten() {
        let mut own = late
            .iter()
            .filter(|(shown, ..)| listener["name"] == *shown.section_name);
        let Some((_, reason, message)) = own.next() else {
            continue;
        };
        if let Some(conditions) = listener.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.push(json!({
                "type": OUT_OF_DATE,
                "status": "True",
                "observedGeneration": of.generation,
                "reason": reason,
                "message": message,
            }));
        }
    }
}

/// The next second in which it begins or ceases to be valid.
pub(super) fn next_turn(shown: &ShownCertificate, now_unix_s: i64) -> Option<i64> {
    let turns = [shown.not_before_unix_s, shown.not_after_unix_s + 1];
    turns.into_iter().find(|turn| *turn > now_unix_s)
}

/// Reason and message.
fn problem(shown: &ShownCertificate, now_unix_s: i64) -> Option<(&'static str, String)> {
    let secret = &shown.secret;
    if now_unix_s < shown.not_before_unix_s {
        let from = date(shown.not_before_unix_s);
        let message = format!("the certificate of Secret {secret} is not valid before {from}");
        return Some(("NotYetValid", message));
    }
    if now_unix_s > shown.not_after_unix_s {
        let end = date(shown.not_after_unix_s);
        let message = format!("the certificate of Secret {secret} expired at {end}; replace it");
        return Some(("Expired", message));
    }
    None
}

/// In the form of RFC 3339; certificates have no years above 9999, which is as far as that goes.
fn date(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).map_or_else(|_| unix_s.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_compiler::ObjectKey;

    use super::*;

    const SHOWN: (i64, i64) = (1_000, 2_000);

    fn status() -> ObjectStatus {
        let text = |text: &str| Arc::<str>::from(text);
        let shown = ShownCertificate {
            section_name: text("https"),
            secret: text("infra/cert"),
            not_before_unix_s: SHOWN.0,
            not_after_unix_s: SHOWN.1,
        };
        let listener = |name: &str| json!({"name": name, "conditions": []});
        ObjectStatus {
            key: ObjectKey::new(
                "files",
                "gateway.networking.k8s.io",
                "Gateway",
                "infra",
                "web",
            ),
            uid: "u".into(),
            generation: 3,
            pool: None,
            ports: vec![],
            parameters: None,
            status: json!({"listeners": [listener("http"), listener("https")]}).into(),
            shown: vec![shown],
        }
    }

    /// Reasons of the listeners at a time.
    fn reasons(now_unix_s: i64) -> Vec<Value> {
        let of = status();
        let mut status = of.status.value();
        note(&mut status, &of, now_unix_s);
        let listeners = status["listeners"].as_array().expect("there are two");
        let reason = |listener: &Value| listener["conditions"][0]["reason"].clone();
        listeners.iter().map(reason).collect()
    }

    #[test]
    fn a_listener_says_when_its_certificate_is_out_of_date() {
        assert_eq!(reasons(999), [Value::Null, json!("NotYetValid")]);
        assert_eq!(reasons(1_000), [Value::Null, Value::Null]);
        assert_eq!(reasons(2_000), [Value::Null, Value::Null]);
        assert_eq!(reasons(2_001), [Value::Null, json!("Expired")]);
    }

    #[test]
    fn the_status_turns_when_a_certificate_does() {
        let shown = &status().shown[0];
        assert_eq!(next_turn(shown, 0), Some(1_000));
        assert_eq!(next_turn(shown, 1_000), Some(2_001));
        assert_eq!(next_turn(shown, 2_001), None);
    }
}
