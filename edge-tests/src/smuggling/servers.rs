//! Servers of others, each a reverse proxy before a recorder, so that they parse what they get and write it anew.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Process, free_address, wait_for};
use crate::smuggling::recorder::Recorder;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it forwards to.
    pub recorder: Recorder,
    _process: Process,
}

/// Starts all of them with their files below `dir`.
///
/// # Errors
/// When one of them does not start.
pub fn start(dir: &Path) -> anyhow::Result<Vec<Server>> {
    [
        (
            "nginx",
            nginx as fn(&Path, SocketAddr, SocketAddr) -> std::io::Result<Command>,
        ),
        ("Apache httpd", apache),
        ("HAProxy", haproxy),
        ("Varnish", varnish),
    ]
    .into_iter()
    .map(|(name, command)| {
        let dir = dir.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&dir)?;
        let (address, recorder) = (free_address()?, Recorder::start()?);
        let mut command = command(&dir, address, recorder.address)?;
        let process = Process::start(&mut command, &dir.join("log"))?;
        wait_for(address, name)?;
        Ok(Server {
            name,
            address,
            recorder,
            _process: process,
        })
    })
    .collect()
}

fn nginx(dir: &Path, listen: SocketAddr, backend: SocketAddr) -> std::io::Result<Command> {
    let (file, path) = (dir.join("nginx.conf"), dir.display());
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {path}/pid; error_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
         fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         keepalive_requests 1000000; upstream backend {{ server {backend}; keepalive 16; }}\n\
         server {{ listen {listen}; location / {{ proxy_pass http://backend;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(dir);
    Ok(command)
}

fn apache(dir: &Path, listen: SocketAddr, backend: SocketAddr) -> std::io::Result<Command> {
    let (file, path) = (dir.join("httpd.conf"), dir.display());
    let modules = "/usr/lib/apache2/modules";
    let mut text = String::new();
    for (name, file) in [
        ("mpm_event_module", "mod_mpm_event.so"),
        ("authz_core_module", "mod_authz_core.so"),
        ("proxy_module", "mod_proxy.so"),
        ("proxy_http_module", "mod_proxy_http.so"),
    ] {
        text.push_str(&format!("LoadModule {name} {modules}/{file}\n"));
    }
    text.push_str(&format!(
        "ServerName localhost\nServerRoot {path}\nDefaultRuntimeDir {path}\nPidFile {path}/pid\n\
         ErrorLog {path}/error.log\nListen {listen}\nKeepAlive On\nMaxKeepAliveRequests 0\n\
         StartServers 1\nServerLimit 1\nThreadsPerChild 32\nMaxRequestWorkers 32\n\
         AllowEncodedSlashes NoDecode\n\
         ProxyPass / http://{backend}/ nocanon\n"
    ));
    std::fs::write(&file, text)?;
    let mut command = Command::new("apache2");
    command.arg("-f").arg(&file).arg("-DFOREGROUND");
    Ok(command)
}

fn haproxy(dir: &Path, listen: SocketAddr, backend: SocketAddr) -> std::io::Result<Command> {
    let file = dir.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 1000\n  nbthread 1\n\
         defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n\
         frontend f\n  bind {listen}\n  default_backend b\n\
         backend b\n  http-reuse always\n  server s {backend}\n"
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    Ok(command)
}

/// It passes everything: a cached answer would hide what was parsed.
fn varnish(dir: &Path, listen: SocketAddr, backend: SocketAddr) -> std::io::Result<Command> {
    let file = dir.join("default.vcl");
    let text = format!(
        "vcl 4.1;\nbackend default {{ .host = \"{}\"; .port = \"{}\"; }}\n\
         sub vcl_recv {{ return (pass); }}\n",
        backend.ip(),
        backend.port()
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("varnishd");
    command
        .args([
            "-F",
            "-j",
            "none",
            "-s",
            "malloc,32m",
            "-a",
            &listen.to_string(),
        ])
        .arg("-n")
        .arg(dir.join("work"))
        .arg("-f")
        .arg(&file);
    Ok(command)
}
