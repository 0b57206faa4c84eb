//! Every bound of the data plane, with what happens at it.

use std::time::Duration;

use crate::pressure;

/// Bounds per worker; the defaults are for a gateway that faces the internet.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request line; above, 414.
    pub request_line_bytes_max: usize,
    /// Bytes of a request's or response's header section; above, 431 to clients and 502 for backends.
    pub header_bytes_max: usize,
    /// Header fields of a request; above, 431.
    pub header_count_max: usize,
    /// Bytes of a request's body, `None` for any number; above, 413.
    pub request_body_bytes_max: Option<u64>,
    /// Time in which [`Self::body_pace_bytes_min`] bytes of a body must come while a backend waits for them;
    /// else 408.
    pub body_pace_period: Duration,
    /// Bytes of a body that must come in each [`Self::body_pace_period`].
    pub body_pace_bytes_min: u64,
    /// Time that a client may read nothing of an answer that waits for it; then the connection is closed.
    pub write_stall_timeout: Duration,
    /// Time for an answer to a client that has closed its own side; then the request is given up.
    pub half_closed_timeout: Duration,
    /// Time from a request's head to the end of its answer, `None` for any; then 504, or the answer breaks off.
    pub request_timeout: Option<Duration>,
    /// Time from a connection's start to the end of its first request's headers; then it is closed.
    pub header_timeout: Duration,
    /// Time that a connection may be without a request; then it is closed.
    pub idle_timeout: Duration,
    /// Time for a TLS handshake; then the connection is closed.
    pub handshake_timeout: Duration,
    /// Concurrent HTTP/2 streams of a connection; the client is told.
    pub h2_streams_max: u32,
    /// Streams that a client may have reset before the worker has looked at them; above, GOAWAY.
    pub h2_resets_max: usize,
    /// Streams that the worker may have reset for a client's errors; above, GOAWAY.
    pub h2_local_resets_max: usize,
    /// Connections of one client address over all threads, `None` for any number; above, further ones are
    /// closed at once. Behind a balancer that hides its clients all of them have one address.
    pub connections_per_client_max: Option<usize>,
    /// Resident bytes of the process from which new connections are closed at once, `None` for never.
    pub memory_soft_bytes: Option<u64>,
    /// Resident bytes of the process from which open connections are closed after their request, too.
    pub memory_hard_bytes: Option<u64>,
    /// Connections per port and thread; above, further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections in the kernel's queue per port and thread.
    pub backlog_len_max: i32,
    /// Time to connect to an endpoint; then the next one is tried, in the end 504.
    pub connect_timeout: Duration,
    /// Endpoints that are tried for one request while none accepts a connection; then 502.
    pub connect_attempts_max: usize,
    /// Unused connections kept per endpoint and thread; above, the oldest is closed.
    pub upstream_idle_max: usize,
    /// Time that an unused connection to an endpoint is kept.
    pub upstream_idle_timeout: Duration,
    /// Bytes of a body that is copied for a mirror; larger bodies are not mirrored.
    pub mirror_body_bytes_max: usize,
    /// Bytes of a body that is kept to be sent again where a rule asks for retries; larger bodies are sent once.
    pub retry_body_bytes_max: usize,
    /// Time for an authorization server to answer; then the request gets 503.
    pub auth_timeout: Duration,
    /// Time for a body that an authorization server wants to see to arrive; then the request gets 408.
    pub auth_body_timeout: Duration,
    /// Bytes of an authorization server's gRPC answer; above, the request gets 503.
    pub auth_answer_bytes_max: usize,
    /// Mirrored requests in flight per thread; above, copies are dropped.
    pub mirrors_max: usize,
    /// Lines waiting to be written to the access log; above, lines are dropped and counted.
    pub access_log_queue_max: usize,
    /// Bytes of one update from configd; above, it is refused.
    pub update_bytes_max: usize,
    /// Parts of one update from configd; above, it is refused.
    pub update_parts_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Beyond its group's bound the kernel ends the process, and every connection with it.
        let memory = pressure::group_bytes_max();
        Self {
            request_line_bytes_max: 16 << 10,
            header_bytes_max: 64 << 10,
            header_count_max: 128,
            request_body_bytes_max: None,
            body_pace_period: Duration::from_secs(60),
            body_pace_bytes_min: 600,
            write_stall_timeout: Duration::from_secs(60),
            half_closed_timeout: Duration::from_secs(30),
            request_timeout: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            h2_streams_max: 128,
            h2_resets_max: 20,
            h2_local_resets_max: 256,
            connections_per_client_max: None,
            memory_soft_bytes: memory.map(|bytes| bytes / 100 * 85),
            memory_hard_bytes: memory.map(|bytes| bytes / 100 * 95),
            connections_max: 50_000,
            backlog_len_max: 4096,
            connect_timeout: Duration::from_secs(5),
            connect_attempts_max: 3,
            upstream_idle_max: 256,
            upstream_idle_timeout: Duration::from_secs(60),
            mirror_body_bytes_max: 64 << 10,
            retry_body_bytes_max: 64 << 10,
            auth_timeout: Duration::from_secs(10),
            auth_body_timeout: Duration::from_secs(30),
            auth_answer_bytes_max: 1 << 20,
            mirrors_max: 128,
            access_log_queue_max: 8192,
            update_bytes_max: 512 << 20,
            update_parts_max: 1_000_000,
        }
    }
}
