//! What was written and acknowledged, and whether what is found agrees.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of each name. A name has one writer, which stops at the first write without an answer.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    names: BTreeMap<String, Known>,
    acknowledged: u64,
    unanswered: u64,
}

/// What may be found under a name.
#[derive(Debug, Clone, Default)]
struct Known {
    /// What was acknowledged last, or found since; `None` for nothing.
    settled: Option<String>,
    /// What was tried since and may be there, or not.
    tried: Vec<Option<String>>,
}

impl Ledger {
    /// Notes that a write is about to be sent: a content, or `None` for a removal.
    pub fn try_to(&mut self, name: &str, content: Option<&str>) {
        let known = self.names.entry(name.to_owned()).or_default();
        known.tried.push(content.map(str::to_owned));
        self.unanswered += 1;
    }

    /// Notes that the write that was tried last was acknowledged.
    pub fn acknowledge(&mut self, name: &str) {
        let known = self.names.entry(name.to_owned()).or_default();
        if let Some(last) = known.tried.pop() {
            known.settled = last;
            known.tried.clear();
            self.unanswered -= 1;
            self.acknowledged += 1;
        }
    }

    /// Holds what was found, all of it, against what is known, and takes it as settled from then on. Returns what does
    /// not agree, as sentences.
    pub fn settle(&mut self, found: &BTreeMap<String, String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let names: BTreeSet<_> = self.names.keys().chain(found.keys()).cloned().collect();
        for name in names {
            let (known, content) = (self.names.get_mut(&name), found.get(&name));
            let Some(known) = known else {
                wrong.push(format!("{name} is there, and nobody wrote it"));
                continue;
            };
            let agrees = known.settled.as_ref() == content
                || known.tried.iter().any(|tried| tried.as_ref() == content);
            if !agrees {
                let [wanted, content] = [known.settled.as_deref(), content.map(String::as_str)]
                    .map(|text| text.map_or_else(|| "nothing".to_owned(), short));
                wrong.push(format!("{name} is {content}; {wanted} was acknowledged"));
            }
            known.settled = content.cloned();
            known.tried.clear();
        }
        wrong
    }

    /// Writes that were acknowledged, and those that got no answer.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.acknowledged, self.unanswered)
    }
}

fn short(content: &str) -> String {
    format!("\"{}\"", content.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: Option<&str>) -> BTreeMap<String, String> {
        let content = content.map(|content| ("a".to_owned(), content.to_owned()));
        content.into_iter().collect()
    }

    fn written() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.try_to("a", Some("one"));
        ledger.acknowledge("a");
        ledger
    }

    #[test]
    fn a_lost_acknowledgement_is_found() {
        let wrong = written().settle(&found(None));
        assert_eq!(wrong, ["a is nothing; \"one\" was acknowledged"]);
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not() {
        let mut ledger = written();
        ledger.try_to("a", None);
        assert!(ledger.clone().settle(&found(Some("one"))).is_empty());
        assert!(ledger.settle(&found(None)).is_empty());
    }

    #[test]
    fn what_was_found_once_stays() {
        let mut ledger = written();
        ledger.try_to("a", Some("two"));
        assert!(ledger.settle(&found(Some("two"))).is_empty());
        assert_eq!(ledger.settle(&found(Some("one"))).len(), 1);
    }

    #[test]
    fn what_nobody_wrote_is_found() {
        assert_eq!(Ledger::default().settle(&found(Some("one"))).len(), 1);
    }
}
