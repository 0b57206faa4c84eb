//! HTTP/2 towards clients, on the frames of the `h2` crate: one task per connection accepts streams, and one
//! per stream lets the stack answer and writes. [`Wire`] and [`Sending`] serve connections to backends, too.

mod body;
mod connection;
mod counts;
mod flow;
mod pinger;
mod sending;
mod stream;
mod watched;
mod window;
mod wire;

pub(crate) use body::Body;
pub(crate) use connection::serve;
pub(crate) use sending::{End, Sending, Watch};
pub(crate) use wire::Wire;
