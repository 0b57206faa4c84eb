//! Hosts made of network namespaces on one bridge. Needs root and `ip`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use rustix::process::getpid;

use crate::process::run;

/// A network of hosts; it is gone when this is dropped.
#[derive(Debug)]
pub struct Network {
    /// What all its names begin with.
    name: String,
    /// The third byte of its addresses.
    third: u8,
    hosts: u8,
}

impl Network {
    /// Makes a network of so many hosts. This process is on it, too.
    ///
    /// # Errors
    /// Without the right to, or without `ip`.
    pub fn new(hosts: u8) -> anyhow::Result<Self> {
        let id = getpid().as_raw_nonzero().get();
        let network = Self {
            name: format!("tg{id}"),
            third: u8::try_from(id % 250).unwrap_or_default(),
            hosts,
        };
        let made = network.make();
        made.context("no network of hosts could be made; it needs root and `ip` (iproute2)")?;
        Ok(network)
    }

    fn make(&self) -> anyhow::Result<()> {
        let (bridge, address) = (&self.name, self.address(254));
        ip(&["link", "add", bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{address}/24"), "dev", bridge])?;
        ip(&["link", "set", bridge, "up"])?;
        for host in 0..self.hosts {
            let (space, port, inner) = (self.space(host), self.port(host), "eth0");
            ip(&["netns", "add", &space])?;
            ip(&[
                "link", "add", &port, "type", "veth", "peer", "name", inner, "netns", &space,
            ])?;
            ip(&["link", "set", &port, "master", bridge, "up"])?;
            let address = format!("{}/24", self.host(host));
            ip(&["-n", &space, "address", "add", &address, "dev", inner])?;
            ip(&["-n", &space, "link", "set", inner, "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// The address of a host.
    #[must_use]
    pub fn host(&self, host: u8) -> Ipv4Addr {
        self.address(host + 1)
    }

    /// A port of a host.
    #[must_use]
    pub fn at(&self, host: u8, port: u16) -> SocketAddr {
        (self.host(host), port).into()
    }

    /// What goes in front of a command to run it on a host.
    #[must_use]
    pub fn on(&self, host: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(host)]
            .map(str::to_owned)
            .into()
    }

    /// Cuts a host off from the other hosts, not from this process. What is sent is lost, and nobody is told.
    ///
    /// # Errors
    /// As `ip` says.
    pub fn isolate(&self, host: u8) -> anyhow::Result<()> {
        for other in (0..self.hosts).filter(|other| *other != host) {
            self.lose(host, other)?;
            self.lose(other, host)?;
        }
        Ok(())
    }

    /// Pulls the plug of a host.
    ///
    /// # Errors
    /// As `ip` says.
    pub fn unplug(&self, host: u8) -> anyhow::Result<()> {
        ip(&["link", "set", &self.port(host), "down"])
    }

    /// Makes everything reach everything again.
    ///
    /// # Errors
    /// As `ip` says.
    pub fn heal(&self) -> anyhow::Result<()> {
        for host in 0..self.hosts {
            ip(&["link", "set", &self.port(host), "up"])?;
            ip(&[
                "-n",
                &self.space(host),
                "route",
                "flush",
                "type",
                "blackhole",
            ])?;
        }
        Ok(())
    }

    fn lose(&self, from: u8, to: u8) -> anyhow::Result<()> {
        let to = format!("{}/32", self.host(to));
        ip(&[
            "-n",
            &self.space(from),
            "route",
            "replace",
            "blackhole",
            &to,
        ])
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.third, last)
    }

    fn space(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    /// The bridge's end of a host's cable; names of links have at most 15 bytes.
    fn port(&self, host: u8) -> String {
        format!("{}p{host}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is not there any more need not be removed.
        for host in 0..self.hosts {
            let _ = ip(&["netns", "delete", &self.space(host)]);
            let _ = ip(&["link", "delete", &self.port(host)]);
        }
        let _ = ip(&["link", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments).map(drop)
}
