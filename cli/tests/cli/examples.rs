//! Every example under deploy/examples does what its README says.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::client::{Client, get};
use super::process::{Up, example, run};

fn up(name: &str) -> Up {
    Up::start(&[&example(name)], &[])
}

/// How often each Service answers.
fn count(port: u16, path: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut client = Client::connect(port).unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("localhost", path).unwrap();
        *counts.entry(answer.service()).or_default() += 1;
    }
    counts
}

#[test]
fn quickstart_routes_by_path() {
    let up = up("quickstart");
    let port = up.port("http");
    assert_eq!(get(port, "localhost", "/").service(), "shop/frontend");
    assert_eq!(get(port, "localhost", "/cart/items").service(), "shop/cart");
    assert_eq!(
        get(port, "localhost", "/cartoon").service(),
        "shop/frontend"
    );
}

#[test]
fn advanced_matching_tells_requests_apart() {
    let up = up("advanced-matching");
    let mut client = Client::connect(up.port("http")).unwrap();
    for (method, path, header, service) in [
        ("GET", "/orders", None, "api/orders"),
        (
            "GET",
            "/orders",
            Some(("x-release", "beta")),
            "api/orders-beta",
        ),
        ("GET", "/orders?release=beta", None, "api/orders-beta"),
        ("POST", "/orders", None, "api/orders-writer"),
        ("DELETE", "/orders/7", None, "api/orders-writer"),
        ("GET", "/orders/7/receipt", None, "api/receipts"),
        ("GET", "/elsewhere", None, "404"),
    ] {
        let headers: Vec<_> = header.into_iter().collect();
        let answer = client.send(method, "localhost", path, &headers).unwrap();
        assert_eq!(answer.service(), service, "{method} {path} {header:?}");
    }
}

#[test]
fn mirror_answers_from_the_primary_and_copies() {
    let (given, copies) = recorder("shop/search-next");
    let up = Up::start(&[&example("mirror")], &["--backend", &given]);
    let mut client = Client::connect(up.port("http")).unwrap();
    let answer = client.get("localhost", "/search?q=tide").unwrap();
    assert_eq!(answer.service(), "shop/search");
    let copy = copies.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(
        copy.starts_with("GET /search?q=tide HTTP/1.1\r\n"),
        "{copy}"
    );
}

/// A backend of the test's own: answers 203, and hands on what it received.
fn recorder(service: &str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let given = format!(
        "{service}=127.0.0.1:{}",
        listener.local_addr().unwrap().port()
    );
    let (sender, requests) = sync_channel(16);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = vec![0; 16_384];
            let len = stream.read(&mut request).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 203 Mine\r\ncontent-length: 0\r\n\r\n");
            let _ = sender.try_send(String::from_utf8_lossy(&request[..len]).into_owned());
        }
    });
    (given, requests)
}

#[test]
fn behind_a_balancer_believes_the_proxies_in_front() {
    let up = up("behind-a-balancer");
    let mut client = Client::connect(up.port("http")).unwrap();
    let told = [("x-forwarded-for", "192.0.2.1")];
    let answer = client.send("GET", "localhost", "/", &told).unwrap();
    let headers = answer.json()["headers"].to_string();
    assert!(headers.contains("192.0.2.1, 127.0.0.1"), "{headers}");
    let ask = |header: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", up.port("balanced"))).unwrap();
        let request = format!("{header}GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // What was not read of the request may reset the connection.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let served = ask("PROXY TCP4 192.0.2.7 127.0.0.1 40000 8081\r\n");
    assert!(served.contains("192.0.2.7"), "{served}");
    assert_eq!(ask(""), "");
}

#[test]
fn canary_gets_one_request_in_ten() {
    let up = up("canary");
    let port = up.port("http");
    let counts = count(port, "/", 200);
    assert_eq!(counts.values().sum::<usize>(), 200);
    assert!((14..=26).contains(&counts["shop/cart-v2"]), "{counts:?}");
    assert!((174..=186).contains(&counts["shop/cart-v1"]), "{counts:?}");
    let mut client = Client::connect(port).unwrap();
    for _ in 0..10 {
        let answer = client
            .send("GET", "localhost", "/", &[("x-canary", "always")])
            .unwrap();
        assert_eq!(answer.service(), "shop/cart-v2");
    }
}

#[test]
fn gradual_migration_follows_its_weights() {
    let up = up("gradual-migration");
    let counts = count(up.port("http"), "/catalog", 200);
    assert!((40..=60).contains(&counts["shop/catalog"]), "{counts:?}");
    assert!((140..=160).contains(&counts["shop/monolith"]), "{counts:?}");
    assert_eq!(
        count(up.port("http"), "/", 10),
        [("shop/monolith".into(), 10)].into()
    );
}

#[test]
fn cross_namespace_needs_the_grant() {
    let mut up = up("cross-namespace");
    let port = up.port("http");
    assert_eq!(get(port, "localhost", "/pay").service(), "billing/payments");
    assert_eq!(get(port, "localhost", "/refund").status, 500);
    let said = std::mem::take(&mut up.process.lines).join("\n");
    assert!(
        said.contains("shop.yaml:25:7: HTTPRoute shop/checkout spec.rules[1]"),
        "{said}"
    );
}

#[test]
fn shared_gateway_admits_by_label() {
    let up = up("shared-gateway");
    let port = up.port("http");
    assert_eq!(get(port, "shop.example.com", "/").service(), "shop/shop");
    assert_eq!(get(port, "blog.example.com", "/").service(), "blog/blog");
    assert_eq!(get(port, "sandbox.example.com", "/").status, 404);
    let output = run(&["get", "httproute", "-A", "--server", &up.server]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("False (NotAllowedByListeners)"), "{table}");
}

#[test]
fn secure_gateway_terminates_tls() {
    let up = up("secure-gateway");
    let text =
        std::fs::read_to_string(example("secure-gateway").join("certificates.yaml")).unwrap();
    let pem: String = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "-----BEGIN CERTIFICATE-----")
        .take_while(|line| !line.starts_with("tls.key"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let port = up.port("https");
    let mut client = Client::connect_tls(port, "shop.example.com", pem.as_bytes()).unwrap();
    let answer = client.get("shop.example.com", "/basket").unwrap();
    assert_eq!(answer.service(), "shop/shop");
    assert_eq!(answer.json()["headers"]["x-forwarded-proto"], "https");

    let answer = get(up.port("http"), "shop.example.com", "/basket");
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.headers["location"],
        "https://shop.example.com:8443/basket"
    );
}

#[test]
fn layer4_serves_a_database_a_resolver_and_tls_by_name() {
    let database = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let vault = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let resolver = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let given = [
        format!("data/postgres={}", database.local_addr().unwrap()),
        format!("data/vault={}", vault.local_addr().unwrap()),
        format!("dns/resolver={}", resolver.local_addr().unwrap()),
    ];
    let more: Vec<_> = given.iter().flat_map(|to| ["--backend", to]).collect();
    let up = Up::start(&[&example("layer4")], &more);

    let mut client = TcpStream::connect(("127.0.0.1", up.port("postgres"))).unwrap();
    let (mut server, _) = database.accept().unwrap();
    server.write_all(b"the server speaks first").unwrap();
    let mut greeting = [0; 23];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"the server speaks first");

    let mut client = TcpStream::connect(("127.0.0.1", up.port("tls"))).unwrap();
    let hello = client_hello("vault.example.com");
    client.write_all(&hello).unwrap();
    let (mut server, _) = vault.accept().unwrap();
    let mut arrived = vec![0; hello.len()];
    server.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, hello, "TLS is passed through as it came");

    let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client
        .send_to(b"question", ("127.0.0.1", up.port("dns")))
        .unwrap();
    let mut datagram = [0; 64];
    let (len, from) = resolver.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..len], b"question");
    resolver.send_to(b"answer", from).unwrap();
    let (len, from) = client.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..len], b"answer");
    assert_eq!(
        from.port(),
        up.port("dns"),
        "the reply comes from the listener"
    );
}

/// What a TLS client says first.
fn client_hello(name: &'static str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// An example that is a script of its own gives its verdict itself, and needs more than Rust: `deploy/examples/cluster/run`.
#[test]
fn every_example_of_objects_is_tested_here() {
    let tested = include_str!("examples.rs");
    for entry in std::fs::read_dir(example("")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("run").is_file() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        assert!(
            tested.contains(&format!("(\"{name}\")")),
            "{name} has no test"
        );
    }
}

#[test]
fn the_demo_needs_no_files() {
    let mut up = Up::start(&[], &[]);
    let port = up.port("http");
    let counts = count(port, "/", 100);
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert_eq!(
        get(port, "localhost", "/old/page").headers["location"]
            .split('/')
            .next_back(),
        Some("page")
    );
    assert!(
        up.process
            .lines
            .iter()
            .any(|line| line.contains("GatewayClass tidegate is in none"))
    );
    assert!(
        up.process
            .lines
            .iter()
            .any(|line| line.starts_with("try        curl "))
    );
    assert!(up.process.interrupt(), "Ctrl-C ends well");
}

#[test]
fn a_given_backend_replaces_the_echo() {
    let (given, _requests) = recorder("shop/cart");
    let up = Up::start(&[&example("quickstart")], &["--backend", &given]);
    assert_eq!(get(up.port("http"), "localhost", "/cart").status, 203);
    assert_eq!(
        get(up.port("http"), "localhost", "/").service(),
        "shop/frontend"
    );
}
