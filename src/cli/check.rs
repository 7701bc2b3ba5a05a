//! `upscore check`: all that the server would do with a submission, at home and before uploading.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use serde::Serialize;

use super::{
    Outcome,
    inputs::{self, Kind},
    output::outln,
    profile::ModelFile,
    score::{channel_parser, pngs},
};
use crate::{
    config,
    evaluation::{
        Cost, EvalImage, Fidelity, Job, Limits, Memory, Origin, RankedImages, Reproduction, Runtime, Step,
        TimingSettings, Tools, examine,
        fidelity::{Channel, Settings},
        model,
        results::Readme,
    },
    problem::Problem,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model: a .onnx file (its .onnx.data beside it is found), or a zip of both.
    #[arg(long)]
    model: PathBuf,
    /// The zip of SR results.
    #[arg(long)]
    results: PathBuf,
    /// Folder of the LR images, NAME.png or NAMEx4.png.
    #[arg(long)]
    lr: PathBuf,
    /// Folder of the HR images, for PSNR and SSIM; teams do not have that of a hidden set.
    #[arg(long)]
    reference: Option<PathBuf>,
    #[arg(long, default_value = "rgb", value_parser = channel_parser())]
    channel: Channel,
    /// Pixels cut off on each side before PSNR and SSIM; the scale by default.
    #[arg(long)]
    border: Option<u32>,
    #[arg(long, default_value_t = 4)]
    scale: u32,
    /// Range the model expects, 1 (0…1) or 255 (0…255); found by trying when not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=255))]
    input_range: Option<u32>,
    /// Time the forward pass and measure its peak memory too.
    #[arg(long)]
    runtime: bool,
    /// Baseline to time alternately with the model.
    #[arg(long, value_name = "BASE.onnx", requires = "runtime")]
    baseline: Option<PathBuf>,
    /// CPU threads of ONNX Runtime.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu", value_parser = super::device)]
    device: String,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The document that `--json` prints: the fields of `profile` and `score`, and the reproduction.
#[derive(Debug, Serialize)]
struct Check {
    model: ModelFile,
    #[serde(flatten)]
    cost: Cost,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<Runtime>,
    #[serde(flatten)]
    fidelity: Option<Fidelity>,
    readme: Option<Readme>,
    reproduction: Reproduction,
}

pub fn run(args: &Args) -> Outcome {
    let files =
        [(Some(&args.model), Kind::Model), (Some(&args.results), Kind::Results), (args.baseline.as_ref(), Kind::Model)];
    let files = files.into_iter().filter_map(|(path, kind)| inputs::file(path?, kind).err());
    let folders = std::iter::once(&args.lr).chain(&args.reference).filter_map(|path| inputs::folder(path).err());
    let missing: Vec<_> = files.chain(folders).collect();
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let model = match model::load_entry(&args.model, true) {
        Ok(model) => model,
        Err(problems) => return Ok(Err(problems)),
    };
    let images = match pair(&args.lr, args.reference.as_deref(), args.scale) {
        Ok(images) => images,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let scratch = tempfile::tempdir()?;
    let merged = |name: &str, bytes: &[u8]| -> anyhow::Result<PathBuf> {
        let path = scratch.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let baseline = match &args.baseline {
        None => None,
        Some(path) => match model::load(path, true) {
            Ok(baseline) => Some(merged("baseline.onnx", &baseline.bytes)?),
            Err(problems) => return Ok(Err(problems)),
        },
    };
    let job = Job {
        model: merged("model.onnx", &model.bytes)?,
        results: args.results.clone(),
        baseline,
        images,
        fidelity: Settings { channel: args.channel, border: args.border.unwrap_or(args.scale), scale: args.scale },
        operators: model::Operators::default(),
        ranked: RankedImages::Uploaded,
        input_range: args.input_range,
        timing: TimingSettings { threads: args.threads, ..TimingSettings::default() },
        timed: args.runtime,
        limits: Limits::default(),
        device: args.device.clone(),
        tools: Tools {
            onnxruntime: config::find_onnxruntime()?,
            runner: std::env::current_exe()?,
            strict_sandbox: false,
            commit: crate::COMMIT.map(Into::into),
        },
        origin: Origin::default(),
    };
    let bar = super::bar();
    let progress = |p: crate::evaluation::Progress| {
        let step = match p.step {
            Step::Scoring => "scoring",
            Step::Counting => "counting",
            Step::Reproducing => "reproducing",
            Step::Timing => "timing",
        };
        super::show(&bar, step, p.done, p.total);
    };
    let examined = examine(&job, &progress, Arc::new(AtomicBool::new(false)));
    bar.finish_and_clear();
    let examined = match examined {
        Ok(Ok(examined)) => examined,
        Ok(Err(problems)) => return Ok(Err(problems)),
        // At home the images are the user's own, and may be damaged.
        Err(error) => return Ok(Err(vec![error.downcast::<Problem>()?])),
    };
    let (runtime, memory) = examined.timing.unzip();
    let check = Check {
        model: ModelFile {
            sha256: examined.provenance.model_sha256,
            bytes: examined.model_bytes,
            opset: examined.opset,
        },
        cost: examined.cost,
        memory,
        runtime,
        fidelity: examined.fidelity,
        readme: examined.readme,
        reproduction: examined.reproduction,
    };
    if args.json {
        outln!("{}", serde_json::to_string(&check)?);
    } else {
        print(&check);
    }
    Ok(Ok(()))
}

/// The images of a set: LR by id, each with its HR where a folder of them is given.
fn pair(lr: &Path, hr: Option<&Path>, scale: u32) -> Result<Vec<EvalImage>, Problem> {
    let lr_files = pngs(lr, scale)?;
    let hr_files = hr.map(|folder| pngs(folder, scale)).transpose()?;
    if lr_files.is_empty() {
        return Err(Problem::new("missing_image", "the LR folder holds no PNG").at(lr.to_string_lossy()));
    }
    let mut images = Vec::new();
    for (name, lr) in lr_files {
        inputs::file(&lr, Kind::Image)?;
        let hr = match &hr_files {
            None => None,
            Some(files) => match files.get(&name) {
                Some(path) => Some(path.clone()),
                None => return Err(Problem::new("missing_image", "an LR image has no HR image").at(&name)),
            },
        };
        images.push(EvalImage { name, lr, hr });
    }
    Ok(images)
}

fn print(check: &Check) {
    if let Some(fidelity) = &check.fidelity {
        outln!("PSNR         {:.4} dB over {} images, SSIM {:.4}", fidelity.psnr, fidelity.images.len(), fidelity.ssim);
    }
    let Reproduction { verdict, max_abs, identical_fraction, input_range, model_psnr, images, .. } =
        &check.reproduction;
    outln!(
        "reproduction {}: at most {max_abs} grey levels apart, {:.4} % of samples equal, input range 0…{input_range}",
        verdict.as_str(),
        100.0 * identical_fraction
    );
    if let Some(psnr) = model_psnr {
        outln!("             the model's own outputs: {psnr:.4} dB");
    }
    for image in images.iter().filter(|i| i.max_abs > 1).take(5) {
        outln!("             {} differs by up to {}", image.name, image.max_abs);
    }
    super::profile::print(&check.model, &check.cost, check.runtime.as_ref(), check.memory.as_ref());
}
