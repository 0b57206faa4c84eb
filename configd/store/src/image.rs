//! State images: the state up to a log index as a file, so that older log entries can go.
//!
//! A file is a magic, then chunks of `length | CRC-32C | records`. The last record states how many there are.

mod convert;
mod wire;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message as _;

use crate::{
    StoreError,
    directory::{remove_unfinished, sync_dir},
    level::{self, HIGHEST_LEVEL},
    lock::lock,
    raft::{LogId, StoredMembership},
    state::State,
};

const MAGIC: &[u8; 8] = b"tgimage1";
/// A chunk is closed when it passes this many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// A chunk, at most; one that states more is damaged.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// A finished image on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
}

/// What an image holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Image {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) state: State,
}

/// The images of a data directory. The newest readable one counts; one older stays as a spare.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    dir: Arc<Path>,
    /// The lock of the directory, which whoever writes there holds: a write goes on when its store is gone.
    writing: Arc<Mutex<File>>,
}

impl Images {
    /// Opens the directory, creates it where it is missing, and removes what an unfinished write left.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        let writing = Arc::new(Mutex::new(lock(&dir)?));
        let dir = dir.into();
        let images = Self { dir, writing };
        for path in images.files("tmp")? {
            remove_unfinished(&path)?;
        }
        Ok(images)
    }

    /// Reads the newest image, if there is one. It may be of feature levels up to `highest`.
    pub(crate) fn newest(&self, highest: u32) -> Result<Option<(ImageFile, Image)>, StoreError> {
        let Some(path) = self.files("image")?.pop() else {
            return Ok(None);
        };
        let file = ImageFile { path };
        let image = file.read_up_to(highest)?;
        Ok(Some((file, image)))
    }

    /// Writes an image and returns when it is on the disk. Blocks, also until other writes are done.
    pub(crate) fn write(&self, image: &Image) -> Result<ImageFile, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = image.applied.map_or(0, |id| id.index);
        let path = self.dir.join(format!("{index:016x}.image"));
        let unfinished = path.with_extension("tmp");
        write_file(&unfinished, image).map_err(StoreError::io("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(StoreError::io("rename", &unfinished))?;
        sync_dir(&self.dir)?;
        self.remove_older()?;
        Ok(ImageFile { path })
    }

    /// The same for an image that another node has sent, whose entries this node's log need not have.
    pub(crate) fn write_received(&self, image: &Image) -> Result<ImageFile, StoreError> {
        let index = image.applied.map_or(0, |id| id.index);
        let note = self.dir.join(format!("{index:016x}.received"));
        let noted = File::create(&note).and_then(|file| file.sync_all());
        noted.map_err(StoreError::io("create", &note))?;
        self.write(image)
    }

    /// Whether another node has sent the image of this log index.
    pub(crate) fn was_received(&self, index: u64) -> bool {
        self.dir.join(format!("{index:016x}.received")).exists()
    }

    fn remove_older(&self) -> Result<(), StoreError> {
        let mut older = self.files("image")?;
        older.truncate(older.len().saturating_sub(2));
        for path in older {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        for note in self.files("received")? {
            if !note.with_extension("image").exists() {
                fs::remove_file(&note).map_err(StoreError::io("remove", &note))?;
            }
        }
        Ok(())
    }

    /// Files that end so, ordered by log index.
    fn files(&self, end: &str) -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(&self.dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut files: Vec<PathBuf> = entries.map_err(StoreError::io("list", &*self.dir))?;
        files.retain(|path| path.extension().is_some_and(|found| found == end));
        files.sort();
        Ok(files)
    }
}

impl ImageFile {
    /// Bytes of the file.
    pub(crate) fn len(&self) -> Result<u64, StoreError> {
        let metadata = fs::metadata(&self.path).map_err(StoreError::io("read", &self.path))?;
        Ok(metadata.len())
    }

    /// Reads and checks the whole file.
    pub(crate) fn read(&self) -> Result<Image, StoreError> {
        self.read_up_to(HIGHEST_LEVEL)
    }

    /// The same where the node takes part in no higher feature level than `highest`.
    pub(crate) fn read_up_to(&self, highest: u32) -> Result<Image, StoreError> {
        let damaged = |what: String| StoreError::damaged(&self.path, what);
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let mut input = BufReader::new(file);
        let mut magic = [0; 8];
        let whole = input.read_exact(&mut magic).is_ok() && &magic == MAGIC;
        if !whole {
            return Err(damaged("it does not begin like an image".to_owned()));
        }
        let mut reader = convert::Reader::default();
        while let Some(bytes) =
            read_chunk(&mut input).map_err(|error| damaged(error.to_string()))?
        {
            let chunk = wire::Chunk::decode(bytes.as_slice())
                .map_err(|error| damaged(error.to_string()))?;
            for record in chunk.records {
                reader.take(record).map_err(damaged)?;
                // Before anything that only a newer release knows.
                level::check(reader.level(), highest)?;
            }
        }
        reader.finish().map_err(damaged)
    }
}

fn read_chunk(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 8];
    match input.read(&mut header[..1])? {
        0 => return Ok(None),
        _ => input.read_exact(&mut header[1..])?,
    }
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (len, crc) = (number(0) as usize, number(4));
    if len > CHUNK_BYTES_MAX {
        return Err(io::Error::other(format!("a chunk states {len} bytes")));
    }
    let mut bytes = vec![0; len];
    input.read_exact(&mut bytes)?;
    if crc32c::crc32c(&bytes) != crc {
        return Err(io::Error::other("a chunk has a wrong checksum"));
    }
    Ok(Some(bytes))
}

fn write_file(path: &Path, image: &Image) -> io::Result<()> {
    let mut output = BufWriter::new(File::create(path)?);
    output.write_all(MAGIC)?;
    let mut close = |chunk: &mut Vec<u8>| {
        let len = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        output.write_all(&len.to_be_bytes())?;
        output.write_all(&crc32c::crc32c(chunk).to_be_bytes())?;
        output.write_all(chunk)?;
        chunk.clear();
        Ok::<_, io::Error>(())
    };
    // Each record is encoded at once: an image has hundreds of thousands of them.
    let (mut chunk, mut count) = (Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 3)), 0);
    for record in convert::records(image) {
        count += 1;
        record.add_to(&mut chunk);
        if chunk.len() > CHUNK_BYTES {
            close(&mut chunk)?;
        }
    }
    let end = Some(wire::Kind::End(count));
    wire::Record { kind: end }.add_to(&mut chunk);
    close(&mut chunk)?;
    output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()
}

#[cfg(test)]
mod tests;
