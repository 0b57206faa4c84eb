//! Plans, waits and rollouts on the command line.

use std::fs;

use serde_json::json;

use super::history::{ask, json};
use super::process::Up;
use super::up::{copy_of, save, until};

#[test]
fn workers_are_listed_and_waited_for() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let (code, out, error) = ask(&up, &["wait"]);
    assert_eq!(
        (code, &*out),
        (Some(0), "pool default: snapshot 1\n"),
        "{error}"
    );
    let worker = json(&up, &["workers"])["workers"][0].clone();
    assert_eq!((&worker["serves"], &worker["lag"]), (&json!(1), &json!(0)));
    assert_eq!(worker["refused"], json!(null));
    let (_, table, _) = ask(&up, &["workers"]);
    assert!(table.starts_with("POOL      WORKER"), "{table}");
    let late = ["wait", "--revision", "999999", "--timeout", "1"];
    let (code, _, error) = ask(&up, &late);
    assert_eq!(code, Some(5), "{error}");
    assert!(error.contains("999999 is not compiled yet"), "{error}");
}

#[test]
fn a_plan_is_shown_then_done_and_one_that_is_out_of_date_is_not() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let shop = fs::read_to_string(folder.path().join("shop.yaml")).unwrap();
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("shop.yaml");
    let plan = |value: &str| {
        let changed = format!("value: {value}");
        fs::write(&path, shop.replacen("value: /cart", &changed, 1)).unwrap();
        json(&up, &["plan", path.to_str().unwrap()])
    };
    let (first, second) = (plan("/basket"), plan("/bag"));
    let change = &first["pools"][0]["changes"][0];
    assert_eq!(change["part"], "HTTPRoute shop/shop", "{first}");
    assert_eq!(json(&up, &["plan", "list"])["plans"][1], first["plan"]);
    until(up.port("http"), "/cart", |answer| {
        answer.service() == "shop/cart"
    });

    let id = |plan: &serde_json::Value| plan["plan"]["id"].as_str().unwrap().to_owned();
    let (code, text, _) = ask(&up, &["plan", "show", &id(&first)]);
    assert_eq!(code, Some(0));
    assert!(text.contains("/cart/* → /basket/*"), "{text}");
    let url = format!("http://localhost:{}/basket", up.port("http"));
    let (code, text, _) = ask(&up, &["explain", "GET", &url, "--plan", &id(&first)]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("plan {}", id(&first))), "{text}");
    assert!(text.contains("100.0 %"), "{text}");
    let (code, _, error) = ask(&up, &["plan", "apply", &id(&first), "--wait", "converged"]);
    assert_eq!(code, Some(0), "{error}");
    until(up.port("http"), "/basket", |answer| {
        answer.service() == "shop/cart"
    });
    let (code, _, error) = ask(&up, &["plan", "apply", &id(&second)]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("make a new plan"), "{error}");
}

#[test]
fn a_rollout_is_seen_and_taken_back() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let port = up.port("http");
    let start = ["rollout", "start", "--steps", "10,50", "--bake", "3600"];
    assert_eq!(json(&up, &start)["pool"]["next"][1]["percent"], 50);
    let path = folder.path().join("shop.yaml");
    let good = fs::read_to_string(&path).unwrap();
    save(&path, &good.replacen("value: /cart", "value: /basket", 1));
    until(port, "/cart", |answer| answer.service() == "shop/frontend");

    let (code, table, error) = ask(&up, &["rollout", "status"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(table.contains("1 of 2: 10%"), "{table}");
    let (code, _, error) = ask(&up, &["rollout", "promote", "9"]);
    assert_eq!(code, Some(4), "{error}");
    let (code, out, error) = ask(&up, &["rollout", "abort", "-m", "carts are empty"]);
    assert_eq!(
        (code, &*out),
        (Some(0), "snapshot 3, the content of 1\n"),
        "{error}"
    );
    until(port, "/cart", |answer| answer.service() == "shop/cart");
    let (code, _, error) = ask(&up, &["rollout", "pause"]);
    assert_eq!(code, Some(4), "{error}");
}

#[test]
fn a_snapshot_that_answers_worse_is_taken_back_by_itself() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let port = up.port("http");
    let gate = ["--max-5xx-delta", "2.5"];
    let start = ["rollout", "start", "--steps", "100", "--bake", "3600"];
    let started = json(&up, &[&start[..], &gate].concat());
    assert_eq!(started["pool"]["next"][0]["max5xxDeltaPercent"], 2.5);
    let path = folder.path().join("shop.yaml");
    let good = fs::read_to_string(&path).unwrap();
    let bad = good.replace("name: cart\n      port: 80", "name: basket\n      port: 80");
    save(&path, &bad);
    // Asks on and on, so there are requests to judge by.
    until(port, "/cart", |answer| answer.status == 500);
    until(port, "/cart", |answer| {
        answer.status == 200 && answer.service() == "shop/cart"
    });
    let restored = json(&up, &["snapshots", "list"])["snapshots"][0].clone();
    let cause = restored["cause"].as_str().unwrap();
    assert!(cause.contains("were answered with 5xx"), "{restored}");
    assert_eq!(restored["restores"], 1, "{restored}");
}
