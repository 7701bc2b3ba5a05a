//! Whether a pixel costs as much time at a size that the file could not foresee as at those of the protocol.
//!
//! Each process draws a size of its own near a timed one, and passes at both take turns (T S S T), so that load hits both
//! alike. Where a pixel took longer there than the bound allows, the two sizes are timed once more, by passes of their own,
//! with what may explain it beside them: the counted multiply-adds, and the baseline. Only a second look can be a doubt.

use rand::{RngExt, seq::IndexedRandom};

use super::{
    super::{
        SecondLook, SecretSize, cost,
        load::Load,
        model::Model,
        runner::{Fault, Runner, Slot},
        statistics::median,
    },
    gate, gpu,
    inputs::{Inputs, Size, pixels},
    ours,
};
use crate::Doubt;

/// So much more time per pixel than at the protocol's size is no doubt. Of five published networks on CPU none took over 7 % more
/// at sizes this near …
const NEAR: f64 = 0.15;
/// … and none over 21 % at half as many pixels more and beyond, where what a layer writes leaves the caches.
const FAR: f64 = 0.35;
/// Side below which the bounds grow as it shrinks: what a pass costs beside its pixels, and rows that fill no vector, weigh more.
pub const SMALL: f64 = 64.0;
/// Pixels beside those of the protocol's size: a near one has at most so many.
const NEAR_PIXELS: f64 = 1.15;
/// How often a larger size is drawn: it meets what is cheap below some limit.
const LARGER: f64 = 0.25;
/// Sides of a larger one beside the protocol's.
const LARGER_SIDES: std::ops::Range<f64> = 1.15..1.5;
/// Pixels of a larger one beside the protocol's where no image of the phase has as many: the model need not bear more.
const UNKNOWN_PIXELS: f64 = 1.3;
/// What windows that do not pad are multiples of, at most.
const WINDOW: u32 = 64;
/// Pairs T S S T of a second look: at least, and at most, as many as fit into the time.
const PAIRS: std::ops::RangeInclusive<usize> = 3..=8;
const SECOND_LOOK_S: f64 = 5.0;

/// One pair of passes at each size, T S S T.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub process: usize,
    /// T: an index into the inputs' sizes.
    pub size: usize,
    /// S, height and width.
    pub at: (u32, u32),
    pub ms: [f64; 4],
    pub disturbed: bool,
}

impl Turn {
    /// ms at T and at S.
    fn pairs(&self) -> [[f64; 2]; 2] {
        let [first, second, third, last] = self.ms;
        [[first, second], [last, third]]
    }
}

/// Sizes to try beside `of`, the drawn one first; those that follow are for networks that do not run there. `images`: sizes
/// of the phase's images.
pub fn candidates(of: (u32, u32), images: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut rng = rand::rng();
    let area = |(height, width): (u32, u32)| f64::from(height) * f64::from(width);
    let most = images.iter().copied().map(area).fold(UNKNOWN_PIXELS * area(of), f64::max);
    let mut larger = |side: u32| (f64::from(side) * rng.random_range(LARGER_SIDES)) as u32 + 1;
    let larger = match (larger(of.0), larger(of.1)) {
        (height, width) if height == width => (height, width + 1),
        other => other,
    };
    let mut sizes = vec![near(of)];
    if area(larger) <= most && rng.random_bool(LARGER) {
        sizes.insert(0, larger);
    }
    let mut windows = [(of.0 + WINDOW, of.1), (of.0, of.1 + WINDOW)];
    windows.rotate_left(rng.random_range(0..2));
    sizes.extend(windows);
    // As a last resort one that is known, but not that of the protocol.
    let others: Vec<(u32, u32)> =
        images.iter().copied().filter(|&image| image != of && area(image) >= area(of)).collect();
    sizes.extend(others.choose(&mut rng));
    sizes
}

/// A few pixels off in both directions, of another aspect, and about as large.
fn near(of: (u32, u32)) -> (u32, u32) {
    let mut rng = rand::rng();
    let area = |(height, width): (u32, u32)| f64::from(height) * f64::from(width);
    let mut off = |side: u32| {
        let by = rng.random_range(2..=(side / 16).max(4));
        if rng.random() { side + by } else { side.saturating_sub(by).max(1) }
    };
    for _ in 0..1000 {
        let size = (off(of.0), off(of.1));
        let same_aspect = u64::from(size.0) * u64::from(of.1) == u64::from(size.1) * u64::from(of.0);
        if !same_aspect && (0.95..=1.12).contains(&(area(size) / area(of))) {
            return size;
        }
    }
    (of.0 + 2, of.1 + 3)
}

/// Four passes at `size` and `at` in turns on fresh pixels of range 0…`range`.
pub fn turn(
    runner: &mut Runner,
    slot: Slot,
    inputs: &Inputs,
    (size, at): (&Size, (u32, u32)),
    range: u32,
    warmup: usize,
) -> Result<([f64; 4], Load), Fault> {
    let fresh = |shape| pixels(&inputs.draw_at(size, shape), range);
    let fed = [fresh(size.shape()), fresh(size.shape()), fresh(at), fresh(at)];
    runner.pair(slot, [&fed[0], &fed[1], &fed[2], &fed[3]], [size.shape(), at], warmup)
}

/// What is looked at again, and with what.
pub struct Look<'a> {
    pub runner: &'a mut Runner,
    pub gpu: Option<&'a gpu::Gpu>,
    pub inputs: &'a Inputs,
    pub model: &'a Model,
    pub has_baseline: bool,
    pub range: u32,
    pub warmup: usize,
}

impl Look<'_> {
    /// Each process's secret size, and the doubts that a second look leaves.
    pub fn weigh(&mut self, turns: &[Turn]) -> Result<(Vec<SecretSize>, Vec<Doubt>), Fault> {
        let (mut found, mut doubts) = (Vec::new(), Vec::new());
        for of in turns.chunk_by(|a, b| a.process == b.process) {
            let [Turn { process, size, at, .. }, ..] = *of else { continue };
            let beside = self.inputs.sizes[size].shape();
            let pairs = quiet_pairs(of);
            let growth = median(&growths(&pairs, beside, at));
            let bound = bound(beside, at);
            let again = if growth > 1.0 + bound { Some(self.again(size, at)?) } else { None };
            if let Some(look) = again.as_ref().filter(|look| look.low > look.most) {
                doubts.push(doubt(look, beside, at));
            }
            found.push(SecretSize { process, input: at, beside, pairs_ms: pairs, growth, again });
        }
        // One is enough to look at.
        doubts.truncate(1);
        Ok((found, doubts))
    }

    fn again(&mut self, size: usize, at: (u32, u32)) -> Result<SecondLook, Fault> {
        let beside = self.inputs.sizes[size].shape();
        let mut entry = Vec::new();
        let mut baseline = Vec::new();
        let start = std::time::Instant::now();
        loop {
            entry.push(self.turn(Slot::Entry, size, at)?);
            if self.has_baseline {
                baseline.push(ours(self.turn(Slot::Baseline, size, at))?);
            }
            let quiet = entry.iter().filter(|turn| !turn.disturbed).count();
            let late = start.elapsed().as_secs_f64() > SECOND_LOOK_S;
            if quiet >= *PAIRS.end() || entry.len() >= 2 * PAIRS.end() || late && entry.len() >= *PAIRS.start() {
                break;
            }
        }
        let pairs_ms = quiet_pairs(&entry);
        let found = growths(&pairs_ms, beside, at);
        let counted = self.counted(beside, at)?;
        let baseline = self.has_baseline.then(|| median(&growths(&quiet_pairs(&baseline), beside, at)));
        let most = (1.0 + bound(beside, at)) * [1.0, counted, baseline.unwrap_or(1.0)].into_iter().fold(1.0, f64::max);
        let low = low(&found).min(of_best(&pairs_ms, beside, at));
        Ok(SecondLook { growth: median(&found), low, pairs_ms, counted, baseline, most })
    }

    fn turn(&mut self, slot: Slot, size: usize, at: (u32, u32)) -> Result<Turn, Fault> {
        // The baseline is fed 0…1.
        let range = if slot == Slot::Entry { self.range } else { 1 };
        let before = self.gpu.map(gpu::Gpu::read);
        let of = (&self.inputs.sizes[size], at);
        let (ms, load) = turn(self.runner, slot, self.inputs, of, range, self.warmup)?;
        let change = before.zip(self.gpu.map(gpu::Gpu::read)).map(|(before, after)| gpu::Change { before, after });
        Ok(Turn { process: 0, size, at, ms, disturbed: gate::disturbance(&load, change.as_ref()).is_some() })
    }

    /// Multiply-adds per pixel at `at` over those at `beside`.
    fn counted(&mut self, beside: (u32, u32), at: (u32, u32)) -> Result<f64, Fault> {
        self.runner.flat(&self.model.flat_bytes())?;
        let mut per_pixel = |(height, width): (u32, u32)| -> Result<f64, Fault> {
            let shapes = self.runner.shapes(height, width)?;
            let macs = cost::count(self.model, &shapes, height, width)?.cost.macs;
            Ok(macs as f64 / (f64::from(height) * f64::from(width)))
        };
        let (here, there) = (per_pixel(beside)?, per_pixel(at)?);
        Ok(if here > 0.0 { there / here } else { 1.0 })
    }
}

fn bound(beside: (u32, u32), at: (u32, u32)) -> f64 {
    let bound = if pixels_over(at, beside) <= NEAR_PIXELS { NEAR } else { FAR };
    bound * (SMALL / f64::from(beside.0.min(beside.1)).max(1.0)).max(1.0)
}

fn pixels_over(a: (u32, u32), b: (u32, u32)) -> f64 {
    let area = |(height, width): (u32, u32)| f64::from(height) * f64::from(width);
    area(a) / area(b)
}

/// The pairs of quiet turns; where there are none, of all.
fn quiet_pairs(turns: &[Turn]) -> Vec<[f64; 2]> {
    let quiet: Vec<[f64; 2]> = turns.iter().filter(|turn| !turn.disturbed).flat_map(Turn::pairs).collect();
    if quiet.is_empty() { turns.iter().flat_map(Turn::pairs).collect() } else { quiet }
}

/// Of each pair, the time per pixel at `at` over that at `beside`.
fn growths(pairs: &[[f64; 2]], beside: (u32, u32), at: (u32, u32)) -> Vec<f64> {
    pairs.iter().map(|[here, there]| there / here / pixels_over(at, beside)).collect()
}

/// The growth by the fastest pass at each size. What keeps a process off its core lengthens long passes more often than short
/// ones, and so by itself makes a larger size look slow; the fastest passes met none of it.
fn of_best(pairs: &[[f64; 2]], beside: (u32, u32), at: (u32, u32)) -> f64 {
    let best = |place: usize| pairs.iter().map(|pair| pair[place]).fold(f64::INFINITY, f64::min);
    best(1) / best(0) / pixels_over(at, beside)
}

/// The lower end of the median's 95 % interval, by the binomial law of how many values lie below it: whatever they are
/// distributed like. Of fewer than six values, which give no such interval, the least.
fn low(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The chance that at most `k` of `n` lie below the median.
    let (mut term, mut chance, mut index) = (0.5f64.powi(n as i32), 0.0, 0);
    for k in 0..n {
        chance += term;
        if chance > 0.025 {
            break;
        }
        index = k;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn doubt(look: &SecondLook, beside: (u32, u32), at: (u32, u32)) -> Doubt {
    let size = |(height, width): (u32, u32)| format!("{height}×{width}");
    Doubt {
        code: "slower_elsewhere".into(),
        message: format!(
            "a pixel takes {:.2} times as long at {}, a size that the file could not know, as at the timed {}: with 95 % \
             confidence at least {:.2} times, where {:.2} would be no doubt",
            look.growth,
            size(at),
            size(beside),
            look.low,
            look.most
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a gate could ask of a size.
    type Question = dyn Fn(&(u32, u32)) -> bool;

    #[test]
    fn a_drawn_size_is_another_in_every_way_that_a_gate_could_ask_for() {
        let of = (256, 256);
        let drawn: Vec<(u32, u32)> = (0..400).map(|_| candidates(of, &[(339, 510)])[0]).collect();
        assert!(drawn.iter().all(|&(height, width)| height != 256 && width != 256 && height != width));
        let share = |is: &dyn Fn(&(u32, u32)) -> bool| drawn.iter().filter(|size| is(size)).count() as f64 / 400.0;
        assert!((0.15..0.35).contains(&share(&|&size| pixels_over(size, of) > 1.15)), "larger ones");
        // Parity, order of the sides, a multiple of 8, more and fewer rows, more and fewer pixels.
        let questions: [&Question; 7] = [
            &|size| size.0 % 2 == 0,
            &|size| size.1 % 2 == 0,
            &|size| (size.0 + size.1) % 2 == 0,
            &|size| size.0 > size.1,
            &|size| size.0 > 256,
            &|size| size.1 > 256,
            &|size| size.0 * size.1 > 256 * 256,
        ];
        for (i, question) in questions.into_iter().enumerate() {
            assert!((0.1..0.95).contains(&share(question)), "question {i}: {}", share(question));
        }
        let different: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert!(different.len() > 200, "{}", different.len());
        // Tiles so small that few sizes are near.
        assert!((0..100).all(|_| near((8, 8)) != (8, 8)));
    }

    #[test]
    fn the_low_end_is_that_of_a_sign_test() {
        let values: Vec<f64> = (1..=16).map(f64::from).collect();
        assert_eq!(low(&values[..3]), 1.0);
        assert_eq!(low(&values[..6]), 1.0);
        // P(at most 1 of 9) is 2.0 %, at most 3 of 16 1.1 %, at most 4 of 16 3.8 %.
        assert_eq!(low(&values[..9]), 2.0);
        assert_eq!(low(&values), 4.0);
    }

    #[test]
    fn a_crowded_core_makes_no_size_look_slow() {
        // Milliseconds of a network padded to windows of 64, met while two programs were compiled beside it: a pass of 2 ms
        // fits into a turn on the core, one of 8 ms does not.
        let here = [2.12, 2.16, 1.95, 3.05, 1.93, 2.03, 1.97, 1.92, 1.86, 4.28, 5.95, 2.00, 1.82, 6.05, 2.29, 1.99];
        let there = [
            11.65, 19.03, 11.61, 15.47, 11.53, 18.15, 16.93, 15.52, 17.76, 14.93, 7.63, 20.87, 13.06, 17.05, 15.68,
            15.74,
        ];
        let pairs: Vec<[f64; 2]> = here.into_iter().zip(there).map(|(here, there)| [here, there]).collect();
        // 3.71 times the multiply-adds, and 15 %.
        let most = 4.26;
        let (beside, at) = ((64, 64), (66, 67));
        assert!(low(&growths(&pairs, beside, at)) > most && of_best(&pairs, beside, at) < most);
    }
}
