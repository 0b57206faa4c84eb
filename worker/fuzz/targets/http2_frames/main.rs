//! HTTP/2 from the first frame to the backend: whatever frames a client sends, what reaches a backend is a request
//! of that client, whole and clean; memory stays bounded; and when the client is gone, nothing of it is left.
#![no_main]

mod backend;
mod fields;
mod input;
mod site;

use std::alloc::System;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use tidegate_codec::http2::{FrameHead, FrameScan, kind};
use tidegate_worker::fuzzing::Site;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio::time::timeout;

use backend::Backend;
use input::{Action, Input};

/// Counts what the target has allocated, and fails what goes beyond a bound.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that a client may cost, with the input itself and both ends of its connection: 16 streams of 64 KiB, each
/// with a header section of 16 KiB at most, are far below.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// Polls of a write that the server does not take, until the client gives up.
const WRITE_POLLS_MAX: usize = 64;

/// Turns that the server gets where the client waits.
const TURNS: usize = 16;

/// Time until a connection without a client has ended: no timer of the gateway is as short.
const END_TIMEOUT: Duration = Duration::from_secs(5);

fuzz_target!(|input: Input<'_>| {
    let before = MEMORY.allocated();
    MEMORY
        .set_limit(before + MEMORY_BYTES_MAX)
        .expect("a limit above what is allocated");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, run(&input));
    drop(runtime);
    MEMORY.set_limit(usize::MAX).expect("no limit");
});

async fn run(input: &Input<'_>) {
    let backend = Rc::new(Backend::default());
    let dialled = backend.clone();
    let site = Site::new(site::snapshot(), site::limits(), move |socket| {
        let backend = dialled.clone();
        tokio::task::spawn_local(async move { backend.serve(socket).await });
    });
    let (client, server) = tokio::io::duplex(usize::from(input.pipe_bytes).max(64));
    let serving = tokio::task::spawn_local(async move { site.serve(server, site::PORT).await });
    let (answers, mut requests) = tokio::io::split(client);
    let reading = input.reads.then(|| tokio::task::spawn_local(read(answers)));
    let mut sent = Sent {
        scan: FrameScan::of_client(),
        sections: 0,
        content_bytes: 0,
    };
    for action in input.actions() {
        match action {
            Action::Wait => turns().await,
            Action::Send(bytes) => {
                sent.note(&bytes);
                if !write(&mut requests, &bytes).await {
                    break;
                }
            }
        }
    }
    turns().await;
    if input.takes_leave {
        // The server may have closed the connection before.
        let _ = requests.shutdown().await;
    } else if let Some(reading) = &reading {
        reading.abort();
    }
    drop(requests);
    let ended = timeout(END_TIMEOUT, serving).await;
    let left = ended.expect("a connection ends with its client");
    let left = left.expect("the server's task is not cancelled");
    turns().await;
    assert!(
        left.is_forgotten(),
        "a request outlives its client's connection"
    );
    assert!(
        backend.requests() <= sent.sections,
        "more requests than header sections"
    );
    assert!(
        backend.content_bytes() <= sent.content_bytes,
        "more content than was sent"
    );
}

/// What the client has sent at most.
struct Sent {
    scan: FrameScan,
    sections: usize,
    content_bytes: usize,
}

impl Sent {
    fn note(&mut self, bytes: &[u8]) {
        let (sections, content_bytes) = (&mut self.sections, &mut self.content_bytes);
        self.scan.feed(bytes, |head: FrameHead| match head.kind {
            kind::HEADERS => *sections += 1,
            kind::DATA => *content_bytes += head.len as usize,
            _ => {}
        });
    }
}

/// Returns whether the server has taken all of it.
async fn write(mut requests: impl AsyncWrite + Unpin, mut bytes: &[u8]) -> bool {
    let mut polls_left = WRITE_POLLS_MAX;
    while !bytes.is_empty() {
        let mut writing = Pin::new(&mut requests);
        let written = poll_fn(|cx| Poll::Ready(writing.as_mut().poll_write(cx, bytes))).await;
        match written {
            Poll::Ready(Ok(len)) => bytes = &bytes[len..],
            Poll::Ready(Err(_)) => return false,
            Poll::Pending if polls_left == 0 => return false,
            Poll::Pending => {
                polls_left -= 1;
                tokio::task::yield_now().await;
            }
        }
    }
    true
}

/// Reads answers until there are no more.
async fn read(mut answers: impl AsyncRead + Unpin) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = answers.read(&mut bytes).await {}
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
