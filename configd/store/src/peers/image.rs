//! A state image on its way: the image's file and the packs that it names, in checksummed chunks.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tidegate_proto::raft::v1::{self, install_image_request::Piece};
use tokio::{io::AsyncWriteExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{StoreError, blobs::pack_path, image::ImageFile};

/// Bytes of one chunk, at most.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait to be sent.
const QUEUE_LEN_MAX: usize = 4;

/// The pieces of an image. A read error ends them without the last one, so that the other end takes nothing.
pub(crate) fn pieces(
    start: v1::ImageStart,
    image: ImageFile,
    packs: PathBuf,
) -> impl Stream<Item = v1::InstallImageRequest> + Send + use<> {
    let (queue, pieces) = mpsc::channel(QUEUE_LEN_MAX);
    tokio::task::spawn_blocking(move || {
        let mut sender = Sender {
            queue,
            files: 0,
            bytes: 0,
        };
        if let Err(error) = sender.send(start, &image, &packs) {
            let path = image.path.display();
            tracing::warn!(%path, cause = %error.into_io(), "an image was not sent to its end");
        }
    });
    ReceiverStream::new(pieces)
}

struct Sender {
    queue: mpsc::Sender<v1::InstallImageRequest>,
    files: u64,
    bytes: u64,
}

impl Sender {
    fn send(
        &mut self,
        start: v1::ImageStart,
        image: &ImageFile,
        packs: &Path,
    ) -> Result<(), StoreError> {
        let gone = |()| StoreError::io("send", &image.path)(io::ErrorKind::BrokenPipe.into());
        let named = image.read()?.state.packs();
        self.push(Piece::Start(start)).map_err(gone)?;
        let file = File::open(&image.path).map_err(StoreError::io("open", &image.path))?;
        self.file(0, file)
            .map_err(StoreError::io("send", &image.path))?;
        for pack in named {
            let path = pack_path(packs, pack);
            match File::open(&path) {
                Ok(file) => self
                    .file(pack, file)
                    .map_err(StoreError::io("send", path))?,
                // Released since the image was made. The entry that released it follows the image.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("open", path)(error)),
            }
        }
        let (files, bytes) = (self.files, self.bytes);
        self.push(Piece::End(v1::ImageEnd { files, bytes }))
            .map_err(gone)
    }

    fn file(&mut self, pack: u64, mut file: File) -> io::Result<()> {
        let gone = |()| io::Error::from(io::ErrorKind::BrokenPipe);
        let bytes = file.metadata()?.len();
        self.push(Piece::File(v1::ImageFile { pack, bytes }))
            .map_err(gone)?;
        loop {
            let mut content = Vec::new();
            let limit = CHUNK_BYTES as u64;
            file.by_ref().take(limit).read_to_end(&mut content)?;
            if content.is_empty() {
                break;
            }
            self.bytes += content.len() as u64;
            let crc32c = crc32c::crc32c(&content);
            let content = Bytes::from(content);
            self.push(Piece::Chunk(v1::ImageChunk { content, crc32c }))
                .map_err(gone)?;
        }
        self.files += 1;
        Ok(())
    }

    fn push(&self, piece: Piece) -> Result<(), ()> {
        let piece = Some(piece);
        self.queue
            .blocking_send(v1::InstallImageRequest { piece })
            .map_err(|_| ())
    }
}

/// An image whose pieces have all come, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) image: PathBuf,
    pub(crate) packs: Vec<(u64, PathBuf)>,
}

/// Takes the pieces after the first one into `dir`, which is emptied before.
pub(crate) async fn receive<S>(mut pieces: S, dir: &Path) -> Result<Received, Status>
where
    S: Stream<Item = Result<v1::InstallImageRequest, Status>> + Unpin,
{
    let emptied = match tokio::fs::remove_dir_all(dir).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => tokio::fs::create_dir_all(dir).await,
    };
    emptied.map_err(|error| failed(dir, &error))?;
    let mut receiver = Receiver {
        dir,
        open: None,
        files: 0,
        bytes: 0,
        received: Received {
            image: dir.join("0.part"),
            packs: Vec::new(),
        },
    };
    while let Some(piece) = pieces.next().await {
        match piece?.piece {
            Some(Piece::File(file)) => receiver.begin(&file).await?,
            Some(Piece::Chunk(chunk)) => receiver.chunk(&chunk).await?,
            Some(Piece::End(end)) => return receiver.end(&end).await,
            Some(Piece::Start(_)) | None => return Err(broken("a piece is out of its place")),
        }
    }
    Err(broken("it ended before its last piece"))
}

struct Receiver<'a> {
    dir: &'a Path,
    open: Option<(tokio::fs::File, u64)>,
    files: u64,
    bytes: u64,
    received: Received,
}

impl Receiver<'_> {
    async fn begin(&mut self, file: &v1::ImageFile) -> Result<(), Status> {
        self.close().await?;
        let path = self.dir.join(format!("{}.part", file.pack));
        if (self.files == 0) != (file.pack == 0) {
            return Err(broken("the image itself is not its first file"));
        }
        if file.pack != 0 {
            self.received.packs.push((file.pack, path.clone()));
        }
        let created = tokio::fs::File::create(&path).await;
        self.open = Some((created.map_err(|error| failed(&path, &error))?, file.bytes));
        self.files += 1;
        Ok(())
    }

    async fn chunk(&mut self, chunk: &v1::ImageChunk) -> Result<(), Status> {
        if crc32c::crc32c(&chunk.content) != chunk.crc32c {
            return Err(broken("a chunk has a wrong checksum"));
        }
        let len = chunk.content.len() as u64;
        let (file, missing) = self
            .open
            .as_mut()
            .ok_or_else(|| broken("a chunk belongs to no file"))?;
        *missing = missing
            .checked_sub(len)
            .ok_or_else(|| broken("a file is longer than stated"))?;
        self.bytes += len;
        let written = file.write_all(&chunk.content).await;
        written.map_err(|error| failed(self.dir, &error))
    }

    async fn close(&mut self) -> Result<(), Status> {
        let Some((file, missing)) = self.open.take() else {
            return Ok(());
        };
        if missing > 0 {
            return Err(broken("a file is shorter than stated"));
        }
        file.sync_all()
            .await
            .map_err(|error| failed(self.dir, &error))
    }

    async fn end(mut self, end: &v1::ImageEnd) -> Result<Received, Status> {
        self.close().await?;
        if (end.files, end.bytes) != (self.files, self.bytes) || self.files == 0 {
            return Err(broken("files are missing"));
        }
        Ok(self.received)
    }
}

fn broken(why: &str) -> Status {
    Status::data_loss(format!("the image did not arrive whole: {why}"))
}

fn failed(path: &Path, error: &io::Error) -> Status {
    Status::internal(format!("cannot write {}: {error}", path.display()))
}
