//! HTTP/1.0 and HTTP/1.1 on the wire (RFC 9112): what is not exactly by the grammar is refused, never guessed.

mod chunked;
mod encode;
mod fields;
mod framing;
mod lines;
mod request;
mod response;
mod target;

pub use chunked::{Chunks, Decoded};
pub use encode::{Framed, chunk_head, request_head, response_head, trailers};
pub use fields::is_forbidden_trailer;
pub use framing::{Framing, names_token};
pub use lines::{HeadBounds, HeadScan};
pub use request::{RequestHead, parse};
pub use response::{ResponseHead, parse_response};
pub use target::is_host;
