//! SSIM: 11×11 Gaussian window of σ 1.5, valid region only, C1 = (0.01·255)², C2 = (0.03·255)², mean over all windows of
//! all channels; in f64 throughout.
//!
//! The window is separable, so the 121 taps become 11 down and 11 across. And the formula needs σx² + σy² but neither
//! alone, so the sum s = x + y and the difference d = x − y of the images carry all of it in four filtered planes instead
//! of five: with a = E[s]²/2, b = E[d]²/2, A = E[s²]/2 − a and B = E[d²]/2 − b,
//! 2µxµy = a − b, µx² + µy² = a + b, 2σxy = A − B, σx² + σy² = A + B.
//! Identical images have d = 0 and so exactly 1.
//!
//! Sums are taken in a fixed order, so a figure does not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::View;

/// Taps of the Gaussian.
pub(super) const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// Rows of windows that one task computes.
const BAND: usize = 128;
/// Windows across that are computed at once: few enough for [`WINDOW`] rows of four planes to stay in the L1 cache, and
/// a constant, so that no loop has a remainder or a check. What a narrower tile holds beyond its width is thrown away.
const TILE: usize = 64;
/// A tile and what its windows reach beyond it, three samples a pixel.
const LINE: usize = TILE + (WINDOW - 1) * 3;
/// s, d, s², d².
const PLANES: usize = 4;
/// Partial sums, so that adding up is not one long chain.
const LANES: usize = 8;

pub(super) trait Sample: Copy + Into<f64> + Sync {}
impl Sample for u8 {}
impl Sample for f64 {}

type Row = [f64; TILE];

/// Mean SSIM of two views of equal size, at least [`WINDOW`] pixels each way; `STEP` samples from one pixel to the next
/// of the same channel. With `share` the cores share the work.
pub(super) fn mean<T: Sample, const STEP: usize>(a: &View<T>, b: &View<T>, share: bool) -> f64 {
    let (rows, cols) = (a.rows - (WINDOW - 1), a.cols - (WINDOW - 1) * STEP);
    let kernel = gaussian();
    let band = |i: usize| {
        let rows = i * BAND..((i + 1) * BAND).min(rows);
        let tiles = (0..cols).step_by(TILE);
        tiles
            .map(|x| Tile { a, b, kernel: &kernel, rows: rows.clone(), x, width: TILE.min(cols - x) }.sum::<STEP>())
            .sum()
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

/// Rows `rows` and samples `x..x + width` of windows.
struct Tile<'a, T> {
    a: &'a View<'a, T>,
    b: &'a View<'a, T>,
    kernel: &'a [f64; WINDOW],
    rows: Range<usize>,
    x: usize,
    width: usize,
}

impl<T: Sample> Tile<'_, T> {
    /// The sum of SSIM over the tile.
    fn sum<const STEP: usize>(&self) -> f64 {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn wide<T: Sample, const STEP: usize>(tile: &Tile<T>) -> f64 {
                tile.sum_on::<STEP, true>()
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA, as was just asked.
                return unsafe { wide::<T, STEP>(self) };
            }
        }
        // Every 64-bit ARM has fused multiply-add; without the hardware it would be emulated, and very slow.
        self.sum_on::<STEP, { cfg!(target_arch = "aarch64") }>()
    }

    #[inline(always)]
    fn sum_on<const STEP: usize, const FUSED: bool>(&self) -> f64 {
        let Tile { a, b, kernel, ref rows, x, width } = *self;
        let reach = width + (WINDOW - 1) * STEP;
        let mut line = [[0.0; LINE]; PLANES];
        // The last WINDOW rows, filtered across.
        let mut ring = [[[0.0; TILE]; PLANES]; WINDOW];
        let mut moments = [[0.0; TILE]; PLANES];
        let mut lanes = [0.0; LANES];

        for y in rows.start..rows.end + WINDOW - 1 {
            fill(&mut line, &a.row(y)[x..x + reach], &b.row(y)[x..x + reach]);
            for (out, line) in ring[y % WINDOW].iter_mut().zip(&line) {
                filter::<FUSED>(out, tiles::<STEP>(line), kernel);
            }
            let Some(top) = (y + 1).checked_sub(WINDOW).filter(|top| *top >= rows.start) else { continue };
            for (plane, out) in moments.iter_mut().enumerate() {
                filter::<FUSED>(out, std::array::from_fn(|k| &ring[(top + k) % WINDOW][plane]), kernel);
            }
            add(&mut lanes, &ssim_of(&moments)[..width]);
        }
        lanes.iter().sum()
    }
}

/// The four planes of one row.
#[inline(always)]
fn fill<T: Sample>(line: &mut [[f64; LINE]; PLANES], a: &[T], b: &[T]) {
    let n = a.len().min(LINE);
    let [s, d, ss, dd] = line.each_mut().map(|plane| &mut plane[..n]);
    let (a, b) = (&a[..n], &b[..n]);
    for i in 0..n {
        let (x, y): (f64, f64) = (a[i].into(), b[i].into());
        s[i] = x + y;
        d[i] = x - y;
        ss[i] = (x + y) * (x + y);
        dd[i] = (x - y) * (x - y);
    }
}

/// What each of the window's taps sees of a line.
#[inline(always)]
fn tiles<const STEP: usize>(line: &[f64; LINE]) -> [&Row; WINDOW] {
    const { assert!(STEP <= 3, "LINE is made for three samples a pixel") };
    std::array::from_fn(|k| line[k * STEP..].first_chunk().expect("a line holds a tile and its reach"))
}

/// `out[i]` becomes the weighted sum of the taps' `[i]`. Written out, as that is the form that the compiler vectorises.
#[inline(always)]
fn filter<const FUSED: bool>(out: &mut Row, taps: [&Row; WINDOW], weights: &[f64; WINDOW]) {
    let [a, b, c, d, e, f, g, h, i, j, k] = taps;
    for x in 0..TILE {
        let values = [a[x], b[x], c[x], d[x], e[x], f[x], g[x], h[x], i[x], j[x], k[x]];
        let mut sum = values[0] * weights[0];
        for k in 1..WINDOW {
            sum = if FUSED { values[k].mul_add(weights[k], sum) } else { values[k] * weights[k] + sum };
        }
        out[x] = sum;
    }
}

#[inline(always)]
fn ssim_of([s, d, ss, dd]: &[Row; PLANES]) -> Row {
    let mut out = [0.0; TILE];
    for i in 0..TILE {
        let (mean_s, mean_d) = (s[i] * s[i] * 0.5, d[i] * d[i] * 0.5);
        let (var_s, var_d) = (ss[i] * 0.5 - mean_s, dd[i] * 0.5 - mean_d);
        out[i] = ((mean_s - mean_d + C1) * (var_s - var_d + C2)) / ((mean_s + mean_d + C1) * (var_s + var_d + C2));
    }
    out
}

#[inline(always)]
fn add(lanes: &mut [f64; LANES], values: &[f64]) {
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for i in 0..LANES {
            lanes[i] += chunk[i];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
}
