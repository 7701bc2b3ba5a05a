//! Ridge regression of a convolution: the weights that, on training images, come closest to what is wanted.

use rayon::prelude::*;

use super::planes::{Layer, Planes, shifted};

/// Image positions whose products are summed in float32 before they join the float64 total.
const BLOCK: usize = 256;

/// The `kernel`×`kernel` convolution (bias included) that takes each of `features` nearest to its `targets`, in the
/// least-squares sense. `ridge` is the penalty on a weight, as a share of the mean variance of what it multiplies.
///
/// The result is the same on every machine and with any number of threads: each sum has one fixed order.
pub fn convolution(features: &[Planes], targets: &[Planes], kernel: usize, ridge: f64) -> Layer {
    let channels = features.first().map_or(0, |f| f.channels);
    let outputs = targets.first().map_or(0, |t| t.channels);
    let taps = channels * kernel * kernel;
    let unknowns = taps + 1;
    let mut samples = Samples::new(unknowns, outputs);
    for (feature, target) in features.iter().zip(targets) {
        for y in 0..feature.height {
            samples.push_row(feature, target, kernel, y);
        }
    }
    let (mut gram, mut wanted) = samples.finish();
    let variance = (0..taps).map(|i| gram[i * unknowns + i]).sum::<f64>() / taps.max(1) as f64;
    // The bias goes unpunished.
    (0..taps).for_each(|i| gram[i * unknowns + i] += ridge * variance);
    solve(&mut gram, &mut wanted, unknowns, outputs);
    let weights = (0..outputs * taps).map(|i| wanted[i % taps * outputs + i / taps] as f32).collect();
    let bias = (0..outputs).map(|o| wanted[taps * outputs + o] as f32).collect();
    Layer { kernel, groups: 1, weights, bias }
}

/// One convolution for all three colours, fitted to all of them: a third of the weights. `targets` have a third of their
/// channels for each colour.
pub fn per_colour(features: &[Planes], targets: &[Planes], kernel: usize, ridge: f64) -> Layer {
    let split = |all: &[Planes]| -> Vec<Planes> {
        let parts =
            all.iter().flat_map(|p| (0..3).map(move |c| p.channels(c * p.channels / 3..(c + 1) * p.channels / 3)));
        parts.collect()
    };
    let Layer { weights, bias, .. } = convolution(&split(features), &split(targets), kernel, ridge);
    Layer { kernel, groups: 3, weights: weights.repeat(3), bias: bias.repeat(3) }
}

/// The normal equations, summed up block by block.
struct Samples {
    unknowns: usize,
    outputs: usize,
    /// One line per position: what the weights multiply, a 1 for the bias, then what is wanted.
    lines: Vec<f32>,
    /// `[unknowns][unknowns + outputs]`; of the square only the lower triangle.
    sums: Vec<f64>,
}

impl Samples {
    fn new(unknowns: usize, outputs: usize) -> Self {
        Samples { unknowns, outputs, lines: Vec::new(), sums: vec![0.0; unknowns * (unknowns + outputs)] }
    }

    fn push_row(&mut self, feature: &Planes, target: &Planes, kernel: usize, y: usize) {
        let (line, start) = (self.unknowns + self.outputs, self.lines.len());
        self.lines.resize(start + feature.width * line, 0.0);
        let lines = &mut self.lines[start..];
        let radius = (kernel / 2) as isize;
        for tap in 0..self.unknowns - 1 {
            let (c, dy, dx) = (tap / (kernel * kernel), tap / kernel % kernel, tap % kernel);
            let row = feature.row(c, y as isize + dy as isize - radius);
            shifted(row, dx as isize - radius, |x, value| lines[x * line + tap] = value);
        }
        for (x, line) in lines.chunks_exact_mut(line).enumerate() {
            line[self.unknowns - 1] = 1.0;
            for (o, wanted) in line[self.unknowns..].iter_mut().enumerate() {
                *wanted = target.row(o, y as isize)[x];
            }
        }
        if self.lines.len() >= BLOCK * line {
            self.sum_up();
        }
    }

    fn sum_up(&mut self) {
        let (unknowns, line) = (self.unknowns, self.unknowns + self.outputs);
        let lines = &self.lines;
        self.sums.par_chunks_mut(line).enumerate().for_each(|(i, total)| {
            let mut sums = vec![0.0f32; line];
            let (square, wanted) = sums.split_at_mut(unknowns);
            for line in lines.chunks_exact(line) {
                let factor = line[i];
                if factor != 0.0 {
                    square[..=i].iter_mut().zip(&line[..=i]).for_each(|(sum, v)| *sum += factor * v);
                    wanted.iter_mut().zip(&line[unknowns..]).for_each(|(sum, v)| *sum += factor * v);
                }
            }
            total.iter_mut().zip(&sums).for_each(|(total, &sum)| *total += f64::from(sum));
        });
        self.lines.clear();
    }

    /// The square `[unknowns][unknowns]`, lower triangle, and the right side `[unknowns][outputs]`.
    fn finish(mut self) -> (Vec<f64>, Vec<f64>) {
        self.sum_up();
        let rows = self.sums.chunks_exact(self.unknowns + self.outputs);
        let (square, wanted): (Vec<_>, Vec<_>) = rows.map(|row| row.split_at(self.unknowns)).unzip();
        (square.concat(), wanted.concat())
    }
}

/// Solves the symmetric positive definite system in place by Cholesky; the solution replaces `wanted`.
fn solve(gram: &mut [f64], wanted: &mut [f64], n: usize, outputs: usize) {
    for i in 0..n {
        let (above, row) = gram.split_at_mut(i * n);
        for j in 0..i {
            let other = &above[j * n..][..=j];
            let sum: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - sum) / other[j];
        }
        let sum: f64 = row[..i].iter().map(|v| v * v).sum();
        // A feature that never fires leaves nothing on the diagonal: its weight then stays at nothing, too.
        row[i] = (row[i] - sum).max(1e-9).sqrt();
    }
    let subtract = |wanted: &mut [f64], from: usize, to: usize, factor: f64| {
        for o in 0..outputs {
            wanted[to * outputs + o] -= factor * wanted[from * outputs + o];
        }
    };
    for i in 0..n {
        (0..i).for_each(|j| subtract(wanted, j, i, gram[i * n + j]));
        wanted[i * outputs..][..outputs].iter_mut().for_each(|v| *v /= gram[i * n + i]);
    }
    for i in (0..n).rev() {
        wanted[i * outputs..][..outputs].iter_mut().for_each(|v| *v /= gram[i * n + i]);
        (0..i).for_each(|j| subtract(wanted, i, j, gram[i * n + j]));
    }
}
