//! The model that made the images: run on every LR image, its pictures compared with the uploaded ones.

use anyhow::{Context, Result};

use super::{
    Fidelity, ImageReproduction, ImageScore, Job, RankedImages, Reproduction, Verdict,
    evaluate::{decode, nchw, reference},
    fidelity,
    images::Rgb8,
    results::ResultsZip,
    runner::{Fault, Runner},
};
use crate::problem::Problem;

/// Most samples that may be one grey level off for `within-rounding`; two correct runtimes differ in about 0.01 %.
const ROUNDING_SHARE: f64 = 0.001;
/// PSNR in dB of images that are another model's or no model's, at most, and of the model's own at least.
const FAR_DB: f64 = 25.0;
const NEAR_DB: f64 = 40.0;
/// Images that the input range is sought on: a black one tells nothing, and to a linear network both ranges are one.
const RANGE_TRIES: usize = 4;
/// Two whole images compared with each other, not with HR.
const WHOLE: fidelity::Settings = fidelity::Settings { channel: fidelity::Channel::Rgb, border: 0, scale: 1 };

/// Runs the model on every LR image and compares what it makes with what was uploaded. Where the model's own images rank and
/// there is HR, their figures too.
pub(super) fn reproduce(
    job: &Job,
    runner: &mut Runner,
    results: &ResultsZip,
    report: &dyn Fn(u32, u32),
) -> Result<(Reproduction, Option<Fidelity>), Fault> {
    let total = job.images.len() as u32;
    let mut range = job.input_range;
    let mut images = Vec::new();
    let (mut equal, mut samples, mut worst, mut off) = (0u64, 0u64, 0u8, 0u64);
    let mut scores = Vec::new();
    let mut psnr = Some(0.0);
    for (done, image) in job.images.iter().enumerate() {
        report(done as u32, total);
        let lr = decode(&image.lr, &image.name)?;
        let index = results.position(&image.name).context("an image that the zip was not vetted for")?;
        let uploaded = results.decode(index)??;
        if range.is_none() && done < RANGE_TRIES {
            range = find_range(runner, &lr, &uploaded, &image.name, job.fidelity.scale)?;
        }
        let made = upscale(runner, &lr, range.unwrap_or(1), &image.name, job.fidelity.scale)?;
        let mut max_abs = 0u8;
        for (a, b) in made.data.iter().zip(&uploaded.data) {
            let difference = a.abs_diff(*b);
            max_abs = max_abs.max(difference);
            equal += u64::from(difference == 0);
            off += u64::from(difference > 1);
        }
        samples += made.data.len() as u64;
        worst = worst.max(max_abs);
        images.push(ImageReproduction {
            name: image.name.clone(),
            max_abs,
            psnr_between: fidelity::psnr(&made, &uploaded, &WHOLE)?,
        });
        psnr = match (psnr, &image.hr) {
            (Some(sum), Some(hr)) => {
                let hr = reference(hr, &image.name)?;
                let one = match job.ranked {
                    RankedImages::Uploaded => fidelity::psnr(&made, &hr, &job.fidelity)?,
                    RankedImages::Model => {
                        let (psnr, ssim) = fidelity::compare(&made, &hr, &job.fidelity)?;
                        scores.push(ImageScore { name: image.name.clone(), psnr, ssim });
                        psnr
                    }
                };
                Some(sum + one.capped())
            }
            _ => None,
        };
    }
    report(total, total);
    let identical_fraction = equal as f64 / samples.max(1) as f64;
    let verdict = match (worst, off) {
        (0, _) => Verdict::Reproduced,
        (1, 0) if 1.0 - identical_fraction <= ROUNDING_SHARE => Verdict::WithinRounding,
        _ => Verdict::Differs,
    };
    let reproduction = Reproduction {
        verdict,
        max_abs: worst,
        identical_fraction,
        input_range: range.unwrap_or(1),
        ranked: job.ranked,
        model_psnr: psnr.map(|sum| sum / f64::from(total.max(1))),
        uploaded_psnr: None,
        images,
    };
    let complete = !scores.is_empty() && scores.len() == job.images.len();
    Ok((reproduction, complete.then(|| fidelity::summarise(scores))))
}

/// 0…1 or 0…255: the range whose output is nearer to what was uploaded; `None`: both are as near. The wrong one is not
/// always obviously wrong.
///
/// A network for 0…1 may blow up on 0…255, so that is no fault; one for 0…255 sees 0…1 as a dark picture and must bear it.
fn find_range(runner: &mut Runner, lr: &Rgb8, uploaded: &Rgb8, name: &str, scale: u32) -> Result<Option<u32>, Fault> {
    let small = output(runner, lr, 1, name, scale)?;
    let large = match output(runner, lr, 255, name, scale) {
        Ok(large) => Some(large),
        Err(Fault::Model(problem)) if problem.code == "output_not_finite" => None,
        Err(fault) => return Err(fault),
    };
    let near = |values: &[f32], range| fidelity::psnr(&picture(values, uploaded, range), uploaded, &WHOLE);
    let straight = near(&small, 1)?;
    let (range, best) = match &large {
        None => (Some(1), straight),
        Some(large) => match near(large, 255)? {
            other if other > straight => (Some(255), other),
            other if other == straight => (None, straight),
            _ => (Some(1), straight),
        },
    };
    // Other images than the model's are far from all of these; a range that changes on the way is near to one of them only.
    let mut mixed = vec![("0…1", "0…255", near(&small, 255)?)];
    if let Some(large) = &large {
        mixed.push(("0…255", "0…1", near(large, 1)?));
    }
    for (takes, gives, found) in mixed {
        if best.capped() < FAR_DB && found.capped() > NEAR_DB {
            let message =
                format!("the model takes {takes} and gives {gives}; the uploaded images are its output as {gives}");
            return Err(Problem::new("output_range", message).at(name).into());
        }
    }
    Ok(range)
}

/// The model's picture of one LR image, exactly as a PNG of it would hold: clamped, rounded half to even, uint8.
pub fn upscale(runner: &mut Runner, lr: &Rgb8, range: u32, name: &str, scale: u32) -> Result<Rgb8, Fault> {
    let values = output(runner, lr, range, name, scale)?;
    let size = Rgb8 { width: lr.width * scale, height: lr.height * scale, data: Vec::new() };
    Ok(picture(&values, &size, range))
}

/// What the model gives for one LR image, planar, of the size that it must have and finite.
fn output(runner: &mut Runner, lr: &Rgb8, range: u32, name: &str, scale: u32) -> Result<Vec<f32>, Fault> {
    let (height, width) = (lr.height * scale, lr.width * scale);
    let expected = [1i64, 3, i64::from(height), i64::from(width)];
    let pixels = nchw(lr, range);
    // Room for an output of the wrong size, so that it can be named, but not for any size.
    let most = 16 * u64::from(height) * u64::from(width) * 3;
    let output = runner.run(&pixels, (lr.height, lr.width), most)?;
    if output.dims != expected {
        let message = format!(
            "the LR image of {}×{} gives an output of {:?}, expected is {expected:?}",
            lr.width, lr.height, output.dims
        );
        return Err(Problem::new("output_shape", message).at(name).into());
    }
    let bad = output.values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let message = format!("{bad} of {} output values are not finite (NaN or infinite)", output.values.len());
        return Err(Problem::new("output_not_finite", message).at(name).into());
    }
    Ok(output.values)
}

/// Planar values of 0…`range` as a picture of the size of `like`.
fn picture(values: &[f32], like: &Rgb8, range: u32) -> Rgb8 {
    let plane = like.height as usize * like.width as usize;
    let factor = 255.0 / range as f32;
    let mut data = vec![0u8; 3 * plane];
    for (c, values) in values.chunks(plane.max(1)).take(3).enumerate() {
        for (i, value) in values.iter().enumerate() {
            data[3 * i + c] = (value * factor).clamp(0.0, 255.0).round_ties_even() as u8;
        }
    }
    Rgb8 { width: like.width, height: like.height, data }
}
