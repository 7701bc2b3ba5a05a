//! Whether what the timed passes made is the model's own answer.
//!
//! Passes are drawn at random while the clock is stopped. Each must give the same again in a fresh session, and be what the
//! model makes of the same pixels at another size: a network that takes a short cut at the timed shape, or holds a ready
//! answer for it, cannot do both.

use rand::RngExt;

use super::{
    super::{
        images::Rgb8,
        resize,
        runner::{Fault, Runner, Tensor},
    },
    inputs::{framed, pixels},
};
use crate::problem::Problem;

/// Passes of one run whose outputs are checked.
pub const CHECKED: usize = 3;
/// Largest difference between two passes on a GPU, as a share of the range; on CPU they are equal.
const GPU_TOLERANCE: f32 = 1e-3;
/// A mean squared distance of so many grey levels (48 dB) from the model's own answer is never a fault: global pooling sees
/// other surroundings there.
const UNSEEN: f64 = 1.0;
/// … and beyond this share of the answer's own variance it always is.
const VARIANCE: f64 = 0.25;
/// How many LR pixels the frame of the other size adds before the image: a multiple of every usual window and stride.
const OFFSET: u32 = 64;

/// One timed pass.
pub struct Kept {
    pub image: Rgb8,
    pub output: Tensor,
}

/// Of a stream of passes each is equally likely to be among the [`CHECKED`] that are kept, and none knows.
pub struct Lottery(usize);

impl Lottery {
    pub fn new() -> Lottery {
        Lottery(0)
    }

    /// Where the next pass is kept, if it is drawn.
    pub fn draw(&mut self) -> Option<usize> {
        let place = match self.0 {
            n if n < CHECKED => n,
            n => rand::rng().random_range(0..=n),
        };
        self.0 += 1;
        (place < CHECKED).then_some(place)
    }
}

/// How outputs are to look.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub scale: u32,
    pub range: u32,
    /// Equal to the last bit, as on CPU.
    pub exact: bool,
}

/// Checks kept passes; the problem is the team's.
pub fn outputs(runner: &mut Runner, kept: &[Kept], expected: Expected) -> Result<(), Fault> {
    for pass in kept {
        let (height, width) = (pass.image.height, pass.image.width);
        let wrong = |what: String| {
            let message = format!("the output of a timed pass at {height}×{width} {what}");
            Fault::Model(Problem::new("timed_output_wrong", message).hint(
                "What is timed must be the network's answer to fresh pixels; it may not depend on the input's size or on \
                 earlier passes.",
            ))
        };
        let Expected { scale, range, exact } = expected;
        let dims = [1, 3, i64::from(height * scale), i64::from(width * scale)];
        if pass.output.dims != dims {
            return Err(wrong(format!("has the shape {:?}, expected is {dims:?}", pass.output.dims)));
        }
        let bad = pass.output.values.iter().filter(|v| !v.is_finite()).count();
        if bad > 0 {
            return Err(wrong(format!("has {bad} values that are not finite (NaN or infinite)")));
        }
        let most = 2 * pass.output.values.len() as u64;
        let again = runner.run_fresh(&pixels(&pass.image, range), (height, width), most)?;
        let tolerance = if exact { 0.0 } else { GPU_TOLERANCE * range as f32 };
        let apart = largest_difference(&pass.output.values, &again.values);
        if again.dims != dims || apart > tolerance {
            return Err(wrong(format!("is not what a fresh session makes of the same pixels: up to {apart} apart")));
        }
        if let Some(other) = at_another_size(runner, &pass.image, expected)? {
            let Distances { timed, bicubic, variance } = Distances::of(pass, &other, expected);
            if timed > bicubic.min(VARIANCE * variance).max(UNSEEN) {
                return Err(wrong(format!(
                    "is {:.1} dB from what the model makes of the same pixels in a larger image; bicubic enlargement is \
                     {:.1} dB from that",
                    db(timed),
                    db(bicubic)
                )));
            }
        }
    }
    Ok(())
}

/// Infinite where the lengths differ or a value is NaN.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { most.max(d) })
}

/// What the model makes of the image in a frame of a size that nobody knew before; `None`: it runs at no other size.
fn at_another_size(runner: &mut Runner, image: &Rgb8, expected: Expected) -> Result<Option<Tensor>, Fault> {
    let mut rng = rand::rng();
    let random = (rng.random_range(80..=150), rng.random_range(80..=150));
    // Windows of attention networks that do not pad take multiples only.
    for (more_height, more_width) in [random, (2 * OFFSET, 2 * OFFSET)] {
        let size = (image.height + more_height, image.width + more_width);
        let samples = u64::from(size.0) * u64::from(size.1) * 3 * u64::from(expected.scale).pow(2);
        match runner.run(&pixels(&framed(image, size, OFFSET), expected.range), size, 2 * samples) {
            Ok(made) => {
                let dims = [1, 3, i64::from(size.0 * expected.scale), i64::from(size.1 * expected.scale)];
                if made.dims == dims {
                    return Ok(Some(made));
                }
            }
            Err(Fault::Model(problem)) if problem.code == "runtime_error" => {}
            Err(Fault::Model(problem)) if problem.code == "memory_limit" => return Ok(None),
            Err(fault) => return Err(fault),
        }
    }
    Ok(None)
}

/// Mean squares in the middle of the image, in grey levels; the borders see other surroundings.
struct Distances {
    /// Of the timed output from the answer at the other size.
    timed: f64,
    /// Of bicubic enlargement from it.
    bicubic: f64,
    /// Of that answer from its own mean.
    variance: f64,
}

impl Distances {
    fn of(pass: &Kept, other: &Tensor, Expected { scale, range, .. }: Expected) -> Distances {
        let Rgb8 { height, width, .. } = pass.image;
        let (height, width, scale, offset) = (height as usize, width as usize, scale as usize, OFFSET as usize);
        let (_, _, enlarged) = resize::resize_unrounded(&pass.image, scale as f64);
        let factor = 255.0 / f64::from(range);
        let grey = |value: f32| (f64::from(value) * factor).clamp(0.0, 255.0);
        let plane = scale * scale * height * width;
        // `outputs` has compared its dimensions.
        let other_width = other.dims.last().map_or(0, |&w| w as usize);
        let other_plane = other.values.len() / 3;
        let (mut timed, mut bicubic, mut sum, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0, 0usize);
        let middle = |side: usize| scale * (side / 4)..scale * (side - side / 4);
        for y in middle(height) {
            for x in middle(width) {
                let here = y * scale * width + x;
                let there = (y + scale * offset) * other_width + x + scale * offset;
                for c in 0..3 {
                    let own = grey(other.values[c * other_plane + there]);
                    timed += (grey(pass.output.values[c * plane + here]) - own).powi(2);
                    bicubic += (enlarged[3 * here + c].clamp(0.0, 255.0) - own).powi(2);
                    sum += own;
                    squares += own * own;
                    count += 1;
                }
            }
        }
        let mean = |total: f64| total / count.max(1) as f64;
        Distances { timed: mean(timed), bicubic: mean(bicubic), variance: mean(squares) - mean(sum).powi(2) }
    }
}

fn db(mse: f64) -> f64 {
    10.0 * (255.0f64.powi(2) / mse.max(1e-6)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_may_be_drawn() {
        let mut last = [0usize; CHECKED];
        for _ in 0..200 {
            let mut lottery = Lottery::new();
            for pass in 0..12 {
                if let Some(place) = lottery.draw() {
                    last[place] = pass;
                }
            }
            assert!(last.iter().all(|&pass| pass < 12));
        }
        let mut first = Lottery::new();
        assert_eq!([first.draw(), first.draw(), first.draw()], [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_difference_is_seen_through_nan_and_length() {
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(largest_difference(&[f32::NAN, 1.0], &[1.0, 1.0]), f32::INFINITY);
        assert_eq!(largest_difference(&[1.0], &[1.0, 2.0]), f32::INFINITY);
    }
}
