//! Every bound of the data plane, with what happens at it: one table for the code, the flags and the docs.

mod under;
mod value;

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tidegate_runtime::descriptors;

use crate::pressure;
use value::Value;

/// A bound by its name, as `--limit` takes it.
#[derive(Debug)]
pub struct Named {
    /// The field's name, with dashes.
    pub name: &'static str,
    /// What it bounds, and what happens there.
    pub about: &'static str,
    read: fn(&mut Limits, &str) -> Result<(), String>,
    write: fn(&Limits) -> String,
}

/// Makes the struct, its defaults and its table of one list.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr,)+) => {
        /// Bounds per worker; the defaults are for a gateway that faces the internet.
        #[derive(Debug, Clone)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// All bounds, in the order of a request's way.
        pub const LIMITS: &[Named] = &[$(Named {
            name: stringify!($name),
            about: concat!($($doc),+),
            read: |limits, text| Value::read(text).map(|value| limits.$name = value),
            write: |limits| limits.$name.write(),
        },)+];
    };
}

limits! {
    /// Bytes of a request line or an answer's status line; above, 414 to clients and 502 for backends.
    request_line_bytes_max: usize = 16 << 10,
    /// Bytes of a request's or response's header section; above, 431 to clients and 502 for backends.
    header_bytes_max: usize = 64 << 10,
    /// Header fields of a request or response; above, 431 to clients and 502 for backends.
    header_count_max: usize = 128,
    /// Bytes of a request's body; above, 413.
    request_body_bytes_max: Option<u64> = None,
    /// Time in which `body-pace-bytes-min` bytes of a body must come while a backend waits for them;
    /// else 408.
    body_pace_period: Duration = Duration::from_secs(60),
    /// Bytes of a body that must come in each `body-pace-period`.
    body_pace_bytes_min: u64 = 600,
    /// Time that a client may read nothing of an answer that waits for it; then the connection is closed.
    write_stall_timeout: Duration = Duration::from_secs(60),
    /// Time for an answer to a client that has closed its own side; then the request is given up.
    half_closed_timeout: Duration = Duration::from_secs(30),
    /// Time from a request's head to the end of its answer; then 504, or the answer breaks off.
    request_timeout: Option<Duration> = None,
    /// Time from a connection's start to the end of its first request's headers; then it is closed.
    header_timeout: Duration = Duration::from_secs(10),
    /// Time that a connection may be without a request; then it is closed.
    idle_timeout: Duration = Duration::from_secs(75),
    /// Time for a TLS handshake; then the connection is closed.
    handshake_timeout: Duration = Duration::from_secs(10),
    /// Concurrent HTTP/2 streams of a connection; the client is told.
    h2_streams_max: u32 = 128,
    /// Streams that a client may have reset before the worker has looked at them; above, GOAWAY.
    h2_resets_max: usize = 20,
    /// Streams that the worker may have reset for a client's errors; above, GOAWAY.
    h2_local_resets_max: usize = 256,
    /// Requests that an HTTP/2 client may reset in ten seconds before they are answered, where it resets more than
    /// half of them; above, GOAWAY.
    h2_cancels_max: u32 = 1000,
    /// PING frames of a client in ten seconds, beyond one for each frame with content; above, GOAWAY.
    h2_pings_max: u32 = 100,
    /// SETTINGS frames of a client in ten seconds; above, GOAWAY.
    h2_settings_max: u32 = 32,
    /// Other frames without content of a client in ten seconds (WINDOW_UPDATE, PRIORITY, RST_STREAM, empty DATA,
    /// unknown ones), beyond four for each frame with content; above, GOAWAY.
    h2_control_frames_max: u32 = 1000,
    /// Credit of an HTTP/2 stream for bytes that no backend has taken; it begins with 256 KiB and grows while
    /// the path holds more.
    h2_stream_window_bytes_max: u32 = 4 << 20,
    /// Credit of all streams of an HTTP/2 connection together.
    h2_connection_window_bytes: u32 = 16 << 20,
    /// Silence of an HTTP/2 client with requests after which it is pinged.
    h2_ping_interval: Duration = Duration::from_secs(30),
    /// Time for a sign of life after a ping; then the connection is closed.
    h2_ping_timeout: Duration = Duration::from_secs(20),
    /// Connections of a port over all threads; above, further ones are closed at once.
    connections_max: usize = 100_000,
    /// Connections of one client address to a port over all threads; above, further ones are closed at once.
    /// Behind a balancer that hides its clients all of them have one address, unless the port reads PROXY headers.
    connections_per_client_max: Option<usize> = None,
    /// Resident bytes of the process from which new connections are closed at once; 85 % of its control group's
    /// bound where that has one.
    memory_soft_bytes: Option<u64> = None,
    /// Resident bytes of the process from which open connections are closed after their request, too; 95 % of
    /// that bound.
    memory_hard_bytes: Option<u64> = None,
    /// Connections in the kernel's queue per port and thread.
    backlog_len_max: i32 = 4096,
    /// Time to connect to an endpoint; then the next one is tried, in the end 504.
    connect_timeout: Duration = Duration::from_secs(5),
    /// Endpoints that are tried for one request while none accepts a connection; then 502.
    connect_attempts_max: usize = 3,
    /// Time that a connection of a TCPRoute or TLSRoute may pass no byte on; then it is reset.
    tcp_idle_timeout: Duration = Duration::from_secs(3600),
    /// The same once one side has said its last.
    tcp_half_closed_timeout: Duration = Duration::from_secs(300),
    /// Silence after which the peers of such a connection are probed; three probes without an answer end it.
    tcp_keepalive: Option<Duration> = Some(Duration::from_secs(60)),
    /// Pipes per thread for bytes that flow without being copied; above, bytes are copied.
    splice_pipes_max: usize = 64,
    /// Unused connections kept per endpoint and thread; above, the oldest is closed.
    upstream_idle_max: usize = 256,
    /// Time that an unused connection to an endpoint is kept.
    upstream_idle_timeout: Duration = Duration::from_secs(60),
    /// Flows of UDP clients per thread, on all threads at most half of the descriptors that the process may have; above,
    /// the flow that was idle longest makes room, of the port that has most.
    udp_flows_max: usize = 8192,
    /// Time without a datagram from either side after which a UDP flow ends.
    udp_idle_timeout: Duration = Duration::from_secs(60),
    /// Bytes of a body that is copied for a mirror; larger bodies are not mirrored.
    mirror_body_bytes_max: usize = 64 << 10,
    /// Bytes of a body that is kept to be sent again where a rule asks for retries; larger bodies are sent once.
    retry_body_bytes_max: usize = 64 << 10,
    /// Time for an authorization server to answer; then the request gets 503.
    auth_timeout: Duration = Duration::from_secs(10),
    /// Time for a body that an authorization server wants to see to arrive; then the request gets 408.
    auth_body_timeout: Duration = Duration::from_secs(30),
    /// Bytes of an authorization server's gRPC answer; above, the request gets 503.
    auth_answer_bytes_max: usize = 1 << 20,
    /// Mirrored requests in flight per thread; above, copies are dropped.
    mirrors_max: usize = 128,
    /// Lines waiting to be written to the access log; above, lines are dropped and counted.
    access_log_queue_max: usize = 8192,
    /// Bytes of one update from configd; above, it is refused.
    update_bytes_max: usize = 512 << 20,
    /// Parts of one update from configd; above, it is refused.
    update_parts_max: usize = 1_000_000,
}

/// The flags of [`Limits`].
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// Change a bound, such as header-bytes-max=32KiB or idle-timeout=30s; may be repeated; docs/reference/limits.md
    /// has the names
    #[arg(
        long = "limit",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        env = "TIDEGATE_LIMITS"
    )]
    limits: Vec<Setting>,
}

/// One bound and its new value.
#[derive(Debug, Clone)]
struct Setting {
    bound: &'static Named,
    value: String,
}

impl Limits {
    /// The defaults for this process: near the bound of its control group it sheds connections, since beyond
    /// it the kernel ends the process, and every connection with it.
    #[must_use]
    pub fn of_process() -> Self {
        let memory = pressure::group_bytes_max();
        Self {
            memory_soft_bytes: memory.map(|bytes| bytes / 100 * 85),
            memory_hard_bytes: memory.map(|bytes| bytes / 100 * 95),
            ..Self::default()
        }
    }

    /// These bounds for so many data threads: flows leave descriptors to everything else.
    pub(crate) fn for_threads(mut self, count: usize) -> Self {
        let most = descriptors::most().and_then(|most| usize::try_from(most).ok());
        let share = most.unwrap_or(usize::MAX) / 2 / count.max(1);
        self.udp_flows_max = self.udp_flows_max.min(share);
        self
    }
}

impl Named {
    /// The name as flags and docs have it.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The value that it has in these limits.
    #[must_use]
    pub fn value(&self, limits: &Limits) -> String {
        let text = (self.write)(limits);
        if self.name.contains("bytes") {
            value::in_units(text)
        } else {
            text
        }
    }
}

impl LimitArgs {
    /// The bounds of this process with the changes.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::of_process();
        for Setting { bound, value } in &self.limits {
            (bound.read)(&mut limits, value).expect("the value was read before");
        }
        limits
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
        let found = LIMITS.iter().find(|bound| bound.flag() == name);
        let bound = found.ok_or_else(|| {
            let nearest = LIMITS
                .iter()
                .min_by_key(|bound| distance(&bound.flag(), name));
            let nearest = nearest.map(Named::flag).unwrap_or_default();
            format!("there is no bound {name}; did you mean {nearest}?")
        })?;
        (bound.read)(&mut Limits::default(), value)?;
        let value = value.to_owned();
        Ok(Self { bound, value })
    }
}

/// The edits that lead from one word to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let edited = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = edited.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/limits.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        let defaults = Limits::default();
        let rows: Vec<_> = LIMITS
            .iter()
            .map(|bound| {
                format!(
                    "| `{}` | {} | {} |",
                    bound.flag(),
                    bound.value(&defaults),
                    bound.about.trim()
                )
            })
            .collect();
        let written: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches('|').count() == 4)
            .collect();
        assert_eq!(written, rows, "write these rows:\n{}", rows.join("\n"));
    }

    #[test]
    fn a_wrong_setting_says_what_is_right() {
        let refused = |text: &str| text.parse::<Setting>().expect_err(text);
        assert_eq!(refused("header-bytes-max"), "write it as NAME=VALUE");
        let message = refused("header-byte-max=1");
        assert_eq!(
            message,
            "there is no bound header-byte-max; did you mean header-bytes-max?"
        );
        assert_eq!(
            refused("idle-timeout=5"),
            "\"5\" is no time; write it with a unit: 500ms, 10s, 2m or 1h"
        );
    }

    #[test]
    fn settings_change_their_bounds_alone() {
        let settings = [
            "header-bytes-max=1KiB",
            "idle-timeout=2m",
            "request-body-bytes-max=3MiB",
        ];
        let args = LimitArgs {
            limits: settings.map(|text| text.parse().expect(text)).to_vec(),
        };
        let limits = args.limits();
        assert_eq!(limits.header_bytes_max, 1024);
        assert_eq!(limits.idle_timeout, Duration::from_secs(120));
        assert_eq!(limits.request_body_bytes_max, Some(3 << 20));
        assert_eq!(limits.header_count_max, Limits::default().header_count_max);
    }
}
