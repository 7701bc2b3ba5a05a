//! The steps of one evaluation: score the uploaded images, count the model, run it on every LR image and compare, time it.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use super::{
    Cost, EvalImage, Fidelity, Job, Measurement, Memory, Progress, Provenance, Reproduction, Runtime, RuntimeRatio,
    Step, StepTime, TimingSettings,
    counting::{count_model, named, sizes_used},
    fidelity,
    images::{self, Rgb8},
    machine,
    model::{self, Model},
    reproduction::reproduce,
    results::{Depth, Expected, Readme, ResultsZip},
    runner::{CRASHED, Fault, Loaded, Runner, Setup, Slot},
    statistics,
};
use crate::problem::Problem;

/// Inputs that the timed passes take in turn, so that none sees the same pixels twice running.
const TIMED_INPUTS: usize = 8;

/// What [`examine`] found; without HR or without timing the parts that need them are absent.
#[derive(Debug)]
pub struct Examined {
    pub model_bytes: u64,
    pub opset: i64,
    pub fidelity: Option<Fidelity>,
    pub readme: Option<Readme>,
    pub reproduction: Reproduction,
    pub cost: Cost,
    pub timing: Option<(Runtime, Memory)>,
    pub provenance: Provenance,
}

/// Measures one submission.
///
/// `Ok(Err(problems))` is the team's fault, final; `Err` is ours, to be retried. Blocking: call it off the async runtime.
/// When `cancel` becomes true the child is killed within 100 ms and the call returns an error.
pub fn evaluate(
    job: &Job,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: Arc<AtomicBool>,
) -> Result<Result<Measurement, Vec<Problem>>> {
    let Examined { fidelity, reproduction, cost, timing, provenance, .. } = match examine(job, progress, cancel)? {
        Ok(examined) => examined,
        Err(problems) => return Ok(Err(problems)),
    };
    let fidelity = fidelity.context("an evaluation needs HR")?;
    let (runtime, memory) = timing.context("an evaluation needs timing")?;
    Ok(Ok(Measurement { fidelity, reproduction, cost, runtime, memory, provenance }))
}

/// [`evaluate`], also for a team at home that has no HR.
pub fn examine(
    job: &Job,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: Arc<AtomicBool>,
) -> Result<Result<Examined, Vec<Problem>>> {
    let scale = job.fidelity.scale;
    let mut expected = Vec::with_capacity(job.images.len());
    for image in &job.images {
        let header = header(&image.lr, &image.name)?;
        expected.push(Expected {
            name: image.name.clone(),
            width: header.width * scale,
            height: header.height * scale,
        });
    }
    let model = model::load_entry(&job.model, false);
    // The intake decoded every pixel; scoring does again.
    let results = ResultsZip::vet(&job.results, &expected, scale, Depth::Headers)?;
    let (model, results) = match (model, results) {
        (Ok(model), Ok(results)) => (model, results),
        (model, results) => {
            return Ok(Err([model.err(), results.err()].into_iter().flatten().flatten().collect()));
        }
    };
    let times = StepTimes::default();
    let timed = |p: Progress| {
        times.note(p.step);
        progress(p);
    };
    let run = || {
        times.begin();
        run(job, &model, &results, &timed, cancel.clone())
    };
    // Once may be chance: a machine's memory errs too.
    let outcome = match run() {
        Err(Fault::Model(problem)) if problem.code == CRASHED => run(),
        outcome => outcome,
    };
    match outcome {
        Ok(mut examined) => {
            examined.provenance.steps = times.end();
            Ok(Ok(examined))
        }
        Err(Fault::Model(problem)) => Ok(Err(vec![problem])),
        Err(Fault::Ours(error)) => Err(error),
    }
}

fn run(
    job: &Job,
    model: &Model,
    results: &ResultsZip,
    progress: &(dyn Fn(Progress) + Sync),
    cancel: Arc<AtomicBool>,
) -> Result<Examined, Fault> {
    let report = |step| move |done, total| progress(Progress { step, done, total });
    let hr = |name: &str| {
        let image = job.images.iter().find(|i| i.name == name).context("an image that is not in the dataset")?;
        reference(image.hr.as_ref().context("an image without HR")?, name)
    };
    let fidelity = match job.images.iter().all(|i| i.hr.is_some()) {
        true => {
            let scored = fidelity::score(results, &hr, &job.fidelity, &report(Step::Scoring), &cancel)?;
            Some(scored.map_err(|problems| first(problems, "an image cannot be decoded"))?)
        }
        false => None,
    };
    let setup = Setup {
        program: job.tools.runner.clone(),
        onnxruntime: job.tools.onnxruntime.clone(),
        device: job.device.clone(),
        threads: job.timing.threads,
        limits: job.limits.clone(),
        strict: job.tools.strict_sandbox,
    };
    let mut runner = Runner::start(&setup, cancel)?;
    let used = sizes_used(&job.images, job.timed.then_some(job.timing.input))?;
    let cost = count_model(&mut runner, model, &used, &report(Step::Counting))?.cost;
    // The graph that was counted, not the uploaded file: what is counted is what runs, however a parser may read the file.
    runner.load(Slot::Entry, &model.flat_bytes()).map_err(|fault| named(model, fault))?;
    let (mut reproduction, of_model) =
        reproduce(job, &mut runner, results, &report(Step::Reproducing)).map_err(|fault| named(model, fault))?;
    reproduction.uploaded_psnr = fidelity.as_ref().map(|fidelity| fidelity.psnr);
    let fidelity = of_model.or(fidelity);
    let timing = if job.timed {
        report(Step::Timing)(0, 1);
        let baseline = job.baseline.as_ref().map(fs::read).transpose().context("the baseline's model")?;
        let tiles = tiles(&job.images, job.timing.input, reproduction.input_range)?;
        let timing = measure_runtime(&mut runner, &job.timing, &tiles, baseline.as_deref(), &job.device)?;
        report(Step::Timing)(1, 1);
        Some(timing)
    } else {
        None
    };
    let baseline_sha256 = job.baseline.as_deref().map(sha256_file).transpose().context("the baseline's model")?;
    let hashes = (sha256(&model.bytes), sha256_file(&job.results)?, baseline_sha256);
    let provenance = provenance(job, &runner, hashes);
    Ok(Examined {
        model_bytes: model.bytes.len() as u64,
        opset: model.opset,
        fidelity,
        readme: results.readme.clone(),
        reproduction,
        cost,
        timing,
        provenance,
    })
}

/// The header of one of the dataset's own images.
pub(super) fn header(path: &Path, name: &str) -> Result<images::PngHeader> {
    let bytes = fs::read(path).with_context(|| format!("image {name} of the dataset"))?;
    images::png_header(&bytes, name).map_err(|problem| anyhow!(problem).context("an image of the dataset"))
}

/// An image as a network's input: planar RGB, 0…`range`.
pub fn nchw(image: &Rgb8, range: u32) -> Vec<f32> {
    let factor = range as f32 / 255.0;
    (0..3).flat_map(|c| image.data.iter().skip(c).step_by(3).map(move |&v| f32::from(v) * factor)).collect()
}

/// Time and peak memory of the loaded entry, beside the baseline's in the same process where one is given.
pub fn measure_runtime(
    runner: &mut Runner,
    timing: &TimingSettings,
    inputs: &[Vec<f32>],
    baseline: Option<&[u8]>,
    device: &str,
) -> Result<(Runtime, Memory), Fault> {
    let (height, width) = timing.input;
    if let Some(model) = baseline {
        ours(runner.load(Slot::Baseline, model))?;
    }
    let budget = Duration::from_secs_f64(timing.max_seconds.max(0.0));
    let (entry, base) = runner.time(inputs, timing.input, timing.warmup, timing.runs, budget)?;
    let seed = 7;
    let runtime = Runtime {
        device: device.to_owned(),
        input: format!("1x3x{height}x{width}"),
        threads: timing.threads,
        median_ms: statistics::median(&entry),
        ci95_ms: statistics::median_interval(&entry, seed),
        runs: entry.len(),
        baseline: (!base.is_empty()).then(|| RuntimeRatio {
            median_ms: statistics::median(&base),
            ratio: statistics::median(&entry) / statistics::median(&base),
            ratio_ci95: statistics::ratio_interval(&entry, &base, seed),
            samples_ms: base,
        }),
        samples_ms: entry,
    };
    let pixels = inputs.first().ok_or_else(|| Fault::Ours(anyhow!("nothing to measure memory on")))?;
    let peak_bytes = runner.peak_memory(Slot::Entry, pixels, timing.input)?;
    let baseline_peak_bytes = match baseline {
        Some(_) => Some(ours(runner.peak_memory(Slot::Baseline, pixels, timing.input))?),
        None => None,
    };
    let arena = if device == "cpu" { "CPU" } else { "CUDA" };
    let method = format!(
        "ONNX Runtime {arena} arena, most bytes in use during one pass at 1x3x{height}x{width}, weights included"
    );
    Ok((runtime, Memory { peak_bytes, method, baseline_peak_bytes }))
}

fn first(problems: Vec<Problem>, otherwise: &str) -> Fault {
    Fault::Model(problems.into_iter().next().unwrap_or_else(|| Problem::new("png_malformed", otherwise)))
}

/// The baseline is the organizer's: what it does wrong is not the team's fault.
fn ours<T>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    outcome.map_err(|fault| match fault {
        Fault::Model(problem) => Fault::Ours(anyhow!(problem).context("the baseline's model")),
        ours => ours,
    })
}

/// Inputs for timing: tiles of the set's own images, mirrored on where one is too small, each shifted and flipped anew.
/// Never noise: real networks explode on it.
fn tiles(images: &[EvalImage], (height, width): (u32, u32), range: u32) -> Result<Vec<Vec<f32>>> {
    let mut tiles = Vec::with_capacity(TIMED_INPUTS);
    for i in 0..TIMED_INPUTS {
        let image = images.get(i % images.len().max(1)).context("a dataset without images")?;
        tiles.push(tile(&decode(&image.lr, &image.name)?, (height, width), range, rand::random()));
    }
    Ok(tiles)
}

fn tile(image: &Rgb8, (height, width): (u32, u32), range: u32, seed: u64) -> Vec<f32> {
    let (dx, dy) = (seed as u32 % image.width, (seed >> 20) as u32 % image.height);
    let (flip_x, flip_y) = (seed >> 60 & 1 == 1, seed >> 61 & 1 == 1);
    let mirrored = |at: u32, shift: u32, size: u32, flip: bool| {
        let at = (at + shift) % (2 * size);
        let at = if at < size { at } else { 2 * size - 1 - at };
        if flip { size - 1 - at } else { at }
    };
    let mut data = Vec::with_capacity(3 * (height * width) as usize);
    for y in 0..height {
        let row = mirrored(y, dy, image.height, flip_y);
        for x in 0..width {
            let at = 3 * (row * image.width + mirrored(x, dx, image.width, flip_x)) as usize;
            data.extend_from_slice(&image.data[at..at + 3]);
        }
    }
    nchw(&Rgb8 { width, height, data }, range)
}

/// Decodes one of the dataset's own images: what is wrong with it is our fault.
pub(super) fn decode(path: &Path, name: &str) -> Result<Rgb8> {
    let bytes = fs::read(path).with_context(|| format!("image {name} of the dataset"))?;
    images::decode_png(&bytes, name).map_err(|problem| anyhow!(problem).context("an image of the dataset"))
}

/// An HR image, as PNG or decoded before.
pub(super) fn reference(path: &Path, name: &str) -> Result<Rgb8> {
    images::read_image(path).with_context(|| format!("HR image {name} of the dataset"))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn sha256_file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn provenance(job: &Job, runner: &Runner, hashes: (String, String, Option<String>)) -> Provenance {
    let (model_sha256, results_sha256, baseline_sha256) = hashes;
    let machine::Device { name, id, driver } = machine::device(&job.device);
    let Loaded { providers, cuda, cudnn } = runner.loaded.clone();
    Provenance {
        upscore: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("UPSCORE_BUILD_COMMIT").map(Into::into),
        protocol: job.origin.protocol.clone(),
        onnxruntime: runner.onnxruntime.clone(),
        providers,
        driver,
        cuda,
        cudnn,
        device_name: name,
        device_id: id,
        threads: job.timing.threads,
        os: machine::os(),
        host: machine::host(),
        model_sha256,
        results_sha256,
        baseline_sha256,
        dataset: job.origin.dataset.clone(),
        sandbox: runner.sandbox.clone(),
        steps: Vec::new(),
    }
}

/// When each step began, from the progress that it reports.
#[derive(Default)]
struct StepTimes(Mutex<Vec<(Step, Instant)>>);

impl StepTimes {
    /// A run begins, perhaps for the second time.
    fn begin(&self) {
        self.begun().clear();
    }

    fn note(&self, step: Step) {
        let mut begun = self.begun();
        if begun.last().is_none_or(|(last, _)| *last != step) {
            begun.push((step, Instant::now()));
        }
    }

    /// The last step ends now.
    fn end(&self) -> Vec<StepTime> {
        let begun = self.begun();
        let ends = begun.iter().skip(1).map(|(_, at)| *at).chain([Instant::now()]);
        begun
            .iter()
            .zip(ends)
            .map(|((step, at), end)| StepTime { step: *step, seconds: (end - *at).as_secs_f64() })
            .collect()
    }

    fn begun(&self) -> MutexGuard<'_, Vec<(Step, Instant)>> {
        // What a panicking thread left is whole: it was pushed or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
