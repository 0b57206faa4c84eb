//! Sources on the command line.

use std::fs;

use super::history::{ask, json};
use super::process::Up;
use super::up::copy_of;

#[test]
fn sources_are_listed_and_kept_within_their_policies() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let (code, table, error) = ask(&up, &["sources", "list"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(table.starts_with("SOURCE"), "{table}");
    assert!(table.contains("files    no lease"), "{table}");
    let listed = json(&up, &["sources", "list", "files"]);
    let files = &listed["sources"][0];
    assert!(files["objects"].as_u64().unwrap() > 3, "{listed}");
    assert_eq!(files["policy"]["holdPercent"], 20);

    let small = ["sources", "policy", "ci", "--objects-max", "0"];
    assert_eq!(json(&up, &small)["source"]["policy"]["objectsMax"], 0);
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("shop.yaml");
    let shop = fs::read_to_string(folder.path().join("shop.yaml")).unwrap();
    fs::write(&path, shop).unwrap();
    let apply = ["apply", path.to_str().unwrap(), "--source", "ci"];
    let (code, _, error) = ask(&up, &apply);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("its quota is 0"), "{error}");
    assert!(error.contains("tidegate sources policy"), "{error}");
}

#[test]
fn a_confirmation_of_what_is_not_held_is_refused() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let confirm = ["sources", "confirm-deletions", "files", "12"];
    let (code, _, error) = ask(&up, &confirm);
    assert_eq!(code, Some(4), "{error}");
    assert!(
        error.contains("no deletions of the source are held"),
        "{error}"
    );
}
