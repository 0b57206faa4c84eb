//! Trailers that came by HTTP/2, whose library passes on any field.

use bytes::Bytes;
use http::header::HeaderMap;
use http_body::Frame;
use tidegate_codec::http1::is_forbidden_trailer;

/// The frame without trailer fields that would come too late to be obeyed (RFC 9110, section 6.5.1).
pub(crate) fn without_forbidden(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) if trailers.keys().any(is_forbidden_trailer) => {
            let mut kept = HeaderMap::with_capacity(trailers.len());
            for (name, value) in trailers
                .iter()
                .filter(|(name, _)| !is_forbidden_trailer(name))
            {
                kept.append(name, value.clone());
            }
            Frame::trailers(kept)
        }
        Ok(trailers) => Frame::trailers(trailers),
        Err(frame) => frame,
    }
}
