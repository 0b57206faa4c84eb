//! Chunked bodies: nothing panics, how the bytes arrive makes no difference, and no byte is lost or made up.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tidegate_codec::http1::{Chunks, Decoded};

/// What came of a body: its content, whether it ended, and what is left behind it.
#[derive(Debug, PartialEq)]
struct Outcome {
    content: Vec<u8>,
    ended: bool,
    refused: bool,
    rest: Vec<u8>,
}

fuzz_target!(|data: &[u8]| {
    let Some((step, body)) = data.split_first() else {
        return;
    };
    let whole = decode(body, body.len().max(1));
    let stepwise = decode(body, usize::from(*step).max(1));
    assert_eq!(whole.refused, stepwise.refused);
    assert_eq!(whole.ended, stepwise.ended);
    assert!(whole.content.len() <= body.len());
    if whole.ended {
        assert_eq!(whole, stepwise);
        assert!(body.ends_with(&whole.rest));
    }
});

fn decode(body: &[u8], step: usize) -> Outcome {
    let mut chunks = Chunks::new(512, 8);
    let mut input = BytesMut::new();
    let mut pieces = body.chunks(step);
    let mut outcome = Outcome {
        content: Vec::new(),
        ended: false,
        refused: false,
        rest: Vec::new(),
    };
    loop {
        match chunks.decode(&mut input) {
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty());
                outcome.content.extend_from_slice(&data);
            }
            Ok(Decoded::Partial) => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return outcome,
            },
            Ok(Decoded::End(trailers)) => {
                assert!(trailers.is_none_or(|trailers| !trailers.contains_key("content-length")));
                outcome.ended = true;
                outcome.rest = input.to_vec();
                outcome.rest.extend(pieces.flatten());
                return outcome;
            }
            Err(_) => {
                outcome.refused = true;
                return outcome;
            }
        }
    }
}
