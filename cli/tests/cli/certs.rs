//! `tidegate certs`: an authority for development.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::process::run;

fn ok(args: &[&str]) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?} is refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn authority(folder: &Path) -> String {
    let pki = folder.join("pki").to_str().unwrap().to_owned();
    ok(&["certs", "init", &pki, "--trust-domain", "tidegate.test"]);
    pki
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_role_gets_its_identity_and_keys_are_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let pki = authority(folder.path());
    let (role, name) = ("--role", "--name");
    for (flags, path, out) in [
        (
            &[role, "configd", name, "n1"][..],
            "configd/n1",
            "configd-n1",
        ),
        (
            &[role, "worker", "--pool", "shop/web"],
            "worker/shop/web",
            "worker-shop-web",
        ),
        (
            &[role, "worker", "--pool", "default", "--worker", "w1"],
            "worker/default/-/w1",
            "worker-default-w1",
        ),
        (
            &[role, "operator", name, "eu-1"],
            "operator/eu-1",
            "operator-eu-1",
        ),
        (
            &[role, "automation", name, "ci", "--access", "write"],
            "automation/write/ci",
            "automation-write-ci",
        ),
    ] {
        ok(&[&["certs", "issue", &pki], flags].concat());
        let folder = Path::new(&pki).join(out);
        let shown = ok(&["certs", "show", folder.join("tls.crt").to_str().unwrap()]);
        assert!(
            shown.contains(&format!("spiffe://tidegate.test/{path}\n")),
            "{shown}"
        );
        assert_eq!(mode(&folder.join("tls.key")), 0o600);
        assert!(folder.join("ca.crt").exists());
    }
    assert_eq!(mode(&Path::new(&pki).join("ca.key")), 0o600);
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let pki = authority(folder.path());
    let issue = ["certs", "issue", &pki, "--role", "configd", "--name", "n1"];
    ok(&issue);
    let file = Path::new(&pki).join("configd-n1/tls.key");
    let before = (
        fs::read(&file).unwrap(),
        fs::read(Path::new(&pki).join("ca.key")).unwrap(),
    );
    assert!(refused(&issue).contains("is there already"));
    let init = refused(&["certs", "init", &pki, "--trust-domain", "other.test"]);
    assert!(init.contains("is there already"), "{init}");
    let after = (
        fs::read(&file).unwrap(),
        fs::read(Path::new(&pki).join("ca.key")).unwrap(),
    );
    assert!(before == after);
}

#[test]
fn what_makes_no_identity_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let pki = authority(folder.path());
    let issue = |flags: &[&str]| refused(&[&["certs", "issue", &pki], flags].concat());
    assert!(issue(&["--role", "automation", "--name", "ci"]).contains("--access read"));
    assert!(issue(&["--role", "configd", "--name", "a b"]).contains("a name has letters"));
    assert!(issue(&["--role", "configd", "--name", "a/b"]).contains("configd/NODE"));
    assert!(issue(&["--role", "gardener", "--name", "g"]).contains("configd, worker, operator"));
    assert!(
        issue(&["--role", "operator", "--name", "a", "--worker", "w"]).contains("--role worker")
    );
    assert!(issue(&["--role", "worker", "--name", "w1"]).contains("needs --pool POOL"));
    assert!(issue(&["--role", "configd", "--pool", "p"]).contains("--pool is for --role worker"));
    assert!(issue(&["--role", "configd"]).contains("needs --name NAME"));
    assert!(issue(&["--role", "configd", "--name", "n", "--days", "398"]).contains("398"));
    let domain = refused(&["certs", "init", &pki, "--trust-domain", "Example.com"]);
    assert!(domain.contains("is no trust domain"), "{domain}");
}
