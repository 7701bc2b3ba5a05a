//! Value noise: the same field of numbers from the same seed, smooth, at any point.

/// Smooth noise in −1…1 that changes over a distance of 1.
pub fn value(seed: u32, x: f32, y: f32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - column), ease(y - row));
    let at = |dx: f32, dy: f32| cell(seed, (column + dx) as i32, (row + dy) as i32);
    let top = at(0.0, 0.0) * (1.0 - u) + at(1.0, 0.0) * u;
    let bottom = at(0.0, 1.0) * (1.0 - u) + at(1.0, 1.0) * u;
    top * (1.0 - v) + bottom * v
}

/// Octaves of [`value`], each at twice the frequency and half the height, as natural surfaces have them.
pub fn fractal(seed: u32, x: f32, y: f32, octaves: u32) -> f32 {
    let mut sum = 0.0;
    for octave in 0..octaves {
        let scale = (1u32 << octave) as f32;
        sum += value(seed.wrapping_add(octave), x * scale, y * scale) / scale;
    }
    sum / 1.5
}

/// A number in −1…1 of its own for each cell of a grid.
pub fn cell(seed: u32, column: i32, row: i32) -> f32 {
    let mut h = seed ^ (column as u32).wrapping_mul(0x9e37_79b1) ^ (row as u32).wrapping_mul(0x85eb_ca77);
    for _ in 0..2 {
        h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
        h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    }
    (h >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}
