//! The results zip of a submission: vetted as a whole, then decoded image by image. Nothing is ever written to disk, so an
//! entry's name is only ever compared.

pub(crate) mod archive;
pub mod bundle;
pub(crate) mod names;
mod readme;
pub mod unpack;

use std::path::Path;

use anyhow::Context;
use rayon::prelude::*;

use self::{
    archive::{Archive, Entry, Fault},
    names::Contents,
};
pub use readme::{Device, Readme, TEMPLATE as README_TEMPLATE};

use super::images::{self, Rgb8};
use crate::problem::Problem;

/// What a results zip must hold: one image a dataset image, at this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub name: String,
    pub width: u32,
    pub height: u32,
}

impl Expected {
    /// The most a PNG of this image may take: its samples with a filter byte a row, doubled for encoders that make them
    /// larger, and room for metadata.
    fn max_bytes(&self) -> u64 {
        let raw = u64::from(self.height) * (u64::from(self.width) * 3 + 1);
        raw * 2 + SPARE
    }
}

/// Room for metadata of an image, and for everything else in the archive, bytes.
const SPARE: u64 = 8 << 20;
/// How much of a readme is read, bytes.
const README_BYTES: usize = 64 << 10;

/// How far [`ResultsZip::vet`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The archive's list and every image's header. For who decodes the images next.
    Headers,
    /// Also every pixel and every checksum.
    Pixels,
}

/// A results zip that passed the vetting.
#[derive(Debug)]
pub struct ResultsZip {
    archive: Archive,
    expected: Vec<Expected>,
    /// The entry of each expected image.
    entries: Vec<usize>,
    /// What the team says of its results; absent where the zip has no legible `readme.txt`.
    pub readme: Option<Readme>,
}

impl ResultsZip {
    /// Vets the whole archive against the expected images: every problem is listed, every pixel decoded.
    ///
    /// A file that cannot be read is the one problem `results_unreadable`; [`ResultsZip::vet`] tells it from the team's.
    pub fn open(path: &Path, expected: &[Expected], scale: u32) -> Result<ResultsZip, Vec<Problem>> {
        ResultsZip::vet(path, expected, scale, Depth::Pixels)
            .unwrap_or_else(|e| Err(vec![Problem::new("results_unreadable", format!("{e:#}"))]))
    }

    /// Vets the archive: `Ok(Err(problems))` is the team's fault, `Err` ours (the file cannot be read).
    ///
    /// Memory: one packed image and one decoded image a core; sizes are held against the expected ones before anything
    /// is unpacked. Codes: `zip_malformed`, `zip_too_many_entries`, `zip_empty`, `zip_bad_name`, `zip_unsafe_path`,
    /// `zip_not_regular_file`, `zip_overlap`, `zip_too_large_unpacked`, `zip_encrypted`, `zip_method`,
    /// `duplicate_image`, `missing_image`, `unexpected_file`; of an image `zip_size_mismatch`, `zip_crc`, `image_size`,
    /// `image_mode`, `png_malformed`.
    pub fn vet(
        path: &Path,
        expected: &[Expected],
        scale: u32,
        depth: Depth,
    ) -> anyhow::Result<Result<ResultsZip, Vec<Problem>>> {
        ResultsZip::vet_seeing(path, expected, scale, depth, &|_, _| {})
    }

    /// The same, showing each image that is decoded, with its place in `expected`, from any thread.
    pub fn vet_seeing(
        path: &Path,
        expected: &[Expected],
        scale: u32,
        depth: Depth,
        see: &(dyn Fn(usize, &Rgb8) + Sync),
    ) -> anyhow::Result<Result<ResultsZip, Vec<Problem>>> {
        let max_entries = (expected.len() as u64 * 4).max(1000);
        let archive = match Archive::open(path, max_entries) {
            Ok(archive) => archive,
            Err(Fault::Theirs(problem)) => return Ok(Err(vec![problem])),
            Err(Fault::Ours(e)) => return Err(e),
        };
        if archive.entries.is_empty() {
            return Ok(Err(vec![Problem::new("zip_empty", "the archive holds no files")]));
        }

        let mut contents = Contents::sort(&archive, expected, scale);
        let mut problems = dangers(&archive, expected, &contents);
        let dangerous = !problems.is_empty();
        problems.append(&mut contents.problems);
        problems.extend(unreadable(&archive, &contents));

        if !dangerous {
            // What can be read is read even when something is missing: a team should hear of everything at once.
            let images: Vec<(usize, usize)> =
                contents.present().filter(|&(_, e)| archive.entries[e].readable().is_ok()).collect();
            let faults = images
                .par_iter()
                .map(|&(image, entry)| {
                    ours_apart(check(&archive, &archive.entries[entry], (image, &expected[image]), depth, see))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            problems.extend(faults.into_iter().filter_map(Result::err));
        }
        if !problems.is_empty() {
            return Ok(Err(shared(problems)));
        }
        let entries: Option<Vec<usize>> = contents.images.iter().map(|found| found.first().copied()).collect();
        let entries = entries.context("an image is missing and no problem says so")?;
        // A readme never fails a submission, not even one that cannot be unpacked.
        let readme = contents
            .readme
            .and_then(|at| archive.read_prefix(&archive.entries[at], README_BYTES).ok())
            .map(|bytes| Readme::parse(&bytes));
        Ok(Ok(ResultsZip { archive, expected: expected.to_vec(), entries, readme }))
    }

    /// The images, in the order of the dataset; the archive holds every one.
    pub fn images(&self) -> &[Expected] {
        &self.expected
    }

    /// Where the image named `name` is in [`ResultsZip::images`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.expected.iter().position(|image| image.name == name)
    }

    /// Decodes the image at `index` of [`ResultsZip::images`]; from any thread. The inner error is the team's (only after
    /// [`Depth::Headers`]), the outer ours. Panics where `index` is none of them.
    pub fn decode(&self, index: usize) -> anyhow::Result<Result<Rgb8, Problem>> {
        ours_apart(decode(&self.archive, &self.archive.entries[self.entries[index]], &self.expected[index]))
    }
}

fn ours_apart<T>(result: Result<T, Fault>) -> anyhow::Result<Result<T, Problem>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Theirs(problem)) => Ok(Err(problem)),
        Err(Fault::Ours(e)) => Err(e),
    }
}

fn check(
    archive: &Archive,
    entry: &Entry,
    (image, expected): (usize, &Expected),
    depth: Depth,
    see: &(dyn Fn(usize, &Rgb8) + Sync),
) -> Result<(), Fault> {
    if depth == Depth::Pixels {
        return decode(archive, entry, expected).map(|decoded| see(image, &decoded));
    }
    let header = images::png_header(&archive.read_prefix(entry, images::PNG_HEADER_LEN)?, &expected.name)?;
    header.require_size((expected.width, expected.height), &expected.name)?;
    header.require_rgb8(&expected.name)?;
    Ok(())
}

fn decode(archive: &Archive, entry: &Entry, expected: &Expected) -> Result<Rgb8, Fault> {
    let bytes = archive.read(entry)?;
    Ok(images::decode_png_sized(&bytes, &expected.name, (expected.width, expected.height))?)
}

/// What makes it unsafe to unpack anything: bombs, and entries that are no files.
fn dangers(archive: &Archive, expected: &[Expected], contents: &Contents) -> Vec<Problem> {
    let mut problems = Vec::new();
    for entry in &archive.entries {
        if let Err(problem) = names::safe(entry) {
            problems.push(problem);
        }
    }
    for (image, entry) in contents.present() {
        let (entry, limit) = (&archive.entries[entry], expected[image].max_bytes());
        if entry.size > limit {
            let message = format!("unpacks to {} bytes, an image of this size takes at most {limit}", entry.size);
            problems.push(Problem::new("zip_too_large_unpacked", message).at(&entry.name));
        }
    }
    let total = archive.entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    let limit = expected.iter().map(Expected::max_bytes).sum::<u64>() + SPARE;
    // Said of the whole only where no single file is to blame.
    if total > limit && !problems.iter().any(|p| p.code == "zip_too_large_unpacked") {
        let message = format!("the archive unpacks to {total} bytes, at most {limit} are allowed");
        problems.push(Problem::new("zip_too_large_unpacked", message));
    }
    problems
}

/// Entries that cannot be unpacked: one problem a kind, since they come by the hundred.
fn unreadable(archive: &Archive, contents: &Contents) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for problem in contents.present().filter_map(|(_, entry)| archive.entries[entry].readable().err()) {
        if problems.iter().all(|known| known.code != problem.code) {
            problems.push(problem);
        }
    }
    problems
}

/// Different words of one kind that are told each; beyond, only the first.
const TOLD_EACH: usize = 3;

/// What the problems of one code say.
#[derive(Default)]
struct Told {
    /// Each with the places that share its words.
    words: Vec<(Problem, Vec<String>)>,
    /// Places of those with still other words.
    beyond: Vec<String>,
}

/// One problem for what several files share: the same words are said once, of all their files; where nearly every file has
/// words of its own, a size beside a size, those of the first are said, with the number of the others.
fn shared(problems: Vec<Problem>) -> Vec<Problem> {
    let mut codes: Vec<(String, Told)> = Vec::new();
    for mut problem in problems {
        let place = problem.place.take();
        let at = codes.iter().position(|(code, _)| *code == problem.code).unwrap_or_else(|| {
            codes.push((problem.code.to_string(), Told::default()));
            codes.len() - 1
        });
        let told = &mut codes[at].1;
        match told.words.iter().position(|(known, _)| *known == problem) {
            Some(at) => told.words[at].1.extend(place),
            None if told.words.len() < TOLD_EACH => told.words.push((problem, place.into_iter().collect())),
            None => told.beyond.extend(place),
        }
    }
    let placed = |mut problem: Problem, places: Vec<String>| {
        problem.place = match places.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            several => Some(names::listed(several.iter().map(String::as_str))),
        };
        problem
    };
    let mut out = Vec::new();
    for (_, Told { mut words, beyond }) in codes {
        if !beyond.is_empty() {
            let others = words.split_off(1);
            if let Some((problem, places)) = words.first_mut() {
                let own = places.len();
                places.extend(others.into_iter().flat_map(|(_, places)| places).chain(beyond));
                problem.message =
                    format!("{}; {} more files have a problem of this kind", problem.message, places.len() - own);
            }
        }
        out.extend(words.into_iter().map(|(problem, places)| placed(problem, places)));
    }
    out
}
