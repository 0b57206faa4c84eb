//! HTTP/1 towards clients: one task per connection reads heads, lets the stack answer, and writes; bodies go
//! by without a queue in between.

mod body;
mod connection;
mod content;
mod input;
mod output;
mod wire;

pub(crate) use body::Body;
pub(crate) use connection::serve;
pub(crate) use content::Content;
pub(crate) use input::Input;
pub(crate) use output::Output;
pub(crate) use wire::Io;
