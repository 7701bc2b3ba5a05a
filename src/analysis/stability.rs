//! How much of a ranking is chance: it is drawn again and again from the images and the timings it was made of.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::correlation::central;

/// Draws of the whole ranking.
const DRAWS: usize = 1000;
/// Images × entries × draws at most; with more, fewer draws do.
const WORK: usize = 200_000_000;
/// Half of a 95 % interval in standard deviations.
const Z95: f64 = 1.96;

/// An entry as the ranking sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// dB of each image, in the same order for every entry.
    pub psnr: Vec<f64>,
    /// What it is ranked by, one or several as [`Order`] asks for.
    pub keys: Vec<Key>,
}

/// How a ranking comes about from the keys of its entries.
#[derive(Debug, Clone)]
pub enum Order {
    /// By the first.
    One,
    /// By the sum of an entry's ranks by each.
    RankSum,
    /// By the sum of weight × exp(2 · key), a key being over the baseline's.
    Score(Vec<f64>),
}

/// What the ranking sorts by, lower first.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// The mean PSNR, higher first; it varies with the images drawn.
    Psnr,
    /// A count: the same in every draw.
    Fixed(f64),
    /// A time or a ratio of times, with the standard deviation of its logarithm.
    Timed { value: f64, deviation: f64 },
}

impl Key {
    /// A time with its 95 % interval, taken as the middle 95 % of a log-normal.
    pub fn timed(value: f64, [low, high]: [f64; 2]) -> Key {
        let deviation = if low > 0.0 && high >= low { (high / low).ln() / (2.0 * Z95) } else { 0.0 };
        Key::Timed { value, deviation }
    }

    /// Over another value, as the baseline's. (A PSNR is over nothing.)
    pub fn over(self, unit: f64) -> Key {
        match self {
            Key::Psnr => Key::Psnr,
            Key::Fixed(value) => Key::Fixed(value / unit),
            Key::Timed { value, deviation } => Key::Timed { value: value / unit, deviation },
        }
    }
}

/// The baseline as the gate of a draw: an entry must reach its mean over the images drawn plus `margin` dB. A figure for the
/// whole set says nothing of other images, some of which are harder by many dB.
#[derive(Debug, Clone)]
pub struct Bar {
    pub psnr: Vec<f64>,
    pub margin: f64,
}

/// What became of one entry over all draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Share of draws in which it has the rank that the board gives it.
    pub share: f64,
    /// Ranks of the middle 95 % of the draws in which it is ranked; `None`: in none.
    pub ranks: Option<[u32; 2]>,
    /// Share of draws in which it falls below the gate; 0 without one.
    pub below_gate: f64,
}

/// Draws images with replacement (the same for every entry) and a time for each entry, ranks those that reach the
/// gate, and counts. `official` holds the board's ranks. Empty where the entries do not share their images.
pub fn stability(entries: &[Entry], official: &[u32], gate: Option<&Bar>, order: &Order) -> Vec<Held> {
    let images = entries.first().map_or(0, |e| e.psnr.len());
    if images == 0 || entries.len() != official.len() || entries.iter().any(|e| e.psnr.len() != images) {
        return Vec::new();
    }
    let draws = DRAWS.min(WORK / (images * entries.len())).max(DRAWS / 10);
    let mut rng = SmallRng::seed_from_u64(2);
    let mut ranks: Vec<Vec<f64>> = vec![Vec::with_capacity(draws); entries.len()];
    let mut drawn = vec![0usize; images];
    for _ in 0..draws {
        drawn.iter_mut().for_each(|i| *i = rng.random_range(0..images));
        let mean = |psnr: &[f64]| drawn.iter().filter_map(|&i| psnr.get(i)).sum::<f64>() / images as f64;
        let least = gate.map_or(f64::NEG_INFINITY, |bar| mean(&bar.psnr) + bar.margin);
        let mut drawn_keys: Vec<(Vec<f64>, usize)> = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let psnr = mean(&entry.psnr);
            let keys = entry.keys.iter().map(|key| match *key {
                Key::Psnr => -psnr,
                Key::Fixed(value) => value,
                Key::Timed { value, deviation } => value * (deviation * normal(&mut rng)).exp(),
            });
            let keys: Vec<f64> = keys.collect();
            // The baseline's own sum, made in the same order, is not to fail by its last digit.
            if psnr >= least - 1e-9 {
                drawn_keys.push((keys, at));
            }
        }
        let values = order.values(&drawn_keys);
        for ((_, at), rank) in drawn_keys.iter().zip(competition(&values)) {
            ranks[*at].push(rank as f64);
        }
    }
    let share = |count: usize| count as f64 / draws as f64;
    let held = ranks.iter_mut().zip(official).map(|(ranks, &official)| Held {
        share: share(ranks.iter().filter(|&&r| r == f64::from(official)).count()),
        below_gate: share(draws - ranks.len()),
        ranks: central(ranks, 0.95).map(|ends| ends.map(|r| r as u32)),
    });
    held.collect()
}

impl Order {
    /// What sorts the entries of one draw, lower first.
    fn values(&self, drawn: &[(Vec<f64>, usize)]) -> Vec<f64> {
        let first = || drawn.iter().map(|(keys, _)| keys.first().copied().unwrap_or(f64::INFINITY)).collect();
        match self {
            Order::One => first(),
            Order::RankSum => {
                let mut sums = vec![0.0; drawn.len()];
                for at in 0..drawn.first().map_or(0, |(keys, _)| keys.len()) {
                    let column: Vec<f64> = drawn.iter().map(|(keys, _)| keys[at]).collect();
                    sums.iter_mut().zip(competition(&column)).for_each(|(sum, rank)| *sum += rank as f64);
                }
                sums
            }
            // As logarithms: an exponential leaves the range of a double soon.
            Order::Score(weights) => drawn
                .iter()
                .map(|(keys, _)| {
                    let parts: Vec<f64> = keys.iter().zip(weights).map(|(x, weight)| weight.ln() + 2.0 * x).collect();
                    let most = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    most + parts.iter().map(|part| (part - most).exp()).sum::<f64>().ln()
                })
                .collect(),
        }
    }
}

/// The rank of each value, lowest first: equal ones share it and leave a gap.
fn competition(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0; values.len()];
    let mut rank = 0;
    for (i, &at) in order.iter().enumerate() {
        if i == 0 || values[at] != values[order[i - 1]] {
            rank = i + 1;
        }
        ranks[at] = rank;
    }
    ranks
}

/// One draw of the standard normal distribution, by Box and Muller.
fn normal(rng: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    // 1 − u is above 0.
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// How much one image matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Standard deviation of its PSNR over the entries, dB, each entry's mean over all images taken off: how far apart this
    /// image sets entries that are alike elsewhere.
    pub spread: f64,
    /// Pairs of entries whose order by mean PSNR turns round when the image is left out.
    pub turned: usize,
}

/// The weight of each image; all 0 where there is only one image or one entry.
pub fn weights(entries: &[Vec<f64>]) -> Vec<Weight> {
    let images = entries.first().map_or(0, Vec::len);
    if entries.iter().any(|e| e.len() != images) {
        return Vec::new();
    }
    let sums: Vec<f64> = entries.iter().map(|e| e.iter().sum()).collect();
    let n = entries.len().max(1) as f64;
    let weight = |image: usize| {
        let off: Vec<f64> = entries.iter().zip(&sums).map(|(e, sum)| e[image] - sum / images as f64).collect();
        let mean = off.iter().sum::<f64>() / n;
        let spread = (off.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / n).sqrt();
        let without: Vec<f64> = entries.iter().zip(&sums).map(|(e, sum)| sum - e[image]).collect();
        let turned = (0..entries.len())
            .flat_map(|a| (a + 1..entries.len()).map(move |b| (a, b)))
            .filter(|&(a, b)| (sums[a] - sums[b]) * (without[a] - without[b]) < 0.0)
            .count();
        Weight { spread, turned }
    };
    (0..images).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_differences_hold_and_near_ties_do_not() {
        let entry = |psnr: &[f64], key| Entry { psnr: psnr.to_vec(), keys: vec![key] };
        let timed = |value: f64, half: f64| Key::timed(value, [value - half, value + half]);
        let entries = [
            entry(&[29.5, 29.6, 29.4], timed(0.30, 0.01)),
            entry(&[29.5, 29.6, 29.4], timed(0.50, 0.05)),
            entry(&[29.5, 29.6, 29.4], timed(0.51, 0.05)),
            // Above the gate by one good image only.
            entry(&[28.0, 28.5, 31.0], timed(0.90, 0.01)),
        ];
        let bar = Bar { psnr: vec![29.0; 3], margin: 0.0 };
        let held = stability(&entries, &[1, 2, 3, 4], Some(&bar), &Order::One);
        assert_eq!((held[0].share, held[0].ranks), (1.0, Some([1, 1])));
        assert!(held[1].share > 0.5 && held[1].share < 0.8, "{:?}", held[1]);
        assert_eq!(held[2].ranks, Some([2, 3]));
        // Without the good image, as in (2/3)³ of the draws, it falls below.
        assert!((held[3].below_gate - 8.0 / 27.0).abs() < 0.06, "{:?}", held[3]);
        // Harder images are harder for the baseline too.
        let bar = Bar { psnr: vec![20.0, 24.0, 29.4], margin: 0.0 };
        assert_eq!(stability(&entries, &[1, 2, 3, 4], Some(&bar), &Order::One)[3].below_gate, 0.0);
        assert!(stability(&[entry(&[], Key::Psnr)], &[1], None, &Order::One).is_empty());
    }

    #[test]
    fn sums_of_ranks_and_scores_are_drawn_too() {
        let entry = |ratio: f64, half: f64, params: f64| Entry {
            psnr: vec![29.5, 29.6],
            keys: vec![Key::timed(ratio, [ratio - half, ratio + half]), Key::Fixed(params)],
        };
        // The second and the third race for a place that decides the sums; the first is out of reach.
        let entries = [entry(0.1, 0.001, 0.1), entry(0.50, 0.05, 0.3), entry(0.51, 0.05, 0.3), entry(0.9, 0.01, 0.9)];
        for order in [Order::RankSum, Order::Score(vec![0.7, 0.3])] {
            let held = stability(&entries, &[1, 2, 3, 4], None, &order);
            assert_eq!((held[0].share, held[3].share), (1.0, 1.0), "{order:?}");
            assert!(held[1].share > 0.5 && held[1].share < 0.8, "{order:?}: {:?}", held[1]);
        }
        // A score beyond a double's range still orders.
        let huge = [entry(800.0, 1.0, 1.0), entry(900.0, 1.0, 1.0)];
        assert_eq!(stability(&huge, &[1, 2], None, &Order::Score(vec![1.0, 1.0]))[1].share, 1.0);
    }

    #[test]
    fn the_image_that_turns_an_order_weighs_most() {
        let weights = weights(&[vec![30.0, 30.0, 29.0], vec![30.1, 30.1, 28.5]]);
        assert_eq!(weights.iter().map(|w| w.turned).collect::<Vec<_>>(), [0, 0, 1]);
        assert!(weights[2].spread > weights[0].spread);
    }
}
