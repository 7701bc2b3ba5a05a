//! Medians and their bootstrap intervals. Deterministic: the resampling is seeded, so that a stored sample gives the same
//! interval again.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Resamples per interval; the ends then move by less than a tenth of the interval's width.
const RESAMPLES: usize = 2000;

/// Median of a sample; NaN for an empty one.
pub fn median(sample: &[f64]) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// 95 % bootstrap interval of the median.
pub fn median_interval(sample: &[f64], seed: u64) -> [f64; 2] {
    let mut rng = SmallRng::seed_from_u64(seed);
    interval(|| median(&resample(sample, &mut rng)))
}

/// 95 % bootstrap interval of the ratio of two medians. Samples come in blocks A B B A, two of each a block, so whole
/// blocks are drawn: what disturbs the entry within a block disturbs the baseline too.
pub fn ratio_interval(entry: &[f64], baseline: &[f64], seed: u64) -> [f64; 2] {
    let mut rng = SmallRng::seed_from_u64(seed);
    let blocks: Vec<Block> =
        entry.chunks(2).zip(baseline.chunks(2)).map(|(entry, baseline)| Block { entry, baseline }).collect();
    interval(|| {
        let drawn: Vec<&Block> = (0..blocks.len()).map(|_| &blocks[rng.random_range(0..blocks.len())]).collect();
        let entry: Vec<f64> = drawn.iter().flat_map(|b| b.entry).copied().collect();
        let baseline: Vec<f64> = drawn.iter().flat_map(|b| b.baseline).copied().collect();
        median(&entry) / median(&baseline)
    })
}

/// The passes of one block A B B A.
struct Block<'a> {
    entry: &'a [f64],
    baseline: &'a [f64],
}

fn resample(sample: &[f64], rng: &mut SmallRng) -> Vec<f64> {
    (0..sample.len()).map(|_| sample[rng.random_range(0..sample.len())]).collect()
}

fn interval(mut draw: impl FnMut() -> f64) -> [f64; 2] {
    let mut draws: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    draws.sort_by(f64::total_cmp);
    [draws[RESAMPLES / 40], draws[RESAMPLES - 1 - RESAMPLES / 40]]
}
