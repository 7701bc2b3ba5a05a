//! Networks whose weights come from training images by least squares alone: a bicubic picture, and blocks that each add
//! what the blocks before them left missing.

use super::{
    fit,
    planes::{Layer, Planes, SCALE},
};
use upscore_evaluation::{
    images::Rgb8,
    onnx::build::{Attribute, Conv, GraphBuilder, Interpolation, Random, Value},
    resize,
};

/// Penalty on weights: enough to keep the sum solvable and the filters smooth.
const RIDGE: f64 = 1e-4;

/// Training pairs: LR images in 0…1, and what a bicubic enlargement lacks, [48, height, width] at LR size.
pub struct Training {
    inputs: Vec<Planes>,
    missing: Vec<Planes>,
}

impl Training {
    pub fn new(images: &[Rgb8]) -> Training {
        let inputs: Vec<Planes> =
            images.iter().map(|hr| Planes::from_image(&resize::downscale(hr, SCALE as u32))).collect();
        let missing =
            images.iter().zip(&inputs).map(|(hr, lr)| Planes::from_image(hr).minus(&lr.bicubic()).space_to_depth());
        Training { missing: missing.collect(), inputs }
    }
}

/// What one block looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One filter bank for each colour by itself, `kernel`×`kernel`; only as the first block.
    PerColour { kernel: usize },
    /// Filters across the colours.
    Linear { kernel: usize },
    /// `filters` random filters of size `look` with a ReLU behind them, read by fitted filters of size `read`.
    Rectified { filters: usize, look: usize, read: usize },
}

/// SR = bicubic(x) + PixelShuffle(Σ blocks).
#[derive(Debug, Clone)]
pub struct Fitted {
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    hidden: Option<Layer>,
    read: Layer,
}

impl Fitted {
    /// Fits one block after the other, each to what is still missing.
    pub fn new(training: &Training, shapes: &[Shape], seed: u64) -> Fitted {
        let mut random = Random::new(seed);
        let mut blocks = Vec::new();
        let mut missing = training.missing.clone();
        let mut sums: Vec<Option<Planes>> = vec![None; missing.len()];
        for &shape in shapes {
            let seen: Vec<Planes> = training.inputs.iter().zip(&sums).map(|(x, sum)| seen(x, sum.as_ref())).collect();
            let (hidden, features, read) = match shape {
                Shape::PerColour { kernel } => {
                    let read = fit::per_colour(&seen, &missing, kernel, RIDGE);
                    (None, seen, read)
                }
                Shape::Linear { kernel } => {
                    let read = fit::convolution(&seen, &missing, kernel, RIDGE);
                    (None, seen, read)
                }
                Shape::Rectified { filters, look, read } => {
                    let layer = random_filters(&mut random, &seen, filters, look);
                    let features = training.inputs.iter().zip(&seen);
                    let features: Vec<Planes> =
                        features.map(|(x, seen)| Planes::concat(&[x, &seen.conv(&layer).relu()])).collect();
                    let read = fit::convolution(&features, &missing, read, RIDGE);
                    (Some(layer), features, read)
                }
            };
            for ((features, missing), sum) in features.iter().zip(&mut missing).zip(&mut sums) {
                let added = features.conv(&read);
                *missing = missing.clone().minus(&added);
                *sum = Some(match sum.take() {
                    Some(sum) => sum.plus(&added),
                    None => added,
                });
            }
            blocks.push(Block { hidden, read });
        }
        Fitted { blocks }
    }

    /// The network as an ONNX file, 0…1 in and out.
    pub fn onnx(&self) -> Vec<u8> {
        let mut g = GraphBuilder::new(0);
        let x = g.input();
        let mut sum: Option<Value> = None;
        for block in &self.blocks {
            let seen = sum.map_or(x, |sum| g.concat(&[x, sum]));
            let features = match &block.hidden {
                Some(layer) => {
                    let hidden = edge_conv(&mut g, seen, layer);
                    let hidden = g.relu(hidden);
                    g.concat(&[x, hidden])
                }
                None => seen,
            };
            let added = edge_conv(&mut g, features, &block.read);
            sum = Some(sum.map_or(added, |sum| g.add(sum, added)));
        }
        let picture = g.resize(x, SCALE as f32, Interpolation::Cubic(-0.5));
        let sr = match sum {
            Some(sum) => {
                let detail = g.depth_to_space(sum, SCALE);
                g.add(picture, detail)
            }
            None => picture,
        };
        g.build(sr)
    }
}

/// What a block's filters look at: the LR image, and the detail found so far.
fn seen(x: &Planes, sum: Option<&Planes>) -> Planes {
    match sum {
        Some(sum) => Planes::concat(&[x, sum]),
        None => x.clone(),
    }
}

/// Random zero-mean filters, scaled to answer with variance 1 on the training images, with thresholds spread over it.
fn random_filters(random: &mut Random, inputs: &[Planes], filters: usize, look: usize) -> Layer {
    let channels = inputs.first().map_or(0, |p| p.channels);
    let area = look * look;
    let mut weights: Vec<f32> = Vec::with_capacity(filters * channels * area);
    for _ in 0..filters {
        // Light and dark carry most detail: the three colours share a pattern, each with a little of its own.
        let pattern: Vec<f32> = (0..area).map(|_| random.within(-1.0, 1.0)).collect();
        for _ in 0..channels {
            let strength = random.within(0.4, 1.0);
            let own: Vec<f32> = pattern.iter().map(|p| strength * p + random.within(-0.25, 0.25)).collect();
            let mean = own.iter().sum::<f32>() / area as f32;
            weights.extend(own.iter().map(|w| w - mean));
        }
    }
    let mut layer = Layer { kernel: look, groups: 1, weights, bias: vec![0.0; filters] };
    let mut squares = vec![0.0f64; filters];
    for answers in inputs.iter().map(|input| input.conv(&layer)) {
        for (sum, plane) in squares.iter_mut().zip(answers.data.chunks(answers.height * answers.width)) {
            *sum += plane.iter().map(|&v| f64::from(v * v)).sum::<f64>();
        }
    }
    let positions: usize = inputs.iter().map(|p| p.height * p.width).sum();
    let per_filter = channels * area;
    for (o, sum) in squares.iter().enumerate() {
        let deviation = (sum / positions.max(1) as f64).sqrt().max(1e-6) as f32;
        layer.weights[o * per_filter..][..per_filter].iter_mut().for_each(|w| *w /= deviation);
        layer.bias[o] = random.within(-0.8, 0.4);
    }
    layer
}

/// A convolution behind a pad that repeats the edge, so that borders are as sharp as the rest.
fn edge_conv(g: &mut GraphBuilder, x: Value, layer: &Layer) -> Value {
    let radius = (layer.kernel / 2) as i64;
    let padded = if radius > 0 {
        let pads = g.integers(&[0, 0, radius, radius, 0, 0, radius, radius]);
        g.node("Pad", &[x, pads], &[("mode", Attribute::Text("edge"))])
    } else {
        x
    };
    g.conv_with(
        padded,
        Conv::new(layer.bias.len(), layer.kernel).pad(0).groups(layer.groups),
        &layer.weights,
        &layer.bias,
    )
}
