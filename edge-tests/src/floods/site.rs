//! The gateway before two servers: what is attacked has answers of three sizes and a place for bodies; good clients
//! want answers of the other one, through the same listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::floods::core;
use crate::process::{Process, free_addresses, wait_for};
use crate::tidegate::Tidegate;
use crate::world::NAMESPACE;

/// The host that good clients ask for.
pub const GOOD_HOST: &str = "good.test";

/// Bytes of `/medium`: more than what sockets and gateways hold of an answer by themselves.
pub const MEDIUM_LEN: usize = 64 << 10;

/// A running site.
#[derive(Debug)]
pub struct Site {
    /// The gateway.
    pub gateway: Tidegate,
    _attacked: Process,
    _good: Process,
}

impl Site {
    /// Starts all with their files below `dir`.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(tidegate: &Path, dir: &Path) -> anyhow::Result<Self> {
        let backends = free_addresses(2)?;
        let (attacked, good) = (backends[0], backends[1]);
        let attacked_process = nginx(core::outside("nginx"), &dir.join("attacked"), attacked)?;
        let good_process = nginx(core::first_on_site("nginx"), &dir.join("good"), good)?;
        let gateway = Tidegate::start(core::on_site(tidegate), dir, &backends, &[good_route()], 1)?;
        Ok(Self {
            gateway,
            _attacked: attacked_process,
            _good: good_process,
        })
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.gateway.ports[0]
    }
}

/// Leads good clients from the listener that is attacked to the second server.
fn good_route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "good", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "l0"}],
            "hostnames": [GOOD_HOST],
            "rules": [{"backendRefs": [{"name": "b1", "port": 80}]}],
        },
    })
}

fn nginx(mut command: Command, dir: &Path, listen: SocketAddr) -> anyhow::Result<Process> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("large"), vec![b'x'; 1 << 20])?;
    std::fs::write(dir.join("medium"), vec![b'x'; MEDIUM_LEN])?;
    let (file, path) = (dir.join("nginx.conf"), dir.display());
    let text = format!(
        "user root; daemon off; master_process off; worker_processes 1; pid {path}/pid; error_log stderr crit;\n\
         worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}\n\
         http {{ access_log off; open_file_cache max=16 inactive=600s; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
         fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         keepalive_requests 100000000; large_client_header_buffers 8 128k;\n\
         server {{ listen {listen} backlog=4096 sndbuf=64k; root {path};\n\
         location = / {{ return 200 'good'; }}\n\
         # It takes all of a body before it answers.\n\
         location = /upload {{ client_max_body_size 0; proxy_pass http://{listen}/; }} }} }}\n"
    );
    std::fs::write(&file, text)?;
    command.arg("-c").arg(&file).arg("-p").arg(dir);
    let process = Process::start(&mut command, &dir.join("nginx.log"))?;
    wait_for(listen, "nginx")?;
    Ok(process)
}
