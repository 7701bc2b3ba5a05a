//! The field's networks, layer by layer, with seeded weights: their cost is that of the published ones, to the last digit.
//! All take and give 0…1 and enlarge ×4.

use super::build::{Conv, GraphBuilder, Interpolation, Value};

/// The smallest network that is one: 3→48 channels, then PixelShuffle ×4.
pub fn tiny() -> Vec<u8> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let features = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(features, 4);
    g.build(sr)
}

/// MSRResNet, the AIM2020 baseline: 16 residual blocks of 64 channels, two PixelShuffles ×2, over a bilinear picture.
pub fn msrresnet() -> Vec<u8> {
    const SLOPE: f32 = 0.1;
    let mut g = GraphBuilder::new(2);
    let x = g.input();
    let first = g.conv(x, Conv::new(64, 3));
    let mut features = g.leaky_relu(first, SLOPE);
    for _ in 0..16 {
        let inner = g.conv(features, Conv::new(64, 3));
        let inner = g.relu(inner);
        let inner = g.conv(inner, Conv::new(64, 3).gain(0.1));
        features = g.add(features, inner);
    }
    for _ in 0..2 {
        let wide = g.conv(features, Conv::new(256, 3));
        let shuffled = g.depth_to_space(wide, 2);
        features = g.leaky_relu(shuffled, SLOPE);
    }
    let fine = g.conv(features, Conv::new(64, 3));
    let fine = g.leaky_relu(fine, SLOPE);
    let detail = g.conv(fine, Conv::new(3, 3).gain(0.1));
    let base = g.resize(x, 4.0, Interpolation::Linear);
    let sr = g.add(detail, base);
    g.build(sr)
}

/// IMDN with 8 blocks, the AIM2019 winner: each block keeps 16 of 64 channels three times and refines the rest.
pub fn imdn() -> Vec<u8> {
    const SLOPE: f32 = 0.05;
    let mut g = GraphBuilder::new(3);
    let x = g.input();
    let first = g.conv(x, Conv::new(64, 3));
    let mut features = first;
    for _ in 0..8 {
        let (mut rest, mut kept) = (features, Vec::new());
        for _ in 0..3 {
            let refined = g.conv(rest, Conv::new(64, 3));
            let refined = g.leaky_relu(refined, SLOPE);
            let parts = g.split(refined, &[16, 48]);
            kept.push(parts[0]);
            rest = parts[1];
        }
        kept.push(g.conv(rest, Conv::new(16, 3)));
        let joined = g.concat(&kept);
        let fused = g.conv(joined, Conv::new(64, 1).gain(0.3));
        features = g.add(features, fused);
    }
    let last = g.conv(features, Conv::new(64, 3));
    let sum = g.add(first, last);
    let wide = g.conv(sum, Conv::new(48, 3));
    let sr = g.depth_to_space(wide, 4);
    g.build(sr)
}

/// RFDN of NJU_MCG, the AIM2020 winner: 4 blocks of 50 channels with enhanced spatial attention.
pub fn rfdn() -> Vec<u8> {
    const CHANNELS: usize = 50;
    const SLOPE: f32 = 0.05;
    let mut g = GraphBuilder::new(4);
    let x = g.input();
    let first = g.conv(x, Conv::new(CHANNELS, 3));
    let mut features = first;
    let mut blocks = Vec::new();
    for _ in 0..4 {
        let mut kept = Vec::new();
        for _ in 0..3 {
            let distilled = g.conv(features, Conv::new(CHANNELS / 2, 1));
            kept.push(g.leaky_relu(distilled, SLOPE));
            let refined = g.conv(features, Conv::new(CHANNELS, 3));
            let refined = g.add(refined, features);
            features = g.leaky_relu(refined, SLOPE);
        }
        let distilled = g.conv(features, Conv::new(CHANNELS / 2, 3));
        kept.push(g.leaky_relu(distilled, SLOPE));
        let joined = g.concat(&kept);
        let fused = g.conv(joined, Conv::new(CHANNELS, 1));
        features = spatial_attention(&mut g, fused, CHANNELS / 4);
        blocks.push(features);
    }
    let joined = g.concat(&blocks);
    let fused = g.conv(joined, Conv::new(CHANNELS, 1));
    let fused = g.leaky_relu(fused, SLOPE);
    let last = g.conv(fused, Conv::new(CHANNELS, 3));
    let sum = g.add(last, first);
    let wide = g.conv(sum, Conv::new(48, 3));
    let sr = g.depth_to_space(wide, 4);
    g.build(sr)
}

/// ESA: a map of weights found at a sixth of the size, enlarged to the size that `x` has at run time.
fn spatial_attention(g: &mut GraphBuilder, x: Value, inner: usize) -> Value {
    let narrow = g.conv(x, Conv::new(inner, 1));
    let small = g.conv(narrow, Conv::new(inner, 3).stride(2).pad(0));
    let mut small = g.max_pool(small, 7, 3);
    for activated in [true, true, false] {
        small = g.conv(small, Conv::new(inner, 3));
        if activated {
            small = g.relu(small);
        }
    }
    let large = g.resize_like(small, x, Interpolation::Linear);
    let direct = g.conv(narrow, Conv::new(inner, 1));
    let sum = g.add(large, direct);
    let wide = g.conv(sum, Conv::new(x.channels, 1));
    let mask = g.sigmoid(wide);
    g.mul(x, mask)
}
