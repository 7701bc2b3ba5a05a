//! `upscore profile MODEL.onnx`: cost of a model, and its time and memory on this machine.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use serde::Serialize;

use super::{
    Outcome,
    inputs::{self, Kind},
    output::outln,
};
use crate::{
    config,
    evaluation::{
        Cost, Counted, Limits, Memory, Runtime, SecretSize, SizeGate, SizeMeans, TimedInput, TimingSettings, Whole,
        cost::NodeCost,
        count_model,
        images::{self, Rgb8},
        model::{self, Model},
        nchw,
        runner::{Fault, Runner, Setup, Slot},
        runtime::{self, Engine},
        timing,
    },
    problem::Problem,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model: a .onnx file (its .onnx.data beside it is found), or a zip of both.
    #[arg(required_unless_present = "operators")]
    model: Option<PathBuf>,
    /// Time the forward pass and measure its peak memory too.
    #[arg(long)]
    runtime: bool,
    /// Baseline to time alternately with the model, for a ratio that other machines can repeat.
    #[arg(long, value_name = "BASE.onnx", requires = "runtime")]
    baseline: Option<PathBuf>,
    /// Folder of LR images to time on; without it, on drawn stripes and edges.
    #[arg(long, value_name = "LR_DIR", requires = "runtime")]
    lr: Option<PathBuf>,
    /// Time on whole LR images, as NTIRE does, and not on tiles of 256×256.
    #[arg(long, requires = "lr")]
    full_images: bool,
    /// Range the model expects, 1 (0…1) or 255 (0…255).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    input_range: u32,
    /// CPU threads of ONNX Runtime.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Longest that timing may take, seconds.
    #[arg(long, default_value_t = TimingSettings::default().max_seconds)]
    max_seconds: f64,
    /// Time until half of the ratio's 95 % interval is at most this share of it.
    #[arg(long, default_value_t = TimingSettings::default().half_width)]
    half_width: f64,
    /// Time the model the way the field's scripts do beside it, for comparison: the mean of so many single passes in a
    /// process of its own, nothing warmed up, nothing pinned.
    #[arg(long, value_name = "PASSES", requires = "runtime")]
    plain_mean: Option<usize>,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu", value_parser = super::device)]
    device: String,
    /// Print the operators that a model may use, and stop.
    #[arg(long)]
    operators: bool,
    /// Add the cost of every node.
    #[arg(long)]
    nodes: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
pub struct Profile {
    pub model: ModelFile,
    #[serde(flatten)]
    pub cost: Cost,
    /// Calls of convolutions, matrix products and their disguises, and their output elements.
    pub weighted_ops: u64,
    pub weighted_activations: u64,
    /// Nodes that decide by the input's size; organizers see those of an entry.
    pub size_gates: Vec<SizeGate>,
    /// With `--nodes`: every node that computes on data, in the order of the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeCost>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The mean of single passes as the field's scripts take it, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_mean_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct ModelFile {
    pub sha256: String,
    pub bytes: u64,
    pub opset: i64,
}

pub fn run(args: &Args) -> Outcome {
    if args.operators {
        if args.json {
            outln!("{}", serde_json::json!({ "operators": model::ALLOWED_OPERATORS }));
        } else {
            model::ALLOWED_OPERATORS.iter().for_each(|operator| outln!("{operator}"));
        }
        return Ok(Ok(()));
    }
    let Some(path) = &args.model else { anyhow::bail!("no model given") };
    let models = std::iter::once(path).chain(&args.baseline).map(|path| inputs::file(path, Kind::Model));
    let missing: Vec<_> =
        models.chain(args.lr.iter().map(|path| inputs::folder(path))).filter_map(Result::err).collect();
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let model = match model::load(path, true) {
        Ok(model) => model,
        Err(problems) => return Ok(Err(problems)),
    };
    match profile(args, &model) {
        Ok(profile) => {
            if args.json {
                outln!("{}", serde_json::to_string(&profile)?);
            } else {
                print(&profile.model, &profile.cost, profile.runtime.as_ref(), profile.memory.as_ref());
                if let (Some(mean), Some(passes)) = (profile.plain_mean_ms, args.plain_mean) {
                    outln!("plain mean   {mean:.3} ms over {passes} passes, nothing warmed up, nothing pinned");
                }
                profile.nodes.iter().for_each(|nodes| print_nodes(nodes));
                for gate in profile.size_gates.iter().filter(|gate| gate.means == SizeMeans::Fork) {
                    outln!("BY SIZE      {} decides {}; organizers will ask", gate.called(), gate.decides.join(", "));
                }
            }
            Ok(Ok(()))
        }
        Err(Fault::Model(problem)) => Ok(Err(vec![problem])),
        Err(Fault::Ours(error)) => Err(error),
    }
}

fn profile(args: &Args, model: &Model) -> Result<Profile, Fault> {
    let input = if args.full_images { TimedInput::Whole(Whole::LrImages) } else { TimingSettings::default().input };
    let timing = TimingSettings {
        threads: args.threads,
        max_seconds: args.max_seconds,
        half_width: args.half_width,
        input,
        ..TimingSettings::default()
    };
    let setup = Setup {
        program: std::env::current_exe().map_err(anyhow::Error::from)?,
        onnxruntime: config::find_onnxruntime()?,
        device: args.device.clone(),
        threads: args.threads,
        limits: Limits::default(),
        strict: false,
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let mut runner = Runner::start(&setup, cancel.clone())?;
    let bar = super::bar();
    let report = |done, total| super::show(&bar, "counting", done, total);
    let Counted { cost, nodes, gates, .. } = count_model(&mut runner, model, &[], &report)?;
    let (mut runtime, mut memory, mut plain) = (None, None, None);
    if args.runtime {
        let baseline = match &args.baseline {
            Some(path) => Some(model::load(path, true).map_err(|problems| first(problems, "the baseline"))?.bytes),
            None => None,
        };
        let images = match &args.lr {
            Some(folder) => read_images(folder, cost.scale)?,
            None => vec![picture(512, 512)],
        };
        runner.load(Slot::Entry, &model.flat_bytes())?;
        let subject =
            timing::Subject { model, cost: &cost, range: args.input_range, baseline: baseline.as_deref(), images };
        let report = |done, total| super::show(&bar, "timing", done, total);
        let (time, peak) = timing::measure(&mut runner, &setup, &cancel, &timing, subject, &report)?;
        (runtime, memory) = (Some(time), Some(peak));
        if let Some(passes) = args.plain_mean {
            plain = Some(plain_mean(&setup, &model.bytes, passes)?);
        }
    }
    bar.finish_and_clear();
    let model = ModelFile {
        sha256: crate::evaluation::sha256(&model.bytes),
        bytes: model.bytes.len() as u64,
        opset: model.opset,
    };
    let (weighted_ops, weighted_activations) = (cost.weighted_ops(), cost.weighted_activations());
    let nodes = args.nodes.then_some(nodes);
    Ok(Profile {
        model,
        cost,
        weighted_ops,
        weighted_activations,
        size_gates: gates,
        nodes,
        memory,
        runtime,
        plain_mean_ms: plain,
    })
}

/// The field's figure: ms, the mean of single passes of a new session in this process.
fn plain_mean(setup: &Setup, model: &[u8], passes: usize) -> anyhow::Result<f64> {
    let device = setup.device.parse().map_err(anyhow::Error::msg)?;
    let engine = Engine::load(&setup.onnxruntime, device, setup.threads, &[])?;
    let mut session = engine.plain_session(model, setup.threads)?;
    let pixels = nchw(&picture(256, 256), 1);
    let mut total = 0.0;
    for _ in 0..passes.max(1) {
        let start = Instant::now();
        runtime::forward(&mut session, &pixels, 256, 256)?;
        total += start.elapsed().as_secs_f64();
    }
    Ok(1e3 * total / passes.max(1) as f64)
}

/// The images of a folder.
fn read_images(folder: &Path, scale: u32) -> Result<Vec<Rgb8>, Fault> {
    let files = super::score::pngs(folder, scale)?;
    if files.is_empty() {
        return Err(Problem::new("missing_image", "the LR folder holds no PNG").at(folder.to_string_lossy()).into());
    }
    let read = |(name, path): (String, PathBuf)| -> Result<Rgb8, Fault> {
        let bytes = std::fs::read(&path).map_err(|error| inputs::unreadable(&path, &error))?;
        Ok(images::decode_png(&bytes, &name)?)
    };
    files.into_iter().map(read).collect()
}

fn first(problems: Vec<Problem>, what: &str) -> Problem {
    let mut problem = problems.into_iter().next().unwrap_or_else(|| Problem::new("onnx_malformed", "unreadable"));
    problem.message = format!("{what}: {}", problem.message);
    problem
}

/// Smooth stripes and edges: without a dataset there are no LR images, and noise makes real networks explode.
fn picture(height: u32, width: u32) -> Rgb8 {
    let sample = |x: u32, y: u32, c: u32| {
        let wave = (x as f32 / (7.0 + c as f32)).sin() * (y as f32 / 11.0).cos();
        let edge = if (x / 16 + y / 16).is_multiple_of(2) { 0.2 } else { -0.2 };
        (127.5 * (1.0 + 0.6 * wave + edge)).clamp(0.0, 255.0) as u8
    };
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| sample(x, y, c)))).collect();
    Rgb8 { width, height, data }
}

fn print_runtime(runtime: &Runtime) {
    let Runtime { device, input, threads, median_ms, ci95_ms: [low, high], runs, baseline, samples_ms: _, record } =
        runtime;
    outln!(
        "runtime      {median_ms:.3} ms [{low:.3}, {high:.3}], median of {runs} passes at {input} on {device}, {threads} threads"
    );
    if let Some(base) = baseline {
        let [low, high] = base.ratio_ci95;
        outln!("  ratio      {:.4}× [{low:.4}, {high:.4}] of the baseline's {:.3} ms", base.ratio, base.median_ms);
    }
    let reached = if record.half_width <= record.half_width_asked { "as asked" } else { "wider than asked" };
    outln!(
        "  interval   ±{:.2} % at 95 %, {reached} (±{:.2} %), over {} processes; {} of {} blocks were disturbed and thrown away",
        100.0 * record.half_width,
        100.0 * record.half_width_asked,
        record.processes,
        record.discarded,
        record.blocks.len()
    );
    if record.noisy {
        let last = record.blocks.iter().rev().find_map(|b| b.disturbed.as_deref()).unwrap_or("unknown");
        outln!("  NOISY      the machine never got quiet ({last}); disturbed blocks count too");
    }
    for SecretSize { input, beside, growth, .. } in &record.secret {
        outln!(
            "  elsewhere  a pixel takes {growth:.3} times as long at {}×{} as at {}×{}",
            input.0,
            input.1,
            beside.0,
            beside.1
        );
    }
    if let Some(found) = &record.agreement {
        let what = if found.local { "local, " } else { "" };
        outln!(
            "  output     {what}up to {:.3} grey levels (rms {:.3}) from its own answer in larger pictures; bicubic is {:.3}",
            found.max_abs,
            found.rms,
            found.bicubic_rms
        );
    }
    for why in record.held_for() {
        outln!("  HELD       a server would hold this for review: {why}");
    }
}

fn print_memory(memory: &Memory) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    outln!("memory       {:.1} MiB ({})", mib(memory.peak_bytes), memory.method);
    if let (Some(base), Some(ratio)) = (memory.baseline_peak_bytes, memory.ratio()) {
        outln!("  ratio      {ratio:.3}× of the baseline's {:.1} MiB", mib(base));
    }
    if let Some(bytes) = memory.process_bytes {
        outln!("  process    {:.1} MiB by the GPU's driver (NVML), CUDA context included", mib(bytes));
    }
}

/// The figures as a table for people.
pub fn print(model: &ModelFile, cost: &Cost, runtime: Option<&Runtime>, memory: Option<&Memory>) {
    let giga = |n: u64| format!("{:.4} G", n as f64 / 1e9);
    outln!("model        {} bytes, operator set {}, sha256 {}", model.bytes, model.opset, model.sha256);
    outln!("input        {:?}, scale ×{}", cost.input, cost.scale);
    outln!("params       {}", cost.params);
    outln!("convs        {}", cost.convs);
    outln!("activations  {} ({:.4} M)", cost.activations, cost.activations as f64 / 1e6);
    outln!("FLOPs kair   {} ({})", cost.flops.kair, giga(cost.flops.kair));
    outln!("FLOPs fvcore {} ({})", cost.flops.fvcore, giga(cost.flops.fvcore));
    outln!("MACs         {} ({})", cost.macs, giga(cost.macs));
    if let Some(runtime) = runtime {
        print_runtime(runtime);
    }
    if let Some(memory) = memory {
        print_memory(memory);
    }
    outln!("\n{:<24} {:>6} {:>16} {:>12} {:>14}", "operator", "calls", "MACs", "params", "output");
    for row in &cost.operators {
        outln!("{:<24} {:>6} {:>16} {:>12} {:>14}", row.op, row.calls, row.macs, row.params, row.output_elements);
    }
}

/// One line a node.
fn print_nodes(nodes: &[NodeCost]) {
    let (macs, params) = ("MACs", "params");
    outln!(
        "\n{:<44} {:<20} {:<22} {macs:>14} {params:>10} {:>14} {:>14}",
        "node",
        "operator",
        "output",
        "kair",
        "fvcore"
    );
    for NodeCost { name, op, output, macs, params, flops, .. } in nodes {
        let output = output.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        outln!("{name:<44} {op:<20} {output:<22} {macs:>14} {params:>10} {:>14} {:>14}", flops.kair, flops.fvcore);
    }
}
