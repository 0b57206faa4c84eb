//! Names are followed as the DNS changes, against a server on the loopback interface.

use std::net::Ipv4Addr;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::net::UdpSocket;

use super::super::members::Wish;
use super::*;

/// What the server answers: addresses with a time to live of a second, or that it failed.
type Zone = Arc<Mutex<Option<Vec<Ipv4Addr>>>>;

async fn serve(zone: Zone) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let port = socket.local_addr().expect("it is bound").port();
    let answering = async move {
        let mut query = [0; 1_500];
        while let Ok((_, client)) = socket.recv_from(&mut query).await {
            let known = zone.lock().expect("nobody panicked").clone();
            let _ = socket.send_to(&answer(&query, known), client).await;
        }
    };
    drop(Tasks::new().spawn("name server", answering));
    port
}

/// A response in the form of RFC 1035, section 4.
fn answer(query: &[u8], known: Option<Vec<Ipv4Addr>>) -> Vec<u8> {
    let name_len = query[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
    let question = &query[12..12 + name_len + 4];
    let wants_v4 = question[name_len..name_len + 2] == [0, 1];
    let failed = u8::from(known.is_none()) * 2;
    let addresses = known.filter(|_| wants_v4).unwrap_or_default();
    let count = u8::try_from(addresses.len()).expect("there are few");
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | failed, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

fn dns(port: u16, stop: &CancellationToken) -> Dns {
    let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
    server.connections[0].port = port;
    let config = ResolverConfig::from_name_servers(vec![server]);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let resolver = resolver.build().expect("the configuration is good");
    Dns::by(Some(resolver), Tasks::new(), stop.clone())
}

fn look_up(dns: &Dns, hostname: &str) -> Arc<Resolved> {
    dns.resolve(&"b".into(), &hostname.into(), 80, &Balancing::RoundRobin)
}

fn addresses(resolved: &Resolved) -> Vec<String> {
    let members = resolved.members();
    let all = members.candidates(Wish::default(), 0, &Balancing::RoundRobin, 0, 99);
    all.map(|endpoint| endpoint.address.to_string()).collect()
}

async fn wait_for(resolved: &Resolved, wanted: &[&str]) {
    for _ in 0..3_000 {
        if addresses(resolved) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {wanted:?}", addresses(resolved));
}

#[tokio::test]
async fn addresses_follow_the_dns_and_the_last_ones_stay_while_it_fails() {
    let (one, two) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let zone: Zone = Arc::new(Mutex::new(Some(vec![one])));
    let stop = CancellationToken::new();
    let dns = dns(serve(zone.clone()).await, &stop);
    let resolved = look_up(&dns, "b.example");
    resolved.ready().await;
    assert_eq!(addresses(&resolved), ["10.0.0.1:80"]);
    *zone.lock().unwrap() = Some(vec![two, one]);
    wait_for(&resolved, &["10.0.0.1:80", "10.0.0.2:80"]).await;
    *zone.lock().unwrap() = None;
    tokio::time::sleep(LOOKUP_INTERVAL_MIN * 3).await;
    assert_eq!(addresses(&resolved), ["10.0.0.1:80", "10.0.0.2:80"]);
    *zone.lock().unwrap() = Some(vec![two]);
    wait_for(&resolved, &["10.0.0.2:80"]).await;
    stop.cancel();
}

#[tokio::test]
async fn a_name_that_is_not_found_has_no_addresses_and_holds_nobody_up() {
    let stop = CancellationToken::new();
    let dns = dns(serve(Zone::default()).await, &stop);
    let resolved = look_up(&dns, "gone.example");
    resolved.ready().await;
    assert!(*resolved.answered.borrow());
    assert_eq!(addresses(&resolved), [""; 0]);
    stop.cancel();
}

#[tokio::test]
async fn an_address_is_not_looked_up_and_equal_names_are_looked_up_once() {
    let stop = CancellationToken::new();
    let dns = Dns::by(None, Tasks::new(), stop);
    let resolved = look_up(&dns, "10.1.2.3");
    assert_eq!(addresses(&resolved), ["10.1.2.3:80"]);
    assert!(Arc::ptr_eq(&resolved, &look_up(&dns, "10.1.2.3")));
}
