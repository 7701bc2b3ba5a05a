//! PSNR and SSIM of uploaded images against the hidden HR, as the field's own tools compute them.
//!
//! PSNR: HR cropped at the bottom and right to a multiple of the scale, `border` pixels shaved on every side, MSE over
//! all samples jointly in f64, `20·log10(255 / √mse)` dB. SSIM: 11×11 Gaussian of σ 1.5, valid region, mean over all
//! channels. Sources: KAIR `utils_image.py` (`calculate_psnr`, `calculate_ssim`, `rgb2ycbcr`), BasicSR `metrics` for the
//! unrounded Y.

mod luma;
mod ssim;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{bail, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Db, Fidelity, ImageScore, images::Rgb8, results::ResultsZip};
use crate::problem::Problem;

/// What the figures are taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// All three channels jointly; the rule of AIM and NTIRE efficient SR.
    Rgb,
    /// BT.601 luma (16…235) rounded to a whole grey level, as KAIR does.
    Y,
    /// BT.601 luma not rounded, as BasicSR does.
    YFloat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    pub channel: Channel,
    /// Pixels left out on each side.
    pub border: u32,
    /// HR is cropped at the bottom and right to a multiple of it.
    pub scale: u32,
}

impl Default for Settings {
    /// The rule of AIM2020 and NTIRE2022 on.
    fn default() -> Self {
        Settings { channel: Channel::Rgb, border: 4, scale: 4 }
    }
}

/// Scores every image of `results` against `reference(name)`, the HR image of that name.
///
/// Images are decoded, compared and dropped one by one on every core, so memory holds one pair a core. `progress` hears
/// (done, total) after each image, from any thread. The inner error lists every image that cannot be decoded (the team's
/// fault); the outer one is ours: a reference that is missing or of another size, or `cancel` became true.
pub fn score(
    results: &ResultsZip,
    reference: &(dyn Fn(&str) -> anyhow::Result<Rgb8> + Sync),
    settings: &Settings,
    progress: &(dyn Fn(u32, u32) + Sync),
    cancel: &AtomicBool,
) -> anyhow::Result<Result<Fidelity, Vec<Problem>>> {
    let total = results.images().len();
    // With fewer images than cores, the cores share an image; otherwise each has its own, which holds fewer in memory.
    let share = total < rayon::current_num_threads();
    let done = AtomicU32::new(0);
    let scores = (0..total)
        .into_par_iter()
        .map(|index| {
            ensure!(!cancel.load(Ordering::Relaxed), "cancelled");
            let name = &results.images()[index].name;
            let sr = match results.decode(index)? {
                Ok(sr) => sr,
                Err(problem) => return Ok(Err(problem)),
            };
            let (psnr, ssim) = compare_on(&sr, &reference(name)?, settings, share)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total as u32);
            Ok(Ok(ImageScore { name: name.clone(), psnr, ssim }))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;

    let (mut images, mut problems) = (Vec::new(), Vec::new());
    for score in scores {
        match score {
            Ok(image) => images.push(image),
            Err(problem) => problems.push(problem),
        }
    }
    Ok(if problems.is_empty() { Ok(summarise(images)) } else { Err(problems) })
}

/// The figures of a set: arithmetic means, an infinite PSNR counted as [`Db::CAP`].
pub fn summarise(images: Vec<ImageScore>) -> Fidelity {
    let n = images.len().max(1) as f64;
    Fidelity {
        psnr: images.iter().map(|i| i.psnr.capped()).sum::<f64>() / n,
        ssim: images.iter().map(|i| i.ssim).sum::<f64>() / n,
        images,
    }
}

/// PSNR (dB) and SSIM of one image. An error where the sizes do not fit or leave nothing to compare.
pub fn compare(sr: &Rgb8, hr: &Rgb8, settings: &Settings) -> anyhow::Result<(Db, f64)> {
    compare_on(sr, hr, settings, true)
}

/// The PSNR of one image alone, dB; like [`compare`] without the far dearer SSIM.
pub fn psnr(sr: &Rgb8, hr: &Rgb8, settings: &Settings) -> anyhow::Result<Db> {
    let (sr, hr) = views(sr, hr, settings)?;
    Ok(match settings.channel {
        Channel::Rgb => psnr_u8(&sr, &hr),
        Channel::Y => psnr_u8(&luma::rounded(&sr).view(), &luma::rounded(&hr).view()),
        Channel::YFloat => psnr_f64(&luma::exact(&sr).view(), &luma::exact(&hr).view()),
    })
}

fn compare_on(sr: &Rgb8, hr: &Rgb8, settings: &Settings, share: bool) -> anyhow::Result<(Db, f64)> {
    let (sr, hr) = views(sr, hr, settings)?;
    ensure!(
        sr.cols / 3 >= ssim::WINDOW && sr.rows >= ssim::WINDOW,
        "{}x{} pixels inside the border are too few for SSIM's 11x11 window",
        sr.cols / 3,
        sr.rows
    );
    Ok(match settings.channel {
        Channel::Rgb => (psnr_u8(&sr, &hr), ssim::mean::<u8, 3>(&sr, &hr, share)),
        Channel::Y => {
            let (sr, hr) = (luma::rounded(&sr), luma::rounded(&hr));
            (psnr_u8(&sr.view(), &hr.view()), ssim::mean::<u8, 1>(&sr.view(), &hr.view(), share))
        }
        Channel::YFloat => {
            let (sr, hr) = (luma::exact(&sr), luma::exact(&hr));
            (psnr_f64(&sr.view(), &hr.view()), ssim::mean::<f64, 1>(&sr.view(), &hr.view(), share))
        }
    })
}

/// A window on rows of samples; `cols` counts samples, not pixels.
#[derive(Clone, Copy)]
struct View<'a, T> {
    data: &'a [T],
    /// Samples from one row to the next.
    pitch: usize,
    cols: usize,
    rows: usize,
}

impl<'a, T> View<'a, T> {
    fn row(&self, y: usize) -> &'a [T] {
        &self.data[y * self.pitch..][..self.cols]
    }
}

/// What is compared of both images: the common part without the border.
fn views<'a>(sr: &'a Rgb8, hr: &'a Rgb8, settings: &Settings) -> anyhow::Result<(View<'a, u8>, View<'a, u8>)> {
    let Settings { border, scale, .. } = *settings;
    ensure!(scale > 0, "the scale is 0");
    let (width, height) = (hr.width - hr.width % scale, hr.height - hr.height % scale);
    if (sr.width, sr.height) != (width, height) {
        bail!("the image is {}x{}, its reference {width}x{height}", sr.width, sr.height);
    }
    let shaved = border.saturating_mul(2);
    ensure!(width > shaved && height > shaved, "a border of {border} leaves nothing of {width}x{height}");
    let view = |image: &'a Rgb8| {
        let pitch = image.width as usize * 3;
        View {
            data: &image.data[border as usize * (pitch + 3)..],
            pitch,
            cols: (width - shaved) as usize * 3,
            rows: (height - shaved) as usize,
        }
    };
    Ok((view(sr), view(hr)))
}

fn psnr_of(mse: f64) -> Db {
    Db(if mse == 0.0 { f64::INFINITY } else { 20.0 * (255.0 / mse.sqrt()).log10() })
}

/// The squared error is summed in whole numbers, so it is exact and the order does not matter.
fn psnr_u8(a: &View<u8>, b: &View<u8>) -> Db {
    // 255² · 16384 fits 32 bits, which the compiler can vectorise.
    const CHUNK: usize = 1 << 14;
    let mut sum = 0u64;
    for y in 0..a.rows {
        for (a, b) in a.row(y).chunks(CHUNK).zip(b.row(y).chunks(CHUNK)) {
            // In 16 bits, which processors multiply and add in pairs; wrapping, as a check for overflow would prevent that.
            let part = a.iter().zip(b).fold(0u32, |part, (&a, &b)| {
                let difference = i32::from(i16::from(a) - i16::from(b));
                part.wrapping_add((difference * difference) as u32)
            });
            sum += u64::from(part);
        }
    }
    psnr_of(sum as f64 / (a.rows * a.cols) as f64)
}

fn psnr_f64(a: &View<f64>, b: &View<f64>) -> Db {
    let row = |y| a.row(y).iter().zip(b.row(y)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    psnr_of((0..a.rows).map(row).sum::<f64>() / (a.rows * a.cols) as f64)
}
