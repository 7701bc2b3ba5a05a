//! SSIM: 11×11 Gaussian window of σ 1.5, valid region only, C1 = (0.01·255)², C2 = (0.03·255)², mean over all windows of
//! all channels; in f64 throughout.
//!
//! The window is separable, so the 121 taps become 11 down and 11 across. And the formula needs σx² + σy² but neither
//! alone, so the sum s = x + y and the difference d = x − y of the images carry all of it in four filtered planes instead
//! of five: with a = E[s]²/2, b = E[d]²/2, A = E[s²]/2 − a and B = E[d²]/2 − b,
//! 2µxµy = a − b, µx² + µy² = a + b, 2σxy = A − B, σx² + σy² = A + B.
//! Identical images have d = 0 and so exactly 1.
//!
//! Every sum is taken in the same order on every processor (no fused multiply-add, fixed lanes), so a figure does not
//! depend on the machine or on the number of threads.

use rayon::prelude::*;

use super::View;

/// Taps of the Gaussian.
pub(super) const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Rows of windows that one task computes.
const BAND: usize = 64;
/// Samples across that are computed at once: four planes of [`WINDOW`] rows of them stay within a core's L2 cache.
const TILE: usize = 256;
/// Samples that are computed side by side, in registers.
const LANES: usize = 8;
/// s, d, s², d².
const PLANES: usize = 4;

pub(super) trait Sample: Copy + Into<f64> + Sync {}
impl Sample for u8 {}
impl Sample for f64 {}

/// Mean SSIM of two views of equal size, at least [`WINDOW`] pixels each way; `STEP` samples from one pixel to the next
/// of the same channel. With `share` the cores share the work.
pub(super) fn mean<T: Sample, const STEP: usize>(a: &View<T>, b: &View<T>, share: bool) -> f64 {
    let (rows, cols) = (a.rows - (WINDOW - 1), a.cols - (WINDOW - 1) * STEP);
    let kernel = gaussian();
    let band = |i: usize| {
        let (from, to) = (i * BAND, ((i + 1) * BAND).min(rows));
        (0..cols).step_by(TILE).map(|x| tile_sum::<T, STEP>(a, b, &kernel, from..to, x, TILE.min(cols - x))).sum()
    };
    let bands = rows.div_ceil(BAND);
    // Collected before they are added, so that the order of the sum is fixed.
    let sums: Vec<f64> =
        if share { (0..bands).into_par_iter().map(band).collect() } else { (0..bands).map(band).collect() };
    sums.iter().sum::<f64>() / (rows * cols) as f64
}

fn gaussian() -> [f64; WINDOW] {
    let half = (WINDOW / 2) as f64;
    let raw: [f64; WINDOW] = std::array::from_fn(|i| (-(i as f64 - half).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = raw.iter().sum();
    raw.map(|w| w / sum)
}

/// The sum of SSIM over rows `rows` and samples `x..x + width` of windows.
fn tile_sum<T: Sample, const STEP: usize>(
    a: &View<T>,
    b: &View<T>,
    kernel: &[f64; WINDOW],
    rows: std::ops::Range<usize>,
    x: usize,
    width: usize,
) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide<T: Sample, const STEP: usize>(
            a: &View<T>,
            b: &View<T>,
            kernel: &[f64; WINDOW],
            rows: std::ops::Range<usize>,
            x: usize,
            width: usize,
        ) -> f64 {
            tile_sum_on::<T, STEP>(a, b, kernel, rows, x, width)
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as was just asked.
            return unsafe { wide::<T, STEP>(a, b, kernel, rows, x, width) };
        }
    }
    tile_sum_on::<T, STEP>(a, b, kernel, rows, x, width)
}

#[inline(always)]
fn tile_sum_on<T: Sample, const STEP: usize>(
    a: &View<T>,
    b: &View<T>,
    kernel: &[f64; WINDOW],
    rows: std::ops::Range<usize>,
    x: usize,
    width: usize,
) -> f64 {
    let reach = (WINDOW - 1) * STEP;
    // Rounded up to whole lanes; what the padding holds is computed with and thrown away.
    let out_len = width.next_multiple_of(LANES);
    let in_len = (out_len + reach).next_multiple_of(LANES);
    let mut ring = vec![0.0; WINDOW * PLANES * in_len];
    let mut down = vec![0.0; PLANES * in_len];
    let mut lanes = [0.0; LANES];
    let slot = |y: usize, plane: usize| ((y % WINDOW) * PLANES + plane) * in_len;

    for y in rows.start..rows.end + WINDOW - 1 {
        let at = slot(y, 0);
        fill(&mut ring[at..at + PLANES * in_len], &a.row(y)[x..x + width + reach], &b.row(y)[x..x + width + reach]);
        let Some(top) = (y + 1).checked_sub(WINDOW).filter(|top| *top >= rows.start) else { continue };

        for plane in 0..PLANES {
            let taps: [&[f64]; WINDOW] = std::array::from_fn(|k| &ring[slot(top + k, plane)..][..in_len]);
            filter_down(&mut down[plane * in_len..][..in_len], &taps, kernel);
        }
        for i in (0..out_len).step_by(LANES) {
            let e: [[f64; LANES]; PLANES] =
                std::array::from_fn(|plane| filter_across::<STEP>(&down[plane * in_len + i..], kernel));
            let keep = (width - i).min(LANES);
            let values = ssim_of(&e);
            for (lane, value) in lanes.iter_mut().zip(values).take(keep) {
                *lane += value;
            }
        }
    }
    lanes.iter().sum()
}

/// The four planes of one row.
#[inline(always)]
fn fill<T: Sample>(planes: &mut [f64], a: &[T], b: &[T]) {
    let in_len = planes.len() / PLANES;
    let (s, rest) = planes.split_at_mut(in_len);
    let (d, rest) = rest.split_at_mut(in_len);
    let (ss, dd) = rest.split_at_mut(in_len);
    for i in 0..a.len() {
        let (x, y): (f64, f64) = (a[i].into(), b[i].into());
        s[i] = x + y;
        d[i] = x - y;
        ss[i] = s[i] * s[i];
        dd[i] = d[i] * d[i];
    }
}

#[inline(always)]
fn filter_down(out: &mut [f64], taps: &[&[f64]; WINDOW], kernel: &[f64; WINDOW]) {
    for i in (0..out.len()).step_by(LANES) {
        let mut sum = [0.0; LANES];
        for (tap, weight) in taps.iter().zip(kernel) {
            let tap = &tap[i..i + LANES];
            for lane in 0..LANES {
                sum[lane] += weight * tap[lane];
            }
        }
        out[i..i + LANES].copy_from_slice(&sum);
    }
}

#[inline(always)]
fn filter_across<const STEP: usize>(row: &[f64], kernel: &[f64; WINDOW]) -> [f64; LANES] {
    let row = &row[..LANES + (WINDOW - 1) * STEP];
    let mut sum = [0.0; LANES];
    for (k, weight) in kernel.iter().enumerate() {
        for lane in 0..LANES {
            sum[lane] += weight * row[lane + k * STEP];
        }
    }
    sum
}

#[inline(always)]
fn ssim_of([s, d, ss, dd]: &[[f64; LANES]; PLANES]) -> [f64; LANES] {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        let (mean_s, mean_d) = (s[i] * s[i] * 0.5, d[i] * d[i] * 0.5);
        let (var_s, var_d) = (ss[i] * 0.5 - mean_s, dd[i] * 0.5 - mean_d);
        out[i] = ((mean_s - mean_d + C1) * (var_s - var_d + C2)) / ((mean_s + mean_d + C1) * (var_s + var_d + C2));
    }
    out
}
