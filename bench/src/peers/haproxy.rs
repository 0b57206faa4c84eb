//! HAProxy as a peer: one thread, keep-alive to the backends, splice, no logs. It has no UDP.

use super::{Ports, Site};
use crate::certificates::HOST;
use crate::process::Process;

/// Starts HAProxy on its ports.
pub(super) fn start(site: Site<'_>, ports: Ports) -> anyhow::Result<Process> {
    let file = site.dir.join("haproxy.cfg");
    std::fs::write(&file, configuration(site, ports))?;
    let arguments = [
        "-db".to_owned(),
        "-f".to_owned(),
        file.display().to_string(),
    ];
    let log = site.dir.join("haproxy.log");
    Process::start(0, "haproxy".as_ref(), &arguments, &log)
}

fn configuration(site: Site<'_>, ports: Ports) -> String {
    let Ports {
        http,
        https,
        https_rsa,
        grpc,
        tcp,
        source,
        passthrough,
        udp: _,
    } = ports;
    let backends = site.backends;
    let ecdsa = site.certificates.ecdsa.both_file.display();
    let rsa = site.certificates.rsa.both_file.display();
    format!(
        "global\n  nbthread 1\n  maxconn 7000\n  tune.ssl.default-dh-param 2048\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n\
         \x20 option http-keep-alive\n  http-reuse always\n  option splice-auto\n  no log\n\
         frontend http\n  bind {http}\n  default_backend http\n\
         frontend https\n  bind {https} ssl crt {ecdsa} alpn h2,http/1.1\n  default_backend http\n\
         frontend https_rsa\n  bind {https_rsa} ssl crt {rsa} alpn h2,http/1.1\n  default_backend http\n\
         frontend grpc\n  bind {grpc} proto h2\n  default_backend grpc\n\
         backend http\n  server s {} pool-purge-delay 300s\n\
         backend grpc\n  server s {} proto h2 pool-purge-delay 300s\n\
         listen tcp\n  mode tcp\n  bind {tcp}\n  server s {}\n\
         listen source\n  mode tcp\n  bind {source}\n  server s {}\n\
         frontend passthrough\n  mode tcp\n  bind {passthrough}\n  tcp-request inspect-delay 5s\n\
         \x20 tcp-request content accept if {{ req_ssl_hello_type 1 }}\n\
         \x20 use_backend tls if {{ req_ssl_sni -i {HOST} }}\n\
         backend tls\n  mode tcp\n  server s {}\n",
        backends.http, backends.grpc, backends.tcp, backends.source, backends.tls,
    )
}
