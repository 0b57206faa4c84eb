//! What holds for every set of objects.
#![allow(clippy::unwrap_used)]

#[path = "fixture/generate.rs"]
mod generate;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_compiler::{Compilation, Compiler, Object, ObjectKey, compile};
use tidegate_ir::{EncodedPart, PartKey, Snapshot};

use generate::{edit, object};

/// The last object of each key, as a store has them.
fn stored(objects: Vec<Object>) -> BTreeMap<ObjectKey, Object> {
    objects
        .into_iter()
        .map(|object| (object.key.clone(), object))
        .collect()
}

fn bytes(compilation: &Compilation) -> Vec<(String, PartKey, Vec<u8>)> {
    let pools = compilation.pools.iter();
    let parts = pools.flat_map(|(pool, parts)| parts.values().map(move |part| (pool, part)));
    parts
        .map(|(pool, part)| (pool.clone(), part.key().clone(), part.bytes().to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (objects, shuffled) in vec(object(), 0..40).prop_flat_map(|objects| {
            let objects: Vec<_> = stored(objects).into_values().collect();
            (Just(objects.clone()), Just(objects).prop_shuffle())
        }),
        per_gateway: bool,
    ) {
        let settings = generate::settings(per_gateway);
        let one = compile(objects, &settings);
        let other = compile(shuffled, &settings);
        prop_assert_eq!(bytes(&one), bytes(&other));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn incremental_compilation_equals_a_fresh_one(
        edits in vec(edit(), 0..50),
        per_gateway: bool,
    ) {
        let settings = generate::settings(per_gateway);
        let mut compiler = Compiler::new(settings.clone());
        let mut objects = BTreeMap::new();
        for edit in edits {
            match edit {
                generate::Edit::Put(object) => {
                    if compiler.put(object.clone()).is_ok() {
                        objects.insert(object.key.clone(), object);
                    }
                }
                generate::Edit::Remove(key) => {
                    compiler.remove(&key);
                    objects.remove(&key);
                }
            }
            let incremental = compiler.compile();
            let fresh = compile(objects.values().cloned(), &settings);
            prop_assert_eq!(bytes(&incremental), bytes(&fresh));
            prop_assert_eq!(incremental, fresh);
        }
    }

    #[test]
    fn backends_follow_their_objects_and_policies_step_by_step(
        edits in vec(generate::backend_edit(), 0..20),
    ) {
        let settings = generate::settings(false);
        let mut compiler = Compiler::new(settings.clone());
        let mut objects = BTreeMap::new();
        for object in generate::routed() {
            prop_assert_eq!(compiler.put(object.clone()), Ok(()));
            objects.insert(object.key.clone(), object);
        }
        for edit in edits {
            match edit {
                generate::Edit::Put(object) => {
                    if compiler.put(object.clone()).is_ok() {
                        objects.insert(object.key.clone(), object);
                    }
                }
                generate::Edit::Remove(key) => {
                    compiler.remove(&key);
                    objects.remove(&key);
                }
            }
            let incremental = compiler.compile();
            let fresh = compile(objects.values().cloned(), &settings);
            prop_assert_eq!(bytes(&incremental), bytes(&fresh));
            prop_assert_eq!(incremental, fresh);
        }
    }

    #[test]
    fn every_snapshot_is_closed_and_readable(
        objects in vec(object(), 0..40),
        per_gateway: bool,
    ) {
        let compilation = compile(stored(objects).into_values(), &generate::settings(per_gateway));
        for (pool, parts) in compilation.pools {
            for (key, part) in parts.iter() {
                prop_assert_eq!(key, part.key());
                let read = EncodedPart::decode(key.kind, part.bytes().clone()).unwrap();
                prop_assert_eq!(read.part(), part.part());
            }
            let snapshot = Snapshot::new(pool, 1, parts.values().cloned());
            prop_assert_eq!(snapshot.check_closed(), Ok(()));
        }
    }

    #[test]
    fn an_unrelated_object_changes_no_part(
        objects in vec(object(), 0..40),
        unrelated in generate::unrelated(),
    ) {
        let settings = generate::settings(false);
        let objects = stored(objects);
        let before = compile(objects.values().cloned(), &settings);
        let after = compile(objects.into_values().chain(unrelated), &settings);
        for (pool, parts) in &before.pools {
            for (key, part) in parts.iter() {
                let same = after.pools[pool].get(key).map(EncodedPart::digest);
                prop_assert_eq!(same, Some(part.digest()), "{}", key);
            }
        }
    }

    #[test]
    fn each_of_our_objects_gets_a_complete_status(objects in vec(object(), 0..40)) {
        let objects = stored(objects);
        let compilation = compile(objects.values().cloned(), &generate::settings(false));
        let statuses = &compilation.statuses;
        let ours = generate::ours(&objects);
        for key in &ours {
            prop_assert!(statuses.contains_key(key), "{key} has no status");
        }
        for (key, status) in statuses.iter() {
            prop_assert_eq!(key, &status.key);
            prop_assert_eq!(status.generation, objects[&status.key].generation);
            let value = status.status.value();
            let complete = generate::conditions(&value);
            prop_assert!(!complete.is_empty());
            for condition in complete {
                prop_assert_eq!(condition["observedGeneration"].as_i64(), Some(status.generation));
                prop_assert!(matches!(condition["status"].as_str(), Some("True" | "False")));
                for field in ["type", "reason", "message"] {
                    prop_assert!(condition[field].as_str().is_some_and(|text| !text.is_empty()));
                }
            }
        }
    }
}
