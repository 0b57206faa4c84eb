//! What a traced process did with files and sockets, in order, and whether it acknowledged too early.
//!
//! The trace is strace's, of `-f -yy -xx`: descriptors come with what they are, bytes as `\xNN`.

use std::collections::HashMap;

/// A write whose acknowledgement is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Bytes that only its log entry contains.
    pub token: String,
    /// The revision that its acknowledgement states.
    pub revision: u64,
}

/// A system call that returned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    /// The lines on which it began and ended.
    begun: usize,
    ended: usize,
    name: String,
    /// What the descriptor is: a path, or `TCP:[…]`.
    on: String,
    bytes: Vec<u8>,
    succeeded: bool,
}

/// What does not hold: for each write, its bytes must be in a segment of the log, `fsync` or `fdatasync` of that file must have
/// returned for them, a witness must have been written after that, and only then may the acknowledgement be sent.
#[must_use]
pub fn check(trace: &str, writes: &[Write]) -> Vec<String> {
    let calls = read(trace);
    let wrong = writes.iter().filter_map(|write| {
        let why = judge(&calls, write).err()?;
        Some(format!(
            "{} at revision {}: {why}",
            write.token, write.revision
        ))
    });
    wrong.collect()
}

fn judge(calls: &[Call], write: &Write) -> Result<(), String> {
    let pattern = acknowledgement(write.revision);
    let acknowledges = |call: &&Call| call.on.starts_with("TCP") && has(&call.bytes, &pattern);
    let acknowledged = calls.iter().find(acknowledges);
    let before = acknowledged.ok_or("no acknowledgement was sent")?.begun;
    let in_log = |call: &&Call| is_log(call) && has(&call.bytes, write.token.as_bytes());
    let written = calls.iter().find(in_log).ok_or("it is not in the log")?;
    let synced = synced(calls, &written.on, written.ended, before)
        .ok_or("it was acknowledged before the log was synced")?;
    let attests = |call: &&Call| {
        let is_write = call.name.contains("write") && call.succeeded;
        is_write && call.on.ends_with("/WITNESS") && call.begun > synced && call.ended < before
    };
    let attested = calls.iter().find(attests).map(drop);
    attested.ok_or_else(|| "it was acknowledged before its witness was written".to_owned())
}

/// Where the first sync of a file ends that began after one line and ended before another.
fn synced(calls: &[Call], file: &str, after: usize, before: usize) -> Option<usize> {
    let syncs = calls.iter().filter(|call| {
        let is_sync = call.name == "fsync" || call.name == "fdatasync";
        is_sync && call.succeeded && call.on == file
    });
    let mut fit = syncs.filter(|call| call.begun > after && call.ended < before);
    fit.next().map(|call| call.ended)
}

fn is_log(call: &Call) -> bool {
    let is_segment = call.on.ends_with(".log") && call.on.contains("/log/");
    call.name.contains("write") && is_segment && call.succeeded
}

/// How an answer to Apply that changed one object begins within its frame: not compressed, less than 128 bytes, the
/// revision, and one change.
fn acknowledgement(revision: u64) -> Vec<u8> {
    let mut bytes = vec![0x08];
    let mut rest = revision;
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.extend([rest as u8, 0x10, 0x01]);
    bytes
}

fn has(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|window| window == pattern)
}

fn read(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((process, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (number, begun.to_owned()));
        } else if rest.starts_with("<... ") {
            let Some((begun, start)) = unfinished.remove(process) else {
                continue;
            };
            let end = rest.split_once(" resumed>").map_or("", |(_, end)| end);
            calls.extend(call(begun, number, &format!("{start}{end}")));
        } else {
            calls.extend(call(number, number, rest));
        }
    }
    calls
}

/// `fdatasync(9</data/log/0000000000000001.log>) = 0`.
fn call(begun: usize, ended: usize, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let on = arguments.split_once('<')?.1;
    let end = on.find([',', ')']).unwrap_or(on.len());
    let on = on[..end].trim_end_matches('>');
    Some(Call {
        begun,
        ended,
        name: name.to_owned(),
        on: described(on),
        bytes: bytes(arguments),
        succeeded: !result.trim_start().starts_with('-'),
    })
}

/// What a descriptor is; strace writes paths as it writes bytes.
fn described(on: &str) -> String {
    match on.starts_with("\\x") {
        true => String::from_utf8_lossy(&unescaped(on)).into_owned(),
        false => on.to_owned(),
    }
}

/// All bytes of the quoted texts.
fn bytes(arguments: &str) -> Vec<u8> {
    let quoted = arguments.split('"').skip(1).step_by(2);
    quoted.flat_map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs
        .filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    /// A trace of these steps: two threads, of which the first writes the log.
    fn trace(steps: &[&str]) -> String {
        let (entry, answer) = (
            hex(b"..token-7.."),
            hex(&[0, 0, 0, 0, 5, 8, 0xac, 2, 0x10, 1]),
        );
        let line = |step: &&str| match *step {
            "write" => {
                let path = hex(b"/d/log/01.log");
                format!("11 pwrite64(9<{path}>, \"{entry}\", 11, 0) = 11\n")
            }
            "sync begins" => "11 fdatasync(9</d/log/01.log> <unfinished ...>\n".to_owned(),
            "sync ends" => "11 <... fdatasync resumed>) = 0\n".to_owned(),
            "sync fails" => {
                "11 <... fdatasync resumed>) = -1 EIO (Input/output error)\n".to_owned()
            }
            "sync another" => "11 fdatasync(8</d/log/00.log>) = 0\n".to_owned(),
            "attest" => "11 pwrite64(7</d/WITNESS>, \"\\x00\", 1, 0) = 1\n".to_owned(),
            "attest another" => "11 pwrite64(7</d/WITNESS.tmp>, \"\\x00\", 1, 0) = 1\n".to_owned(),
            "acknowledge" => {
                format!(
                    "12 writev(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{{iov_base=\"{answer}\", iov_len=10}}], 1) = 10\n"
                )
            }
            other => panic!("{other}"),
        };
        steps.iter().map(line).collect()
    }

    fn wrong(steps: &[&str]) -> Vec<String> {
        let write = Write {
            token: "token-7".to_owned(),
            revision: 300,
        };
        check(&trace(steps), &[write])
    }

    #[test]
    fn an_acknowledgement_after_sync_and_witness_is_in_order() {
        let steps = ["write", "sync begins", "sync ends", "attest", "acknowledge"];
        assert!(wrong(&steps).is_empty());
    }

    #[test]
    fn forged_traces_are_found() {
        let forged: [&[&str]; 9] = [
            &["write", "sync begins", "sync ends", "acknowledge", "attest"],
            &[
                "write",
                "sync begins",
                "sync ends",
                "attest another",
                "acknowledge",
            ],
            &["write", "sync begins", "acknowledge", "sync ends", "attest"],
            &["sync begins", "write", "sync ends", "attest", "acknowledge"],
            &[
                "write",
                "sync begins",
                "sync fails",
                "attest",
                "acknowledge",
            ],
            &["write", "sync another", "attest", "acknowledge"],
            &["write", "attest", "sync begins", "sync ends", "acknowledge"],
            &["sync begins", "sync ends", "attest", "acknowledge"],
            &["write", "sync begins", "sync ends", "attest"],
        ];
        for steps in forged {
            assert_eq!(wrong(steps).len(), 1, "{steps:?}");
        }
    }
}
