//! Two entries on the same images: whether one is better, or got lucky with the set.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use utoipa::ToSchema;

/// Draws of the interval and of the test.
const DRAWS: usize = 10_000;

/// How one entry does against another, over the images that both have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Paired {
    /// Mean over images of (this entry's PSNR − the other's), dB.
    pub mean_db: f64,
    /// 95 % bootstrap interval of it, over images, dB.
    pub ci95_db: [f64; 2],
    /// Two-sided p-value of the paired permutation test: the share of random sign changes of the differences whose mean is
    /// at least as far from 0.
    pub p: f64,
    /// Images on which this entry has the higher PSNR, and the lower one.
    pub better: usize,
    pub worse: usize,
}

/// Compares two entries' PSNR of each image, dB, in the same order. Seeded: everybody sees the same figures. `None`: fewer
/// than two images.
pub fn paired(this: &[f64], other: &[f64]) -> Option<Paired> {
    let differences: Vec<f64> = this.iter().zip(other).map(|(a, b)| a - b).collect();
    let n = differences.len();
    if n < 2 || this.len() != other.len() {
        return None;
    }
    let mean = |sum: f64| sum / n as f64;
    let mean_db = mean(differences.iter().sum());
    let mut draw = SmallRng::seed_from_u64(n as u64);
    let mut means: Vec<f64> =
        (0..DRAWS).map(|_| mean((0..n).map(|_| differences[draw.random_range(0..n)]).sum())).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((DRAWS - 1) as f64 * share).round() as usize];
    // A sum of the same numbers in another order may differ in its last bit.
    let as_far = |sum: f64| mean(sum).abs() >= mean_db.abs() - 1e-12;
    let signed = |differences: &[f64], draw: &mut SmallRng| {
        differences.iter().map(|d| if draw.random::<bool>() { *d } else { -d }).sum::<f64>()
    };
    let far = (0..DRAWS).filter(|_| as_far(signed(&differences, &mut draw))).count();
    Some(Paired {
        mean_db,
        ci95_db: [at(0.025), at(0.975)],
        // The arrangement that was measured is one of them, so that no p-value is 0.
        p: (far + 1) as f64 / (DRAWS + 1) as f64,
        better: differences.iter().filter(|d| **d > 0.0).count(),
        worse: differences.iter().filter(|d| **d < 0.0).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_lead_is_no_chance_and_a_mixed_one_is() {
        let base: Vec<f64> = (0..20).map(|i| 25.0 + f64::from(i)).collect();
        let ahead: Vec<f64> = base.iter().map(|v| v + 0.1).collect();
        let lead = paired(&ahead, &base).expect("enough images");
        assert!(
            (lead.mean_db - 0.1).abs() < 1e-9 && lead.p < 0.001 && (lead.better, lead.worse) == (20, 0),
            "{lead:?}"
        );
        assert!(lead.ci95_db.iter().all(|v| (v - 0.1).abs() < 1e-9), "{lead:?}");
        let mixed: Vec<f64> = base.iter().enumerate().map(|(i, v)| v + if i % 2 == 0 { 0.5 } else { -0.49 }).collect();
        let even = paired(&mixed, &base).expect("enough images");
        assert!(even.p > 0.5 && even.ci95_db[0] < 0.0 && even.ci95_db[1] > 0.0, "{even:?}");
        let same = paired(&base, &base).expect("enough images");
        assert_eq!((same.p, same.mean_db), (1.0, 0.0));
        // Turned round, all turns round.
        let back = paired(&base, &ahead).expect("enough images");
        assert!(
            (back.mean_db + lead.mean_db).abs() < 1e-12 && back.p == lead.p && (back.better, back.worse) == (0, 20)
        );
        assert_eq!(paired(&base[..1], &base[..1]), None);
        assert_eq!(paired(&base[..2], &base[..3]), None);
    }
}
