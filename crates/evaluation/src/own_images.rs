//! Results that a model makes itself: what a team would upload, for an entry that nobody uploads.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    Job, Progress, Step,
    evaluate::{decode, reference},
    fidelity,
    images::{Rgb8, encode_png},
    model,
    reproduction::upscale,
    runner::{Fault, Runner, Slot},
};
use crate::problem::Problem;

/// Images that the input range is sought on: a black one tells nothing.
const RANGE_TRIES: usize = 4;

/// Writes to `to` the results zip of the job's model: its picture of every LR image. The range that the model expects is the
/// one whose pictures are nearer to HR. `job.results` is not looked at. Needs HR.
///
/// As [`super::evaluate`]: `Ok(Err(problems))` is the model's fault, `Err` ours. Blocking.
pub fn make_results(
    job: &Job,
    to: &Path,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: Arc<AtomicBool>,
) -> Result<Result<(), Vec<Problem>>> {
    let counted = match model::load_entry(&job.model, false).and_then(|model| {
        model.keeps_to(&job.operators)?;
        Ok(model.flat_bytes())
    }) {
        Ok(counted) => counted,
        Err(problems) => return Ok(Err(problems)),
    };
    match make(job, &counted, to, progress, cancel) {
        Ok(()) => Ok(Ok(())),
        Err(Fault::Model(problem)) => Ok(Err(vec![problem])),
        Err(Fault::Ours(error)) => Err(error.context("making the results of a model")),
    }
}

fn make(
    job: &Job,
    counted: &[u8],
    to: &Path,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: Arc<AtomicBool>,
) -> Result<(), Fault> {
    let mut runner = Runner::start(&job.setup(), cancel)?;
    runner.load(Slot::Entry, counted)?;
    let scale = job.fidelity.scale;
    let mut range = job.input_range;
    for image in job.images.iter().take(RANGE_TRIES) {
        if range.is_some() {
            break;
        }
        let lr = decode(&image.lr, &image.name)?;
        let hr = reference(image.hr.as_ref().context("an image without HR")?, &image.name)?;
        range = nearer(&mut runner, &lr, &hr, &image.name, job)?;
    }
    let total = job.images.len() as u32;
    let mut zip = ZipWriter::new(BufWriter::new(File::create(to).context("the results' file")?));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for (done, image) in (0..).zip(&job.images) {
        progress(Progress { step: Step::Reproducing, done, total });
        let lr = decode(&image.lr, &image.name)?;
        let made = upscale(&mut runner, &lr, range.unwrap_or(1), &image.name, scale)?;
        let name = format!("{}x{scale}.png", image.name);
        zip.start_file(name, stored).context("the results' file")?;
        zip.write_all(&encode_png(&made)?).context("the results' file")?;
    }
    progress(Progress { step: Step::Reproducing, done: total, total });
    let mut file = zip.finish().context("the results' file")?;
    file.flush().context("the results' file")?;
    Ok(())
}

/// 0…1 or 0…255: the range whose picture is nearer to HR; `None`: both are as near.
fn nearer(runner: &mut Runner, lr: &Rgb8, hr: &Rgb8, name: &str, job: &Job) -> Result<Option<u32>, Fault> {
    let scale = job.fidelity.scale;
    let small = fidelity::psnr(&upscale(runner, lr, 1, name, scale)?, hr, &job.fidelity)?;
    match upscale(runner, lr, 255, name, scale) {
        Ok(made) => Ok(match fidelity::psnr(&made, hr, &job.fidelity)? {
            large if large > small => Some(255),
            large if large == small => None,
            _ => Some(1),
        }),
        // A network for 0…1 may blow up on 0…255.
        Err(Fault::Model(problem)) if problem.code == "output_not_finite" => Ok(Some(1)),
        Err(fault) => Err(fault),
    }
}
