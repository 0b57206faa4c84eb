//! What is left of a message's body, and where it stands among the bytes that were read.

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tidegate_codec::Refusal;
use tidegate_codec::http1::{Chunks, Decoded};

/// The rest of a body.
#[derive(Debug)]
pub(crate) enum Content {
    /// So many bytes.
    Length(u64),
    Chunked(Box<Chunks>),
    /// Whatever comes until the connection ends.
    Raw,
    Ended,
}

impl Content {
    /// Takes what is there of it off the input; nothing where more has to be read, and at the end.
    ///
    /// # Errors
    /// At the first byte that is not by the grammar of chunks.
    pub(crate) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Refusal> {
        match self {
            Self::Length(left) if !input.is_empty() => {
                let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= len as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Some(Frame::data(input.split_to(len).freeze())))
            }
            Self::Chunked(chunks) => match chunks.decode(input)? {
                Decoded::Partial => Ok(None),
                Decoded::Data(data) => Ok(Some(Frame::data(data))),
                Decoded::End(trailers) => {
                    *self = Self::Ended;
                    Ok(trailers.map(Frame::trailers))
                }
            },
            Self::Raw if !input.is_empty() => Ok(Some(Frame::data(input.split().freeze()))),
            Self::Length(_) | Self::Raw | Self::Ended => Ok(None),
        }
    }

    /// The length that is known of it.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Ended => Some(0),
            Self::Chunked(_) | Self::Raw => None,
        }
    }
}
