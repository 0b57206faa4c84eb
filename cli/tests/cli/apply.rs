//! `tidegate apply` against a configd of its own.

use std::fs;

use super::process::{Process, free_port, tidegate};

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: PORT}]}
";
const SECRET: &str = "apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop}
data: {token: c2VjcmV0}
";

struct Configd {
    _process: Process,
    _data: tempfile::TempDir,
    server: String,
    files: tempfile::TempDir,
}

impl Configd {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let folder = data.path().to_str().unwrap();
        let mut process = Process::start(&[
            "configd",
            "--data-dir",
            folder,
            "--listen",
            &listen,
            "--admin",
            "127.0.0.1:0",
        ]);
        process.wait_for("configd serves");
        Self {
            _process: process,
            _data: data,
            server: format!("http://{listen}"),
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Exit code, what was printed, and the last line of what was said about it.
    fn apply(&self, options: &[&str]) -> (Option<i32>, String, String) {
        let output = tidegate()
            .arg("apply")
            .arg(self.files.path())
            .args(["--server", &self.server])
            .args(options)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            said.lines().last().unwrap_or_default().to_owned(),
        )
    }

    fn services(&self) -> String {
        let args = ["get", "services", "-A", "-o", "json", "--server"];
        let output = tidegate().args(args).arg(&self.server).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn service(port: u16) -> String {
    SERVICE.replace("PORT", &port.to_string())
}

#[test]
fn only_what_differs_is_stored() {
    let configd = Configd::start();
    configd.write("service.yaml", &service(80));
    let (code, printed, said) = configd.apply(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        printed,
        "created  Namespace shop\ncreated  Service shop/cart\n"
    );
    assert!(said.ends_with("2 changed, 0 as before"), "{said}");

    assert_eq!(configd.apply(&[]).1, "", "a second time changes nothing");

    configd.write("service.yaml", &service(81));
    let (_, printed, said) = configd.apply(&["--dry-run"]);
    assert_eq!(printed, "changed  Service shop/cart\n");
    assert!(said.ends_with("nothing was changed"), "{said}");
    assert!(configd.services().contains(": 80"), "a dry run");
    configd.apply(&[]);
    assert!(configd.services().contains(": 81"));
}

#[test]
fn what_files_no_longer_have_goes_only_when_asked() {
    let configd = Configd::start();
    configd.write("service.yaml", &service(80));
    configd.write("secret.yaml", SECRET);
    configd.apply(&[]);
    fs::remove_file(configd.files.path().join("service.yaml")).unwrap();
    assert_eq!(configd.apply(&[]).1, "sent     Secret shop/token\n");
    assert_eq!(
        configd.apply(&["--prune"]).1,
        "sent     Secret shop/token\ndeleted  Service shop/cart\n"
    );
    assert!(!configd.services().contains("cart"));
}

#[test]
fn one_error_in_the_files_and_nothing_is_stored() {
    let configd = Configd::start();
    configd.write("service.yaml", &service(80));
    configd.write("wrong.yaml", "apiVersion: v1\nkind: Service\n");
    let (code, printed, said) = configd.apply(&[]);
    assert_eq!(
        (code, printed.as_str(), said.as_str()),
        (Some(3), "", "nothing was changed: mend the files first")
    );
    assert!(!configd.services().contains("cart"));
}

#[test]
fn an_empty_folder_deletes_nothing() {
    let configd = Configd::start();
    configd.write("service.yaml", &service(80));
    configd.apply(&[]);
    fs::remove_file(configd.files.path().join("service.yaml")).unwrap();
    let (code, _, said) = configd.apply(&["--prune"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no object in the files"), "{said}");
    assert!(configd.services().contains("cart"));
}
