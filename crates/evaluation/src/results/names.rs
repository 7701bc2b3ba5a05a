//! Which entry is which: names made safe, junk left aside, images paired by id.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::{
    Expected,
    archive::{Archive, Entry},
};
use crate::problem::{Problem, is_hidden, printable};

/// Longer than any honest path, in bytes.
const MAX_NAME: usize = 512;
/// Names that a message lists.
const LISTED: usize = 5;

/// Refuses names that point elsewhere or cannot be shown, and entries that are neither a file nor a folder.
pub(crate) fn safe(entry: &Entry) -> Result<(), Problem> {
    let name = &entry.name;
    let bad = |message: &str| Err(Problem::new("zip_bad_name", message).at(name));
    if entry.bad_utf8 {
        return bad("the name is flagged as UTF-8 and is not");
    }
    if entry.raw_name.len() > MAX_NAME {
        return bad(&format!("the name is {} bytes long, at most {MAX_NAME} are allowed", entry.raw_name.len()));
    }
    if name.is_empty() {
        return bad("an entry has no name");
    }
    if let Some(readable) = utf16(&entry.raw_name) {
        let problem = Problem::new("zip_bad_name", "the name is stored as UTF-16, which no zip has").at(readable);
        return Err(problem.hint("Make the zip with another tool, e.g. `python -m zipfile -c new.zip FOLDER`."));
    }
    if name.chars().any(is_hidden) {
        return bad("the name holds control or text-direction characters");
    }
    let drive = matches!(entry.raw_name.as_slice(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if drive || name.starts_with(['/', '\\']) || parts(name).any(|part| part == "..") {
        let hint = "Zip the images by relative names, at best at the root of the archive.";
        return Err(Problem::new("zip_unsafe_path", "the path leads out of the archive").at(name).hint(hint));
    }
    // The kind of file in a Unix mode: none given, a regular file, a folder.
    let regular = match entry.mode & 0o170_000 {
        0 | 0o100_000 => true,
        0o040_000 => entry.size == 0,
        _ => false,
    };
    if !regular {
        return Err(Problem::new("zip_not_regular_file", "a link or a special file, not a regular one").at(name));
    }
    Ok(())
}

/// A name of two bytes a letter, every other one of them 0.
fn utf16(raw: &[u8]) -> Option<String> {
    let (pairs, rest) = raw.as_chunks::<2>();
    let plain = |at: usize| pairs.len() > 1 && rest.is_empty() && pairs.iter().all(|p| p[at] != 0 && p[1 - at] == 0);
    let unit = match (plain(0), plain(1)) {
        (true, _) => u16::from_le_bytes,
        (_, true) => u16::from_be_bytes,
        _ => return None,
    };
    String::from_utf16(&pairs.iter().map(|&pair| unit(pair)).collect::<Vec<_>>()).ok()
}

/// The parts of a path. Old Windows zippers write backslashes.
pub(crate) fn parts(name: &str) -> impl DoubleEndedIterator<Item = &str> {
    name.split(['/', '\\'])
}

/// What operating systems and editors leave in an archive unasked; of what is hidden, everything.
pub(crate) fn is_junk(name: &str) -> bool {
    const FOLDERS: [&str; 5] = ["__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information"];
    const FILES: [&str; 4] = ["", "Thumbs.db", "ehthumbs.db", "desktop.ini"];
    let is = |part: &str, names: &[&str]| names.iter().any(|name| part.eq_ignore_ascii_case(name));
    let hidden = |part: &str| part.starts_with('.') && !matches!(part, "." | "..");
    parts(name).any(|part| hidden(part) || is(part, &FOLDERS))
        || is(parts(name).next_back().unwrap_or_default(), &FILES)
}

/// A name as it is compared: one case, one way to write an accent, no blanks round it.
fn plain(name: &str) -> String {
    name.trim().nfc().collect::<String>().to_lowercase()
}

/// What is in a zip in place of images: another archive, a model.
fn instead(name: &str) -> Option<&'static str> {
    let name = plain(name);
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".xz", ".bz2"]) {
        Some("another archive")
    } else if ends(&[".onnx", ".onnx.data", ".pth", ".pt", ".ckpt", ".safetensors"]) {
        Some("a model")
    } else {
        None
    }
}

/// What the entries of an archive are, as indices into [`Archive::entries`].
pub(super) struct Contents {
    /// The entries of each expected image: one, unless something is wrong.
    pub images: Vec<Vec<usize>>,
    pub readme: Option<usize>,
    /// Duplicate, missing and unexpected files.
    pub problems: Vec<Problem>,
}

impl Contents {
    /// Pairs entries with images by name, in any folder and any case: `0901.png` and, at scale 4, `0901x4.png`.
    pub fn sort(archive: &Archive, expected: &[Expected], scale: u32) -> Contents {
        let mut ids = HashMap::new();
        for (i, image) in expected.iter().enumerate() {
            ids.entry(plain(&format!("{}x{scale}", image.name))).or_insert(i);
        }
        // An id's own name wins over another's with the scale.
        ids.extend(expected.iter().enumerate().map(|(i, image)| (plain(&image.name), i)));

        let mut contents = Contents { images: vec![Vec::new(); expected.len()], readme: None, problems: Vec::new() };
        let mut unexpected: Vec<&str> = Vec::new();
        for (index, entry) in archive.entries.iter().enumerate() {
            let file = plain(parts(&entry.name).next_back().unwrap_or_default());
            if entry.is_folder() || is_junk(&entry.name) {
                continue;
            } else if file == "readme.txt" {
                contents.readme.get_or_insert(index);
            } else if let Some(&image) = file.strip_suffix(".png").and_then(|id| ids.get(id.trim_end())) {
                contents.images[image].push(index);
            } else {
                unexpected.push(&entry.name);
            }
        }

        for (found, image) in contents.images.iter().zip(expected) {
            if let [_, _, ..] = found.as_slice() {
                let names = listed(found.iter().map(|&i| archive.entries[i].name.as_str()));
                let message = format!("{} files for one image: {names}", found.len());
                contents.problems.push(Problem::new("duplicate_image", message).at(&image.name));
            }
        }
        let missing: Vec<&str> = (contents.images.iter().zip(expected))
            .filter(|(found, _)| found.is_empty())
            .map(|(_, image)| image.name.as_str())
            .collect();
        let none = missing.len() == expected.len();
        let other = unexpected.first().and_then(|name| instead(name));
        if let (true, Some(other)) = (none && unexpected.iter().all(|name| instead(name) == other), other) {
            let message =
                format!("none of the {} images is here; the zip holds {other} in their place", expected.len());
            let problem = Problem::new("missing_image", message).at(listed(unexpected.iter().copied()));
            contents.problems.push(match other {
                "a model" => problem.hint("Send the images' zip as results, and the .onnx file as model."),
                _ => problem.hint("Unpack it once, and send a zip of the images themselves."),
            });
            return contents;
        }
        if !missing.is_empty() {
            let (found, all) = (expected.len() - missing.len(), expected.len());
            let message = format!("{found} of {all} images found; missing: {}", listed(missing.iter().copied()));
            let hint = format!("Images are named by their id, e.g. {0}.png or {0}x{scale}.png.", missing[0]);
            contents.problems.push(Problem::new("missing_image", message).hint(hint));
        }
        if !unexpected.is_empty() {
            let message = format!("not among the {} images: {}", expected.len(), listed(unexpected.iter().copied()));
            let hint = "A results zip holds the images, as .png, and a readme.txt.";
            contents.problems.push(Problem::new("unexpected_file", message).hint(hint));
        }
        contents
    }

    /// (image, entry) of every image that is there exactly once.
    pub fn present(&self) -> impl Iterator<Item = (usize, usize)> {
        self.images.iter().enumerate().filter_map(|(image, found)| match found.as_slice() {
            [entry] => Some((image, *entry)),
            _ => None,
        })
    }
}

/// The first few names, and how many more there are.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let mut text = names.take(LISTED).map(printable).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
