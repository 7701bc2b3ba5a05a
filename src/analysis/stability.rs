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
    pub key: Key,
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
pub fn stability(entries: &[Entry], official: &[u32], gate: Option<&Bar>) -> Vec<Held> {
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
        let mut standing: Vec<(f64, usize)> = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let psnr = mean(&entry.psnr);
            let key = match entry.key {
                Key::Psnr => -psnr,
                Key::Fixed(value) => value,
                Key::Timed { value, deviation } => value * (deviation * normal(&mut rng)).exp(),
            };
            // The baseline's own sum, made in the same order, is not to fail by its last digit.
            if psnr >= least - 1e-9 {
                standing.push((key, at));
            }
        }
        standing.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut rank = 0;
        for (i, &(key, at)) in standing.iter().enumerate() {
            if i == 0 || key != standing[i - 1].0 {
                rank = i + 1;
            }
            ranks[at].push(rank as f64);
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
        let entry = |psnr: &[f64], key| Entry { psnr: psnr.to_vec(), key };
        let timed = |value: f64, half: f64| Key::timed(value, [value - half, value + half]);
        let entries = [
            entry(&[29.5, 29.6, 29.4], timed(0.30, 0.01)),
            entry(&[29.5, 29.6, 29.4], timed(0.50, 0.05)),
            entry(&[29.5, 29.6, 29.4], timed(0.51, 0.05)),
            // Above the gate by one good image only.
            entry(&[28.0, 28.5, 31.0], timed(0.90, 0.01)),
        ];
        let bar = Bar { psnr: vec![29.0; 3], margin: 0.0 };
        let held = stability(&entries, &[1, 2, 3, 4], Some(&bar));
        assert_eq!((held[0].share, held[0].ranks), (1.0, Some([1, 1])));
        assert!(held[1].share > 0.5 && held[1].share < 0.8, "{:?}", held[1]);
        assert_eq!(held[2].ranks, Some([2, 3]));
        // Without the good image, as in (2/3)³ of the draws, it falls below.
        assert!((held[3].below_gate - 8.0 / 27.0).abs() < 0.06, "{:?}", held[3]);
        // Harder images are harder for the baseline too.
        let bar = Bar { psnr: vec![20.0, 24.0, 29.4], margin: 0.0 };
        assert_eq!(stability(&entries, &[1, 2, 3, 4], Some(&bar))[3].below_gate, 0.0);
        assert!(stability(&[entry(&[], Key::Psnr)], &[1], None).is_empty());
    }

    #[test]
    fn the_image_that_turns_an_order_weighs_most() {
        let weights = weights(&[vec![30.0, 30.0, 29.0], vec![30.1, 30.1, 28.5]]);
        assert_eq!(weights.iter().map(|w| w.turned).collect::<Vec<_>>(), [0, 0, 1]);
        assert!(weights[2].spread > weights[0].spread);
    }
}
