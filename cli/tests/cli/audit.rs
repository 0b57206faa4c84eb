//! `tidegate audit`: the log of a configd, read from its files.

use std::fs;

use super::process::{Up, example, run};

#[test]
fn a_changed_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut up = Up::start(&[&example("quickstart")], &["--data-dir", data]);
    let list = run(&["audit", "list", "--data-dir", data]);
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(text.contains("in-process"), "{text}");
    assert!(
        text.contains("Resync") && text.contains("put HTTPRoute shop/"),
        "{text}"
    );
    let verified = run(&["audit", "verify", "--data-dir", data]);
    assert!(verified.status.success(), "it is read while configd writes");
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    let digest = text.trim().rsplit(' ').next().unwrap().to_owned();
    up.process.kill();

    let contains =
        |digest: &str| run(&["audit", "verify", "--data-dir", data, "--contains", digest]);
    assert!(contains(&digest).status.success());
    assert_eq!(contains(&"f".repeat(64)).status.code(), Some(1));

    let log = folder.path().join("configd/audit/00000000000000000001.log");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("in-process", "in_process")).unwrap();
    let verified = run(&["audit", "verify", "--data-dir", data]);
    assert_eq!(verified.status.code(), Some(1));
    let error = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(error.contains("was changed"), "{error}");
}
