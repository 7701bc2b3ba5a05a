//! MATLAB's bicubic `imresize`, with which challenge LR images are made and the bicubic entry is enlarged.
//!
//! Cubic kernel with a = −0.5, widened by the factor when shrinking (antialiasing), symmetric padding, weights normalised
//! per output sample, height first and then width, then clipped and rounded half to even.

use super::images::Rgb8;

/// Shrinks by a whole factor: HR to LR. Each side becomes `ceil(side / scale)`.
pub fn downscale(image: &Rgb8, scale: u32) -> Rgb8 {
    resize(image, 1.0 / f64::from(scale.max(1)))
}

/// Enlarges by a whole factor: LR to a bicubic SR.
pub fn upscale(image: &Rgb8, scale: u32) -> Rgb8 {
    resize(image, f64::from(scale.max(1)))
}

/// MATLAB's `imresize(image, factor)`; both sides become `ceil(side · factor)`.
pub fn resize(image: &Rgb8, factor: f64) -> Rgb8 {
    let (width, height, samples) = resize_unrounded(image, factor);
    Rgb8 { width, height, data: samples.iter().map(|v| v.clamp(0.0, 255.0).round_ties_even() as u8).collect() }
}

/// Like [`resize`] before clipping and rounding: width, height and samples in grey levels.
pub fn resize_unrounded(image: &Rgb8, factor: f64) -> (u32, u32, Vec<f64>) {
    let row = image.width as usize * 3;
    let down = taps(image.height, factor);
    let across = taps(image.width, factor);

    let mut out = Vec::with_capacity(down.len() * across.len() * 3);
    let mut sums = vec![0.0; row];
    for taps in &down {
        sums.fill(0.0);
        for &(y, weight) in taps {
            for (sum, &v) in sums.iter_mut().zip(&image.data[y * row..][..row]) {
                *sum += weight * f64::from(v);
            }
        }
        for taps in &across {
            for c in 0..3 {
                out.push(taps.iter().map(|&(x, weight)| weight * sums[x * 3 + c]).sum());
            }
        }
    }
    (across.len() as u32, down.len() as u32, out)
}

/// For each output sample of one side: which input samples it is made of, and their weights.
fn taps(side: u32, factor: f64) -> Vec<Vec<(usize, f64)>> {
    // 1/3 of 9 must be 3 and not 4: a quotient's last bit does not make a pixel.
    let out = (f64::from(side) * factor - 1e-9).ceil() as usize;
    let shrink = factor.min(1.0);
    let width = 4.0 / shrink;
    (1..=out)
        .map(|x| {
            let centre = x as f64 / factor + 0.5 * (1.0 - 1.0 / factor);
            let left = (centre - width / 2.0).floor() as i64;
            let reach = left..left + width.ceil() as i64 + 2;
            let mut taps: Vec<(usize, f64)> = reach
                .map(|i| (mirror(i - 1, side), cubic((centre - i as f64) * shrink)))
                .filter(|(_, weight)| *weight != 0.0)
                .collect();
            let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
            taps
        })
        .collect()
}

/// Symmetric padding: … 1 0 | 0 1 2 … n−1 | n−1 n−2 …
fn mirror(i: i64, side: u32) -> usize {
    let n = i64::from(side);
    let i = i.rem_euclid(2 * n);
    (if i < n { i } else { 2 * n - 1 - i }) as usize
}

/// Keys' cubic kernel, a = −0.5.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x <= 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}
