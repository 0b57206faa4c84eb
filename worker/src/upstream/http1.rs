//! HTTP/1 to endpoints: the exchange itself writes to and reads from the socket; no task and no queue between.

mod answer;
mod connection;
mod head;
mod idle;
mod raw;
mod send;
mod upload;

use std::cell::RefCell;
use std::rc::Rc;

pub(super) use answer::Answer;
pub(super) use connection::Connection;
pub(super) use idle::Idle;
pub(crate) use raw::Raw;
pub(super) use send::send;

/// A connection that one exchange at a time uses: its lease, and the body of the answer.
pub(super) type Shared = Rc<RefCell<Connection>>;
