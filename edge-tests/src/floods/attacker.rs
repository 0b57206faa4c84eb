//! The clients of a flood: at a rate, for a time, and no more.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::floods::kinds::Kind;
use crate::wire::pause;

/// How strong a flood is.
#[derive(Debug, Clone, Copy)]
pub struct Strength {
    /// Connections at a time.
    pub connections: u32,
    /// Units in a second, of all connections.
    pub units_per_s: u32,
}

/// What a line of a gigabit carries in a second. Floods that fill the line itself are for those who own it.
const LINE_BYTES_PER_S: usize = 125_000_000;

impl Strength {
    /// The same strength, or as much of it as a line of a gigabit carries of a kind, in either direction.
    #[must_use]
    pub fn below_line_rate(self, kind: Kind) -> Self {
        let unit_bytes = (kind.unit)(0).len().max(kind.answer_bytes).max(1);
        let most = u32::try_from(LINE_BYTES_PER_S / unit_bytes).unwrap_or(u32::MAX);
        Self {
            units_per_s: self.units_per_s.min(most),
            ..self
        }
    }
}

/// What a flood did.
#[derive(Debug, Default)]
pub struct Flooded {
    /// Units that were written.
    pub units: AtomicU64,
    /// Connections that the gateway ended.
    pub ended: AtomicU64,
}

/// Time between two bursts of a connection.
const BEAT: Duration = Duration::from_millis(20);

/// Floods for a time.
pub fn flood(kind: Kind, strength: Strength, front: SocketAddr, time: Duration) -> Flooded {
    let flooded = Flooded::default();
    let end = Instant::now() + time;
    thread::scope(|scope| {
        for _ in 0..strength.connections {
            scope.spawn(|| {
                while Instant::now() < end {
                    // An error is the gateway's defence, or the system's bound on ports: both are fine.
                    let _ = connection(kind, strength, front, end, &flooded);
                }
            });
        }
    });
    flooded
}

fn connection(
    kind: Kind,
    strength: Strength,
    front: SocketAddr,
    end: Instant,
    flooded: &Flooded,
) -> std::io::Result<()> {
    let beats_per_s = 1000 / u32::try_from(BEAT.as_millis()).unwrap_or(20);
    let burst = (strength.units_per_s / strength.connections / beats_per_s).max(1);
    let mut stream = TcpStream::connect(front)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    stream.write_all(&(kind.start)())?;
    let mut unit = 0;
    while Instant::now() < end && unit < kind.units_per_connection {
        let mut bytes = Vec::new();
        let until = unit + burst.min(kind.units_per_connection - unit);
        for number in unit..until {
            bytes.extend((kind.unit)(number));
        }
        flooded
            .units
            .fetch_add(u64::from(until - unit), Ordering::Relaxed);
        unit = until;
        if stream.write_all(&bytes).is_err() || (kind.reads && is_over(&mut stream)?) {
            flooded.ended.fetch_add(1, Ordering::Relaxed);
            pause(BEAT);
            return Ok(());
        }
        pause(BEAT);
    }
    Ok(())
}

/// Reads what is there; whether the gateway has closed.
fn is_over(stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let mut piece = [0; 64 << 10];
    let over = loop {
        match stream.read(&mut piece) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            Err(_) => break true,
        }
    };
    stream.set_nonblocking(false)?;
    Ok(over)
}
