//! PSNR and SSIM as this field measures them: `utils_image.py` of KAIR, and BasicSR's float luma.

mod ssim;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Db, images::Rgb8};

/// What PSNR and SSIM are taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The three channels jointly: AIM and NTIRE efficient SR.
    Rgb,
    /// BT.601 luma of 16…235, rounded to uint8, as KAIR does.
    Y,
    /// The same luma kept as a float, as BasicSR does.
    YFloat,
}

/// How fidelity is measured; part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    pub channel: Channel,
    /// Pixels cut off on each side.
    pub border: u32,
    /// HR is cropped at the bottom and right to a multiple of this.
    pub scale: u32,
}

/// One plane of samples, 0…255, without the border.
struct Plane {
    width: usize,
    height: usize,
    data: Vec<f32>,
}

/// PSNR in dB: 20·log10(255/√mse), the mean squared error taken in float64 over all samples jointly. Infinite for
/// identical images. Both images must have the same size.
pub fn psnr(a: &Rgb8, b: &Rgb8, settings: Settings) -> Db {
    debug_assert_eq!((a.width, a.height), (b.width, b.height));
    let (columns, rows) = inside(a, settings.border);
    let samples = columns.len() * rows.len();
    if samples == 0 {
        return Db(f64::NAN);
    }
    let stride = 3 * a.width as usize;
    let span = 3 * columns.start..3 * columns.end;
    let row = |y: usize| (&a.data[y * stride..][span.clone()], &b.data[y * stride..][span.clone()]);
    let mse = match settings.channel {
        // Squared differences of a row fit u32 up to 22,000 pixels of the largest difference.
        Channel::Rgb => {
            let sum: u64 = rows.into_par_iter().with_min_len(64).map(|y| squared_sum(row(y))).sum();
            sum as f64 / (3 * samples) as f64
        }
        Channel::Y | Channel::YFloat => {
            let luma = |p: &[u8]| match settings.channel {
                Channel::Y => luma(p).round_ties_even(),
                _ => luma(p),
            };
            let sums: Vec<f64> = rows
                .into_par_iter()
                .with_min_len(64)
                .map(|y| {
                    let (a, b) = row(y);
                    a.chunks_exact(3).zip(b.chunks_exact(3)).map(|(p, q)| (luma(p) - luma(q)).powi(2)).sum()
                })
                .collect();
            // In order, so that the figure does not depend on the number of cores.
            sums.iter().sum::<f64>() / samples as f64
        }
    };
    Db(20.0 * (255.0 / mse.sqrt()).log10())
}

fn squared_sum((a, b): (&[u8], &[u8])) -> u64 {
    let square = |(&x, &y): (&u8, &u8)| {
        let d = i32::from(x) - i32::from(y);
        d.wrapping_mul(d) as u32
    };
    a.chunks(4096).zip(b.chunks(4096)).map(|(a, b)| a.iter().zip(b).map(square).fold(0u32, u32::wrapping_add)).map(u64::from).sum()
}

/// SSIM: 11×11 Gaussian of σ 1.5 on the valid region, C1 = (0.01·255)², C2 = (0.03·255)²; the mean over the channels.
/// NaN where an image is smaller than the window.
pub fn ssim(a: &Rgb8, b: &Rgb8, settings: Settings) -> f64 {
    let planes: Vec<f64> = match settings.channel {
        Channel::Rgb => (0..3)
            .into_par_iter()
            .map(|c| ssim::plane(&channel(a, c, settings.border), &channel(b, c, settings.border)))
            .collect(),
        _ => vec![ssim::plane(&luma_plane(a, settings), &luma_plane(b, settings))],
    };
    planes.iter().sum::<f64>() / planes.len() as f64
}

/// Columns and rows inside the border.
fn inside(image: &Rgb8, border: u32) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let range = |n: u32| border.min(n) as usize..n.saturating_sub(border).max(border.min(n)) as usize;
    (range(image.width), range(image.height))
}

fn channel(image: &Rgb8, c: usize, border: u32) -> Plane {
    plane(image, border, |p| f32::from(p[c]))
}

fn luma_plane(image: &Rgb8, settings: Settings) -> Plane {
    match settings.channel {
        Channel::Y => plane(image, settings.border, |p| luma(p).round_ties_even() as f32),
        _ => plane(image, settings.border, |p| luma(p) as f32),
    }
}

fn plane(image: &Rgb8, border: u32, sample: impl Fn(&[u8]) -> f32) -> Plane {
    let (columns, rows) = inside(image, border);
    let stride = 3 * image.width as usize;
    let mut data = Vec::with_capacity(columns.len() * rows.len());
    for y in rows.clone() {
        data.extend(image.data[y * stride..][3 * columns.start..3 * columns.end].chunks_exact(3).map(&sample));
    }
    Plane { width: columns.len(), height: rows.len(), data }
}

/// BT.601 luma of 8-bit RGB, 16…235.
fn luma(p: &[u8]) -> f64 {
    (65.481 * f64::from(p[0]) + 128.553 * f64::from(p[1]) + 24.966 * f64::from(p[2])) / 255.0 + 16.0
}
