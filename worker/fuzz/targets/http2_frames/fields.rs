//! Header sections (RFC 7541) of fields that matter to a gateway, of any others, and of bytes that are none.

use arbitrary::Arbitrary;

/// A piece of a header section.
#[derive(Debug, Arbitrary)]
pub enum Field<'a> {
    Literal(Form, Name<'a>, Value<'a>),
    /// A field of the table, static or not.
    Indexed(u8),
    TableSize(u8),
    Bytes(&'a [u8]),
}

/// What the receiver's table does with a literal.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Form {
    Without,
    Kept,
    Never,
}

#[derive(Debug, Arbitrary)]
pub enum Name<'a> {
    Known(u8),
    Bytes(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
pub enum Value<'a> {
    Known(u8),
    Bytes(&'a [u8]),
    /// One octet many times.
    Long(u8, u16),
}

/// The mark of a field that only another request inside of one could bring to a backend.
pub const SMUGGLED: &str = "x-smuggled";

const NAMES: &[&[u8]] = &[
    b":method",
    b":path",
    b":scheme",
    b":authority",
    b":status",
    b":protocol",
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"te",
    b"trailer",
    b"upgrade",
    b"expect",
    b"cookie",
    b"content-type",
    b"grpc-timeout",
    b"forwarded",
    b"x-forwarded-for",
    b"x-request-id",
    b"x-request_id",
    b"x-a",
    b"X-A",
    b"x a",
    b"x\r\nx-smuggled",
    b"x: y\r\nx-smuggled",
    b"",
];

const VALUES: &[&[u8]] = &[
    b"GET",
    b"HEAD",
    b"POST",
    b"OPTIONS",
    b"CONNECT",
    b"G T",
    b"/",
    b"/chunked",
    b"/close",
    b"/early",
    b"/large",
    b"/none",
    b"/half",
    b"/redirect",
    b"/a/./b/../%2e/c?d#e",
    b"*",
    b"//host/a",
    b"http://other.test/",
    b"/ HTTP/1.1\r\nx-smuggled: 1\r\n\r\n",
    b"http",
    b"https",
    b"edge.test",
    b"EDGE.test:80",
    b"user@edge.test",
    b"edge.test\r\nx-smuggled: 1",
    b"edge.test/a?b",
    b"0",
    b"5",
    b"05",
    b"+5",
    b"5, 5",
    b"18446744073709551615",
    b"chunked",
    b"trailers",
    b"close, x-a",
    b"content-length, host",
    b"websocket",
    b"100-continue",
    b"application/grpc",
    b"1m",
    b"1.2.3.4",
    b"a\nx-smuggled: 1",
    b"a\0",
    b" a ",
    b"\xFF\x80",
    b"",
];

/// The pseudo-header fields of a request, each valid by itself.
#[derive(Debug, Arbitrary)]
pub struct Usual {
    method: u8,
    path: u8,
    authority: u8,
}

/// A field of the lists.
#[derive(Debug, Arbitrary)]
pub struct Known(Form, u8, u8);

impl Usual {
    pub fn fields(&self) -> [Field<'static>; 4] {
        const METHODS: &[&[u8]] = &[b"GET", b"POST", b"HEAD", b"OPTIONS"];
        const PATHS: &[&[u8]] = &[
            b"/",
            b"/chunked",
            b"/close",
            b"/early",
            b"/large",
            b"/none",
            b"/half",
            b"/redirect",
            b"/fault",
            b"/a/./b/../%2e/c?d",
        ];
        const HOSTS: &[&[u8]] = &[b"edge.test", b"EDGE.test:80", b"[::1]:80"];
        let field = |name: &'static [u8], value| {
            Field::Literal(Form::Without, Name::Bytes(name), Value::Bytes(value))
        };
        [
            field(b":method", known(METHODS, self.method)),
            field(b":scheme", b"http"),
            field(b":path", known(PATHS, self.path)),
            field(b":authority", known(HOSTS, self.authority)),
        ]
    }
}

impl Known {
    pub fn field(&self) -> Field<'static> {
        let Self(form, name, value) = self;
        Field::Literal(*form, Name::Known(*name), Value::Known(*value))
    }
}

/// Writes a header section.
pub fn block<'f>(fields: impl IntoIterator<Item = &'f Field<'f>>) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields {
        match field {
            Field::Literal(form, name, value) => {
                block.push(match form {
                    Form::Without => 0,
                    Form::Kept => 0x40,
                    Form::Never => 0x10,
                });
                string(name.bytes(), &mut block);
                match value {
                    Value::Known(index) => string(known(VALUES, *index), &mut block),
                    Value::Bytes(bytes) => string(bytes, &mut block),
                    Value::Long(octet, len) => string(&vec![*octet; (*len).into()], &mut block),
                }
            }
            Field::Indexed(index) => integer(0x80, 7, (*index).into(), &mut block),
            Field::TableSize(size) => integer(0x20, 5, (*size).into(), &mut block),
            Field::Bytes(bytes) => block.extend(*bytes),
        }
    }
    block
}

impl Name<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Known(index) => known(NAMES, *index),
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn known(list: &[&'static [u8]], index: u8) -> &'static [u8] {
    list[usize::from(index) % list.len()]
}

/// A string without Huffman's code.
fn string(text: &[u8], block: &mut Vec<u8>) {
    integer(0, 7, text.len(), block);
    block.extend(text);
}

/// An integer after a prefix of so many bits (RFC 7541, section 5.1).
fn integer(first: u8, bits: u8, value: usize, block: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        return block.push(first | value as u8);
    }
    block.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
