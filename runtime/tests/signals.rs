//! Draining on real signals, in a child process: a signal counts for the whole process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tidegate_runtime::drain::Drain;

/// Says that the process is the child, and what its work does.
const ROLE: &str = "TIDEGATE_TEST_DRAIN";

/// Not a test by itself: the child's side of the tests below, which start this binary again.
#[tokio::test]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let drain = Drain::new(Duration::from_secs(30));
    drain.listen_for_signals().expect("signals are watched");
    let watcher = drain.clone();
    drain.tasks().spawn("work", async move {
        watcher.started().await;
        println!("\ndraining");
        if role == "stuck" {
            std::future::pending::<()>().await;
        }
    });
    println!("\nrunning");
    println!("\nended {:?} by {:?}", drain.finish().await, drain.cause());
}

struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    fn wait_for(&mut self, line: &str) {
        let mut found = String::new();
        while found.trim_end() != line {
            found.clear();
            let count = self
                .output
                .read_line(&mut found)
                .expect("the pipe is readable");
            assert_ne!(count, 0, "the child ended before it said `{line}`");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill starts").success());
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.output
            .read_to_string(&mut rest)
            .expect("the pipe is readable");
        self.child.wait().expect("the child ends");
        rest
    }
}

#[test]
fn sigterm_lets_work_finish() {
    let mut process = Process::start("obedient");
    process.wait_for("running");
    process.signal("TERM");
    let rest = process.rest();
    assert!(rest.contains("ended Clean by Some(\"SIGTERM\")"), "{rest}");
}

#[test]
fn a_second_signal_shuts_down_at_once() {
    let mut process = Process::start("stuck");
    process.wait_for("running");
    process.signal("INT");
    process.wait_for("draining");
    process.signal("TERM");
    let rest = process.rest();
    assert!(
        rest.contains("ended Interrupted([\"work\"]) by Some(\"SIGINT\")"),
        "{rest}"
    );
}
