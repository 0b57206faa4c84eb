//! nginx with answers of three sizes and a place for bodies, and the gateway before it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Process, free_address, wait_for};
use crate::tidegate::Tidegate;

/// Bytes of `/medium`: more than what sockets and gateways hold of an answer by themselves.
pub const MEDIUM_LEN: usize = 64 << 10;

/// A running site.
#[derive(Debug)]
pub struct Site {
    /// The gateway.
    pub gateway: Tidegate,
    _backend: Process,
}

impl Site {
    /// Starts both with their files below `dir`.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(tidegate: &Path, dir: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let backend = nginx(dir, address)?;
        let gateway = Tidegate::start(tidegate, dir, &[address], &[], 2)?;
        Ok(Self {
            gateway,
            _backend: backend,
        })
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.gateway.ports[0]
    }
}

fn nginx(dir: &Path, listen: SocketAddr) -> anyhow::Result<Process> {
    std::fs::write(dir.join("large"), vec![b'x'; 1 << 20])?;
    std::fs::write(dir.join("medium"), vec![b'x'; MEDIUM_LEN])?;
    let (file, path) = (dir.join("nginx.conf"), dir.display());
    let text = format!(
        "user root; daemon off; master_process off; worker_processes 1; pid {path}/pid; error_log stderr crit;\n\
         worker_rlimit_nofile 20000; events {{ worker_connections 16384; }}\n\
         http {{ access_log off; open_file_cache max=16 inactive=600s; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
         fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         keepalive_requests 100000000; large_client_header_buffers 8 128k;\n\
         server {{ listen {listen} backlog=4096; root {path};\n\
         location = / {{ return 200 'good'; }}\n\
         # It takes all of a body before it answers.\n\
         location = /upload {{ client_max_body_size 0; proxy_pass http://{listen}/; }} }} }}\n"
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(dir);
    let process = Process::start(&mut command, &dir.join("nginx.log"))?;
    wait_for(listen, "nginx")?;
    Ok(process)
}
