//! nginx as a peer: one process, one thread, keep-alive to the backend, no logs.

use std::net::SocketAddr;
use std::path::Path;

use crate::process::Process;

/// Starts nginx on `listen` in front of `backend`.
pub(crate) fn start(
    dir: &Path,
    listen: SocketAddr,
    backend: SocketAddr,
) -> anyhow::Result<Process> {
    let path = dir.display();
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1; pid {path}/nginx.pid; error_log stderr;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s;\n\
         client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/f;\n\
         uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         upstream backend {{ server {backend}; keepalive 1024; keepalive_requests 100000000; }}\n\
         server {{ listen {listen} reuseport; location / {{ proxy_pass http://backend;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }} }}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let arguments = [
        "-c".to_owned(),
        file.display().to_string(),
        "-p".to_owned(),
        path.to_string(),
    ];
    Process::start(0, Path::new("nginx"), &arguments, &dir.join("nginx.log"))
}
