//! MATLAB's `imresize(…, 'bicubic')`, which makes the LR images of this field: a = −0.5, widened kernel when shrinking,
//! symmetric padding, normalised rows, height before width, double precision, then clip and round.

use super::images::Rgb8;

/// The LR image: 1/`scale` of the size, ⌈n/scale⌉ where it does not divide.
pub fn downscale(image: &Rgb8, scale: u32) -> Rgb8 {
    resize(image, image.width.div_ceil(scale), image.height.div_ceil(scale), 1.0 / f64::from(scale))
}

/// `scale` times the size.
pub fn upscale(image: &Rgb8, scale: u32) -> Rgb8 {
    resize(image, image.width * scale, image.height * scale, f64::from(scale))
}

fn resize(image: &Rgb8, width: u32, height: u32, scale: f64) -> Rgb8 {
    let (w, h) = (image.width as usize, image.height as usize);
    let rows = taps(h, height as usize, scale);
    let columns = taps(w, width as usize, scale);
    let stride = 3 * w;
    // Height first: each output row is a weighted sum of whole input rows.
    let mut middle = vec![0f64; height as usize * stride];
    for (out, taps) in middle.chunks_mut(stride.max(1)).zip(&rows) {
        for &(from, weight) in taps {
            for (sum, &sample) in out.iter_mut().zip(&image.data[from * stride..(from + 1) * stride]) {
                *sum += weight * f64::from(sample);
            }
        }
    }
    let mut data = Vec::with_capacity(3 * width as usize * height as usize);
    for row in middle.chunks(stride.max(1)) {
        for taps in &columns {
            for c in 0..3 {
                let sum: f64 = taps.iter().map(|&(from, weight)| weight * row[3 * from + c]).sum();
                data.push(sum.round_ties_even().clamp(0.0, 255.0) as u8);
            }
        }
    }
    Rgb8 { width, height, data }
}

/// For each output position the input positions it reads and their weights, which sum to 1.
fn taps(input: usize, output: usize, scale: f64) -> Vec<Vec<(usize, f64)>> {
    // Shrinking widens the kernel, so that it also filters.
    let shrink = scale.min(1.0);
    let support = 4.0 / shrink;
    (0..output)
        .map(|i| {
            let centre = (i as f64 + 0.5) / scale - 0.5;
            let first = (centre - support / 2.0).floor() as i64;
            let mut taps: Vec<(usize, f64)> = (first..first + support.ceil() as i64 + 2)
                .map(|at| (mirror(at, input), shrink * cubic(shrink * (centre - at as f64))))
                .filter(|&(_, weight)| weight != 0.0)
                .collect();
            let sum: f64 = taps.iter().map(|t| t.1).sum();
            taps.iter_mut().for_each(|t| t.1 /= sum);
            taps
        })
        .collect()
}

/// Symmetric padding: …2 1 0 | 0 1 2… n−1 | n−1 n−2…
fn mirror(at: i64, n: usize) -> usize {
    let n = n as i64;
    let at = at.rem_euclid(2 * n);
    (if at < n { at } else { 2 * n - 1 - at }) as usize
}

/// Keys' cubic with a = −0.5.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0
    } else if x <= 2.0 {
        -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0
    } else {
        0.0
    }
}
