//! `tidegate up` while its files change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Client, get};
use super::process::{Up, example, run};

/// A copy of an example that a test may edit.
pub(crate) fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(example(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// Saves as editors do: whole, by renaming.
pub(crate) fn save(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Asks until the answer fits, and says how long that took.
pub(crate) fn until(port: u16, path: &str, fits: impl Fn(&super::client::Answer) -> bool) {
    let start = Instant::now();
    let mut client = Client::connect(port).unwrap();
    while start.elapsed() < Duration::from_secs(20) {
        if fits(&client.get("localhost", path).unwrap()) {
            return;
        }
    }
    panic!("{path} never answered as it should");
}

#[test]
fn a_saved_change_is_served_and_told_in_one_line() {
    let folder = copy_of("canary");
    let mut up = Up::start(&[folder.path()], &[]);
    let path = folder.path().join("cart.yaml");
    let text = fs::read_to_string(&path).unwrap();
    save(&path, &text.replace("weight: 90", "weight: 0"));
    until(up.port("http"), "/", |answer| {
        answer.service() == "shop/cart-v2"
    });
    let line = up.process.wait_for("weight");
    assert_eq!(
        line,
        "snapshot 2  HTTPRoute shop/cart  rules[1] weight 90/10 → 0/10"
    );
}

#[test]
fn its_table_of_descriptors_does_not_grow_under_clients() {
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", up.process.id())).unwrap();
    let room = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    let room: u64 = room.unwrap().trim().parse().unwrap();
    let most = tidegate_runtime::descriptors::most().unwrap_or(u64::MAX);
    assert!(room >= most.min(1 << 16), "{room} of {most}");
}

#[test]
fn a_broken_file_keeps_serving_and_names_the_place() {
    let folder = copy_of("quickstart");
    let mut up = Up::start(&[folder.path()], &[]);
    let port = up.port("http");
    let path = folder.path().join("shop.yaml");
    let good = fs::read_to_string(&path).unwrap();

    save(&path, &good.replacen("  - matches:", "  - matchs:", 1));
    let line = up.process.wait_for("matchs");
    assert!(
        line.contains("shop.yaml:11:5: HTTPRoute shop/shop spec.rules[0].matchs: "),
        "{line}"
    );
    assert!(line.contains("did you mean \"matches\"?"), "{line}");
    assert_eq!(get(port, "localhost", "/cart").service(), "shop/cart");

    save(&path, &good.replacen("  rules:", "  rules: [", 1));
    let line = up.process.wait_for("not valid YAML");
    assert!(line.contains("shop.yaml:"), "{line}");
    assert_eq!(get(port, "localhost", "/cart").service(), "shop/cart");

    save(
        &path,
        &good.replacen("kind: HTTPRoute", "kind: HTTPRout", 1),
    );
    let line = up.process.wait_for("HTTPRout shop/shop");
    assert!(line.contains("did you mean HTTPRoute"), "{line}");
    assert_eq!(get(port, "localhost", "/cart").service(), "shop/cart");

    save(
        &path,
        &good.replace("name: cart\n      port: 80", "name: basket\n      port: 80"),
    );
    let line = up.process.wait_for("TG2302");
    assert!(
        line.contains("HTTPRoute shop/shop spec.rules[0].backendRefs[0]"),
        "{line}"
    );
    until(port, "/cart", |answer| answer.status == 500);
    assert_eq!(
        get(port, "localhost", "/").service(),
        "shop/frontend",
        "the other rule works"
    );

    save(&path, &good);
    up.process.wait_for("no problems left");
    until(port, "/cart", |answer| answer.service() == "shop/cart");
}

#[test]
fn routes_of_layer_4_alone_are_something_to_try() {
    let up = Up::start(&[&example("layer4")], &[]);
    let lines = up.process.lines.join("\n");
    assert!(
        lines.contains("tidegate explain tcp://:")
            || lines.contains("tidegate explain tls://vault.example.com:"),
        "{lines}"
    );
    assert!(!lines.contains("nothing is routed yet"), "{lines}");
}

#[test]
fn a_gateway_of_another_controller_is_said_to_be_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.yaml");
    let text = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: other}
spec: {controllerName: example.com/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec: {gatewayClassName: other, listeners: [{name: http, port: 80, protocol: HTTP}]}
";
    save(&path, text);
    let up = Up::start(&[folder.path()], &[]);
    let lines = up.process.lines.join("\n");
    let told = "GatewayClass other has the controllerName example.com/other";
    assert!(lines.contains("TG1103") && lines.contains(told), "{lines}");
}

#[test]
fn every_save_is_served() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = copy_of("quickstart");
    let up = Up::start(&[folder.path()], &["--threads", "1"]);
    let path = folder.path().join("shop.yaml");
    let text = fs::read_to_string(&path).unwrap();
    for index in 0..9 {
        let service = if index % 2 == 0 { "frontend" } else { "cart" };
        save(
            &path,
            &text.replace("- name: cart\n", &format!("- name: {service}\n")),
        );
        let wanted = format!("shop/{service}");
        until(up.port("http"), "/cart", |answer| {
            answer.service() == wanted
        });
    }
}

/// Held by the tests that load the machine, which would disturb each other.
static MACHINE: Mutex<()> = Mutex::new(());

const CLIENTS: usize = 64;
const EDITS: usize = 300;

/// The route of the quickstart, with a number that both the request and the answer carry.
fn numbered(text: &str, number: usize) -> String {
    let headers = |kind: &str, field: &str| {
        format!(
            "    - type: {kind}\n      {field}:\n        set:\n        - {{name: x-edit, value: \"{number}\"}}\n"
        )
    };
    let filters = format!(
        "    filters:\n{}{}    backendRefs:\n    - name: cart\n",
        headers("RequestHeaderModifier", "requestHeaderModifier"),
        headers("ResponseHeaderModifier", "responseHeaderModifier"),
    );
    text.replacen("    backendRefs:\n    - name: cart\n", &filters, 1)
}

/// Asks on one connection until told to stop; every answer must come from a single version.
fn ask_constantly(port: u16, stop: &AtomicBool, asked: &AtomicUsize) -> Result<(), String> {
    let mut client = Client::connect(port).map_err(|e| e.to_string())?;
    while !stop.load(Ordering::Relaxed) {
        let answer = client
            .get("localhost", "/cart")
            .map_err(|e| e.to_string())?;
        let in_request = answer.json()["headers"]["x-edit"]
            .as_str()
            .map(str::to_owned);
        let in_answer = answer.headers.get("x-edit").cloned();
        if answer.status != 200 || in_request.is_none() || in_request != in_answer {
            return Err(format!(
                "status {}, {in_request:?}, {in_answer:?}",
                answer.status
            ));
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn three_hundred_edits_under_load_fail_no_request_and_mix_no_versions() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = copy_of("quickstart");
    let path: PathBuf = folder.path().join("shop.yaml");
    let text = fs::read_to_string(&path).unwrap();
    save(&path, &numbered(&text, 0));
    let up = Up::start(&[folder.path()], &[]);
    let port = up.port("http");
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || ask_constantly(port, &stop, &asked))
        })
        .collect();
    for number in 1..=EDITS {
        save(&path, &numbered(&text, number));
        let number = number.to_string();
        until(port, "/cart", |answer| {
            answer.headers.get("x-edit") == Some(&number)
        });
    }
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<_> = clients
        .into_iter()
        .filter_map(|c| c.join().unwrap().err())
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(
        asked.load(Ordering::Relaxed) > EDITS * 10,
        "there was load: {asked:?}"
    );
    let list = run(&["snapshots", "list", "--limit", "1", "--server", &up.server]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let version = list
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap();
    assert!(version.parse::<usize>().unwrap() > EDITS, "{list}");
}
