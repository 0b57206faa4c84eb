//! A request or a response as it stood on the wire.

/// A message, its bytes as Latin-1 text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line.
    pub line: String,
    /// Names in lower case, and values, in order.
    pub fields: Vec<(String, String)>,
    /// The content, without chunks.
    pub body: String,
    /// As `fields`.
    pub trailers: Vec<(String, String)>,
    /// Whether the end of the body came.
    pub is_complete: bool,
}

impl Message {
    /// All values of a header.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a list header has an element.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.values(name);
        let mut elements = values.iter().flat_map(|value| value.split(','));
        elements.any(|element| element.trim().eq_ignore_ascii_case(token))
    }

    /// The status of a response; 0 where there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1);
        status
            .and_then(|status| status.parse().ok())
            .unwrap_or_default()
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}
