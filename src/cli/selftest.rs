//! `upscore selftest`: whether this machine can measure. Tries the sandbox, runs networks on the device and on the CPU, and
//! says where their nodes ran and how far the outputs are apart.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::{
    Outcome,
    output::{out, outln},
    worker::DeviceOptions,
};
use crate::{
    config::find_onnxruntime,
    demo::images,
    evaluation::{
        Limits, Provider, Tools, machine, nchw,
        onnx::networks,
        resize,
        runner::{Fault, Loaded, Runner, Setup, Slot},
        sandbox::Probe,
        selftest,
    },
    problem::Problem,
};

/// Largest difference between the device's output and the CPU's, of the range 0…1. Without TF32 two correct runtimes are
/// about 2e-5 apart; with it 1e-3 and more.
const TOLERANCE: f32 = 5e-4;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceOptions,
    /// Write the networks there, for `upscore profile`.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    device: String,
    name: String,
    id: Option<String>,
    driver: Option<String>,
    onnxruntime: String,
    cuda: Option<String>,
    cudnn: Option<String>,
    sandbox: String,
    escapes: Vec<Probe>,
    threads: Vec<selftest::Thread>,
    networks: Vec<Network>,
}

#[derive(Debug, Serialize)]
struct Network {
    name: &'static str,
    providers: Vec<Provider>,
    /// Largest difference between this device's output and the CPU's, range 0…1.
    max_abs: f32,
    tolerance: f32,
}

type Build = fn() -> Vec<u8>;
const NETWORKS: [(&str, Build); 3] =
    [("rfdn", networks::rfdn), ("imdn", networks::imdn), ("msrresnet", networks::msrresnet)];

pub fn run(args: &Args) -> Outcome {
    let tools = Tools {
        onnxruntime: find_onnxruntime()?,
        runner: std::env::current_exe().context("finding our own program")?,
        strict_sandbox: !args.device.allow_weak_sandbox,
        commit: crate::COMMIT.map(Into::into),
    };
    let device = &args.device.device;
    let tried = selftest::run(&tools, device).context("the self-test of the sandbox")?;
    let start = |device: &str| {
        let (program, onnxruntime) = (tools.runner.clone(), tools.onnxruntime.clone());
        let (limits, strict) = (Limits::default(), tools.strict_sandbox);
        let setup = Setup { program, onnxruntime, device: device.to_owned(), threads: 2, limits, strict };
        Runner::start(&setup, Arc::new(AtomicBool::new(false)))
    };
    let (mut here, mut reference) = (start(device)?, start("cpu")?);
    let (_, hr) = images::hr_images(1, 1).pop().context("no picture")?;
    let lr = resize::downscale(&hr, 4);
    let (pixels, size) = (nchw(&lr, 1), (lr.height, lr.width));
    let mut compared = Vec::new();
    for (name, build) in NETWORKS {
        let model = build();
        if let Some(folder) = &args.save {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(format!("{name}.onnx")), &model)?;
        }
        let pass = |runner: &mut Runner| {
            runner.load(Slot::Entry, &model)?;
            Ok(runner.run(&pixels, size, 64 * pixels.len() as u64)?.values)
        };
        let (made, expected) = (pass(&mut here).map_err(whose)?, pass(&mut reference).map_err(whose)?);
        let apart = made.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let max_abs = apart.fold(0f32, |most, d| if d.is_finite() { most.max(d) } else { f32::INFINITY });
        let alike = made.len() == expected.len() && !made.is_empty();
        let max_abs = if alike { max_abs } else { f32::INFINITY };
        compared.push(Network { name, providers: here.loaded.providers.clone(), max_abs, tolerance: TOLERANCE });
    }
    let machine::Device { name, id, driver } = machine::device(device);
    let Loaded { cuda, cudnn, .. } = here.loaded.clone();
    let report = Report {
        device: device.clone(),
        name,
        id,
        driver,
        onnxruntime: here.onnxruntime.clone(),
        cuda,
        cudnn,
        sandbox: tried.level,
        escapes: tried.probes,
        threads: tried.threads,
        networks: compared,
    };
    let problems = problems(&report);
    // What was found is shown also where it is not good.
    if args.json && problems.is_empty() {
        outln!("{}", serde_json::to_string(&report)?);
    } else if !args.json {
        print(&report);
    }
    Ok(if problems.is_empty() { Ok(()) } else { Err(problems) })
}

fn problems(report: &Report) -> Vec<Problem> {
    let mut problems = Vec::new();
    for escape in report.escapes.iter().filter(|escape| escape.open) {
        problems.push(Problem::new("sandbox_open", format!("a model could {}", escape.escape)).at(&report.sandbox));
    }
    for network in &report.networks {
        if network.max_abs > network.tolerance {
            let message =
                format!("outputs are {:e} from the CPU's, at most {:e} expected", network.max_abs, network.tolerance);
            problems.push(Problem::new("device_disagrees", message).at(network.name));
        }
        let on_cuda = network.providers.iter().any(|p| p.name == "CUDAExecutionProvider" && p.nodes > 0);
        if report.device != "cpu" && !on_cuda {
            problems.push(Problem::new("device_unused", "no node ran on the GPU").at(network.name));
        }
    }
    problems
}

fn print(report: &Report) {
    let versions = [("driver", &report.driver), ("CUDA", &report.cuda), ("cuDNN", &report.cudnn)];
    let versions: String = versions.iter().filter_map(|(name, v)| Some(format!(", {name} {}", v.as_ref()?))).collect();
    outln!("device       {} ({}){versions}", report.name, report.device);
    let open = report.escapes.iter().filter(|escape| escape.open).count();
    outln!("sandbox      {}; {} escapes tried, {open} open", report.sandbox, report.escapes.len());
    let (named, silent): (Vec<_>, Vec<_>) = report.threads.iter().partition(|thread| thread.tried.is_some());
    let names: Vec<&str> = named.iter().map(|thread| thread.name.as_str()).collect();
    out!("threads      every escape tried from {}: {}", names.len(), names.join(", "));
    outln!("{}", if silent.is_empty() { String::new() } else { format!("; {} looked at from outside", silent.len()) });
    for network in &report.networks {
        let nodes: Vec<String> = network.providers.iter().map(|p| format!("{} nodes by {}", p.nodes, p.name)).collect();
        outln!("{:<12} {}; at most {:e} from the CPU's output", network.name, nodes.join(", "), network.max_abs);
    }
}

fn whose(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Model(problem) => anyhow!(problem),
        Fault::Ours(error) => error,
    }
}
