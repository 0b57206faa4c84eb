//! Paths: the normal form is normal, stands for the same bytes, and leads nowhere else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_codec::path::{PathRules, normalize};

fuzz_target!(|data: &[u8]| {
    let Some((first, path)) = data.split_first() else {
        return;
    };
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    let rules = PathRules {
        merge_slashes: first & 1 == 1,
    };
    let Ok(once) = normalize(path, rules) else {
        return;
    };
    assert!(once.starts_with('/') && once.len() <= 3 * path.len());
    assert!(once.is_ascii() && !once.contains(['?', '#', ' ']));
    assert!(
        !once
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    );
    assert!(!rules.merge_slashes || !once.contains("//"));
    assert_eq!(normalize(&once, rules).as_deref(), Ok(&*once));
});
