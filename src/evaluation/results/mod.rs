//! The results zip: vetted as a whole, every problem listed, then read image by image with bounded memory.
//!
//! Nothing is ever written under an entry's name, inner archives are never opened, and what an entry may unpack to is
//! bounded by the images that are expected.

mod archive;
mod readme;

use std::{collections::HashMap, path::Path};

use anyhow::{Result, anyhow};
use rayon::prelude::*;

use super::{
    Fidelity, ImageScore,
    fidelity::{self, Settings},
    images::{self, Rgb8},
};
use crate::problem::{Problem, printable};
use archive::{Archive, Entry};

pub use readme::Readme;

/// Names listed per problem; the counts say the rest.
const NAMED: usize = 5;
/// Longest readme that is looked at, bytes.
const MAX_README: u64 = 64 << 10;

/// What a results zip must hold: one image a dataset image, at this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub name: String,
    pub width: u32,
    pub height: u32,
}

/// A results zip whose structure passed the vetting.
#[derive(Debug)]
pub struct ResultsZip {
    archive: Archive,
    /// In the order of the dataset, each with its index in the archive.
    images: Vec<(Expected, usize)>,
    /// The team's own statements; absent where there is none or it cannot be read.
    pub readme: Option<Readme>,
}

impl ResultsZip {
    /// Vets the archive's structure and each image's header against `expected`: every problem is listed.
    ///
    /// Names match without regard to case, with or without `x{scale}`, in any folder.
    pub fn open(path: &Path, expected: &[Expected], scale: u32) -> Result<ResultsZip, Vec<Problem>> {
        // A PNG of noise is a little larger than its samples.
        let allowed = |e: &Expected| u64::from(e.width) * u64::from(e.height) * 3 * 11 / 10 + (64 << 10);
        let room = expected.iter().map(allowed).sum::<u64>() + (16 << 20);
        let most_entries = (expected.len() * 4).max(1000);
        let archive = Archive::open(path, most_entries, room)?;
        let sorted = sort_out(&archive, expected, scale)?;
        let zip = ResultsZip { readme: read_readme(&archive, sorted.readme), images: sorted.images, archive };
        let problems: Vec<Problem> = zip.images.par_iter().filter_map(|(e, i)| zip.check_header(e, *i).err()).collect();
        if problems.is_empty() { Ok(zip) } else { Err(shortened(problems)) }
    }

    /// [`ResultsZip::open`], and every pixel decoded once, so that nothing broken is accepted.
    pub fn vet(path: &Path, expected: &[Expected], scale: u32) -> Result<ResultsZip, Vec<Problem>> {
        let zip = Self::open(path, expected, scale)?;
        let problems: Vec<Problem> = zip.images.par_iter().filter_map(|(e, i)| zip.decode_entry(e, *i).err()).collect();
        if problems.is_empty() { Ok(zip) } else { Err(shortened(problems)) }
    }

    /// One image by its id.
    pub fn decode(&self, name: &str) -> Result<Rgb8, Problem> {
        match self.images.iter().find(|(e, _)| e.name == name) {
            Some((expected, index)) => self.decode_entry(expected, *index),
            None => Err(Problem::new("missing_image", "the zip has no such image").at(name)),
        }
    }

    /// Ids of the images, in the order of the dataset.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.images.iter().map(|(e, _)| e.name.as_str())
    }

    fn check_header(&self, expected: &Expected, index: usize) -> Result<(), Problem> {
        // Header chunks come first; the decoder needs the bytes up to the first IDAT.
        let head = self.archive.read_head(index, 64 << 10)?;
        let header = images::png_header(&head, &expected.name)?;
        if (header.width, header.height) == (expected.width, expected.height) {
            return Ok(());
        }
        let message = format!(
            "{}: {}x{}, expected {}x{}",
            expected.name, header.width, header.height, expected.width, expected.height
        );
        Err(Problem::new("image_size", message).at(&expected.name))
    }

    fn decode_entry(&self, expected: &Expected, index: usize) -> Result<Rgb8, Problem> {
        let bytes = self.archive.read(index).map_err(|p| p.at(&expected.name))?;
        images::decode_png_sized(&bytes, &expected.name, expected.width, expected.height)
    }
}

/// Mean PSNR and SSIM of the zip's images against HR, in parallel; at most one pair a core is in memory.
///
/// `hr` gives an HR image by id; it is cropped to a multiple of the scale here. A broken image of the team's was caught
/// by [`ResultsZip::vet`], so an error is ours.
pub fn score(
    zip: &ResultsZip,
    hr: &(dyn Fn(&str) -> Result<Rgb8> + Sync),
    settings: Settings,
    progress: &(dyn Fn(u32, u32) + Sync),
) -> Result<Fidelity> {
    let done = std::sync::atomic::AtomicU32::new(0);
    let total = zip.images.len() as u32;
    progress(0, total);
    let images: Result<Vec<ImageScore>> = zip
        .images
        .par_iter()
        .map(|(expected, index)| {
            let reference = hr(&expected.name)?.crop_to_multiple(settings.scale);
            let made = zip.decode_entry(expected, *index).map_err(|problem| anyhow!(problem))?;
            if (reference.width, reference.height) != (made.width, made.height) {
                return Err(anyhow!("HR image {} does not have {} times the LR's size", expected.name, settings.scale));
            }
            let score = ImageScore {
                name: expected.name.clone(),
                psnr: fidelity::psnr(&made, &reference, settings),
                ssim: fidelity::ssim(&made, &reference, settings),
            };
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            Ok(score)
        })
        .collect();
    let images = images?;
    let n = images.len().max(1) as f64;
    Ok(Fidelity {
        psnr: images.iter().map(|i| i.psnr.capped()).sum::<f64>() / n,
        ssim: images.iter().map(|i| i.ssim).sum::<f64>() / n,
        images,
    })
}

struct Sorted {
    images: Vec<(Expected, usize)>,
    readme: Option<usize>,
}

/// Which entry is which image; what is missing, unexpected or there twice.
fn sort_out(archive: &Archive, expected: &[Expected], scale: u32) -> Result<Sorted, Vec<Problem>> {
    let by_name: HashMap<String, usize> =
        expected.iter().enumerate().map(|(i, e)| (e.name.to_lowercase(), i)).collect();
    let mut found: Vec<Option<&Entry>> = vec![None; expected.len()];
    let mut readme = None;
    let mut problems = Vec::new();
    let mut unexpected = Vec::new();
    for entry in archive.entries() {
        let base = entry.base().to_lowercase();
        if matches!(base.as_str(), "readme.txt" | "readme.md" | "readme") {
            readme = readme.or(Some(entry.index));
            continue;
        }
        let stem = base.strip_suffix(".png");
        let id = stem.and_then(|s| by_name.get(s).or_else(|| by_name.get(s.strip_suffix(&format!("x{scale}"))?)));
        match id {
            None => unexpected.push(entry.name.as_str()),
            Some(&i) => match found[i] {
                None => found[i] = Some(entry),
                Some(first) => problems.push(
                    Problem::new("duplicate_image", format!("{} and {}", printable(&first.name), printable(&entry.name)))
                        .at(&expected[i].name),
                ),
            },
        }
    }
    let missing: Vec<&str> =
        expected.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(e, _)| e.name.as_str()).collect();
    if !missing.is_empty() {
        let message = format!(
            "{} of {} images are missing: {}",
            missing.len(),
            expected.len(),
            listed(missing.iter().map(|n| format!("{n}x{scale}.png")))
        );
        problems.push(Problem::new("missing_image", message).hint(format!(
            "Name each image like its LR image, NAME.png or NAMEx{scale}.png; `upscore check` shows what is found."
        )));
    }
    if !unexpected.is_empty() {
        let message = format!("{} unexpected files: {}", unexpected.len(), listed(unexpected.iter().map(|n| printable(n))));
        problems.push(Problem::new("unexpected_file", message).hint("Only the PNGs of this phase and a readme.txt belong in the zip."));
    }
    if !problems.is_empty() {
        return Err(shortened(problems));
    }
    let images = expected.iter().cloned().zip(found.into_iter().flatten().map(|e| e.index)).collect();
    Ok(Sorted { images, readme })
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// A hundred images with one fault each are said in twenty lines and a count.
fn shortened(mut problems: Vec<Problem>) -> Vec<Problem> {
    const MOST: usize = 20;
    if problems.len() > MOST {
        let rest = problems.len() - MOST;
        problems.truncate(MOST);
        problems.push(Problem::new("more_problems", format!("{rest} more problems of the same kinds")));
    }
    problems
}

/// A readme that cannot be read must never fail a submission.
fn read_readme(archive: &Archive, index: Option<usize>) -> Option<Readme> {
    let bytes = archive.read_head(index?, MAX_README).ok()?;
    readme::parse(&String::from_utf8_lossy(&bytes))
}
