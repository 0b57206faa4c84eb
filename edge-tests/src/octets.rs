//! Bytes as text in which each character is one byte, so that files and messages can name all of them.

/// The bytes of a text; `None` where a character is no byte.
#[must_use]
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect()
}

/// The text of bytes.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
