//! What the workers would do with a request, a connection or a datagram, and which rules nothing reaches. Pure: a snapshot
//! and a question in, an answer out.

mod asked;
mod connection;
mod coverage;
mod port;
mod request;
mod shares;
mod words;

use tidegate_ir::Snapshot;
use tidegate_proto::explain::v1::{ExplainRouteRequest, ExplainRouteResponse};
use tidegate_router::Table;

use asked::Asked;

pub use coverage::coverage;

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// A field of the question is not as it must be.
    #[error("{problem}")]
    Field {
        /// Its path: `request.headers[3].name`.
        field: String,
        /// One sentence with the cause.
        problem: String,
    },
    /// The snapshot has no listener that what is asked about could arrive at.
    #[error("there is no listener; `tidegate lint` says why, and a Gateway is what is needed")]
    NoListener,
    /// There are listeners, but not on that port.
    #[error("no listener has port {port}; there are {}: put one in the URL", in_words(.others))]
    OtherPorts {
        /// The port that was asked about.
        port: u32,
        /// Those that there are, in order.
        others: Vec<u16>,
    },
}

impl Unexplained {
    fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

fn in_words(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// Explains what becomes of what arrives at a port of a snapshot's workers. `bound` has the name of each listener and the
/// port of its socket, as the workers say; the answer leaves out which snapshot it was.
///
/// # Errors
/// Where the question has no answer.
pub fn route(
    snapshot: &Snapshot,
    question: &ExplainRouteRequest,
    bound: &[(String, u16)],
) -> Result<ExplainRouteResponse, Unexplained> {
    let asked = Asked::parse(question)?;
    let bind_port = port::bind_port(snapshot, &asked, question.port, bound)?;
    let table = Table::build(snapshot, None);
    match &asked {
        Asked::Connection(connection) => Ok(connection.explained(snapshot, &table, bind_port)),
        Asked::Request(request) => request.explained(snapshot, &table, bind_port),
    }
}
