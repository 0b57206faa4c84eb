//! One bad change, one command back; and what the commands of the history say to people and programs.

use std::fs;

use serde_json::Value;

use super::client::get;
use super::process::{Up, run};
use super::up::{copy_of, save, until};

pub(crate) fn ask(up: &Up, args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[args, &["--server", &up.server]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

pub(crate) fn json(up: &Up, args: &[&str]) -> Value {
    let (code, out, error) = ask(up, &[args, &["-o", "json"]].concat());
    assert_eq!(code, Some(0), "{args:?}: {error}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn one_command_takes_a_bad_change_back_until_it_is_let_go() {
    let folder = copy_of("quickstart");
    let mut up = Up::start(&[folder.path()], &[]);
    let port = up.port("http");
    let path = folder.path().join("shop.yaml");
    let good = fs::read_to_string(&path).unwrap();
    save(&path, &good.replacen("value: /cart", "value: /basket", 1));
    until(port, "/cart", |answer| answer.service() == "shop/frontend");

    let (code, out, error) = ask(&up, &["snapshots", "rollback", "--dry-run"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("a rollback from 2 to 1 would"), "{out}");
    let why = ["-m", "carts are empty", "--by", "anna"];
    let (code, out, error) = ask(&up, &[&["snapshots", "rollback"][..], &why].concat());
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.starts_with("snapshot 2 → 3, the content of 1\n"),
        "{out}"
    );
    assert!(out.contains("/basket/* → /cart/*"), "{out}");
    assert!(error.contains("unfreeze"), "{error}");
    until(port, "/cart", |answer| answer.service() == "shop/cart");

    save(&path, &good.replacen("value: /cart", "value: /bag", 1));
    up.process.wait_for("frozen");
    assert_eq!(get(port, "localhost", "/cart").service(), "shop/cart");
    let (_, list, error) = ask(&up, &["snapshots", "list"]);
    assert!(
        list.contains("rollback to 1 by anna: carts are empty"),
        "{list}"
    );
    assert!(
        error.contains("pool default is frozen at snapshot 3"),
        "{error}"
    );

    let pool = json(&up, &["snapshots", "unfreeze", "--by", "anna"]);
    assert_eq!(pool["pool"]["freeze"], Value::Null);
    until(port, "/bag", |answer| answer.service() == "shop/cart");
}

#[test]
fn what_is_not_as_expected_ends_with_code_4() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let (code, _, error) = ask(&up, &["snapshots", "freeze", "--expect", "9"]);
    assert_eq!(code, Some(4), "{error}");
    assert!(
        error.contains("newest version of pool default is 1"),
        "{error}"
    );
    let (code, _, error) = ask(&up, &["snapshots", "unfreeze"]);
    assert_eq!(code, Some(4), "{error}");
    let (code, _, error) = ask(&up, &["snapshots", "rollback", "1"]);
    assert_eq!(code, Some(4), "{error}");
    let (code, _, error) = ask(&up, &["snapshots", "rollback", "77"]);
    assert_eq!(code, Some(1), "{error}");
}

#[test]
fn snapshots_are_named_kept_and_blamed() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let labelled = json(&up, &["snapshots", "label", "1", "known-good"]);
    assert_eq!(labelled["snapshot"]["labels"][0], "known-good");
    let (code, out, _) = ask(&up, &["snapshots", "pin", "known-good"]);
    assert_eq!(
        (code, &*out),
        (Some(0), "snapshot 1 of pool default: known-good,pinned\n")
    );
    let (_, list, _) = ask(&up, &["snapshots", "list"]);
    assert!(list.contains("known-good,pinned"), "{list}");
    ask(&up, &["snapshots", "unpin", "1"]);
    ask(&up, &["snapshots", "unlabel", "known-good"]);
    assert_eq!(
        json(&up, &["snapshots", "list"])["snapshots"][0]["pinned"],
        false
    );

    let blame = ["snapshots", "blame", "httproute/shop", "-n", "shop"];
    let blamed = json(&up, &blame);
    assert_eq!(blamed["parts"][0]["part"], "HTTPRoute shop/shop");
    assert_eq!(blamed["parts"][0]["change"], "added");
    assert_eq!(blamed["parts"][0]["snapshot"]["version"], 1);
    let (code, _, error) = ask(&up, &["snapshots", "blame", "httproute/none", "-n", "shop"]);
    assert_eq!(code, Some(1), "{error}");
}
