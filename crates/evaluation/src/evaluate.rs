//! The steps of one evaluation: score the uploaded images, count the model, run it on every LR image and compare, time it.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use super::{
    Cost, Fidelity, Job, Measurement, Memory, Progress, Provenance, Reproduction, Runtime, Step, StepTime, TimedInput,
    counting::{Counted, count_model, named, sizes_used},
    fidelity,
    images::{self, Rgb8},
    machine,
    model::{self, Model},
    reproduction::reproduce,
    results::{Depth, Expected, Readme, ResultsZip},
    runner::{CRASHED, Fault, Loaded, Runner, Slot},
    timing,
};
use crate::problem::Problem;

/// Images that timed tiles are cut from, at most; any of them shows what a network does.
const TILED_IMAGES: usize = 64;

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
    let model = model::load_entry(&job.model, false).and_then(|model| {
        model.keeps_to(&job.operators)?;
        Ok(model)
    });
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
    let mut runner = Runner::start(&job.setup(), cancel.clone())?;
    let tile = match job.timing.input {
        TimedInput::Tile(height, width) if job.timed => Some((height, width)),
        _ => None,
    };
    let used = sizes_used(model, &job.images, tile)?;
    let Counted { cost, sizes, gates, .. } = count_model(&mut runner, model, &used, &report(Step::Counting))?;
    // The graph that was counted, not the uploaded file: what is counted is what runs, however a parser may read the file.
    let counted = model.flat_bytes();
    runner.load(Slot::Entry, &counted).map_err(|fault| named(model, fault))?;
    let (mut reproduction, of_model) =
        reproduce(job, &mut runner, results, &report(Step::Reproducing)).map_err(|fault| named(model, fault))?;
    reproduction.uploaded_psnr = fidelity.as_ref().map(|fidelity| fidelity.psnr);
    let fidelity = of_model.or(fidelity);
    let timing = if job.timed {
        let baseline = job.baseline.as_ref().map(fs::read).transpose().context("the baseline's model")?;
        let subject = timing::Subject {
            model,
            cost: &cost,
            range: reproduction.input_range,
            baseline: baseline.as_deref(),
            images: timed_images(job)?,
        };
        let timed = timing::measure(&mut runner, &job.setup(), &cancel, &job.timing, subject, &report(Step::Timing));
        Some(timed.map_err(|fault| named(model, fault))?)
    } else {
        None
    };
    let baseline_sha256 = job.baseline.as_deref().map(sha256_file).transpose().context("the baseline's model")?;
    let hashes = (sha256(&model.bytes), sha256_file(&job.results)?, baseline_sha256);
    let provenance = Provenance { counted_at: sizes, size_gates: gates, ..provenance(job, &runner, hashes) };
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

/// What the timed passes are made of.
fn timed_images(job: &Job) -> Result<Vec<Rgb8>> {
    let most = match job.timing.input {
        TimedInput::Tile(..) => TILED_IMAGES,
        TimedInput::Whole(_) => usize::MAX,
    };
    job.images.iter().take(most).map(|image| decode(&image.lr, &image.name)).collect()
}

/// An image as a network's input: planar RGB, 0…`range`.
pub fn nchw(image: &Rgb8, range: u32) -> Vec<f32> {
    let factor = range as f32 / 255.0;
    (0..3).flat_map(|c| image.data.iter().skip(c).step_by(3).map(move |&v| f32::from(v) * factor)).collect()
}

fn first(problems: Vec<Problem>, otherwise: &str) -> Fault {
    Fault::Model(problems.into_iter().next().unwrap_or_else(|| Problem::new("png_malformed", otherwise)))
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
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
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
    Ok(hex(&hasher.finalize()))
}

fn provenance(job: &Job, runner: &Runner, hashes: (String, String, Option<String>)) -> Provenance {
    let (model_sha256, results_sha256, baseline_sha256) = hashes;
    let machine::Device { name, id, driver } = machine::device(&job.device);
    let Loaded { providers, cuda, cudnn } = runner.loaded.clone();
    Provenance {
        upscore: env!("CARGO_PKG_VERSION").into(),
        commit: job.tools.commit.clone(),
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
        counted_at: Vec::new(),
        size_gates: Vec::new(),
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
