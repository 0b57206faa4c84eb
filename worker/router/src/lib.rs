//! Pure router: a snapshot's listeners and routes and a request's head, or a server name, in; a decision
//! out.
//!
//! Three steps, as Gateway API orders them: the port's most specific listener for the host (and no
//! other: listeners are isolated), that listener's most specific host that has a matching rule, and
//! within a host the rule that wins by precedence. The cost of a lookup depends on the request and on
//! the number of rules with the *same* path, not on the number of routes. Layer 4 has a table of its own.

mod cors;
mod coverage;
mod explain;
mod filter;
mod host;
mod l4;
mod matcher;
mod path;
mod pick;
mod query;
mod rule;
mod table;
mod turns;

pub use cors::{CompiledCors, Listed};
pub use coverage::{Coverage, Place, Unreachable, coverage};
pub use explain::{Candidate, Explanation, ListenerVerdict, Verdict, explain};
pub use filter::{
    CompiledAuth, CompiledAuthProtocol, CompiledEdits, CompiledFilter, CompiledFilters,
    CompiledRewrite,
};
pub use host::{HostMap, host_of};
pub use l4::{
    L4Candidate, L4Explanation, L4Listener, L4Request, L4Table, L4Target, L4Verdict, SniDecision,
    TlsPort, explain_l4,
};
pub use matcher::{CompiledMatch, Mismatch, RequestHead, is_grpc};
pub use pick::{Chosen, Decision, Outcome};
pub use rule::{CompiledAction, CompiledChoice, CompiledRoute, CompiledRule, Forward};
pub use table::{ListenerTable, Problem, Table};
