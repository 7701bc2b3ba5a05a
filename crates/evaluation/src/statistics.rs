//! Time per image and ratio to the baseline out of timed blocks, with bootstrap intervals. Deterministic: the resampling is
//! seeded, so that stored samples give the same figures again.
//!
//! Blocks of one process are more alike than those of two, so what is drawn is whole processes; blocks only where there was one
//! process, and the two halves of a block that is alone at its size. Few of them make such an interval too narrow: it is widened
//! by the factor of Hesterberg, What Teachers Should Know About the Bootstrap (2015), §4.3: `√(n/(n−1)) · t₀.₉₇₅(n−1) / z₀.₉₇₅`.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Resamples per interval; the ends then move by less than a tenth of the interval's width.
const RESAMPLES: usize = 2000;
const SEED: u64 = 7;

/// One block A B B A, or the entry alone twice; ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Which process it was timed in, from 0.
    pub process: usize,
    /// Which input size it was timed at: an index into the weights.
    pub size: usize,
    pub entry: [f64; 2],
    pub baseline: Option<[f64; 2]>,
}

/// A figure and its 95 % bootstrap interval, over processes or, of one, its blocks.
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

/// Quantiles of Student's t at 97.5 % with 1, 2, … degrees of freedom; past the last it is taken.
const T: [f64; 12] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179];
const Z: f64 = 1.960;

/// Of one input size, each process's blocks.
type Sample<'a> = Vec<Vec<&'a Block>>;

/// ms per image of the entry: the median at each input size, averaged over sizes by `weights`, the number of images of
/// each. Sizes without a block are left out.
pub fn entry_ms(blocks: &[Block], weights: &[f64]) -> Estimate {
    estimate(blocks, weights, |sizes, weights| average(sizes, weights, |b| Some(b.entry)))
}

/// ms per image of the baseline; NaN where none was timed.
pub fn baseline_ms(blocks: &[Block], weights: &[f64]) -> f64 {
    average(&samples(blocks, weights), weights, |b| b.baseline)
}

/// Time of the entry over that of the baseline: of each block A B B A the ratio of the sums, of each size the median over the
/// blocks of a process and the mean over processes, and of several sizes the mean weighted by the baseline's time there
/// (which is the ratio of the total times).
pub fn ratio(blocks: &[Block], weights: &[f64]) -> Estimate {
    estimate(blocks, weights, |sizes, weights| {
        let (mut entry, mut baseline) = (0.0, 0.0);
        for (processes, weight) in sizes.iter().zip(weights) {
            let ratio = |b: &&Block| Some(sum(b.entry) / sum(b.baseline?));
            let ratios = processes.iter().map(|blocks| blocks.iter().filter_map(ratio).collect::<Vec<_>>());
            let medians: Vec<f64> = ratios.filter(|ratios| !ratios.is_empty()).map(|ratios| median(&ratios)).collect();
            if medians.is_empty() {
                continue;
            }
            let time = weight * median(&times(processes, |b| b.baseline));
            entry += time * medians.iter().sum::<f64>() / medians.len() as f64;
            baseline += time;
        }
        entry / baseline
    })
}

fn sum(times: [f64; 2]) -> f64 {
    times[0] + times[1]
}

fn times(processes: &Sample, pick: impl Fn(&Block) -> Option<[f64; 2]>) -> Vec<f64> {
    processes.iter().flatten().filter_map(|b| pick(b)).flatten().collect()
}

fn average(sizes: &[Sample], weights: &[f64], pick: impl Fn(&Block) -> Option<[f64; 2]>) -> f64 {
    let (mut total, mut count) = (0.0, 0.0);
    for (processes, weight) in sizes.iter().zip(weights) {
        let times = times(processes, &pick);
        if !times.is_empty() {
            total += weight * median(&times);
            count += weight;
        }
    }
    total / count
}

/// By size, then by process; of processes only those that have blocks.
fn samples<'a>(blocks: &'a [Block], weights: &[f64]) -> Vec<Sample<'a>> {
    let processes: BTreeSet<usize> = blocks.iter().map(|b| b.process).collect();
    let of =
        |size: usize, process: usize| blocks.iter().filter(move |b| (b.size, b.process) == (size, process)).collect();
    (0..weights.len()).map(|size| processes.iter().map(|&process| of(size, process)).collect()).collect()
}

fn estimate(blocks: &[Block], weights: &[f64], of: impl Fn(&[Sample], &[f64]) -> f64) -> Estimate {
    let mut sizes = samples(blocks, weights);
    let processes = sizes.first().map_or(0, Vec::len);
    let value = of(&sizes, weights);
    let halves: Vec<[Block; 2]>;
    let widen = if processes > 1 {
        widening(processes as f64, processes - 1)
    } else {
        halves = blocks.iter().map(halves_of).collect();
        for alone in sizes.iter_mut().flatten().filter(|blocks| blocks.len() == 1) {
            *alone = halves.iter().filter(|of| of[0].size == alone[0].size).flatten().collect();
        }
        let counts: Vec<usize> = sizes.iter().flatten().map(Vec::len).filter(|&count| count > 0).collect();
        let total = counts.iter().sum::<usize>();
        widening(total as f64 / counts.len() as f64, total - counts.len())
    };
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut drawn = sizes.clone();
    let mut draws = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        if processes > 1 {
            let which: Vec<usize> = (0..processes).map(|_| rng.random_range(0..processes)).collect();
            for (drawn, sample) in drawn.iter_mut().zip(&sizes) {
                *drawn = which.iter().map(|&process| sample[process].clone()).collect();
                // Where none that was drawn has this size, all that have it stand in: the mix of sizes stays.
                if drawn.iter().all(Vec::is_empty) {
                    drawn.clone_from(sample);
                }
            }
        } else {
            for (drawn, blocks) in drawn.iter_mut().flatten().zip(sizes.iter().flatten()) {
                drawn.iter_mut().for_each(|block| *block = blocks[rng.random_range(0..blocks.len())]);
            }
        }
        draws.push(of(&drawn, weights));
    }
    draws.sort_by(f64::total_cmp);
    // As a factor, for a time is never below nothing.
    let end = |at: usize| value * (draws[at] / value).powf(widen);
    Estimate { value, ci95: [end(RESAMPLES / 40), end(RESAMPLES - 1 - RESAMPLES / 40)] }
}

/// For samples of `n`, on the average, that leave so many degrees of freedom; 1 where there is nothing to draw from.
fn widening(n: f64, freedom: usize) -> f64 {
    match freedom {
        0 => 1.0,
        _ => (n / (n - 1.0)).sqrt() * T[(freedom - 1).min(T.len() - 1)] / Z,
    }
}

/// A B and B A of a block A B B A.
fn halves_of(block: &Block) -> [Block; 2] {
    [0, 1].map(|i| Block { entry: [block.entry[i]; 2], baseline: block.baseline.map(|times| [times[i]; 2]), ..*block })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: usize, entry: [f64; 2], baseline: [f64; 2]) -> Block {
        Block { process: 0, size, entry, baseline: Some(baseline) }
    }

    #[test]
    fn processes_count_alike_and_their_differences_show_in_the_interval() {
        // Four processes, each steady, 1 % apart, the first with many more blocks.
        let of = |process: usize, blocks: usize| {
            let ms = 0.5 + 0.005 * process as f64;
            vec![Block { process, ..block(0, [ms, ms], [1.0, 1.0]) }; blocks]
        };
        let blocks: Vec<Block> = [of(0, 30), of(1, 4), of(2, 4), of(3, 4)].concat();
        let found = ratio(&blocks, &[1.0]);
        assert!((found.value - 0.5075).abs() < 1e-9, "{found:?}");
        // By hand: the standard error of a mean of four is 0.64 % of it, t₀.₉₇₅(3) = 3.18: ±2.0 %.
        assert!((0.012..0.028).contains(&found.half_width()), "{found:?} ±{}", found.half_width());
        assert!(ratio(&of(0, 30), &[1.0]).half_width() < 1e-12, "one process shows no difference");
        // A process that lacks a size says nothing of it, and does not change the mix.
        let mixed = [block(0, [1.0, 1.0], [2.0, 2.0]), Block { process: 1, ..block(1, [3.0, 3.0], [4.0, 4.0]) }];
        let found = ratio(&mixed, &[1.0, 1.0]);
        assert!((found.value - 4.0 / 6.0).abs() < 1e-9 && found.half_width() < 1e-9, "{found:?}");
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
        // One block says little, and three more than one.
        let one = ratio(&[block(0, [1.0, 1.04], [2.0, 2.0])], &[1.0]);
        assert!((one.value - 0.51).abs() < 1e-9 && one.half_width() > 0.15, "{one:?}");
        let three = ratio(&[1.0, 1.02, 1.04].map(|s| block(0, [s, s], [2.0, 2.0])), &[1.0]);
        assert!((0.03..0.1).contains(&three.half_width()), "{three:?}");
        // At three sizes one each: two halves of each.
        let sizes = [0, 1, 2].map(|size| block(size, [1.0, 1.04], [2.0, 2.0]));
        let sizes = ratio(&sizes, &[1.0; 3]);
        assert!((0.02..0.1).contains(&sizes.half_width()), "{sizes:?}");
    }
}
