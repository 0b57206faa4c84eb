//! What a client does: frames, whole requests, and bytes that are neither, made of a fuzzer's input.

use arbitrary::Arbitrary;

use crate::fields::{Field, Known, Usual, block};

/// Bytes of all steps together; what goes beyond is left out.
const BYTES_MAX: usize = 256 << 10;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client, from its first frame to how it goes.
#[derive(Debug, Arbitrary)]
pub struct Input<'a> {
    /// Bytes on the way that neither side has read.
    pub pipe_bytes: u16,
    /// Whether the client reads what it is answered.
    pub reads: bool,
    /// Whether it says that nothing more comes, and waits; else it is just gone.
    pub takes_leave: bool,
    steps: Vec<Step<'a>>,
}

/// Something that a client does.
pub enum Action {
    Send(Vec<u8>),
    /// Lets the server do what it has to do.
    Wait,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Request(Request<'a>),
    Frame(Frame<'a>),
    Flood(u8, Frame<'a>),
    Wait,
    Bytes(&'a [u8]),
}

/// A request whose frames come in the right order.
#[derive(Debug, Arbitrary)]
struct Request<'a> {
    /// What nearly every request has; without it, `fields` say all.
    usual: Option<Usual>,
    known: Vec<Known>,
    fields: Option<Vec<Field<'a>>>,
    continued: bool,
    body: Vec<&'a [u8]>,
    trailers: Option<Vec<Field<'a>>>,
    ends: bool,
}

#[derive(Debug, Arbitrary)]
struct Frame<'a> {
    kind: Kind,
    flags: u8,
    stream: Stream,
    payload: Payload<'a>,
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    Leave,
    Window,
    Continuation,
    Other(u8),
}

#[derive(Debug, Arbitrary)]
enum Stream {
    Connection,
    Last,
    /// As many requests ago.
    Before(u8),
    Next,
    Of(u32),
}

#[derive(Debug, Arbitrary)]
enum Payload<'a> {
    Bytes(&'a [u8]),
    Fields(Vec<Field<'a>>),
    Number(u32),
    Setting(u8, u32),
    Empty,
}

impl Input<'_> {
    /// What the client does, in order; it begins as a client has to.
    pub fn actions(&self) -> Vec<Action> {
        let mut writer = Writer::default();
        let mut actions = vec![Action::Send(
            [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat(),
        )];
        let mut left = BYTES_MAX;
        for step in &self.steps {
            let bytes = match step {
                Step::Request(request) => writer.request(request),
                Step::Frame(one) => writer.frame(one),
                Step::Flood(times, one) => {
                    let frame = writer.frame(one);
                    // More of it would be cut off below, and be memory that no client costs.
                    let times_max = left / frame.len().max(1) + 1;
                    frame.repeat(usize::from(*times).min(times_max))
                }
                Step::Bytes(bytes) => bytes.to_vec(),
                Step::Wait => {
                    actions.push(Action::Wait);
                    continue;
                }
            };
            let Some(rest) = left.checked_sub(bytes.len()) else {
                break;
            };
            left = rest;
            actions.push(Action::Send(bytes));
        }
        actions
    }
}

/// Writes frames; it knows the streams that there are.
#[derive(Default)]
struct Writer {
    streams: u32,
}

impl Writer {
    fn request(&mut self, request: &Request<'_>) -> Vec<u8> {
        let stream = self.stream(&Stream::Next);
        let usual = request.usual.iter().flat_map(Usual::fields);
        let known = request.known.iter().map(Known::field);
        let fields: Vec<_> = usual.chain(known).collect();
        let section = block(fields.iter().chain(request.fields.iter().flatten()));
        let is_last = request.body.is_empty() && request.trailers.is_none() && request.ends;
        let end = if is_last { END_STREAM } else { 0 };
        let mut bytes = if request.continued {
            let (first, rest) = section.split_at(section.len() / 2);
            let first = frame(HEADERS, end, stream, first);
            [first, frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
        } else {
            frame(HEADERS, end | END_HEADERS, stream, &section)
        };
        for (index, data) in request.body.iter().enumerate() {
            let is_last = index + 1 == request.body.len() && request.trailers.is_none();
            let end = u8::from(is_last && request.ends);
            bytes.extend(frame(DATA, end, stream, data));
        }
        if let Some(trailers) = &request.trailers {
            let flags = END_HEADERS | u8::from(request.ends);
            bytes.extend(frame(HEADERS, flags, stream, &block(trailers)));
        }
        bytes
    }

    fn frame(&mut self, one: &Frame<'_>) -> Vec<u8> {
        let stream = self.stream(&one.stream);
        let payload = match &one.payload {
            Payload::Bytes(bytes) => bytes.to_vec(),
            Payload::Fields(fields) => block(fields),
            Payload::Number(number) => number.to_be_bytes().to_vec(),
            Payload::Setting(name, value) => {
                [&u16::from(*name).to_be_bytes()[..], &value.to_be_bytes()].concat()
            }
            Payload::Empty => vec![],
        };
        frame(one.kind.octet(), one.flags, stream, &payload)
    }

    fn stream(&mut self, stream: &Stream) -> u32 {
        let of_request = |index: u32| (2 * index).saturating_sub(1);
        match stream {
            Stream::Connection => 0,
            Stream::Last => of_request(self.streams),
            Stream::Before(count) => of_request(self.streams.saturating_sub((*count).into())),
            Stream::Next => {
                self.streams += 1;
                of_request(self.streams)
            }
            Stream::Of(id) => *id,
        }
    }
}

impl Kind {
    fn octet(&self) -> u8 {
        match self {
            Self::Data => DATA,
            Self::Headers => HEADERS,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => SETTINGS,
            Self::Push => 5,
            Self::Ping => 6,
            Self::Leave => 7,
            Self::Window => 8,
            Self::Continuation => CONTINUATION,
            Self::Other(octet) => *octet,
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    // A length has three octets, and no input is that long.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = len.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
