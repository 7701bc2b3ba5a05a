//! The demo's least squares, tried on what has a known answer.

use upscore::{
    demo::{
        fit, images,
        planes::{Layer, Planes},
    },
    evaluation::onnx::build::Random,
};

fn noise(random: &mut Random, channels: usize) -> Planes {
    let mut planes = Planes::zeros(channels, 40, 44);
    planes.data.fill_with(|| random.within(-1.0, 1.0));
    planes
}

#[test]
fn least_squares_finds_the_convolution_that_made_the_targets() {
    let mut random = Random::new(3);
    let made_by = Layer {
        kernel: 3,
        groups: 1,
        weights: (0..2 * 3 * 9).map(|_| random.within(-1.0, 1.0)).collect(),
        bias: vec![0.25, -0.5],
    };
    let features = [noise(&mut random, 3), noise(&mut random, 3)];
    let targets = features.clone().map(|f| f.conv(&made_by));
    let found = fit::convolution(&features, &targets, 3, 1e-9);
    let pairs = found.weights.iter().zip(&made_by.weights).chain(found.bias.iter().zip(&made_by.bias));
    for (found, made_by) in pairs {
        assert!((found - made_by).abs() < 1e-4, "{found} for {made_by}");
    }
}

#[test]
fn a_seed_names_the_pictures() {
    let (once, again) = (images::hr_images(10, 5), images::hr_images(10, 5));
    assert_eq!(once, again);
    let other = images::hr_images(10, 6);
    for ((name, image), (_, different)) in once.iter().zip(&other) {
        assert_ne!(image.data, different.data, "{name}");
        assert_eq!((image.width % 4, image.height % 4), (0, 0), "{name}");
    }
}
