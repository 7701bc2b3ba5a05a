//! The steps of one evaluation: score the uploaded images, count the model, run it on every LR image and compare, time it.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use super::{
    Cost, EvalImage, Fidelity, ImageReproduction, Job, Measurement, Memory, Progress, Provenance, Reproduction,
    Runtime, RuntimeRatio, Step, TimingSettings, Verdict, cost, fidelity,
    images::{self, Rgb8},
    model::{self, Model},
    results::{Depth, Expected, Readme, ResultsZip},
    runner::{CRASHED, Fault, Runner, Setup, Slot},
    runtime::Shapes,
    statistics,
};
use crate::problem::Problem;

/// The field's input for every count, height and width.
const COUNTED: (u32, u32) = (256, 256);
/// How far multiply-adds per pixel may differ between input sizes: windows and borders, not a short cut.
const COST_TOLERANCE: f64 = 0.05;
/// Windows of attention networks pad the input to a multiple of at most this.
const PADDING: u32 = 64;
/// Most samples that may be one grey level off for `within-rounding`; two correct runtimes differ in about 0.01 %.
const ROUNDING_SHARE: f64 = 0.001;
/// Two whole images compared with each other, not with HR.
const WHOLE: fidelity::Settings = fidelity::Settings { channel: fidelity::Channel::Rgb, border: 0, scale: 1 };
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
    let run = || run(job, &model, &results, progress, cancel.clone());
    // Once may be chance: a machine's memory errs too.
    let outcome = match run() {
        Err(Fault::Model(problem)) if problem.code == CRASHED => run(),
        outcome => outcome,
    };
    match outcome {
        Ok(measurement) => Ok(Ok(measurement)),
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
    let cost = count_model(&mut runner, model, &sizes_used(&job.images)?, &report(Step::Counting))?;
    runner.load(Slot::Entry, &model.bytes)?;
    let reproduction = reproduce(job, &mut runner, results, &report(Step::Reproducing))?;
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
    let provenance = Provenance {
        upscore: env!("CARGO_PKG_VERSION").into(),
        onnxruntime: runner.onnxruntime.clone(),
        device_name: device_name(&job.device),
        threads: job.timing.threads,
        os: os_name(),
        model_sha256: sha256(&model.bytes),
        results_sha256: sha256_file(&job.results)?,
        sandbox: runner.sandbox.clone(),
    };
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
fn header(path: &Path, name: &str) -> Result<images::PngHeader> {
    let bytes = fs::read(path).with_context(|| format!("image {name} of the dataset"))?;
    images::png_header(&bytes, name).map_err(|problem| anyhow!(problem).context("an image of the dataset"))
}

/// Counts the model at 1×3×256×256, and at other sizes to see that its cost per pixel is the same there: a network that
/// does little work at the counted size and much elsewhere, or the reverse, is refused with both figures.
///
/// `used` are sizes that the model must take, those of the phase's images; a random size and two small ones are tried
/// beside them, and left out where the model does not run.
pub fn count_model(
    runner: &mut Runner,
    model: &Model,
    used: &[(u32, u32)],
    report: &dyn Fn(u32, u32),
) -> Result<Cost, Fault> {
    runner.flat(&model.flat_bytes())?;
    if let (Some(height), Some(width)) = model.size
        && (height, width) != (i64::from(COUNTED.0), i64::from(COUNTED.1))
    {
        let message = format!("the input is fixed at {height}×{width}, but the cost is defined at 256×256");
        return Err(Problem::new("onnx_fixed_shape", message).at(&model.input).into());
    }
    let random = (rand::random_range(48..=208), rand::random_range(48..=208));
    let tried = [(128, 96), (64, 64), random];
    let others: Vec<((u32, u32), bool)> = match model.size {
        (None, None) => used.iter().map(|&s| (s, true)).chain(tried.map(|s| (s, false))).collect(),
        _ => Vec::new(),
    };
    let total = 1 + others.len() as u32;
    report(0, total);
    let counted = shapes(runner, model, COUNTED)?;
    let cost = cost::count(model, &counted, COUNTED.0, COUNTED.1)?;
    for (i, ((height, width), must)) in others.into_iter().enumerate() {
        report(1 + i as u32, total);
        let here = match shapes(runner, model, (height, width)) {
            Ok(here) => here,
            Err(Fault::Model(problem)) if !must && problem.code == "runtime_error" => continue,
            Err(fault) => return Err(fault),
        };
        same_cost_per_pixel(&cost, &cost::count(model, &here, height, width)?)?;
    }
    report(total, total);
    if cost.macs == 0 && cost.params > 0 {
        let message = format!("its {} parameters take part in no multiply-add that can be counted", cost.params);
        return Err(Problem::new("cost_depends_on_shape", message).into());
    }
    Ok(cost)
}

/// Shapes at one size; a node at fault gets the name its author gave it.
fn shapes(runner: &mut Runner, model: &Model, (height, width): (u32, u32)) -> Result<Shapes, Fault> {
    runner.shapes(height, width).map_err(|fault| match fault {
        Fault::Model(mut problem) => {
            let index =
                problem.place.as_deref().and_then(|p| p.strip_prefix('n')).and_then(|i| i.parse::<usize>().ok());
            if let Some(place) = index.and_then(|i| model.places.get(i)) {
                problem = problem.at(&place.label);
            }
            problem.message = format!("at an input of {height}×{width}: {}", problem.message);
            Fault::Model(problem)
        }
        ours => ours,
    })
}

fn same_cost_per_pixel(reference: &Cost, here: &Cost) -> Result<(), Problem> {
    let per_pixel = |cost: &Cost| cost.macs as f64 / (cost.input[2] * cost.input[3]) as f64;
    let (expected, found) = (per_pixel(reference), per_pixel(here));
    let padded = |n: u64| (n.div_ceil(u64::from(PADDING)) * u64::from(PADDING)) as f64 / n as f64;
    let most = expected * (1.0 + COST_TOLERANCE) * padded(here.input[2]) * padded(here.input[3]);
    if found >= expected * (1.0 - COST_TOLERANCE) && found <= most {
        return Ok(());
    }
    let size = |cost: &Cost| format!("{}×{}", cost.input[2], cost.input[3]);
    Err(Problem::new(
        "cost_depends_on_shape",
        format!(
            "{:.0} multiply-adds per input pixel at {}, but {:.0} at {}",
            expected,
            size(reference),
            found,
            size(here)
        ),
    )
    .hint("The cost that is ranked is counted at 256×256; it must be that of every size."))
}

/// The smallest and the largest LR size of a set: what the count is checked at beside the random sizes.
fn sizes_used(images: &[EvalImage]) -> Result<Vec<(u32, u32)>> {
    let mut sizes = Vec::new();
    for image in images {
        let header = header(&image.lr, &image.name)?;
        sizes.push((header.height, header.width));
    }
    sizes.sort_by_key(|&(h, w)| u64::from(h) * u64::from(w));
    sizes.dedup();
    Ok(match sizes.as_slice() {
        [] => Vec::new(),
        [only] => vec![*only],
        [first, .., last] => vec![*first, *last],
    })
}

/// Runs the model on every LR image and compares what it makes with what was uploaded.
fn reproduce(
    job: &Job,
    runner: &mut Runner,
    results: &ResultsZip,
    report: &dyn Fn(u32, u32),
) -> Result<Reproduction, Fault> {
    let total = job.images.len() as u32;
    let mut range = job.input_range;
    let mut images = Vec::new();
    let (mut equal, mut samples, mut worst, mut off) = (0u64, 0u64, 0u8, 0u64);
    let mut psnr = Some(0.0);
    for (done, image) in job.images.iter().enumerate() {
        report(done as u32, total);
        let lr = decode(&image.lr, &image.name)?;
        let index = results.position(&image.name).context("an image that the zip was not vetted for")?;
        let uploaded = results.decode(index)??;
        let range = match range {
            Some(known) => known,
            None => *range.insert(find_range(runner, &lr, &uploaded, &image.name, job.fidelity.scale)?),
        };
        let made = upscale(runner, &lr, range, &image.name, job.fidelity.scale)?;
        let mut max_abs = 0u8;
        for (a, b) in made.data.iter().zip(&uploaded.data) {
            let difference = a.abs_diff(*b);
            max_abs = max_abs.max(difference);
            equal += u64::from(difference == 0);
            off += u64::from(difference > 1);
        }
        samples += made.data.len() as u64;
        worst = worst.max(max_abs);
        images.push(ImageReproduction {
            name: image.name.clone(),
            max_abs,
            psnr_between: fidelity::psnr(&made, &uploaded, &WHOLE)?,
        });
        psnr = match (psnr, &image.hr) {
            (Some(sum), Some(hr)) => {
                Some(sum + fidelity::psnr(&made, &reference(hr, &image.name)?, &job.fidelity)?.capped())
            }
            _ => None,
        };
    }
    report(total, total);
    let identical_fraction = equal as f64 / samples.max(1) as f64;
    let verdict = match (worst, off) {
        (0, _) => Verdict::Reproduced,
        (1, 0) if 1.0 - identical_fraction <= ROUNDING_SHARE => Verdict::WithinRounding,
        _ => Verdict::Differs,
    };
    Ok(Reproduction {
        verdict,
        max_abs: worst,
        identical_fraction,
        input_range: range.unwrap_or(1),
        model_psnr: psnr.map(|sum| sum / f64::from(total.max(1))),
        images,
    })
}

/// 0…1 or 0…255: the range whose output is nearer to what was uploaded. The wrong one is not always obviously wrong.
///
/// A network for 0…1 may blow up on 0…255, so that is no fault; one for 0…255 sees 0…1 as a dark picture and must bear it.
fn find_range(runner: &mut Runner, lr: &Rgb8, uploaded: &Rgb8, name: &str, scale: u32) -> Result<u32, Fault> {
    let small = fidelity::psnr(&upscale(runner, lr, 1, name, scale)?, uploaded, &WHOLE)?;
    match upscale(runner, lr, 255, name, scale) {
        Ok(made) if fidelity::psnr(&made, uploaded, &WHOLE)? > small => Ok(255),
        Ok(_) => Ok(1),
        Err(Fault::Model(problem)) if problem.code == "output_not_finite" => Ok(1),
        Err(fault) => Err(fault),
    }
}

/// The model's picture of one LR image, exactly as a PNG of it would hold: clamped, rounded half to even, uint8.
pub fn upscale(runner: &mut Runner, lr: &Rgb8, range: u32, name: &str, scale: u32) -> Result<Rgb8, Fault> {
    let (height, width) = (lr.height * scale, lr.width * scale);
    let expected = [1i64, 3, i64::from(height), i64::from(width)];
    let pixels = nchw(lr, range);
    // Room for an output of the wrong size, so that it can be named, but not for any size.
    let most = 16 * u64::from(height) * u64::from(width) * 3;
    let output = runner.run(&pixels, (lr.height, lr.width), most)?;
    if output.dims != expected {
        let message = format!(
            "the LR image of {}×{} gives an output of {:?}, expected is {expected:?}",
            lr.width, lr.height, output.dims
        );
        return Err(Problem::new("output_shape", message).at(name).into());
    }
    let bad = output.values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let message = format!("{bad} of {} output values are not finite (NaN or infinite)", output.values.len());
        return Err(Problem::new("output_not_finite", message).at(name).into());
    }
    let plane = height as usize * width as usize;
    let factor = 255.0 / range as f32;
    let mut data = vec![0u8; 3 * plane];
    for (c, values) in output.values.chunks(plane).take(3).enumerate() {
        for (i, value) in values.iter().enumerate() {
            data[3 * i + c] = (value * factor).clamp(0.0, 255.0).round_ties_even() as u8;
        }
    }
    Ok(Rgb8 { width, height, data })
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
fn decode(path: &Path, name: &str) -> Result<Rgb8> {
    let bytes = fs::read(path).with_context(|| format!("image {name} of the dataset"))?;
    images::decode_png(&bytes, name).map_err(|problem| anyhow!(problem).context("an image of the dataset"))
}

/// An HR image, as PNG or decoded before.
fn reference(path: &Path, name: &str) -> Result<Rgb8> {
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

fn device_name(device: &str) -> String {
    if device != "cpu" {
        let proc = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
        let model = proc
            .filter_map(|gpu| fs::read_to_string(gpu.path().join("information")).ok())
            .find_map(|text| text.lines().find_map(|l| l.strip_prefix("Model:").map(|m| m.trim().to_owned())));
        return model.unwrap_or_else(|| device.to_owned());
    }
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn os_name() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {} {}", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH)
}
