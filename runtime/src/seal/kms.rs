//! A key management service, as a program that wraps and unwraps master keys.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The program: `PROGRAM wrap` reads a key from its standard input and prints it wrapped, in one line;
/// `PROGRAM unwrap` does the reverse. It ends with status 0 when it succeeds, and says on standard error why not.
#[derive(Debug, Clone)]
pub struct Kms {
    program: PathBuf,
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// It could not be run or talked to.
    #[error("{program} cannot be run")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It ended with another status than 0; its standard error says why.
    #[error("{program} {verb} failed with {status}; what it printed is above")]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it was asked to do.
        verb: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// It did not end.
    #[error("{program} {verb} took more than {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// What it was asked to do.
        verb: &'static str,
    },
    /// It printed something else than one line.
    #[error("{program} {verb} must print one line")]
    Answer {
        /// The program.
        program: PathBuf,
        /// What it was asked to do.
        verb: &'static str,
    },
}

impl Kms {
    /// The service that is reached by a program.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    pub(super) fn wrap(&self, key: &str) -> Result<String, KmsError> {
        self.ask("wrap", key)
    }

    pub(super) fn unwrap(&self, wrapped: &str) -> Result<String, KmsError> {
        self.ask("unwrap", wrapped)
    }

    fn ask(&self, verb: &'static str, text: &str) -> Result<String, KmsError> {
        let program = || self.program.clone();
        let failed = |source| KmsError::Run {
            program: program(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let Some(answer) = talk(&mut child, text) else {
            // It may have ended by now.
            let _ = child.kill();
            let _ = child.wait();
            return Err(KmsError::TimedOut {
                program: program(),
                verb,
            });
        };
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(KmsError::Failed {
                program: program(),
                verb,
                status,
            });
        }
        let answer = answer.map_err(failed)?;
        let line = answer.trim();
        if line.is_empty() || line.contains('\n') {
            return Err(KmsError::Answer {
                program: program(),
                verb,
            });
        }
        Ok(line.to_owned())
    }
}

/// Writes the text and reads the answer, up to where the program closes it; `None` when that takes too long.
fn talk(child: &mut Child, text: &str) -> Option<io::Result<String>> {
    let (mut stdin, stdout) = child.stdin.take().zip(child.stdout.take())?;
    let text = format!("{text}\n");
    let (sender, answer) = mpsc::sync_channel(1);
    thread::spawn(move || {
        // A program that does not read what it is told says so by its status.
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        let mut answer = String::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
        // Nobody waits any more after the timeout.
        let _ = sender.send(read.map(|_| answer));
    });
    answer.recv_timeout(TIMEOUT).ok()
}
