//! nginx as a peer: one process, one thread, keep-alive to the backends, no logs.

use std::fmt::Write as _;

use super::{Ports, Site};
use crate::process::Process;

/// The module of the Debian package libnginx-mod-stream.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Starts nginx on its ports.
pub(super) fn start(site: Site<'_>, ports: Ports) -> anyhow::Result<Process> {
    let path = site.dir.display();
    let mut text = format!(
        "load_module {STREAM_MODULE}; daemon off; master_process off; worker_processes 1;\n\
         pid {path}/nginx.pid; error_log stderr; events {{ worker_connections 8192; }}\n"
    );
    // Writing to a String cannot fail.
    let _ = write!(text, "http {{\n{}}}\n", http(site, ports));
    let _ = write!(text, "stream {{\n{}}}\n", stream(site, ports));
    let file = site.dir.join("nginx.conf");
    std::fs::write(&file, text)?;
    let arguments = [
        "-c".to_owned(),
        file.display().to_string(),
        "-p".to_owned(),
        path.to_string(),
    ];
    Process::start(0, "nginx".as_ref(), &arguments, &site.dir.join("nginx.log"))
}

fn http(site: Site<'_>, ports: Ports) -> String {
    let path = site.dir.display();
    let kept = "keepalive 1024; keepalive_requests 100000000; keepalive_timeout 300s;";
    let (backends, ecdsa, rsa) = (
        site.backends,
        &site.certificates.ecdsa,
        &site.certificates.rsa,
    );
    let secure = |port, certificate: &crate::certificates::Certificate| {
        format!(
            "server {{ listen {port} ssl http2 reuseport; ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ proxy_pass http://backend; }} }}\n",
            certificate.chain_file.display(),
            certificate.key_file.display()
        )
    };
    format!(
        "access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;\n\
         client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/f;\n\
         uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:10m; ssl_session_tickets on;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         proxy_buffers 16 32k; proxy_buffer_size 16k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;\n\
         upstream backend {{ server {}; {kept} }}\n\
         upstream calls {{ server {}; {kept} }}\n\
         server {{ listen {} reuseport; location / {{ proxy_pass http://backend; }} }}\n\
         server {{ listen {} http2 reuseport; http2_max_concurrent_streams 1000;\n\
         location / {{ grpc_pass grpc://calls; }} }}\n{}{}",
        backends.http,
        backends.grpc,
        ports.http,
        ports.grpc,
        secure(ports.https, ecdsa),
        secure(ports.https_rsa, rsa),
    )
}

fn stream(site: Site<'_>, ports: Ports) -> String {
    let backends = site.backends;
    format!(
        "tcp_nodelay on;\n\
         server {{ listen {} reuseport; proxy_pass {}; }}\n\
         server {{ listen {} reuseport; proxy_buffer_size 64k; proxy_pass {}; }}\n\
         server {{ listen {} reuseport; ssl_preread on; proxy_pass $by_name; }}\n\
         map $ssl_preread_server_name $by_name {{ {} {}; }}\n\
         server {{ listen {} udp reuseport; proxy_timeout 60s; proxy_pass {}; }}\n",
        ports.tcp,
        backends.tcp,
        ports.source,
        backends.source,
        ports.passthrough,
        crate::certificates::HOST,
        backends.tls,
        ports.udp,
        backends.udp,
    )
}
