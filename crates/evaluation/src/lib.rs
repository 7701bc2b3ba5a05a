//! The science: files in, a [`Measurement`] out. No SQL, no HTTP, no ids; nothing of ours but [`crate::problem`].

pub mod cost;
mod counting;
mod evaluate;
pub mod fidelity;
pub mod fingerprint;
pub mod images;
pub mod installation;
mod load;
pub mod machine;
pub mod measurement;
pub mod model;
pub mod onnx;
mod own_images;
pub mod problem;
mod reproduction;
pub mod resize;
pub mod results;
pub mod runner;
pub mod runtime;
pub mod sandbox;
pub mod selftest;
mod sniff;
mod statistics;
pub mod timing;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use counting::{Counted, Size, count_model};
pub use evaluate::{Examined, evaluate, examine, nchw, sha256};
pub use measurement::*;
pub use own_images::make_results;
pub use reproduction::upscale;

/// One evaluation: where its files are, and the rules it is measured by.
#[derive(Debug, Clone)]
pub struct Job {
    /// A self-contained `.onnx` file.
    pub model: PathBuf,
    /// The results zip.
    pub results: PathBuf,
    /// The baseline's `.onnx`, timed interleaved with the entry.
    pub baseline: Option<PathBuf>,
    /// The images of the phase.
    pub images: Vec<EvalImage>,
    pub fidelity: fidelity::Settings,
    /// What the model may be made of.
    pub operators: model::Operators,
    /// Whose images' figures are the entry's.
    pub ranked: RankedImages,
    /// Range the model expects, 1 or 255; `None`: found by trying.
    pub input_range: Option<u32>,
    pub timing: TimingSettings,
    /// Whether to time the model at all.
    pub timed: bool,
    pub limits: Limits,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub tools: Tools,
    pub origin: Origin,
}

/// Where a job comes from; only stored with what it measures.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// `aim2020@1`.
    pub protocol: Option<String>,
    pub dataset: Option<DatasetHashes>,
}

impl Job {
    /// The process that its model runs in.
    fn setup(&self) -> runner::Setup {
        runner::Setup {
            program: self.tools.runner.clone(),
            onnxruntime: self.tools.onnxruntime.clone(),
            device: self.device.clone(),
            threads: self.timing.threads,
            limits: self.limits.clone(),
            strict: self.tools.strict_sandbox,
        }
    }
}

/// What an evaluation runs with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `libonnxruntime.so`.
    pub onnxruntime: PathBuf,
    /// The `upscore` program, started again as the model's process.
    pub runner: PathBuf,
    /// Refuse to run a model where a protection of the sandbox is missing.
    pub strict_sandbox: bool,
    /// The commit that the program is built from, for the provenance; the program knows it.
    pub commit: Option<String>,
}

/// One image of a dataset: the id both sides are paired by, and where the files lie.
#[derive(Debug, Clone)]
pub struct EvalImage {
    /// `0901` for `0901.png` and `0901x4.png`.
    pub name: String,
    pub lr: PathBuf,
    /// A PNG, or a decoded copy of one ([`images::write_raw`]). Absent where only the model is checked against its images.
    pub hr: Option<PathBuf>,
}

/// How the forward pass is timed; part of the protocol. Fields that an older protocol lacks have their default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TimingSettings {
    /// CPU threads the runtime may use, each pinned to a core; fixed, since it moves every figure.
    pub threads: usize,
    /// Untimed passes of each model first, at every input size.
    pub warmup: usize,
    /// Processes that the blocks are spread over, at least, as far as the time allows: times of two processes differ by about
    /// 1 %, which no repetition in one of them tells. More follow while the interval is too wide, in the first half of the
    /// time. (Absent in versions of before: one.)
    #[serde(default = "one")]
    pub processes: usize,
    /// Timed passes of the entry, and of the baseline, at most.
    pub runs: usize,
    /// Timing ends after this many seconds, whatever was reached.
    pub max_seconds: f64,
    /// Timing ends when half of the ratio's 95 % interval is at most this share of the ratio (of the time's, where there is
    /// no baseline).
    pub half_width: f64,
    /// What is fed.
    pub input: TimedInput,
}

fn one() -> usize {
    1
}

impl Default for TimingSettings {
    fn default() -> Self {
        TimingSettings {
            threads: 2,
            warmup: 3,
            processes: 4,
            runs: 200,
            max_seconds: 60.0,
            half_width: 0.01,
            input: TimedInput::Tile(256, 256),
        }
    }
}

/// What the timed passes are fed: pixels of the phase's LR images, shifted and flipped anew for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TimedInput {
    /// Tiles of this height and width: `[256, 256]`.
    Tile(u32, u32),
    /// Every LR image at its full size, as NTIRE does: `"lr-images"`.
    Whole(Whole),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Whole {
    LrImages,
}

/// What the model's process may use before it is stopped.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Address space on CPU, bytes.
    pub memory_bytes: u64,
    /// Wall clock of the whole child.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes: 8 << 30, time: Duration::from_secs(30 * 60) }
    }
}

/// A named step of an evaluation, in the order they happen; pages show them live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Scoring,
    Counting,
    Reproducing,
    Timing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    pub step: Step,
    pub done: u32,
    pub total: u32,
}
