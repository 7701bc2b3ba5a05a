//! Rank correlations and their intervals.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use utoipa::ToSchema;

/// Fewest pairs that a correlation is given for; with fewer it says nothing.
pub const FEWEST: usize = 4;
/// Resamples of an interval.
const RESAMPLES: usize = 1000;
/// Pairs compared for one interval at most: with many entries fewer resamples do, and a page is not to take seconds.
const COMPARISONS: usize = 100_000_000;

/// A coefficient in −1…1 with its 95 % bootstrap interval over entries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Coefficient {
    pub value: f64,
    pub ci95: [f64; 2],
}

/// Spearman's ρ (the reports' SROCC): Pearson's correlation of the ranks, ties at their mean rank. `None`: fewer than
/// [`FEWEST`] pairs, or one side is all equal.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<Coefficient> {
    coefficient(x, y, |x, y| pearson(&ranks(x), &ranks(y)))
}

/// Kendall's τ-b, which corrects for ties. `None` as for [`spearman`].
pub fn kendall(x: &[f64], y: &[f64]) -> Option<Coefficient> {
    coefficient(x, y, tau_b)
}

fn coefficient(x: &[f64], y: &[f64], of: impl Fn(&[f64], &[f64]) -> Option<f64>) -> Option<Coefficient> {
    if x.len() != y.len() || x.len() < FEWEST {
        return None;
    }
    let value = of(x, y)?;
    let n = x.len();
    let mut rng = SmallRng::seed_from_u64(1);
    let times = RESAMPLES.min(COMPARISONS / (n * n)).max(RESAMPLES / 10);
    let mut drawn = Vec::with_capacity(times);
    let (mut xs, mut ys) = (vec![0.0; n], vec![0.0; n]);
    for _ in 0..times {
        for i in 0..n {
            let from = rng.random_range(0..n);
            (xs[i], ys[i]) = (x[from], y[from]);
        }
        // A resample of one entry alone, over and over, has no correlation.
        drawn.extend(of(&xs, &ys));
    }
    Some(Coefficient { value, ci95: central(&mut drawn, 0.95)? })
}

/// The ends of the central share of a sample; `None` for an empty one.
pub fn central(sample: &mut [f64], share: f64) -> Option<[f64; 2]> {
    sample.sort_by(f64::total_cmp);
    let last = sample.len().checked_sub(1)?;
    let cut = ((1.0 - share) / 2.0 * sample.len() as f64) as usize;
    Some([sample[cut.min(last)], sample[last - cut.min(last)]])
}

/// 1-based ranks from the lowest, ties at their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut done = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = done as f64 + (tied.len() + 1) as f64 / 2.0;
        for &i in tied {
            ranks[i] = mean;
        }
        done += tied.len();
    }
    ranks
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        (xy, xx, yy) = (xy + x * y, xx + x * x, yy + y * y);
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

fn tau_b(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mut balance, mut differ_x, mut differ_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in i + 1..x.len() {
            let (a, b) = (x[i].total_cmp(&x[j]) as i64, y[i].total_cmp(&y[j]) as i64);
            balance += a * b;
            differ_x += a.abs();
            differ_y += b.abs();
        }
    }
    (differ_x > 0 && differ_y > 0).then(|| balance as f64 / ((differ_x as f64).sqrt() * (differ_y as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of `scipy.stats.spearmanr` and `kendalltau` on the same samples.
    #[test]
    fn coefficients_are_those_of_scipy() {
        let x = [1.0, 2.0, 2.0, 4.0, 5.0, 7.0, 7.0, 9.0];
        let y = [2.0, 1.0, 4.0, 3.0, 7.0, 5.0, 8.0, 8.0];
        let rho = spearman(&x, &y).expect("defined");
        let tau = kendall(&x, &y).expect("defined");
        assert!((rho.value - 0.866_682_583_848_347_3).abs() < 1e-12, "{rho:?}");
        assert!((tau.value - 0.717_108_788_291_577_3).abs() < 1e-12, "{tau:?}");
        for c in [rho, tau] {
            assert!(c.ci95[0] < c.value && c.value <= c.ci95[1] && c.ci95[1] <= 1.0, "{c:?}");
        }
        assert_eq!(spearman(&x, &[1.0; 8]), None, "nothing varies");
        assert_eq!(kendall(&x[..3], &y[..3]), None, "too few");
    }
}
