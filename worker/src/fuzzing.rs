//! The worker's HTTP/2 server without ports, for fuzz targets: built where they are built, and nowhere else.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tidegate_ir::Snapshot;
use tidegate_runtime::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::edge::Edge;
use crate::http::stack::Connection;
use crate::http2;
use crate::limits::Limits;
use crate::listen::tls::TlsBuilder;
use crate::metrics::ThreadMetrics;
use crate::pressure::Pressure;
use crate::serving::Serving;
use crate::terms::Terms;
use crate::thread::{Thread, ThreadOptions};
use crate::upstream::Dns;

/// Takes the backend's end of a new connection.
type Backend = Rc<dyn Fn(UnixStream)>;

thread_local! {
    static BACKEND: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

/// A configuration in use on this thread. It spawns local tasks.
#[derive(Debug)]
pub struct Site {
    thread: Rc<Thread>,
    terms: Arc<Terms>,
}

/// A client whose connection has ended.
#[derive(Debug)]
pub struct Left(Weak<Connection>);

impl Site {
    /// Serves a snapshot; `backend` gets every connection that is opened to an endpoint, whatever its address.
    ///
    /// # Panics
    /// When the snapshot cannot be served.
    pub fn new(snapshot: Snapshot, limits: Limits, backend: impl Fn(UnixStream) + 'static) -> Self {
        let backend: Backend = Rc::new(backend);
        BACKEND.set(Some(backend));
        let terms = Arc::new(Terms {
            port: None,
            edge: Edge::default(),
            limits: limits.clone(),
        });
        let tls = TlsBuilder::new().expect("the system has randomness");
        let dns = Dns::new(Tasks::new(), CancellationToken::new());
        let serving = Serving::build(snapshot, None, &tls, &dns, &terms);
        let options = ThreadOptions {
            limits: Arc::new(limits),
            open_connections: Arc::default(),
            pressure: Pressure::default(),
            access_log: None,
            traces: false,
            shut_down: CancellationToken::new(),
        };
        let serving = Arc::new(serving.expect("a snapshot without problems"));
        let thread = Thread::of_site(options, ThreadMetrics::default(), serving);
        Self { thread, terms }
    }

    /// Serves a client of a port by HTTP/2 until its connection ends.
    pub async fn serve<I>(&self, client: I, bind_port: u16) -> Left
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stop = CancellationToken::new();
        let address = SocketAddr::from(([192, 0, 2, 1], 1024));
        let connection = Connection::new(address, bind_port, false, None, stop.clone());
        let terms = self.terms.clone();
        http2::serve(&self.thread, &connection, client, terms, &stop).await;
        Left(Rc::downgrade(&connection))
    }
}

impl Left {
    /// Whether nothing of the connection's requests is left.
    pub fn is_forgotten(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Connects to the backend of this thread's [`Site`]: a pair of sockets without a network between them.
pub(crate) async fn connect(_: SocketAddr) -> io::Result<TcpStream> {
    let backend = BACKEND.with_borrow(Clone::clone);
    let backend = backend.ok_or(io::ErrorKind::ConnectionRefused)?;
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    backend(far);
    TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(near)))
}
