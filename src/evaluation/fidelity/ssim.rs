//! The structural similarity of one plane, by separable filters over a rolling window of rows: each sample is read a few
//! times from cache instead of eleven times from memory.

use super::Plane;

const TAPS: usize = 11;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);
/// The filtered moments: a, b, a², b², a·b.
const MOMENTS: usize = 5;

/// cv2's Gaussian kernel of 11 taps and σ 1.5.
fn kernel() -> [f64; TAPS] {
    let mut kernel = [0.0; TAPS];
    for (i, weight) in kernel.iter_mut().enumerate() {
        *weight = (-((i as f64 - 5.0).powi(2)) / (2.0 * 1.5 * 1.5)).exp();
    }
    let sum: f64 = kernel.iter().sum();
    kernel.map(|weight| weight / sum)
}

/// Mean SSIM over the valid region; NaN where there is none.
pub fn plane(a: &Plane, b: &Plane) -> f64 {
    let (width, height) = (a.width, a.height);
    if width < TAPS || height < TAPS {
        return f64::NAN;
    }
    let kernel = kernel();
    let valid = width - TAPS + 1;
    let mut rows = vec![vec![0f64; width]; MOMENTS];
    let mut sums = vec![vec![0f64; valid]; MOMENTS];
    let mut total = 0.0;
    for y in 0..=height - TAPS {
        // Down first: weighted sums of eleven rows, one pass over the width.
        rows.iter_mut().for_each(|row| row.fill(0.0));
        let [ra, rb, raa, rbb, rab] = rows.as_mut_slice() else { return f64::NAN };
        for (i, &weight) in kernel.iter().enumerate() {
            let at = (y + i) * width;
            let (pa, pb) = (&a.data[at..at + width], &b.data[at..at + width]);
            for x in 0..width {
                let (p, q) = (f64::from(pa[x]), f64::from(pb[x]));
                let (wp, wq) = (weight * p, weight * q);
                ra[x] += wp;
                rb[x] += wq;
                raa[x] += wp * p;
                rbb[x] += wq * q;
                rab[x] += wp * q;
            }
        }
        // Then across.
        for (row, sum) in rows.iter().zip(&mut sums) {
            sum.fill(0.0);
            for (i, &weight) in kernel.iter().enumerate() {
                for (s, &v) in sum.iter_mut().zip(&row[i..i + valid]) {
                    *s += weight * v;
                }
            }
        }
        let [ma, mb, maa, mbb, mab] = sums.as_slice() else { return f64::NAN };
        let mut line = 0.0;
        for x in 0..valid {
            let (a, b) = (ma[x], mb[x]);
            let (aa, bb, ab) = (a * a, b * b, a * b);
            let top = (2.0 * ab + C1) * (2.0 * (mab[x] - ab) + C2);
            let bottom = (aa + bb + C1) * (maa[x] - aa + mbb[x] - bb + C2);
            line += top / bottom;
        }
        total += line;
    }
    total / (valid * (height - TAPS + 1)) as f64
}
