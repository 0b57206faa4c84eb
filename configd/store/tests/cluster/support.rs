//! A cluster of stores, and a network that can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tidegate_proto::{
    objects::v1::{Object, ObjectKey, Operation, operation},
    raft::v1::PutObjects,
};
use tidegate_store::{
    ClusterOptions, Command, Dial, Incoming, Member, ObjectFilter, OpenOptions, PlainDial, Start,
    Store, StoreError,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tonic::transport::Channel;

/// Longer than any election; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes whose connections carry nothing, by peer address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    isolated: Arc<Mutex<BTreeSet<String>>>,
}

impl Cuts {
    pub(crate) fn isolate(&self, address: &str) {
        self.isolated.lock().unwrap().insert(address.to_owned());
    }

    pub(crate) fn heal(&self) {
        self.isolated.lock().unwrap().clear();
    }

    fn cut(&self, ends: &[String; 2]) -> bool {
        let isolated = self.isolated.lock().unwrap();
        ends.iter().any(|end| isolated.contains(end))
    }
}

/// Dials like the real one, from a node whose connections can be cut.
#[derive(Debug)]
struct CutDial {
    own: String,
    cuts: Cuts,
}

impl Dial for CutDial {
    fn channel(&self, address: &str) -> Result<Channel, String> {
        let endpoint = PlainDial::endpoint(address)?;
        let (ends, cuts) = ([self.own.clone(), address.to_owned()], self.cuts.clone());
        let connector = tower::service_fn(move |_| {
            let (ends, cuts) = (ends.clone(), cuts.clone());
            async move {
                if cuts.cut(&ends) {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                let stream = TcpStream::connect(&ends[1]).await?;
                Ok(TokioIo::new(CutStream { stream, ends, cuts }))
            }
        });
        Ok(endpoint.connect_with_connector_lazy(connector))
    }
}

#[derive(Debug)]
struct CutStream {
    stream: TcpStream,
    ends: [String; 2],
    cuts: Cuts,
}

impl CutStream {
    fn check(&self) -> io::Result<()> {
        match self.cuts.cut(&self.ends) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // What came after the cut is lost.
        if let Err(error) = self.check() {
            buffer.set_filled(before);
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Nodes that founded a cluster together.
pub(crate) struct Cluster {
    pub(crate) cuts: Cuts,
    pub(crate) addresses: Vec<String>,
    pub(crate) nodes: Vec<Option<Store>>,
    image_every: u64,
    /// The highest feature levels of nodes that are of an older release.
    pub(crate) levels: BTreeMap<usize, u32>,
    /// Bytes that nodes keep free, where a test says so.
    pub(crate) reserves: BTreeMap<usize, u64>,
    root: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn of(size: usize) -> Self {
        Self::with_images(size, 5_000).await
    }

    /// A cluster that makes an image every `image_every` log entries.
    pub(crate) async fn with_images(size: usize, image_every: u64) -> Self {
        Self::found(size, image_every, BTreeMap::new()).await
    }

    /// A cluster of which all nodes are of an older release, which knows feature levels up to this one.
    pub(crate) async fn at_level(size: usize, level: u32) -> Self {
        let levels = (0..size).map(|at| (at, level));
        Self::found(size, 5_000, levels.collect()).await
    }

    async fn found(size: usize, image_every: u64, levels: BTreeMap<usize, u32>) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..size {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let mut cluster = Self {
            cuts: Cuts::default(),
            addresses: listeners.iter().map(address).collect(),
            nodes: (0..size).map(|_| None).collect(),
            image_every,
            levels,
            reserves: BTreeMap::new(),
            root: tempfile::tempdir().unwrap(),
        };
        let opening = listeners.into_iter().enumerate();
        let opening = opening.map(|(at, listener)| Store::open(cluster.options(at, listener)));
        let opened = futures_util::future::join_all(opening).await;
        cluster.nodes = opened.into_iter().map(|node| Some(node.unwrap())).collect();
        for at in 0..size {
            cluster.node(at).ready(PATIENCE).await.unwrap();
        }
        cluster
    }

    pub(crate) fn dir(&self, at: usize) -> PathBuf {
        self.root.path().join(format!("node-{at}"))
    }

    pub(crate) fn options(&self, at: usize, listener: TcpListener) -> OpenOptions {
        let mut options = options(
            &self.dir(at),
            listener,
            &self.addresses,
            &self.cuts,
            self.image_every,
        );
        let reserve = self.reserves.get(&at).copied();
        let level = self.levels.get(&at).copied();
        options.highest_level = level.unwrap_or(options.highest_level);
        options.free_bytes_min = reserve.unwrap_or(options.free_bytes_min);
        options
    }

    pub(crate) fn node(&self, at: usize) -> &Store {
        self.nodes[at].as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self, at: usize) {
        self.nodes[at].take().unwrap().shutdown().await;
    }

    /// Opens a node again on what its directory holds.
    pub(crate) async fn restart(&mut self, at: usize) -> Result<(), StoreError> {
        let address: SocketAddr = self.addresses[at].parse().unwrap();
        let listener = bind(address).await;
        self.nodes[at] = Some(Store::open(self.options(at, listener)).await?);
        Ok(())
    }

    /// The place of the node that leads, among those that run.
    pub(crate) async fn leader(&self) -> usize {
        self.leader_but(usize::MAX).await
    }

    /// The same, without the node at `not`.
    pub(crate) async fn leader_but(&self, not: usize) -> usize {
        eventually("a node leads", || {
            let mut running = self.nodes.iter().enumerate();
            let leads = |(at, node): &(usize, &Option<Store>)| {
                *at != not && node.as_ref().is_some_and(Store::is_leader)
            };
            running.find(leads).map(|(at, _)| at)
        })
        .await
    }
}

pub(crate) fn options(
    dir: &Path,
    listener: TcpListener,
    founders: &[String],
    cuts: &Cuts,
    image_every: u64,
) -> OpenOptions {
    let own = listener.local_addr().unwrap().to_string();
    let member = Member {
        name: dir.file_name().unwrap().to_string_lossy().into_owned(),
        peer_address: own.clone(),
        api_address: format!("http://api.of/{own}"),
        ..Member::default()
    };
    let dial = CutDial {
        own,
        cuts: cuts.clone(),
    };
    OpenOptions {
        image_every,
        cluster: Some(ClusterOptions {
            member,
            incoming: Incoming::plain(listener),
            dial: Arc::new(dial),
            start: match founders {
                [] => Start::Join,
                founders => Start::Found(founders.to_vec()),
            },
        }),
        ..OpenOptions::new(dir)
    }
}

/// Listens as soon as whoever listened there before is gone: a node that did not open ends by itself.
async fn bind(address: SocketAddr) -> TcpListener {
    let binding = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let bound = tokio::time::timeout(PATIENCE, binding).await;
    bound.unwrap_or_else(|_| panic!("{address} is still in use"))
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("this never happened: {what}"))
}

/// Writes until a leader takes it, as a client would.
pub(crate) async fn put(store: &Store, name: &str) {
    let writing = async {
        loop {
            match store.propose(put_command(name, name)).await {
                Ok(_) => return,
                Err(StoreError::NoLeader { .. } | StoreError::Uncertain { .. }) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let written = tokio::time::timeout(PATIENCE, writing).await;
    written.unwrap_or_else(|_| panic!("{name} was never written"));
}

pub(crate) fn put_command(name: &str, content: &str) -> Command {
    let key = ObjectKey {
        source: "files".to_owned(),
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..ObjectKey::default()
    };
    let object = Object {
        key: Some(key),
        content: Bytes::copy_from_slice(content.as_bytes()),
        ..Object::default()
    };
    let operation = Operation {
        operation: Some(operation::Operation::Put(object)),
        precondition: None,
    };
    Command::PutObjects(PutObjects {
        source: "files".to_owned(),
        operations: vec![operation],
        ..PutObjects::default()
    })
}

/// Names of the stored objects, in order.
pub(crate) fn names(store: &Store) -> Vec<String> {
    let (_, objects) = store.objects(&ObjectFilter::default());
    objects
        .iter()
        .map(|object| object.key.name().to_string())
        .collect()
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}
