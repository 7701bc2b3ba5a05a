//! The field's networks, layer by layer, with seeded weights: their cost is that of the published ones, to the last digit.

use crate::evaluation::onnx::build::{Conv, GraphBuilder};

/// The smallest network that is one: 3→48 channels, then PixelShuffle ×4.
pub fn tiny() -> Vec<u8> {
    let mut g = GraphBuilder::new(1);
    let x = g.input();
    let features = g.conv(x, Conv::new(48, 3));
    let sr = g.depth_to_space(features, 4);
    g.build(sr)
}
