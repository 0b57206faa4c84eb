//! PROXY headers: nothing panics, no more bytes are asked for than a header may have, and the bytes behind a
//! header make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_codec::proxy_protocol::{Parsed, V2_BYTES_MAX, parse};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Ok(Parsed::Whole(len, origin)) => {
            assert!(len <= data.len() && len <= V2_BYTES_MAX);
            assert_eq!(parse(&data[..len]), Ok(Parsed::Whole(len, origin)));
            // Whoever reads just what is asked for reads the header and no byte more.
            let mut have = 0;
            while let Ok(Parsed::Partial(wanted)) = parse(&data[..have]) {
                assert!(wanted > have && wanted <= len);
                have = wanted;
            }
            assert_eq!(have, len);
        }
        Ok(Parsed::Partial(wanted)) => assert!(wanted > data.len() && wanted <= V2_BYTES_MAX),
        Err(_) => {}
    }
});
