//! Time per image and ratio to the baseline out of timed blocks, with bootstrap intervals. Deterministic: the resampling is
//! seeded, so that stored samples give the same figures again.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Resamples per interval; the ends then move by less than a tenth of the interval's width.
const RESAMPLES: usize = 2000;
const SEED: u64 = 7;

/// One block A B B A, or the entry alone twice; ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Which input size it was timed at: an index into the weights.
    pub size: usize,
    pub entry: [f64; 2],
    pub baseline: Option<[f64; 2]>,
}

/// A figure and its 95 % bootstrap interval over blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub ci95: [f64; 2],
}

impl Estimate {
    /// Half of the interval's width, relative to the figure.
    pub fn half_width(&self) -> f64 {
        (self.ci95[1] - self.ci95[0]) / 2.0 / self.value
    }
}

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

/// ms per image of the entry: the median at each input size, averaged over sizes by `weights`, the number of images of
/// each. Sizes without a block are left out.
pub fn entry_ms(blocks: &[Block], weights: &[f64]) -> Estimate {
    estimate(blocks, weights, |sizes, weights| average(sizes, weights, |b| b.entry.to_vec()))
}

/// ms per image of the baseline; NaN where none was timed.
pub fn baseline_ms(blocks: &[Block], weights: &[f64]) -> f64 {
    let pick = |b: &Block| b.baseline.map(|times| times.to_vec()).unwrap_or_default();
    estimate(blocks, weights, |sizes, weights| average(sizes, weights, pick)).value
}

/// Time of the entry over that of the baseline: of each block A B B A the ratio of the sums, of each size the median over
/// blocks, and of several sizes the mean weighted by the baseline's time there (which is the ratio of the total times).
pub fn ratio(blocks: &[Block], weights: &[f64]) -> Estimate {
    estimate(blocks, weights, |sizes, weights| {
        let (mut entry, mut baseline) = (0.0, 0.0);
        for (blocks, weight) in sizes.iter().zip(weights).filter(|(blocks, _)| !blocks.is_empty()) {
            let ratios: Vec<f64> = blocks.iter().filter_map(|b| Some(sum(b.entry) / sum(b.baseline?))).collect();
            let times: Vec<f64> = blocks.iter().flat_map(|b| b.baseline.into_iter().flatten()).collect();
            let time = weight * median(&times);
            entry += time * median(&ratios);
            baseline += time;
        }
        entry / baseline
    })
}

fn sum(times: [f64; 2]) -> f64 {
    times[0] + times[1]
}

fn average(sizes: &[Vec<&Block>], weights: &[f64], pick: impl Fn(&Block) -> Vec<f64>) -> f64 {
    let (mut total, mut count) = (0.0, 0.0);
    for (blocks, weight) in sizes.iter().zip(weights).filter(|(blocks, _)| !blocks.is_empty()) {
        let times: Vec<f64> = blocks.iter().flat_map(|b| pick(b)).collect();
        total += weight * median(&times);
        count += weight;
    }
    total / count
}

/// Whole blocks are drawn, since what disturbs the entry within a block disturbs the baseline too; each size keeps its
/// number of blocks.
fn estimate(blocks: &[Block], weights: &[f64], of: impl Fn(&[Vec<&Block>], &[f64]) -> f64) -> Estimate {
    let sizes: Vec<Vec<&Block>> =
        (0..weights.len()).map(|size| blocks.iter().filter(|b| b.size == size).collect()).collect();
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut drawn = sizes.clone();
    let mut draws = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for (drawn, blocks) in drawn.iter_mut().zip(&sizes) {
            drawn.iter_mut().for_each(|block| *block = blocks[rng.random_range(0..blocks.len())]);
        }
        draws.push(of(&drawn, weights));
    }
    draws.sort_by(f64::total_cmp);
    Estimate { value: of(&sizes, weights), ci95: [draws[RESAMPLES / 40], draws[RESAMPLES - 1 - RESAMPLES / 40]] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: usize, entry: [f64; 2], baseline: [f64; 2]) -> Block {
        Block { size, entry, baseline: Some(baseline) }
    }

    #[test]
    fn drift_and_bursts_do_not_move_the_ratio() {
        // A machine that slows down by 3 % a pass, and a burst that doubles three whole blocks.
        let mut clock = 1.0;
        let mut pass = |ms: f64| {
            clock += 0.03;
            ms * clock
        };
        let mut blocks: Vec<Block> = (0..12)
            .map(|_| {
                let (a, b, c, d) = (pass(40.0), pass(100.0), pass(100.0), pass(40.0));
                block(0, [a, d], [b, c])
            })
            .collect();
        for b in &mut blocks[4..7] {
            b.entry = b.entry.map(|t| 2.0 * t);
        }
        let found = ratio(&blocks, &[1.0]);
        assert!((found.value - 0.4).abs() < 1e-9, "{found:?}");
        assert!(found.ci95[0] <= 0.4 + 1e-9 && found.ci95[1] >= 0.4 - 1e-9, "{found:?}");
    }

    #[test]
    fn several_sizes_give_the_ratio_of_total_times() {
        // 10 images of a small size at half the baseline's time, 1 of a large one at its time.
        let blocks: Vec<Block> = (0..5)
            .flat_map(|_| [block(0, [5.0, 5.0], [10.0, 10.0]), block(1, [200.0, 200.0], [200.0, 200.0])])
            .collect();
        let weights = [10.0, 1.0];
        assert!((entry_ms(&blocks, &weights).value - 250.0 / 11.0).abs() < 1e-9);
        assert!((baseline_ms(&blocks, &weights) - 300.0 / 11.0).abs() < 1e-9);
        assert!((ratio(&blocks, &weights).value - 250.0 / 300.0).abs() < 1e-9);
        // A size without a block says nothing.
        assert!((ratio(&blocks, &[10.0, 1.0, 50.0]).value - 250.0 / 300.0).abs() < 1e-9);
    }

    #[test]
    fn the_interval_is_as_wide_as_the_scatter() {
        let scatter = [0.97, 1.03, 0.99, 1.01, 1.0, 0.98, 1.02, 1.0];
        let blocks: Vec<Block> = scatter.map(|s| block(0, [s, s], [2.0, 2.0])).to_vec();
        let found = ratio(&blocks, &[1.0]);
        assert!((found.value - 0.5).abs() < 1e-9);
        assert!(found.half_width() > 0.005 && found.half_width() < 0.03, "{found:?}");
        let steady: Vec<Block> = scatter.map(|_| block(0, [1.0, 1.0], [2.0, 2.0])).to_vec();
        assert_eq!(ratio(&steady, &[1.0]).half_width(), 0.0);
    }
}
