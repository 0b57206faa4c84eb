//! Why datagrams are dropped and why flows end, for metrics and logs.

/// Why a datagram goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// No route is attached to the listener.
    NoRoute,
    /// The route's choice has no valid backend.
    RuleInvalid,
    /// The backend has no endpoint.
    NoEndpoint,
    /// The backend has as many flows as it may.
    Overloaded,
    /// The process is short of memory: no new flows.
    ShortOfMemory,
    /// The port is closing: no new flows.
    Draining,
    /// The table of flows is so full that its flow made room for another one before it was passed on.
    TableFull,
    /// The system has no descriptor or local port left for a flow.
    NoSocket,
    /// It was sent from a listener's own address: its answer would come back for ever.
    Loop,
    /// It was longer than the room for it.
    Truncated,
    /// The endpoint's or the client's system refused it, or no way leads there.
    Unreachable,
    /// The kernel's buffer for sending is full.
    BufferFull,
    /// The kernel did not send it for another reason.
    SendFailed,
}

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlowEnd {
    /// Neither side has sent anything for the idle timeout.
    Idle,
    /// It had been idle longest when another one needed room.
    Evicted,
    /// Its endpoint is gone, and its backend has no other one.
    EndpointGone,
    /// The worker ended.
    ShutDown,
}

impl Dropped {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [Self; 13] = [
        Self::NoRoute,
        Self::RuleInvalid,
        Self::NoEndpoint,
        Self::Overloaded,
        Self::ShortOfMemory,
        Self::Draining,
        Self::TableFull,
        Self::NoSocket,
        Self::Loop,
        Self::Truncated,
        Self::Unreachable,
        Self::BufferFull,
        Self::SendFailed,
    ];

    /// One word for the label of the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::RuleInvalid => "rule_invalid",
            Self::NoEndpoint => "no_endpoint",
            Self::Overloaded => "overloaded",
            Self::ShortOfMemory => "short_of_memory",
            Self::Draining => "draining",
            Self::TableFull => "table_full",
            Self::NoSocket => "no_socket",
            Self::Loop => "loop",
            Self::Truncated => "truncated",
            Self::Unreachable => "unreachable",
            Self::BufferFull => "buffer_full",
            Self::SendFailed => "send_failed",
        }
    }

    /// The reason behind an error of sending.
    pub(super) fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable => {
                Self::Unreachable
            }
            Kind::WouldBlock | Kind::OutOfMemory => Self::BufferFull,
            _ => Self::SendFailed,
        }
    }
}

impl FlowEnd {
    /// One word for logs and metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::EndpointGone => "endpoint_gone",
            Self::ShutDown => "shut_down",
        }
    }
}
