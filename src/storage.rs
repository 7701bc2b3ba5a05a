//! Blobs by their SHA-256: bytes stream in, a hash comes out; equal bytes are stored once.
//!
//! An upload is written to an unnamed place first ([`Storage::writer`] → [`TempBlob`]) and becomes a blob only when the
//! intake keeps it ([`Storage::keep`]): one rename, so a row never names a blob that is not whole on disk. A temporary
//! file dies with its [`TempBlob`], or, after a crash, at the next [`Storage::sweep`].
//!
//! A resumable upload grows over several requests ([`Storage::grow`]) in a file of its own, whose length is how far it has
//! come; [`Storage::stage_grown`] makes it a [`TempBlob`] without copying it.

use std::{
    fmt, fs,
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;
use uuid::Uuid;

/// The SHA-256 of a blob, 64 lower-case hexadecimal digits: its only name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct BlobHash(String);

impl BlobHash {
    pub fn of(bytes: &[u8]) -> Self {
        BlobHash(hex(&Sha256::digest(bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BlobHash {
    type Err = NotAHash;
    fn from_str(s: &str) -> Result<Self, NotAHash> {
        let digits = s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digits { Ok(BlobHash(s.to_owned())) } else { Err(NotAHash) }
    }
}

/// Not 64 lower-case hexadecimal digits.
#[derive(Debug, Error)]
#[error("not a SHA-256")]
pub struct NotAHash;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Why bytes were not stored.
#[derive(Debug, Error)]
pub enum StorageError {
    /// More bytes than the writer's limit.
    #[error("more than the {limit} bytes that are allowed")]
    TooLarge { limit: u64 },
    /// Free space is below the floor; a later try may fit.
    #[error("the storage is nearly full")]
    Full,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where blobs live. One back end so far: a folder on this machine.
#[derive(Debug, Clone)]
pub enum Storage {
    Local(Local),
}

/// `<root>/blobs/ab/cdef…` and, on the same file system so that a rename or a link is enough, `<root>/tmp` and
/// `<root>/uploads`.
#[derive(Debug, Clone)]
pub struct Local {
    root: PathBuf,
    /// Nothing is accepted that would leave less than this free, bytes.
    free_floor: u64,
}

/// A temporary file is surely abandoned when nobody holds its lock and it is older than this: the lock is taken right
/// after the file is made, not with it.
const ABANDONED: Duration = Duration::from_secs(60);

/// The same for a folder of unpacked files.
const ABANDONED_FOLDER: Duration = Duration::from_secs(24 * 3600);

/// A blob is stored before the row that names it, by at most so long.
const ON_ITS_WAY: Duration = Duration::from_secs(3600);

/// Free space is looked at each time this much has been written, bytes.
const CHECK_EVERY: u64 = 16 << 20;

impl Storage {
    /// The folder `root`, made where it is missing. Below `free_floor` free bytes nothing is accepted.
    pub fn local(root: impl Into<PathBuf>, free_floor: u64) -> anyhow::Result<Storage> {
        let root = root.into();
        for folder in ["blobs", "tmp", "uploads"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(Storage::Local(Local { root, free_floor }))
    }

    /// A place to stream at most `limit` bytes to.
    pub async fn writer(&self, limit: u64) -> Result<BlobWriter, StorageError> {
        self.check_space()?;
        let Storage::Local(local) = self;
        let temp = tempfile::Builder::new().prefix("upload-").tempfile_in(local.root.join("tmp"))?;
        // Held for as long as this process uses the file: `sweep` takes only what it can lock.
        temp.as_file().lock()?;
        let (file, path) = temp.into_parts();
        let file = tokio::fs::File::from_std(file);
        Ok(BlobWriter { storage: self.clone(), file, path, hash: Sha256::new(), bytes: 0, checked: 0, limit })
    }

    /// Makes an upload a blob. The bytes are on disk already; this renames, so that it is quick enough to happen inside
    /// the transaction that writes the row.
    pub async fn keep(&self, temp: TempBlob) -> anyhow::Result<BlobHash> {
        let to = self.path(&temp.sha256);
        let hash = temp.sha256.clone();
        tokio::task::spawn_blocking(move || keep(temp, &to)).await?.with_context(|| format!("storing blob {hash}"))?;
        Ok(hash)
    }

    /// Stores a whole small file.
    pub async fn put(&self, bytes: &[u8]) -> anyhow::Result<BlobHash> {
        let temp = self.stage(bytes).await?;
        self.keep(temp).await
    }

    /// Writes bytes to a temporary place, to be kept or dropped.
    pub async fn stage(&self, bytes: &[u8]) -> Result<TempBlob, StorageError> {
        let mut writer = self.writer(u64::MAX).await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// A temporary file that `write` fills, off the runtime.
    pub async fn stage_with<W>(&self, write: W) -> Result<TempBlob, StorageError>
    where
        W: FnOnce(&mut fs::File) -> io::Result<()> + Send + 'static,
    {
        self.check_space()?;
        let folder = self.folder("tmp");
        let work = move || {
            let temp = tempfile::Builder::new().prefix("upload-").tempfile_in(folder)?;
            let (file, path) = temp.into_parts();
            file.lock()?;
            let mut file = Locked(file);
            write(&mut file.0)?;
            finished(file, path)
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?.map_err(full_or_io)
    }

    /// An empty folder on the storage's disk for files on their way in, removed with its handle.
    pub fn scratch(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("unpack-").tempdir_in(self.folder("tmp"))
    }

    pub async fn open(&self, hash: &BlobHash) -> io::Result<tokio::fs::File> {
        tokio::fs::File::open(self.path(hash)).await
    }

    /// Where the blob lies, whether or not there is one.
    pub fn path(&self, hash: &BlobHash) -> PathBuf {
        let Storage::Local(local) = self;
        let (folder, rest) = hash.0.split_at(2);
        local.root.join("blobs").join(folder).join(rest)
    }

    /// Removes a blob that no row names; that there is none is as good. One that was stored in the last hour stays: its row may be
    /// on its way.
    pub async fn remove_unused(&self, hash: &BlobHash) -> io::Result<()> {
        let path = self.path(hash);
        let gone = tokio::task::spawn_blocking(move || {
            let stored = fs::metadata(&path)?.modified()?;
            match SystemTime::now().duration_since(stored).is_ok_and(|age| age > ON_ITS_WAY) {
                true => fs::remove_file(&path),
                false => Ok(()),
            }
        });
        match gone.await.map_err(io::Error::other)? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where the private key lies that records are signed with.
    pub fn record_key(&self) -> PathBuf {
        let Storage::Local(local) = self;
        local.root.join("record-key")
    }

    /// Whether there is room above the floor. Workers ask it before they claim.
    pub fn check_space(&self) -> Result<(), StorageError> {
        self.check_space_for(0)
    }

    /// Whether so many bytes fit above the floor.
    pub fn check_space_for(&self, bytes: u64) -> Result<(), StorageError> {
        let Storage::Local(local) = self;
        let needed = local.free_floor.saturating_add(bytes);
        if free_bytes(&local.root)? < needed { Err(StorageError::Full) } else { Ok(()) }
    }

    /// Whether the folder can be read.
    pub fn is_there(&self) -> bool {
        fs::read_dir(self.folder("blobs")).is_ok()
    }

    fn folder(&self, name: &str) -> PathBuf {
        let Storage::Local(local) = self;
        local.root.join(name)
    }

    fn growing_path(&self, id: Uuid) -> PathBuf {
        self.folder("uploads").join(id.to_string())
    }

    /// Makes the empty file of a resumable upload that is to have `length` bytes.
    pub async fn begin_growing(&self, id: Uuid, length: u64) -> Result<(), StorageError> {
        self.check_space_for(length)?;
        let (path, folder) = (self.growing_path(id), self.folder("uploads"));
        let make = move || {
            fs::File::create_new(path)?;
            fs::File::open(folder)?.sync_all()
        };
        tokio::task::spawn_blocking(make).await.map_err(io::Error::other)?.map_err(full_or_io)
    }

    /// How many bytes of a resumable upload are here; `None`: it has no file.
    pub async fn grown(&self, id: Uuid) -> io::Result<Option<u64>> {
        match tokio::fs::metadata(self.growing_path(id)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A resumable upload to append to, for one writer at a time; `None`: somebody else has it.
    pub async fn grow(&self, id: Uuid) -> Result<Option<Growing>, StorageError> {
        let path = self.growing_path(id);
        let open = move || {
            let mut file = fs::File::options().append(true).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            let bytes = file.seek(SeekFrom::End(0))?;
            Ok(Some((file, bytes)))
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
        let growing = |(file, bytes)| Growing {
            storage: self.clone(),
            file: Some(tokio::fs::File::from_std(file)),
            bytes,
            checked: bytes,
        };
        Ok(opened.map(growing))
    }

    /// A whole resumable upload as a temporary file, to be kept or dropped; the upload itself stays. `None`: somebody is
    /// writing it.
    pub async fn stage_grown(&self, id: Uuid) -> Result<Option<TempBlob>, StorageError> {
        let (path, folder) = (self.growing_path(id), self.folder("tmp"));
        let link = move || {
            let file = fs::File::open(&path)?;
            // Of the file itself, whatever its name: held before the link exists, so that no sweep takes that.
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            let mut file = Some(Locked(file));
            let temp = tempfile::Builder::new().prefix("upload-").make_in(folder, |link| {
                fs::hard_link(&path, link)?;
                file.take().ok_or_else(|| io::ErrorKind::AlreadyExists.into())
            })?;
            let (file, path) = temp.into_parts();
            finished(file, path).map(Some)
        };
        Ok(tokio::task::spawn_blocking(link).await.map_err(io::Error::other)??)
    }

    /// Removes a resumable upload; that there is none is as good.
    pub async fn drop_grown(&self, id: Uuid) -> io::Result<()> {
        match tokio::fs::remove_file(self.growing_path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The resumable uploads whose file has not been written for so long.
    pub fn grown_untouched(&self, since: Duration) -> io::Result<Vec<Uuid>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder("uploads"))? {
            let entry = entry?;
            // Another process may remove it between the listing and here.
            let Ok(modified) = entry.metadata().and_then(|m| m.modified()) else { continue };
            let old = SystemTime::now().duration_since(modified).is_ok_and(|age| age > since);
            if let (true, Some(id)) = (old, entry.file_name().to_str().and_then(|name| name.parse().ok())) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Removes temporary files whose process died; returns how many.
    pub fn sweep(&self) -> io::Result<usize> {
        let Storage::Local(local) = self;
        let mut removed = 0;
        for entry in fs::read_dir(local.root.join("tmp"))? {
            let entry = entry?;
            // Another process may remove it between the listing and here.
            let Ok(file) = fs::File::open(entry.path()) else { continue };
            let age = file.metadata().and_then(|m| m.modified()).map(|at| SystemTime::now().duration_since(at));
            let old = matches!(age, Ok(Ok(age)) if age > ABANDONED);
            // A folder has no lock: what was unpacked a day ago is in nobody's hands.
            let folder = matches!(age, Ok(Ok(age)) if age > ABANDONED_FOLDER) && entry.path().is_dir();
            let gone = match folder {
                true => fs::remove_dir_all(entry.path()).is_ok(),
                false => old && file.try_lock().is_ok() && fs::remove_file(entry.path()).is_ok(),
            };
            removed += usize::from(gone);
        }
        Ok(removed)
    }
}

/// A stream of bytes on its way to disk; memory stays bounded whatever its length.
pub struct BlobWriter {
    storage: Storage,
    file: tokio::fs::File,
    path: TempPath,
    hash: Sha256,
    bytes: u64,
    /// Bytes written when free space was last looked at.
    checked: u64,
    limit: u64,
}

impl BlobWriter {
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(StorageError::TooLarge { limit: self.limit });
        }
        if self.bytes - self.checked >= CHECK_EVERY {
            self.storage.check_space()?;
            self.checked = self.bytes;
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).await.map_err(full_or_io)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until the bytes are on disk.
    pub async fn finish(mut self) -> Result<TempBlob, StorageError> {
        self.file.flush().await.map_err(full_or_io)?;
        self.file.sync_all().await.map_err(full_or_io)?;
        let sha256 = BlobHash(hex(&self.hash.finalize()));
        let file = self.file.into_std().await;
        Ok(TempBlob { _lock: Locked(file), path: self.path, sha256, bytes: self.bytes })
    }
}

/// A file whose lock goes with this handle. Closing is not enough: a child that the process is just starting has a copy of every
/// open file until it becomes another program, and the lock lives as long as any copy.
#[derive(Debug)]
struct Locked(fs::File);

impl Drop for Locked {
    fn drop(&mut self) {
        // That it was not locked is as good.
        let _ = self.0.unlock();
    }
}

/// A resumable upload in the hands of its one writer. What was written stays, whatever becomes of the writer. Whoever answers a
/// client lets go first ([`Growing::release`]): a client that has its answer may come back at once.
pub struct Growing {
    storage: Storage,
    /// Holds the lock; appends only. `None` only while it is dropped.
    file: Option<tokio::fs::File>,
    bytes: u64,
    /// Bytes when free space was last looked at.
    checked: u64,
}

impl Growing {
    fn file(&mut self) -> Result<&mut tokio::fs::File, StorageError> {
        self.file.as_mut().ok_or_else(|| StorageError::Io(io::ErrorKind::NotFound.into()))
    }

    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        if self.bytes - self.checked >= CHECK_EVERY {
            self.storage.check_space()?;
            self.checked = self.bytes;
        }
        self.file()?.write_all(chunk).await.map_err(full_or_io)?;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until the bytes are on disk.
    pub async fn sync(&mut self) -> Result<(), StorageError> {
        let file = self.file()?;
        file.flush().await.map_err(full_or_io)?;
        file.sync_all().await.map_err(full_or_io)
    }

    /// Forgets what came after the first `bytes`.
    pub async fn cut(&mut self, bytes: u64) -> Result<(), StorageError> {
        let file = self.file()?;
        file.flush().await.map_err(full_or_io)?;
        file.set_len(bytes).await?;
        self.bytes = bytes;
        Ok(())
    }

    /// Lets go of the file: when this returns, nobody finds it locked by us.
    pub async fn release(mut self) {
        if let Some(mut file) = self.file.take() {
            // What failed to be written was told by `sync`.
            let _ = file.flush().await;
            drop(Locked(file.into_std().await));
        }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // A write that is still under way keeps the lock until it has ended: the next writer must not begin before it.
        if let Some(Ok(file)) = self.file.take().map(tokio::fs::File::try_into_std) {
            drop(Locked(file));
        }
    }
}

/// Waits until a temporary file is on disk, and names it by its bytes.
fn finished(mut lock: Locked, path: TempPath) -> io::Result<TempBlob> {
    use io::Read;
    let file = &mut lock.0;
    file.sync_all()?;
    file.rewind()?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(TempBlob { _lock: lock, path, sha256: BlobHash(hex(&hash.finalize())), bytes })
}

/// A whole file on disk that nothing names yet; dropped, it is gone.
#[derive(Debug)]
pub struct TempBlob {
    /// The open file holds the lock that tells `sweep` to leave it alone.
    _lock: Locked,
    path: TempPath,
    pub sha256: BlobHash,
    pub bytes: u64,
}

impl TempBlob {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn keep(temp: TempBlob, to: &Path) -> io::Result<()> {
    if to.exists() {
        // Stored anew, as far as anybody can tell who would remove it.
        return fs::File::open(to)?.set_modified(SystemTime::now());
    }
    let folder = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        // A new folder is durable only with its parent.
        fs::File::open(folder.parent().unwrap_or(folder))?.sync_all()?;
    }
    // Whoever reads a blob must not be able to change it by mistake.
    let mut permissions = fs::metadata(&temp.path)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&temp.path, permissions)?;
    temp.path.persist(to).map_err(|e| e.error)?;
    fs::File::open(folder)?.sync_all()
}

fn full_or_io(error: io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
        _ => StorageError::Io(error),
    }
}

/// Bytes that an unprivileged process may still write on the file system of `path`.
fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a C string and `stat` has room for the answer, which is read only after success.
    let stat = unsafe {
        if libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        stat.assume_init()
    };
    Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
}
