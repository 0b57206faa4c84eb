//! Both sides of a connection show who they are, and take nobody else.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails where something is missing"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tidegate_runtime::identity::authority::{Authority, Validity};
use tidegate_runtime::identity::{
    CredentialFiles, Credentials, CredentialsError, HandshakeError, Principal, Role, Subject,
};
use tokio::io::AsyncWriteExt as _;

const HOUR: Duration = Duration::from_secs(3_600);

struct Pki {
    folder: TempDir,
    authority: Authority,
}

impl Pki {
    fn new(trust_domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domain = trust_domain.parse().unwrap();
        let authority =
            Authority::init(&folder.path().join("ca"), domain, Validity::from_now(HOUR));
        Self {
            authority: authority.unwrap(),
            folder,
        }
    }

    fn issue(&self, folder: &str, principal: &str, validity: Validity) -> CredentialFiles {
        let folder = self.folder.path().join(folder);
        let principal: Principal = principal.parse().unwrap();
        self.authority
            .issue_into(&folder, principal, &[], validity)
            .unwrap();
        files(&folder)
    }

    fn credentials(&self, principal: &str) -> Credentials {
        let folder = principal.replace('/', "-");
        let files = self.issue(&folder, principal, Validity::from_now(HOUR));
        Credentials::load(files).unwrap()
    }
}

fn files(folder: &Path) -> CredentialFiles {
    CredentialFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        authorities: folder.join("ca.crt"),
    }
}

type Met = Result<Subject, HandshakeError>;

/// What client and server learn of each other.
async fn meet(client: &Credentials, server: &Credentials, role: Role) -> (Met, Met) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let serving = async {
        let (mut stream, peer) = server.accept(far).await?;
        // As HTTP/2, the server speaks first.
        stream.write_all(b"settings").await.unwrap();
        stream.flush().await.unwrap();
        Ok((stream, peer))
    };
    let (reached, served) = tokio::join!(client.connect(near, role), serving);
    (
        reached.map(|(_, peer)| peer),
        served.map(|(_, peer): (_, Subject)| peer),
    )
}

fn refusal(met: Met) -> String {
    met.expect_err("nobody is let in").to_string()
}

#[tokio::test]
async fn each_side_learns_who_the_other_is() {
    let pki = Pki::new("tidegate.test");
    let (client, server) = (
        pki.credentials("worker/shop/web/-/w1"),
        pki.credentials("configd/n1"),
    );
    let (server_seen, client_seen) = meet(&client, &server, Role::Configd).await;
    assert_eq!(server_seen.unwrap(), server.subject());
    assert_eq!(
        client_seen.unwrap().identity.to_string(),
        "spiffe://tidegate.test/worker/shop/web/-/w1"
    );
}

#[tokio::test]
async fn an_authority_that_others_made_signs_under_its_own_name() {
    // By openssl, with another subject than ours, as cert-manager makes them.
    let (certificate, key) = (
        include_str!("authority/ca.crt"),
        include_str!("authority/ca.key"),
    );
    let pki = Pki {
        folder: tempfile::tempdir().unwrap(),
        authority: Authority::from_pem(certificate, key).unwrap(),
    };
    let (client, server) = (
        pki.credentials("worker/default"),
        pki.credentials("configd/n1"),
    );
    let (server_seen, client_seen) = meet(&client, &server, Role::Configd).await;
    assert_eq!(server_seen.unwrap(), server.subject());
    assert_eq!(client_seen.unwrap(), client.subject());
}

#[tokio::test]
async fn a_foreign_authority_is_refused_and_both_sides_say_so() {
    let (ours, foreign) = (Pki::new("tidegate.test"), Pki::new("tidegate.test"));
    let (client, server) = (
        foreign.credentials("worker/default"),
        ours.credentials("configd/n1"),
    );
    let (client_says, _) = meet(&client, &server, Role::Configd).await;
    let text = refusal(client_says);
    assert!(
        text.contains("no authority in --tls-ca has signed its certificate"),
        "{text}"
    );

    // The client trusts both authorities, the server its own.
    let folder = foreign.folder.path().join("worker-default");
    let both = [&folder, &ours.folder.path().join("ca")]
        .map(|folder| fs::read_to_string(folder.join("ca.crt")).unwrap());
    fs::write(folder.join("ca.crt"), both.concat()).unwrap();
    let client = Credentials::load(files(&folder)).unwrap();
    let (client_says, server_says) = meet(&client, &server, Role::Configd).await;
    let (client_says, server_says) = (refusal(client_says), refusal(server_says));
    assert!(
        client_says.contains("refuses spiffe://tidegate.test/worker/default"),
        "{client_says}"
    );
    assert!(client_says.contains("compare --tls-ca"), "{client_says}");
    assert!(
        server_says.contains("no authority in --tls-ca"),
        "{server_says}"
    );
}

#[test]
fn a_certificate_counts_from_a_day_before_it_was_made() {
    // So it counts at once where the clock of whoever signed it is ahead.
    let validity = Validity::from_now(HOUR);
    assert!(validity.not_before < SystemTime::now() - 23 * HOUR);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_both_sides_say_so() {
    let pki = Pki::new("tidegate.test");
    let now = SystemTime::now();
    let over = Validity {
        not_before: now - 2 * HOUR,
        not_after: now - HOUR,
    };
    let expired = Credentials::load(pki.issue("old", "worker/default", over)).unwrap();
    let (client_says, server_says) =
        meet(&expired, &pki.credentials("configd/n1"), Role::Configd).await;
    let (client_says, server_says) = (refusal(client_says), refusal(server_says));
    assert!(
        client_says.contains("our certificate has expired"),
        "{client_says}"
    );
    assert!(
        server_says.contains("its certificate has expired"),
        "{server_says}"
    );

    let expired = Credentials::load(pki.issue("old-server", "configd/n1", over)).unwrap();
    let (client_says, _) = meet(&pki.credentials("worker/a"), &expired, Role::Configd).await;
    let text = refusal(client_says);
    assert!(text.contains("its certificate has expired"), "{text}");
}

#[tokio::test]
async fn another_trust_domain_is_refused_though_its_authority_is_known() {
    let (ours, others) = (Pki::new("ours.test"), Pki::new("others.test"));
    let client = others.issue("client", "worker/default", Validity::from_now(HOUR));
    let server = ours.issue("server", "configd/n1", Validity::from_now(HOUR));
    let both = [&ours, &others].map(|pki| pki.authority.certificate_pem());
    for files in [&client, &server] {
        fs::write(&files.authorities, both.concat()).unwrap();
    }
    let (client, server) = (
        Credentials::load(client).unwrap(),
        Credentials::load(server).unwrap(),
    );
    let (client_says, _) = meet(&client, &server, Role::Configd).await;
    let text = refusal(client_says);
    assert!(
        text.contains("of another trust domain than others.test"),
        "{text}"
    );
}

#[tokio::test]
async fn only_configd_is_taken_for_configd() {
    let pki = Pki::new("tidegate.test");
    let (client, impostor) = (pki.credentials("worker/a"), pki.credentials("worker/b"));
    let (client_says, _) = meet(&client, &impostor, Role::Configd).await;
    let text = refusal(client_says);
    assert!(
        text.contains("worker/b, but only the role configd"),
        "{text}"
    );
    let wrong = impostor.require(Role::Configd);
    assert!(matches!(wrong, Err(CredentialsError::Role { .. })));
}

async fn until_not_after(credentials: &Credentials, wanted: i64) {
    while credentials.subject().not_after_unix_s != wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn not_after(folder: &Path) -> i64 {
    let subject = Credentials::load(files(folder)).unwrap().subject();
    subject.not_after_unix_s
}

#[tokio::test]
async fn new_files_are_taken_when_they_fit_by_rename_and_by_link() {
    let pki = Pki::new("tidegate.test");
    let root = pki.folder.path();
    for (name, hours) in [("v1", 1), ("v2", 2), ("v3", 3)] {
        pki.issue(name, "configd/n1", Validity::from_now(hours * HOUR));
    }
    pki.issue("other", "configd/n2", Validity::from_now(9 * HOUR));
    // As Kubernetes lays out a Secret: files are links through a link that is swapped.
    symlink(root.join("v1"), root.join("..data")).unwrap();
    let mounted = root.join("mounted");
    fs::create_dir(&mounted).unwrap();
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(root.join("..data").join(file), mounted.join(file)).unwrap();
    }
    let swap = |to: &str| {
        symlink(root.join(to), root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("..data")).unwrap();
    };
    let credentials = Credentials::load(files(&mounted)).unwrap();
    let credentials = credentials.reload_every(Duration::from_millis(1));
    let following = credentials.clone();
    let follows = async move { following.follow().await };
    let changes = async {
        until_not_after(&credentials, not_after(&root.join("v1"))).await;
        swap("v2");
        until_not_after(&credentials, not_after(&root.join("v2"))).await;
        // Somebody else's certificate is not taken over, and following goes on.
        swap("other");
        tokio::time::sleep(Duration::from_millis(20)).await;
        until_not_after(&credentials, not_after(&root.join("v2"))).await;
        swap("v3");
        until_not_after(&credentials, not_after(&root.join("v3"))).await;
        // Half of a change: the certificate without its key.
        let file = mounted.join("tls.crt");
        fs::copy(root.join("v1/tls.crt"), root.join("tls.tmp")).unwrap();
        fs::rename(root.join("tls.tmp"), &file).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        until_not_after(&credentials, not_after(&root.join("v3"))).await;
        fs::copy(root.join("v1/tls.key"), root.join("key.tmp")).unwrap();
        fs::rename(root.join("key.tmp"), mounted.join("tls.key")).unwrap();
        until_not_after(&credentials, not_after(&root.join("v1"))).await;
    };
    tokio::select! {
        _ = follows => unreachable!("it follows for ever"),
        () = changes => {}
    }
}
