//! The worker through its ends: a fake configd, fake backends, real sockets on the loopback interface.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may stop where they fail"
)]

mod support;

mod auth;
mod backends;
mod bounds;
mod client_certificates;
mod connections;
mod cors;
mod drain;
mod ejection;
mod filters;
mod forwarding;
mod grpc;
mod hosts;
mod http1;
mod http2;
mod http2_backends;
mod interim;
mod limits;
mod memory;
mod parameters;
mod process;
mod protocols;
mod redirects;
mod reload;
mod retries;
mod secured;
mod serving;
mod sessions;
mod tcp_routes;
mod tls;
mod tls_routes;
mod trailers;
mod udp;
mod udp_flows;
mod udp_ports;
mod websocket;
