//! Grown and weathered things: leaves, hills, pebbles.

use std::f32::consts::PI;

use super::{
    canvas::{Canvas, Colour, mix, shade},
    noise,
};
use upscore_evaluation::{images::Rgb8, onnx::build::Random};

/// Foliage: leaves over leaves of all sizes, with veins, lit from above; its statistics are close to those of photos.
pub fn leaves(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let seed = random.bits() as u32;
    let mut canvas = Canvas::painted(width, height, |x, y| {
        shade([0.06, 0.10, 0.05], 1.0 + 0.5 * noise::fractal(seed, x / 12.0, y / 12.0, 3))
    });
    const LEAVES: usize = 420;
    for i in 0..LEAVES {
        let height_in_tree = i as f32 / LEAVES as f32;
        let length = random.within(7.0, 15.0) + random.within(0.0, 22.0) * random.within(0.0, 1.0);
        let at = [random.within(-9.0, w + 9.0), random.within(-9.0, h + 9.0)];
        let (sin, cos) = random.within(0.0, 2.0 * PI).sin_cos();
        let ripe = random.within(0.0, 1.0);
        let hue =
            if random.below(14) == 0 { [0.80, 0.34, 0.14] } else { mix([0.16, 0.40, 0.12], [0.52, 0.64, 0.20], ripe) };
        let light = 0.35 + 0.75 * height_in_tree;
        let wide = random.within(0.24, 0.4);
        let local = |x: f32, y: f32| {
            let (dx, dy) = (x - at[0], y - at[1]);
            ((dx * cos + dy * sin) / length, (dy * cos - dx * sin) / length)
        };
        let outline = |x: f32, y: f32| {
            let (u, v) = local(x, y);
            // Two arcs that meet in a tip at either end.
            (v.abs() - wide * (1.0 - u * u)) * length * 0.8
        };
        let bounds = [at[0] - length, at[1] - length, at[0] + length, at[1] + length];
        canvas.fill(bounds, |x, y| outline(x - 1.5, y - 2.0), |_, _| shade(hue, 0.22 * light));
        canvas.fill(bounds, outline, |x, y| {
            let (u, v) = local(x, y);
            let rib = (1.0 - v.abs() * length / 0.9).max(0.0);
            let vein = (1.0 - ((u - v.abs() * 0.8) * 5.5 * PI).sin().abs() * 2.4).max(0.0);
            let side = if v > 0.0 { 1.08 } else { 0.86 };
            let grain = 0.10 * noise::value(seed, x / 2.5, y / 2.5);
            shade(mix(hue, [0.86, 0.90, 0.60], 0.45 * rib + 0.18 * vein), light * (side + grain))
        });
    }
    canvas.finish()
}

/// Ridges fading into haze over water, with a tree line in front.
pub fn landscape(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    let (w, h) = (width as f32, height as f32);
    let seed = random.bits() as u32;
    let sun = [w * random.within(0.25, 0.75), h * random.within(0.16, 0.26)];
    let sky = |x: f32, y: f32| -> Colour {
        let cloud = (noise::fractal(seed, x / 55.0, y / 20.0, 5) * 1.4).clamp(0.0, 1.0);
        mix(mix([0.34, 0.56, 0.82], [0.95, 0.88, 0.78], y / (0.6 * h)), [0.99, 0.97, 0.95], 0.7 * cloud)
    };
    let mut canvas = Canvas::painted(width, height, sky);
    canvas.disc(sun[0], sun[1], 13.0, [1.0, 0.96, 0.80]);
    for ridge in 0..4u32 {
        let depth = ridge as f32 / 3.0;
        let base = h * (0.36 + 0.11 * depth);
        let ground = mix([0.58, 0.66, 0.74], [0.14, 0.27, 0.16], depth);
        let own = seed.wrapping_add(97 * ridge);
        let top = |x: f32| base + h * 0.10 * noise::fractal(own, x / (90.0 - 30.0 * depth), 0.0, 6);
        canvas.fill(
            [0.0, 0.0, w, h],
            |x, y| top(x) - y,
            |x, y| {
                let rock = noise::fractal(own, x / 14.0, y / 9.0, 5);
                shade(ground, 1.0 + 0.6 * depth * rock + 0.15 * (y - base) / h)
            },
        );
    }
    let shore = 0.72 * h;
    canvas.fill(
        [0.0, shore, w, h],
        |_, y| shore - y,
        |x, y| {
            let far = (y - shore) / (h - shore);
            let wave = noise::fractal(seed ^ 5, x / (9.0 + 26.0 * far), y / (1.6 + 4.0 * far), 3);
            let glint = (1.0 - (x - sun[0]).abs() / (14.0 + 40.0 * far)).max(0.0);
            let water = shade(mix([0.42, 0.56, 0.62], [0.10, 0.22, 0.32], far), 1.0 + 0.45 * wave);
            mix(water, [1.0, 0.95, 0.80], (glint * (0.5 + wave)).clamp(0.0, 0.85))
        },
    );
    for _ in 0..26 {
        let (x, tall) = (random.within(0.0, w), random.within(18.0, 52.0));
        let foot = shore + random.within(-2.0, 4.0);
        canvas.line([x, foot], [x, foot - tall], 1.6, [0.11, 0.09, 0.07]);
        let tiers = (tall / 4.5) as usize;
        for tier in 0..tiers {
            let t = tier as f32 / tiers as f32;
            let (y, reach) = (foot - tall + t * tall * 0.9, 1.5 + t * tall * 0.22);
            let needle = shade([0.07, 0.17, 0.10], random.within(0.7, 1.5));
            canvas.line([x, y], [x - reach, y + 3.2], 1.7, needle);
            canvas.line([x, y], [x + reach, y + 3.2], 1.7, shade(needle, 1.3));
        }
    }
    canvas.finish()
}

/// Pebbles: rounded cells of a grid of scattered points, each with its own stone.
pub fn pebbles(random: &mut Random, width: usize, height: usize) -> Rgb8 {
    const STONES: [Colour; 5] =
        [[0.62, 0.60, 0.57], [0.46, 0.43, 0.42], [0.72, 0.62, 0.50], [0.40, 0.45, 0.50], [0.58, 0.40, 0.34]];
    let seed = random.bits() as u32;
    let size = random.within(15.0, 20.0);
    Canvas::painted(width, height, |x, y| {
        let (u, v) = (x / size, y / size);
        let (column, row) = (u.floor() as i32, v.floor() as i32);
        // Distance to the nearest and second nearest point; their difference is the distance to the gap.
        let (mut first, mut second, mut own, mut toward) = (9.0f32, 9.0f32, (0, 0), [0.0f32; 2]);
        for c in column - 2..=column + 2 {
            for r in row - 2..=row + 2 {
                let [px, py] =
                    [(seed, c as f32), (seed ^ 77, r as f32)].map(|(s, cell)| cell + 0.5 + 0.42 * noise::cell(s, c, r));
                let far = (u - px).hypot(v - py);
                if far < first {
                    (second, first, own, toward) = (first, far, (c, r), [u - px, v - py]);
                } else if far < second {
                    second = far;
                }
            }
        }
        let tone = noise::cell(seed ^ 9, own.0, own.1);
        let stone = STONES[((tone + 1.0) * 2.499) as usize % STONES.len()];
        let band = noise::value(seed ^ own.0 as u32, (toward[0] + tone * toward[1]) * 7.0, tone * 9.0);
        let speckle = noise::fractal(seed, x / 2.6, y / 2.6, 2);
        let light = 0.95 - 0.45 * (toward[0] + toward[1]) - 0.35 * first;
        let body = shade(stone, light * (1.0 + 0.14 * band + 0.12 * speckle));
        mix([0.10, 0.09, 0.08], body, ((second - first) * size / 2.2 - 0.35).clamp(0.0, 1.0))
    })
    .finish()
}
