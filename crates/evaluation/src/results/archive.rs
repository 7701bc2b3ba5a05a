//! A strict reader of zip archives from strangers: the list of what is in it, then the bytes of one entry at a time.
//!
//! Zip readers disagree about archives that were made to be ambiguous: which of two end records counts, which of two
//! equal names, which of two names of one entry. What was vetted must be what is scored, so this reader has one view,
//! the central directory's, and refuses whatever leaves a choice. (The `zip` crate, good for honest archives, drops the
//! first of two equal names and searches for an archive behind a prefix.) It allocates by what the file holds and never
//! by what it claims. Format: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::Context;

use crate::{
    problem::{Problem, printable},
    sniff,
};

/// Either the archive is at fault, or our disk.
#[derive(Debug)]
pub(crate) enum Fault {
    Theirs(Problem),
    Ours(anyhow::Error),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Fault::Ours(anyhow::Error::from(e).context("reading the results zip"))
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Fault::Theirs(problem)
    }
}

/// One line of the central directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As stored.
    pub raw_name: Vec<u8>,
    /// For a person and for pairing: not validated, never a path to write to.
    pub name: String,
    /// The name is flagged as UTF-8 and is none.
    pub bad_utf8: bool,
    pub encrypted: bool,
    /// 0 stored, 8 deflated.
    pub method: u16,
    pub crc: u32,
    pub packed: u64,
    /// Unpacked bytes, as claimed.
    pub size: u64,
    /// Unix mode, 0 where the archive has none.
    pub mode: u32,
    /// Where the local header begins.
    header: u64,
    /// Where the packed bytes begin; known once [`Archive::locate`] has run.
    data: u64,
}

impl Entry {
    /// Refuses what cannot be unpacked here: a password, or another method than stored and Deflate.
    pub fn readable(&self) -> Result<(), Problem> {
        if self.encrypted {
            return Err(Problem::new("zip_encrypted", "the archive is password-protected").at(&self.name));
        }
        let method = match self.method {
            0 | 8 => return Ok(()),
            9 => "Deflate64",
            12 => "bzip2",
            14 => "LZMA",
            93 => "Zstandard",
            95 => "XZ",
            98 => "PPMd",
            99 => "AES encryption",
            _ => "an unknown one",
        };
        let message = format!("packed by method {} ({method}); stored and Deflate are read", self.method);
        let problem = Problem::new("zip_method", message).at(&self.name);
        Err(match self.method {
            9 => problem.hint(
                "Windows Explorer packs so above 2 GB: use 7-Zip, or `python -m zipfile -c new.zip FOLDER`, which take Deflate.",
            ),
            _ => problem,
        })
    }

    pub fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000 || self.name.ends_with(['/', '\\'])
    }

    /// Whether what was unpacked is what the list says: so many bytes, with this checksum.
    fn check(&self, bytes: u64, crc: u32) -> Result<(), Fault> {
        if bytes != self.size {
            let found = if bytes > self.size { "more".into() } else { bytes.to_string() };
            let message = format!("the archive says {} bytes, unpacking gives {found}", self.size);
            return Err(Problem::new("zip_size_mismatch", message).at(&self.name).into());
        }
        if crc != self.crc {
            let problem = Problem::new("zip_crc", "the checksum (CRC) does not match: the file is damaged");
            return Err(problem.at(&self.name).into());
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    pub entries: Vec<Entry>,
    /// Where the central directory begins: entries lie before it.
    directory: u64,
}

const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: usize = 22;
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LEN: usize = 56;
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const LOCATOR64_LEN: usize = 20;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const CENTRAL_LEN: usize = 46;
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_LEN: usize = 30;

/// How much of a broken archive is looked at for what a transfer made of it.
const MANGLED: u64 = 1 << 20;
/// What may follow the end record: line ends and fillings that a transfer adds, and that belong to nothing.
const BLANKS: [u8; 6] = *b"\r\n\t \0\x1a";

/// The list of an honest archive of 100,000 entries with long names stays below.
const MAX_DIRECTORY: u64 = 16 << 20;

impl Archive {
    /// Reads the list; no entry's bytes. Codes: `zip_malformed`, `zip_too_many_entries`, `zip_overlap`.
    pub fn open(path: &Path, max_entries: u64) -> Result<Archive, Fault> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display())).map_err(Fault::Ours)?;
        match read_list(&file, max_entries) {
            Ok((entries, directory)) => {
                let mut archive = Archive { file, entries, directory };
                archive.locate()?;
                Ok(archive)
            }
            Err(Fault::Theirs(problem)) if problem.code == "zip_malformed" => {
                let mut head = Vec::new();
                (&file).take(MANGLED).read_to_end(&mut head)?;
                Err(match head.starts_with(b"PK") && sniff::changed_as_text(&head) {
                    true => Problem::new("zip_malformed", sniff::AS_TEXT).hint(sniff::AS_TEXT_ADVICE).into(),
                    false => problem.into(),
                })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Finds each entry's bytes, and whether its local header agrees with the list.
    fn locate(&mut self) -> Result<(), Fault> {
        let mut disagreement = None;
        for entry in &mut self.entries {
            let disagrees =
                |what: &str| Problem::new("zip_malformed", format!("the archive's list {what}")).at(&entry.name);
            let outside = || Fault::from(disagrees("points outside the archive"));
            if entry.header.checked_add(LOCAL_LEN as u64).is_none_or(|end| end > self.directory) {
                return Err(outside());
            }
            let mut head = [0; LOCAL_LEN];
            self.file.read_exact_at(&mut head, entry.header)?;
            if head[..4] != LOCAL {
                return Err(disagrees("points at something that is no entry").into());
            }
            let mut name = vec![0; u16_at(&head, 26).into()];
            let name_at = entry.header + LOCAL_LEN as u64;
            entry.data = name_at + name.len() as u64 + u64::from(u16_at(&head, 28));
            if entry.data.checked_add(entry.packed).is_none_or(|end| end > self.directory) {
                return Err(outside());
            }
            self.file.read_exact_at(&mut name, name_at)?;
            if !one_meaning(&name, &entry.raw_name) {
                disagreement = Some(disagrees("and the entry itself give different names"));
            } else if u16_at(&head, 8) != entry.method {
                disagreement = Some(disagrees("and the entry itself give different compression methods"));
            }
        }
        // First, as it is the graver fault and may be why the names differ.
        self.refuse_overlap()?;
        disagreement.map_or(Ok(()), |problem| Err(problem.into()))
    }

    /// Entries that share bytes are the mark of a bomb.
    fn refuse_overlap(&self) -> Result<(), Fault> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|e| e.header);
        match entries.windows(2).find(|pair| pair[0].data + pair[0].packed > pair[1].header) {
            None => Ok(()),
            Some(pair) => {
                let message = format!("shares its bytes with {}", printable(&pair[1].name));
                Err(Problem::new("zip_overlap", message).at(&pair[0].name).into())
            }
        }
    }

    /// The first `count` unpacked bytes, or fewer where the entry is shorter; checksums are not looked at.
    pub fn read_prefix(&self, entry: &Entry, count: usize) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::with_capacity(count);
        let result = self.unpack(entry).take(count as u64).read_to_end(&mut out);
        result.map_err(|e| unpacking(e, entry))?;
        Ok(out)
    }

    /// All bytes of an entry, checked against the size and the checksum in the list.
    /// Codes: `zip_size_mismatch`, `zip_crc`, `zip_malformed`.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, Fault> {
        // Deflate packs at most 1032:1, so a lie about the size does not make this allocate.
        let honest = entry.size.min(entry.packed.saturating_mul(1032));
        let mut out = Vec::with_capacity(honest as usize);
        let result = self.unpack(entry).take(entry.size.saturating_add(1)).read_to_end(&mut out);
        result.map_err(|e| unpacking(e, entry))?;
        let mut crc = flate2::Crc::new();
        crc.update(&out);
        entry.check(out.len() as u64, crc.sum())?;
        Ok(out)
    }

    /// Writes all bytes of an entry, checked as [`Archive::read`] does, without holding them.
    pub fn copy(&self, entry: &Entry, to: &mut impl io::Write) -> Result<(), Fault> {
        let mut from = self.unpack(entry).take(entry.size.saturating_add(1));
        let (mut crc, mut total, mut buffer) = (flate2::Crc::new(), 0, vec![0; 1 << 18]);
        loop {
            let n = from.read(&mut buffer).map_err(|e| unpacking(e, entry))?;
            if n == 0 {
                break;
            }
            crc.update(&buffer[..n]);
            total += n as u64;
            to.write_all(&buffer[..n])?;
        }
        entry.check(total, crc.sum())
    }

    fn unpack(&self, entry: &Entry) -> Box<dyn Read + '_> {
        let packed = Window { file: &self.file, at: entry.data, end: entry.data + entry.packed };
        match entry.method {
            0 => Box::new(packed),
            _ => Box::new(flate2::bufread::DeflateDecoder::new(BufReader::with_capacity(1 << 16, packed))),
        }
    }
}

/// Part of a file, read at explicit offsets so that threads share the file.
struct Window<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = (self.end - self.at).min(buf.len() as u64) as usize;
        let got = self.file.read_at(&mut buf[..want], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// Whether an entry's two names can only mean one file: the same but for the slash, or for how letters outside of ASCII are
/// encoded. Images are paired by what is ASCII, and by the list's name only.
fn one_meaning(a: &[u8], b: &[u8]) -> bool {
    let parts = |name| <[u8]>::split(name, |byte| matches!(byte, b'/' | b'\\'));
    a == b
        || parts(a).count() == parts(b).count()
            && parts(a).zip(parts(b)).all(|(a, b)| a == b || !a.is_ascii() && !b.is_ascii())
}

fn unpacking(e: io::Error, entry: &Entry) -> Fault {
    if e.raw_os_error().is_some() {
        return e.into();
    }
    let problem = Problem::new("zip_malformed", "the packed data is damaged and cannot be unpacked");
    problem.at(&entry.name).into()
}

fn malformed(message: impl Into<String>) -> Fault {
    Problem::new("zip_malformed", message).into()
}

/// The entries that the list names, and where the list begins.
fn read_list(file: &File, max_entries: u64) -> Result<(Vec<Entry>, u64), Fault> {
    let end = find_end(file, file.metadata()?.len())?;
    // Both are tested on the claim, before the list is read.
    if end.size > MAX_DIRECTORY || end.count.saturating_mul(CENTRAL_LEN as u64) > end.size {
        let message = format!("the archive claims {} entries in a list of {} bytes", end.count, end.size);
        return Err(malformed(message));
    }
    if end.count > max_entries {
        let message = format!("the archive holds {} entries, at most {max_entries} are allowed", end.count);
        return Err(Problem::new("zip_too_many_entries", message).into());
    }
    let mut list = vec![0; end.size as usize];
    file.read_exact_at(&mut list, end.start)?;
    Ok((parse_list(&list, end.count)?, end.start))
}

/// What an end record says of the list: where it begins, its length, and its entries.
struct End {
    start: u64,
    size: u64,
    count: u64,
}

/// Finds the one end record that closes the file, blanks apart. None, two, or bytes that belong to nothing are refused.
fn find_end(file: &File, len: u64) -> Result<End, Fault> {
    let mut tail = vec![0; len.min((END_LEN + usize::from(u16::MAX)) as u64) as usize];
    let tail_at = len - tail.len() as u64;
    file.read_exact_at(&mut tail, tail_at)?;

    let records: Vec<usize> =
        (0..(tail.len() + 1).saturating_sub(END_LEN)).filter(|&i| tail[i..].starts_with(&END)).collect();
    // What follows the record and its comment.
    let behind = |i: usize| tail.get(i + END_LEN + usize::from(u16_at(&tail, i + 20))..);
    let blank = |rest: &[u8]| rest.iter().all(|byte| BLANKS.contains(byte));
    let mut ends = records.iter().copied().filter(|&i| behind(i).is_some_and(blank));
    let Some(at) = ends.next() else {
        return Err(match records.last().and_then(|&i| behind(i)) {
            Some(rest) => malformed(format!("{} bytes follow the archive's end", rest.len())),
            None => no_end(file, len),
        });
    };
    if ends.next().is_some() {
        return Err(malformed("the archive has two end records: it holds a second archive in its comment"));
    }
    let record = &tail[at..];
    if u16_at(record, 4) != u16_at(record, 6) || u16_at(record, 8) != u16_at(record, 10) {
        return Err(malformed("the archive is one part of several"));
    }
    let mut end =
        End { start: u32_at(record, 16).into(), size: u32_at(record, 12).into(), count: u16_at(record, 10).into() };
    let mut end_at = tail_at + at as u64;
    if let Some(at64) = find_end64(file, end_at)? {
        let mut record = [0; END64_LEN];
        file.read_exact_at(&mut record, at64)?;
        let large = End { start: u64_at(&record, 48), size: u64_at(&record, 40), count: u64_at(&record, 32) };
        // Where the small record has a value at all, it must be the same one.
        let agree = |small: u64, large: u64, none: u64| small == none || small == large;
        if !agree(end.start, large.start, u32::MAX.into())
            || !agree(end.size, large.size, u32::MAX.into())
            || !agree(end.count, large.count, u16::MAX.into())
        {
            return Err(malformed("the archive's two end records (zip and zip64) disagree"));
        }
        (end, end_at) = (large, at64);
    }
    match end.start.checked_add(end.size) {
        Some(stop) if stop == end_at => Ok(end),
        Some(stop) if stop < end_at => {
            let gap = end_at - stop;
            let mut mark = [0; 4];
            file.read_exact_at(&mut mark, end.start + gap)?;
            Err(malformed(match mark == CENTRAL {
                true => format!("{gap} bytes stand before the archive"),
                false => format!("{gap} bytes stand between the archive's list and its end record"),
            }))
        }
        Some(stop) => Err(malformed(format!("{} bytes of the archive are missing", stop - end_at))),
        None => Err(malformed("the archive's end record points outside the archive")),
    }
}

/// Where the zip64 end record begins, if the archive has one. It must lie right before its locator, and that right before
/// the end record at `end_at`.
fn find_end64(file: &File, end_at: u64) -> Result<Option<u64>, Fault> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR64_LEN as u64) else { return Ok(None) };
    let mut locator = [0; LOCATOR64_LEN];
    file.read_exact_at(&mut locator, locator_at)?;
    if locator[..4] != LOCATOR64 {
        return Ok(None);
    }
    let broken = || malformed("the archive's zip64 end record is damaged");
    let at = u64_at(&locator, 8);
    if at.checked_add(END64_LEN as u64).is_none_or(|end| end > locator_at) {
        return Err(broken());
    }
    let mut head = [0; 12];
    file.read_exact_at(&mut head, at)?;
    let closes = u64_at(&head, 4).checked_add(at + 12) == Some(locator_at);
    if head[..4] == END64 && closes { Ok(Some(at)) } else { Err(broken()) }
}

/// Why a file without an end record is no zip, as far as its first bytes tell.
fn no_end(file: &File, len: u64) -> Fault {
    let mut head = vec![0; sniff::HEAD];
    let got = file.read_at(&mut head, 0).unwrap_or(0);
    let head = &head[..got];
    let (message, advice) = match sniff::kind(head) {
        _ if head.starts_with(&LOCAL) => {
            (format!("the archive's end is missing after {len} bytes: the upload was cut short?"), None)
        }
        Some(kind) => (format!("{}, not a zip archive", kind.words), kind.advice),
        None => ("not a zip archive".to_owned(), None),
    };
    Problem::new("zip_malformed", message).hint(advice.unwrap_or("Upload a .zip file.")).into()
}

fn parse_list(list: &[u8], count: u64) -> Result<Vec<Entry>, Fault> {
    let broken = || malformed("the archive's list of entries is damaged");
    let mut entries = Vec::with_capacity(count as usize);
    let mut rest = list;
    while !rest.is_empty() {
        let head = rest.get(..CENTRAL_LEN).filter(|head| head[..4] == CENTRAL).ok_or_else(broken)?;
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
        let record = rest.get(..CENTRAL_LEN + name + extra + comment).ok_or_else(broken)?;
        let raw_name = &record[CENTRAL_LEN..][..name];
        let extra = &record[CENTRAL_LEN + raw_name.len()..][..extra];
        let (name, bad_utf8) = match unicode_path(raw_name, extra) {
            Some(name) => (name, false),
            None => decode_name(raw_name, u16_at(head, 8) & 1 << 11 != 0),
        };
        let sizes = Sizes::read(head, extra).ok_or_else(broken)?;
        entries.push(Entry {
            raw_name: raw_name.to_vec(),
            name,
            bad_utf8,
            encrypted: u16_at(head, 8) & 1 != 0,
            method: u16_at(head, 10),
            crc: u32_at(head, 16),
            packed: sizes.packed,
            size: sizes.size,
            mode: u32_at(head, 38) >> 16,
            header: sizes.header,
            data: 0,
        });
        rest = &rest[record.len()..];
    }
    if entries.len() as u64 != count {
        return Err(malformed(format!("the archive claims {count} entries and lists {}", entries.len())));
    }
    Ok(entries)
}

struct Sizes {
    size: u64,
    packed: u64,
    header: u64,
}

impl Sizes {
    /// From a central record and its extra field, which holds what does not fit 32 bits (zip64).
    fn read(head: &[u8], mut extra: &[u8]) -> Option<Sizes> {
        let [size, packed, header] = [24, 20, 42].map(|at| u32_at(head, at));
        let mut large: &[u8] = &[];
        while extra.len() >= 4 {
            let len = usize::from(u16_at(extra, 2));
            let field = extra.get(4..4 + len)?;
            if u16_at(extra, 0) == 1 {
                large = field;
            }
            extra = &extra[4 + len..];
        }
        // Present in this order, and only those that are all ones above.
        let mut widen = |small: u32| -> Option<u64> {
            if small != u32::MAX {
                return Some(small.into());
            }
            let (value, rest) = large.split_first_chunk()?;
            large = rest;
            Some(u64::from_le_bytes(*value))
        };
        Some(Sizes { size: widen(size)?, packed: widen(packed)?, header: widen(header)? })
    }
}

/// The name in UTF-8 that Info-ZIP's tools put beside one in an old code page, where it belongs to that name.
fn unicode_path(raw_name: &[u8], mut extra: &[u8]) -> Option<String> {
    while extra.len() >= 4 {
        let field = extra.get(4..4 + usize::from(u16_at(extra, 2)))?;
        if u16_at(extra, 0) == 0x7075 {
            let (head, name) = field.split_at_checked(5)?;
            let mut crc = flate2::Crc::new();
            crc.update(raw_name);
            let name = std::str::from_utf8(name).ok()?;
            return (head[0] == 1 && u32_at(head, 1) == crc.sum()).then(|| name.to_owned());
        }
        extra = &extra[4 + field.len()..];
    }
    None
}

/// A name's characters, and whether it is flagged as UTF-8 and is none. Without the flag it may be in any code page;
/// only its ASCII part is ever compared, so the rest need only be shown.
fn decode_name(raw: &[u8], utf8: bool) -> (String, bool) {
    match std::str::from_utf8(raw) {
        Ok(name) => (name.to_owned(), false),
        Err(_) => (String::from_utf8_lossy(raw).into_owned(), utf8),
    }
}

// Callers have checked that the bytes are there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
