//! The `Date` header, made once a second.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// The header of the present second.
#[derive(Debug)]
pub(crate) struct Date {
    since_epoch_s: u64,
    text: HeaderValue,
}

impl Date {
    /// The present time (RFC 9110, section 5.6.7).
    pub(crate) fn now(&mut self) -> HeaderValue {
        let now = SystemTime::now();
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
        let since_epoch_s = since_epoch.as_ref().map_or(0, Duration::as_secs);
        if since_epoch_s != self.since_epoch_s {
            let text = httpdate::fmt_http_date(now);
            self.text = HeaderValue::try_from(text).expect("a date is a header value");
            self.since_epoch_s = since_epoch_s;
        }
        self.text.clone()
    }
}

impl Default for Date {
    fn default() -> Self {
        Self {
            since_epoch_s: 0,
            text: HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
        }
    }
}
