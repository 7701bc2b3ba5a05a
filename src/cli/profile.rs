//! `upscore profile MODEL.onnx`: cost of a model, and its time and memory on this machine.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use serde::Serialize;

use super::Outcome;
use crate::{
    config,
    evaluation::{
        Cost, Limits, Memory, Runtime, TimingSettings,
        cost::{Count, NodeCost},
        count_model, measure_runtime,
        model::{self, Model},
        nchw,
        runner::{Fault, Runner, Setup, Slot},
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
    /// CPU threads of ONNX Runtime.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu")]
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
    /// With `--nodes`: every node that computes on data, in the order of the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeCost>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
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
            println!("{}", serde_json::json!({ "operators": model::ALLOWED_OPERATORS }));
        } else {
            model::ALLOWED_OPERATORS.iter().for_each(|operator| println!("{operator}"));
        }
        return Ok(Ok(()));
    }
    let Some(path) = &args.model else { anyhow::bail!("no model given") };
    let model = match model::load(path, true) {
        Ok(model) => model,
        Err(problems) => return Ok(Err(problems)),
    };
    match profile(args, &model) {
        Ok(profile) => {
            if args.json {
                println!("{}", serde_json::to_string(&profile)?);
            } else {
                print(&profile.model, &profile.cost, profile.runtime.as_ref(), profile.memory.as_ref());
                profile.nodes.iter().for_each(|nodes| print_nodes(nodes));
            }
            Ok(Ok(()))
        }
        Err(Fault::Model(problem)) => Ok(Err(vec![problem])),
        Err(Fault::Ours(error)) => Err(error),
    }
}

fn profile(args: &Args, model: &Model) -> Result<Profile, Fault> {
    let timing = TimingSettings { threads: args.threads, ..TimingSettings::default() };
    let setup = Setup {
        program: std::env::current_exe().map_err(anyhow::Error::from)?,
        onnxruntime: config::find_onnxruntime()?,
        device: args.device.clone(),
        threads: args.threads,
        limits: Limits::default(),
        strict: false,
    };
    let mut runner = Runner::start(&setup, Arc::new(AtomicBool::new(false)))?;
    let Count { cost, nodes } = count_model(&mut runner, model, &[], &|_, _| ())?;
    let (mut runtime, mut memory) = (None, None);
    if args.runtime {
        let baseline = match &args.baseline {
            Some(path) => Some(model::load(path, true).map_err(|problems| first(problems, "the baseline"))?.bytes),
            None => None,
        };
        runner.load(Slot::Entry, &model.bytes)?;
        let inputs = picture(timing.input);
        let (time, peak) = measure_runtime(&mut runner, &timing, &inputs, baseline.as_deref(), &args.device)?;
        (runtime, memory) = (Some(time), Some(peak));
    }
    let model = ModelFile {
        sha256: crate::evaluation::sha256(&model.bytes),
        bytes: model.bytes.len() as u64,
        opset: model.opset,
    };
    let (weighted_ops, weighted_activations) = (cost.weighted_ops(), cost.weighted_activations());
    let nodes = args.nodes.then_some(nodes);
    Ok(Profile { model, cost, weighted_ops, weighted_activations, nodes, memory, runtime })
}

fn first(problems: Vec<Problem>, what: &str) -> Problem {
    let mut problem = problems.into_iter().next().unwrap_or_else(|| Problem::new("onnx_malformed", "unreadable"));
    problem.message = format!("{what}: {}", problem.message);
    problem
}

/// Smooth stripes and edges in several phases, 0…1: without a dataset there are no LR images, and noise makes real
/// networks explode.
fn picture((height, width): (u32, u32)) -> Vec<Vec<f32>> {
    let sample = |x: u32, y: u32, c: u32, phase: u32| {
        let wave = ((x + phase * 13) as f32 / (7.0 + c as f32)).sin() * ((y + phase * 5) as f32 / 11.0).cos();
        let edge = if (x / 16 + y / 16 + phase).is_multiple_of(2) { 0.2 } else { -0.2 };
        (127.5 * (1.0 + 0.6 * wave + edge)).clamp(0.0, 255.0) as u8
    };
    (0..8)
        .map(|phase| {
            let pixels =
                (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| sample(x, y, c, phase))));
            nchw(&crate::evaluation::images::Rgb8 { width, height, data: pixels.collect() }, 1)
        })
        .collect()
}

/// The figures as a table for people.
pub fn print(model: &ModelFile, cost: &Cost, runtime: Option<&Runtime>, memory: Option<&Memory>) {
    let giga = |n: u64| format!("{:.4} G", n as f64 / 1e9);
    println!("model        {} bytes, operator set {}, sha256 {}", model.bytes, model.opset, model.sha256);
    println!("input        {:?}, scale ×{}", cost.input, cost.scale);
    println!("params       {}", cost.params);
    println!("convs        {}", cost.convs);
    println!("activations  {} ({:.4} M)", cost.activations, cost.activations as f64 / 1e6);
    println!("FLOPs kair   {} ({})", cost.flops.kair, giga(cost.flops.kair));
    println!("FLOPs fvcore {} ({})", cost.flops.fvcore, giga(cost.flops.fvcore));
    println!("MACs         {} ({})", cost.macs, giga(cost.macs));
    if let Some(runtime) = runtime {
        let [low, high] = runtime.ci95_ms;
        println!(
            "runtime      {:.3} ms [{low:.3}, {high:.3}] median of {} passes at {} on {}, {} threads",
            runtime.median_ms, runtime.runs, runtime.input, runtime.device, runtime.threads
        );
        if let Some(base) = &runtime.baseline {
            let [low, high] = base.ratio_ci95;
            println!("  baseline   {:.3} ms; ratio {:.3}× [{low:.3}, {high:.3}]", base.median_ms, base.ratio);
        }
    }
    if let Some(memory) = memory {
        println!("memory       {:.1} MiB ({})", memory.peak_bytes as f64 / f64::from(1 << 20), memory.method);
    }
    println!("\n{:<24} {:>6} {:>16} {:>12} {:>14}", "operator", "calls", "MACs", "params", "output");
    for row in &cost.operators {
        println!("{:<24} {:>6} {:>16} {:>12} {:>14}", row.op, row.calls, row.macs, row.params, row.output_elements);
    }
}

/// One line a node.
fn print_nodes(nodes: &[NodeCost]) {
    let (macs, params) = ("MACs", "params");
    println!(
        "\n{:<44} {:<20} {:<22} {macs:>14} {params:>10} {:>14} {:>14}",
        "node", "operator", "output", "kair", "fvcore"
    );
    for NodeCost { name, op, output, macs, params, flops, .. } in nodes {
        let output = output.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        println!("{name:<44} {op:<20} {output:<22} {macs:>14} {params:>10} {:>14} {:>14}", flops.kair, flops.fvcore);
    }
}
