//! Interim answers of a backend (1xx, RFC 9110, section 15.2) on their way to the client, before the answer itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use http::{Response, StatusCode, header};

use crate::http::filter;

/// Interim answers before an answer. By HTTP/1 their heads together may be as large as that of one answer, too.
pub(crate) const ANSWERS_MAX: usize = 64;

/// Those that the client's side has not taken yet; clones share them. Whoever reads answers bounds them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interim(Rc<RefCell<VecDeque<Response<()>>>>);

impl Interim {
    /// Adds one that a backend has sent, unless it is for this gateway alone: 100 answers the gateway's own question.
    pub(crate) fn push(&self, mut answer: Response<()>) {
        if answer.status() == StatusCode::CONTINUE {
            return;
        }
        let headers = answer.headers_mut();
        filter::remove_hop_by_hop(headers);
        // It has no content that these could be about.
        for name in [header::CONTENT_LENGTH, header::TRAILER, header::TE] {
            headers.remove(name);
        }
        self.0.borrow_mut().push_back(answer);
    }

    /// The next one.
    pub(crate) fn pop(&self) -> Option<Response<()>> {
        self.0.borrow_mut().pop_front()
    }
}
