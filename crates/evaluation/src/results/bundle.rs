//! A zip that holds results and model together, as Codabench's clients send it, taken apart into the two files that are vetted
//! and kept. Entries are copied packed, as they are: nothing is unpacked here.

use std::{fs::File, io, path::Path};

use zip::{ZipArchive, ZipWriter};

use super::{
    archive::{Archive, Fault},
    names, ours_apart,
};
use crate::problem::Problem;

/// More than any data set has images.
const MAX_ENTRIES: u64 = 10_000;

/// Which half of the zip is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Results,
    Model,
}

/// Whether the zip can be taken apart, and then whether it holds a model: `Ok(Err(problem))` is the team's fault.
pub fn look(path: &Path) -> anyhow::Result<Result<bool, Problem>> {
    ours_apart(halves(path)).map(|found| found.map(|halves| halves.contains(&Half::Model)))
}

/// Which half each entry belongs to, in the order of the list.
fn halves(path: &Path) -> Result<Vec<Half>, Fault> {
    let archive = Archive::open(path, MAX_ENTRIES)?;
    let zip = ZipArchive::new(File::open(path)?)
        .map_err(|error| Problem::new("zip_malformed", format!("the archive cannot be read: {error}")))?;
    // It keeps one of two entries of one name; which of them was meant nobody knows.
    if zip.len() != archive.entries.len() {
        return Err(Problem::new("zip_malformed", "two entries of the archive have the same name").into());
    }
    let half = |name: &str| {
        let lower = name.trim().to_lowercase();
        let is_model = lower.ends_with(".onnx") || lower.ends_with(".data");
        if is_model && !names::is_junk(name) { Half::Model } else { Half::Results }
    };
    Ok(archive.entries.iter().map(|entry| half(&entry.name)).collect())
}

/// Writes one half of a zip that [`look`] has passed as a zip of its own.
pub fn copy(path: &Path, half: Half, to: &mut File) -> io::Result<()> {
    let halves = match halves(path) {
        Ok(halves) => halves,
        Err(Fault::Theirs(problem)) => return Err(io::Error::other(problem)),
        Err(Fault::Ours(error)) => return Err(io::Error::other(error)),
    };
    let mut from = ZipArchive::new(File::open(path)?)?;
    let mut zip = ZipWriter::new(to);
    for (index, _) in halves.iter().enumerate().filter(|(_, of)| **of == half) {
        zip.raw_copy_file(from.by_index_raw(index)?)?;
    }
    zip.finish()?;
    Ok(())
}
