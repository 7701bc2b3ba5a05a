//! Pictures that the demo draws itself: no photo is shipped, yet there are edges at all angles, text, texture and
//! gradients, so that better networks do better on them.

mod canvas;
mod font;
mod nature;
mod noise;
mod scenes;

use rayon::prelude::*;

use upscore_evaluation::{images::Rgb8, onnx::build::Random};

/// The hidden HR images of the demo's challenge.
pub const EVALUATION_SEED: u64 = 2020;
/// What the demo's teams train on; shares no image with [`EVALUATION_SEED`].
pub const TRAINING_SEED: u64 = 1;

type Scene = fn(&mut Random, usize, usize) -> Rgb8;

const SCENES: [Scene; 10] = [
    scenes::poster,
    nature::leaves,
    scenes::wall,
    scenes::skyline,
    nature::landscape,
    scenes::chart,
    scenes::cloth,
    scenes::page,
    nature::pebbles,
    scenes::shapes,
];

/// `n` HR images named `0001`, `0002`, …, sides multiples of 4: the scenes over and over, each drawn anew from `seed`.
pub fn hr_images(n: usize, seed: u64) -> Vec<(String, Rgb8)> {
    const SIZES: [(usize, usize); 4] = [(320, 256), (352, 240), (288, 288), (256, 320)];
    let picture = |i: usize| {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(i as u64));
        let (width, height) = SIZES[(i + i / SCENES.len()) % SIZES.len()];
        (format!("{:04}", i + 1), SCENES[i % SCENES.len()](&mut random, width, height))
    };
    (0..n).into_par_iter().map(picture).collect()
}
