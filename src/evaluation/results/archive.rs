//! A zip from a stranger: its list checked before anything is unpacked, its entries read with hard bounds.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use zip::{CompressionMethod, ZipArchive};

use crate::problem::{Problem, printable};

/// Longest name of an entry, bytes.
const MAX_NAME: usize = 255;
/// Longest central directory that is read, bytes.
const MAX_LIST: u64 = 16 << 20;

/// One regular file of the archive.
#[derive(Debug)]
pub struct Entry {
    pub index: usize,
    /// With `/` between folders.
    pub name: String,
    size: u64,
}

impl Entry {
    pub fn base(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

pub struct Archive {
    zip: ZipArchive<Shared>,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("entries", &self.entries.len()).finish()
    }
}

impl Archive {
    /// Opens an archive of at most `most_entries`, that unpack to at most `room` bytes; every fault of its list is named.
    pub fn open(path: &Path, most_entries: usize, room: u64) -> Result<Archive, Vec<Problem>> {
        let file = File::open(path).map_err(|e| vec![malformed(&e.to_string())])?;
        let raw_names = list(&file, most_entries).map_err(|p| vec![p])?;
        if raw_names.is_empty() {
            return Err(vec![Problem::new("zip_empty", "the zip holds no files")]);
        }
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        // The zip crate keeps the last of two equal names without a word, so they are found here.
        for name in raw_names.iter().filter(|name| !seen.insert(name.as_slice())) {
            let name = String::from_utf8_lossy(name);
            problems.push(Problem::new("duplicate_image", format!("the zip holds {} twice", printable(&name))).at(&name));
        }
        let length = file.metadata().map_err(|e| vec![malformed(&e.to_string())])?.len();
        let shared = Shared { file: Arc::new(file), position: 0, length };
        let mut zip = ZipArchive::new(shared).map_err(|e| vec![malformed(&e.to_string())])?;
        if zip.len() + problems.len() != raw_names.len() {
            problems.push(malformed(&format!("{} entries are announced, {} found", raw_names.len(), zip.len())));
        }
        if zip.has_overlapping_files().map_err(|e| vec![malformed(&e.to_string())])? {
            problems.push(Problem::new("zip_overlap", "entries of the zip share the same bytes"));
        }
        let mut entries = Vec::new();
        let mut total = 0u64;
        for index in 0..zip.len() {
            match vet_entry(&mut zip, index) {
                Ok(Some(entry)) => {
                    total = total.saturating_add(entry.size);
                    entries.push(entry);
                }
                Ok(None) => {}
                Err(found) => {
                    total = total.saturating_add(found.size);
                    problems.push(found.problem);
                }
            }
        }
        if total > room {
            let message = format!("the zip unpacks to {} MiB, at most {} MiB are expected", total >> 20, room >> 20);
            problems.insert(0, Problem::new("zip_too_large_unpacked", message));
        }
        if entries.is_empty() && problems.is_empty() {
            problems.push(Problem::new("zip_empty", "the zip holds no files"));
        }
        if problems.is_empty() { Ok(Archive { zip, entries }) } else { Err(super::shortened(problems)) }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A whole entry, its checksum verified.
    pub fn read(&self, index: usize) -> Result<Vec<u8>, Problem> {
        let mut zip = self.zip.clone();
        let mut entry = zip.by_index(index).map_err(|e| malformed(&e.to_string()))?;
        let size = entry.size();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(64 << 20));
        match (&mut entry).take(size + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 == size => Ok(bytes),
            Ok(_) => Err(size_mismatch()),
            Err(error) => Err(read_problem(&error)),
        }
    }

    /// The first bytes of an entry; its checksum cannot be known yet.
    pub fn read_head(&self, index: usize, most: u64) -> Result<Vec<u8>, Problem> {
        let mut zip = self.zip.clone();
        let mut entry = zip.by_index(index).map_err(|e| malformed(&e.to_string()))?;
        let mut bytes = Vec::new();
        (&mut entry).take(most).read_to_end(&mut bytes).map_err(|e| read_problem(&e))?;
        Ok(bytes)
    }
}

fn malformed(why: &str) -> Problem {
    Problem::new("zip_malformed", format!("the zip cannot be read: {why}"))
        .hint("Make a new zip, and check with `unzip -t` that it is whole before uploading.")
}

fn size_mismatch() -> Problem {
    Problem::new("zip_size_mismatch", "an entry does not unpack to the size that the zip says")
}

fn read_problem(error: &io::Error) -> Problem {
    let text = error.to_string();
    let lower = text.to_ascii_lowercase();
    if lower.contains("checksum") || lower.contains("crc") {
        Problem::new("zip_crc", "the checksum of an entry is wrong: the zip is damaged")
    } else if lower.contains("larger than") {
        size_mismatch()
    } else {
        malformed(&text)
    }
}

struct Refused {
    problem: Problem,
    size: u64,
}

/// A regular file, nothing (a folder, a system's own litter), or what is wrong with an entry.
fn vet_entry(zip: &mut ZipArchive<Shared>, index: usize) -> Result<Option<Entry>, Refused> {
    let entry = zip.by_index_raw(index).map_err(|e| Refused { problem: malformed(&e.to_string()), size: 0 })?;
    let size = entry.size();
    let refuse = |code, message: &str, name: &str| Err(Refused { problem: Problem::new(code, message).at(name), size });
    let shown = String::from_utf8_lossy(entry.name_raw()).into_owned();
    let name = match entry.name() {
        Ok(name) if name.len() <= MAX_NAME && !name.is_empty() && !name.chars().any(char::is_control) => name.into_owned(),
        _ => return refuse("zip_bad_name", "a name is empty, too long, no UTF-8, or holds control characters", &shown),
    };
    // Old Windows tools write backslashes.
    let name = name.replace('\\', "/");
    let drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with('/') || drive || name.split('/').any(|part| part == "..") {
        return refuse("zip_unsafe_path", "a path leads out of the zip", &name);
    }
    if !entry.unix_mode().is_none_or(|mode| matches!(mode & 0o170000, 0 | 0o100000 | 0o040000)) {
        return refuse("zip_not_regular_file", "a link or a special file; only plain files are taken", &name);
    }
    if entry.is_dir() || name.ends_with('/') || is_litter(&name) {
        return Ok(None);
    }
    if entry.encrypted() {
        return refuse("zip_encrypted", "a password-protected archive cannot be read", &name);
    }
    match entry.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(Some(Entry { index, name, size })),
        other => refuse(
            "zip_method",
            &format!("compressed by {}; use deflate, the zip default", method_name(other)),
            &name,
        ),
    }
}

fn method_name(method: CompressionMethod) -> String {
    #[allow(deprecated, reason = "the number is what a person can look up")]
    match method {
        CompressionMethod::Unsupported(12) => "bzip2".into(),
        CompressionMethod::Unsupported(14) => "LZMA".into(),
        CompressionMethod::Unsupported(93) => "Zstandard".into(),
        CompressionMethod::Unsupported(95) => "XZ".into(),
        CompressionMethod::Unsupported(99) => "AES encryption".into(),
        CompressionMethod::Unsupported(number) => format!("method {number}"),
        other => other.to_string(),
    }
}

/// What Finder and Explorer leave in every zip.
fn is_litter(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or_default();
    name.split('/').any(|part| part == "__MACOSX")
        || base.starts_with("._")
        || matches!(base.to_ascii_lowercase().as_str(), ".ds_store" | "thumbs.db" | "desktop.ini")
}

/// The raw names of the central directory, after the end record is checked: a count that lies, a second end record, or
/// bytes that belong to nothing make readers disagree on what the archive holds.
fn list(file: &File, most_entries: usize) -> Result<Vec<Vec<u8>>, Problem> {
    let io = |e: io::Error| malformed(&e.to_string());
    let length = file.metadata().map_err(io)?.len();
    let tail_length = length.min(22 + 0xffff);
    let mut tail = vec![0u8; tail_length as usize];
    file.read_exact_at(&mut tail, length - tail_length).map_err(io)?;
    // An end record is one whose comment reaches exactly to the end of the file.
    let ends: Vec<usize> = (0..tail.len().saturating_sub(21))
        .filter(|&at| tail[at..].starts_with(b"PK\x05\x06") && at + 22 + usize::from(u16_at(&tail, at + 20)) == tail.len())
        .collect();
    let at = match ends.as_slice() {
        [] => return Err(malformed("it has no end record; the upload may be cut short")),
        [one] => *one,
        _ => return Err(malformed("it has two end records")),
    };
    let end = length - tail_length + at as u64;
    let mut count = u64::from(u16_at(&tail, at + 10));
    let mut size = u64::from(u32_at(&tail, at + 12));
    let mut start = u64::from(u32_at(&tail, at + 16));
    let mut list_end = end;
    if let Some(locator) = at.checked_sub(20).filter(|&l| tail[l..].starts_with(b"PK\x06\x07")) {
        let record = u64_at(&tail, locator + 8);
        let mut zip64 = [0u8; 56];
        file.read_exact_at(&mut zip64, record).map_err(|_| malformed("its zip64 record is out of reach"))?;
        if !zip64.starts_with(b"PK\x06\x06") {
            return Err(malformed("its zip64 record is missing"));
        }
        (count, size, start) = (u64_at(&zip64, 32), u64_at(&zip64, 40), u64_at(&zip64, 48));
        list_end = record;
    }
    // A list entry has at least 46 bytes.
    if count.saturating_mul(46) > size || size > MAX_LIST && count <= most_entries as u64 {
        return Err(malformed("its number of entries does not fit its list"));
    }
    if count > most_entries as u64 {
        let message = format!("the zip holds {count} entries, at most {most_entries} are accepted");
        return Err(Problem::new("zip_too_many_entries", message));
    }
    if start.checked_add(size) != Some(list_end) {
        return Err(malformed("bytes stand before or after it that belong to no entry"));
    }
    let mut bytes = vec![0u8; size as usize];
    file.read_exact_at(&mut bytes, start).map_err(io)?;
    let mut names = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        if rest.len() < 46 || !rest.starts_with(b"PK\x01\x02") {
            return Err(malformed("its list is damaged"));
        }
        let (name, extra, comment) = (u16_at(rest, 28), u16_at(rest, 30), u16_at(rest, 32));
        let whole = 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
        if rest.len() < whole {
            return Err(malformed("its list is damaged"));
        }
        names.push(rest[46..46 + usize::from(name)].to_vec());
        rest = &rest[whole..];
    }
    if names.len() as u64 != count {
        return Err(malformed(&format!("{count} entries are announced, its list holds {}", names.len())));
    }
    Ok(names)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A file that many readers share, each with its own position: entries are read in parallel without a copy of the zip.
#[derive(Clone)]
struct Shared {
    file: Arc<File>,
    position: u64,
    length: u64,
}

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(into, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.length.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
