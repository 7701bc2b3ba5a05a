//! An organizer's zip as files of a folder: images of a dataset, a challenge's file with its pages, a bundle. Vetted as strictly
//! as a team's, and written by names of our own checking only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    archive::{Archive, Entry, Fault},
    names, ours_apart,
};
use crate::problem::Problem;

/// How much may come out of a zip.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Files.
    pub entries: u64,
    /// Unpacked bytes, all files together.
    pub bytes: u64,
}

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Relative to the folder, in order.
    pub files: Vec<PathBuf>,
    /// Names that the zip has more than once; its last entry of the name counts.
    pub twice: BTreeSet<String>,
    /// Files that operating systems leave behind, and those that were not wanted: not unpacked.
    pub left: usize,
}

/// Unpacks those files of `zip` whose path `wanted` says yes to, into the empty folder `to`. `Ok(Err(problem))` is the zip's
/// fault. Codes: those of a results zip that concern the archive.
pub fn unpack(
    zip: &Path,
    to: &Path,
    room: Room,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Result<Unpacked, Problem>> {
    ours_apart(unpack_into(zip, to, room, wanted))
}

/// Paths, and the first bytes of the files.
pub type Heads = Vec<(PathBuf, Vec<u8>)>;

/// The first `count` bytes of each file of `zip` whose path `wanted` says yes to, in the zip's order. The inner error is the
/// zip's fault.
pub fn peek(
    zip: &Path,
    entries: u64,
    count: usize,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Result<Heads, Problem>> {
    ours_apart(heads(zip, entries, count, wanted))
}

/// The paths of all that a zip holds, each with whether it is a folder, in the zip's order; what operating systems leave behind is
/// left out. The inner error is the zip's fault.
pub fn list(zip: &Path, entries: u64) -> anyhow::Result<Result<Vec<(PathBuf, bool)>, Problem>> {
    ours_apart(names_of(zip, entries))
}

fn names_of(zip: &Path, entries: u64) -> Result<Vec<(PathBuf, bool)>, Fault> {
    let archive = Archive::open(zip, entries)?;
    let mut found = Vec::new();
    for entry in &archive.entries {
        names::safe(entry)?;
        let name = entry.name.trim_end_matches(['/', '\\']);
        if !names::is_junk(name) {
            found.push((plain(entry), name.len() < entry.name.len()));
        }
    }
    Ok(found)
}

fn heads(zip: &Path, entries: u64, count: usize, wanted: impl Fn(&str) -> bool) -> Result<Heads, Fault> {
    let archive = Archive::open(zip, entries)?;
    let mut heads = Vec::new();
    for entry in &archive.entries {
        names::safe(entry)?;
        let path = plain(entry);
        if names::is_junk(&entry.name) || entry.is_folder() || !wanted(&path.to_string_lossy()) {
            continue;
        }
        entry.readable()?;
        heads.push((path, archive.read_prefix(entry, count)?));
    }
    Ok(heads)
}

/// The entry's path, of its parts.
fn plain(entry: &Entry) -> PathBuf {
    names::parts(&entry.name).filter(|part| !matches!(*part, "" | ".")).collect()
}

fn unpack_into(zip: &Path, to: &Path, room: Room, wanted: impl Fn(&str) -> bool) -> Result<Unpacked, Fault> {
    let archive = Archive::open(zip, room.entries)?;
    let mut unpacked = Unpacked::default();
    // By path, so that the last entry of a name wins.
    let mut chosen = BTreeMap::new();
    let mut total = 0u64;
    for entry in &archive.entries {
        names::safe(entry)?;
        if names::is_junk(&entry.name) || entry.is_folder() {
            unpacked.left += usize::from(!entry.is_folder());
            continue;
        }
        let path = plain(entry);
        let shown = path.to_string_lossy().into_owned();
        if !wanted(&shown) {
            unpacked.left += 1;
            continue;
        }
        total = total.saturating_add(entry.size);
        if total > room.bytes {
            let message = format!("the archive unpacks to more than {} bytes", room.bytes);
            return Err(Problem::new("zip_too_large_unpacked", message).into());
        }
        entry.readable()?;
        if chosen.insert(path, entry).is_some() {
            unpacked.twice.insert(shown);
        }
    }
    for (path, entry) in chosen {
        let target = to.join(&path);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create_new(&target));
        let file = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                Fault::Theirs(Problem::new("zip_bad_name", "a file and a folder have the same name").at(&entry.name))
            }
            _ => error.into(),
        })?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        archive.copy(entry, &mut file)?;
        file.flush()?;
        unpacked.files.push(path);
    }
    Ok(unpacked)
}
