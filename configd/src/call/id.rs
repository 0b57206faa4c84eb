//! Names a call, in its caller's words or in ours.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The metadata that carries the id, both ways.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of an id, at most.
const LEN_MAX: usize = 128;

/// What a call is called: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallId(HeaderValue);

impl CallId {
    /// The id that the metadata has, where it has a good one, else a new one.
    pub(super) fn of(metadata: &HeaderMap) -> Self {
        let given = metadata.get(HEADER).filter(|id| is_good(id));
        Self(given.cloned().unwrap_or_else(new))
    }

    /// As it stands in metadata.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

fn is_good(id: &HeaderValue) -> bool {
    let len = id.as_bytes().len();
    (1..=LEN_MAX).contains(&len) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// Random for each process, counted within it.
fn new() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:016x}-{call:x}", *PROCESS);
    HeaderValue::try_from(id).expect("hexadecimal digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &'static str) -> String {
        let metadata = [(HEADER, HeaderValue::from_static(given))];
        CallId::of(&metadata.into_iter().collect()).to_string()
    }

    #[test]
    fn a_good_id_of_the_caller_is_kept_and_others_are_replaced() {
        assert_eq!(of("ci-4711"), "ci-4711");
        let made = CallId::of(&HeaderMap::new()).to_string();
        assert_ne!(made, CallId::of(&HeaderMap::new()).to_string());
        for bad in ["", "two words"] {
            assert_ne!(of(bad), bad);
        }
        let long = HeaderValue::try_from("a".repeat(LEN_MAX + 1)).expect("it is ASCII");
        let metadata = [(HEADER, long)].into_iter().collect();
        assert!(CallId::of(&metadata).to_string().len() <= LEN_MAX);
    }
}
