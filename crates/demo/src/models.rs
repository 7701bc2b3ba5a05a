//! The demo's teams and what they submit: real networks, from one Resize to a deep stack, all 0…1 in and out.

use rayon::prelude::*;

use super::{
    fitted::{Fitted, Shape, Training},
    planes::SCALE,
};
use upscore_evaluation::{
    images::Rgb8,
    onnx::build::{Conv, GraphBuilder, Interpolation},
};

/// One submission of the demo.
#[derive(Debug, Clone)]
pub struct DemoEntry {
    pub team: &'static str,
    pub title: &'static str,
    /// A self-contained ONNX file.
    pub model: Vec<u8>,
    pub description: &'static str,
}

/// What every entry must reach to be ranked: one linear layer across the colours, 3,648 parameters.
pub fn baseline(training: &[Rgb8]) -> DemoEntry {
    DemoEntry {
        team: "Organizers",
        title: "Linear 5x5",
        model: Fitted::new(&Training::new(training), &[Shape::Linear { kernel: 5 }], 1).onnx(),
        description: "Bicubic plus one 5x5 convolution, fitted by least squares.",
    }
}

/// The entries that evaluate: three below the [`baseline`], four above it, dearer as they get better.
pub fn entries(training: &[Rgb8]) -> Vec<DemoEntry> {
    let training = Training::new(training);
    let resized = |team, title, how, description| DemoEntry { team, title, model: resize(how), description };
    let mut entries = vec![
        resized("Blocky", "Nearest", Interpolation::Nearest, "Every pixel four times four: a floor to compare with."),
        resized("Smoothies", "Bilinear", Interpolation::Linear, "Linear interpolation, no parameters."),
        resized("Keys", "Bicubic", Interpolation::Cubic(-0.5), "Bicubic interpolation with a = -0.5, as in MATLAB."),
    ];
    let rectified = |filters| Shape::Rectified { filters, look: 3, read: 3 };
    let colour = |kernel| Shape::PerColour { kernel };
    let deep = [vec![colour(9)], vec![rectified(32); 4]].concat();
    let fitted: [(&str, &str, Vec<Shape>, &str); 4] = [
        (
            "Featherweight",
            "PerColour-7",
            vec![colour(7)],
            "One 7x7 filter bank shared by the three colours, fitted by least squares. Fewer weights than the baseline.",
        ),
        (
            "Rectifiers",
            "Rect-16",
            vec![colour(7), rectified(16)],
            "A filter bank per colour, then 16 random rectified features whose reading is fitted to what is still missing.",
        ),
        ("Broadband", "Rect-48", vec![colour(9), rectified(48)], "As Rect-16 with 48 features and larger filters."),
        (
            "Deep Thought",
            "Stack-32x4",
            deep,
            "Four rectified blocks, each fitted to what the blocks before it left missing. Dear, and a little better.",
        ),
    ];
    entries.par_extend(fitted.into_par_iter().map(|(team, title, shapes, description)| DemoEntry {
        team,
        title,
        model: Fitted::new(&training, &shapes, 1).onnx(),
        description,
    }));
    entries
}

/// An entry that passes every check on the file and fails when it is run: its images are twice as large, not four times.
pub fn broken() -> DemoEntry {
    let mut g = GraphBuilder::new(5);
    let x = g.input();
    let features = g.conv(x, Conv::new(16, 3));
    let features = g.relu(features);
    let features = g.conv(features, Conv::new(12, 3));
    let half_size = g.depth_to_space(features, 2);
    DemoEntry {
        team: "Half Measures",
        title: "Shuffle-2",
        model: g.build(half_size),
        description: "Trained for another track: it enlarges twice.",
    }
}

fn resize(how: Interpolation) -> Vec<u8> {
    let mut g = GraphBuilder::new(0);
    let x = g.input();
    let sr = g.resize(x, SCALE as f32, how);
    g.build(sr)
}
