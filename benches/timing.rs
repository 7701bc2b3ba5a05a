//! What our timing adds to a pass: the median of the passes that an evaluation times (in its sandboxed process, input and
//! output bound, threads pinned), beside a bare loop of ONNX Runtime in this process, in turns, on the same inputs.
//!
//! `cargo bench --profile dev --bench timing`; networks with seeded weights, or `UPSCORE_BENCH_MODELS=A.onnx:B.onnx`. Rounds of
//! both in turns (`UPSCORE_BENCH_ROUNDS`, 20): a figure is the median over the rounds of ours / bare.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use anyhow::Context;
use ort::value::TensorRef;
use upscore::{
    config,
    evaluation::{
        Limits,
        onnx::networks,
        runner::{Fault, Runner, Setup, Slot},
        runtime::{self, Device, Engine},
    },
};

const SIZE: (u32, u32) = (256, 256);
const THREADS: usize = 2;
/// Passes of each in a round: two blocks of ours, which time the entry twice each.
const PASSES: usize = 4;

fn main() -> anyhow::Result<()> {
    // SAFETY: there is no other thread.
    unsafe { runtime::forbid_telemetry() };
    let rounds = std::env::var("UPSCORE_BENCH_ROUNDS").map_or(Ok(20), |n| n.parse()).context("UPSCORE_BENCH_ROUNDS")?;
    let models: Vec<(String, Vec<u8>)> = match std::env::var("UPSCORE_BENCH_MODELS") {
        Ok(paths) => paths
            .split(':')
            .map(|path| Ok((path.to_owned(), std::fs::read(path).with_context(|| path.to_owned())?)))
            .collect::<anyhow::Result<_>>()?,
        Err(_) => vec![
            ("tiny".into(), networks::tiny()),
            ("RFDN".into(), networks::rfdn()),
            ("IMDN".into(), networks::imdn()),
        ],
    };
    let onnxruntime = config::find_onnxruntime()?;
    let setup = Setup {
        program: PathBuf::from(env!("CARGO_BIN_EXE_upscore")),
        onnxruntime: onnxruntime.clone(),
        device: "cpu".into(),
        threads: THREADS,
        limits: Limits::default(),
        strict: false,
    };
    let engine = Engine::load(&onnxruntime, Device::Cpu, THREADS, &[])?;
    let (height, width) = SIZE;
    let pixels: Vec<f32> = (0..3 * height * width).map(|i| ((i % 251) as f32 / 250.0).sqrt()).collect();
    println!("{rounds} rounds of {PASSES} passes each, 1x3x{height}x{width}, {THREADS} threads");
    println!("{:<24} {:>10} {:>10} {:>10}", "model", "bare ms", "ours ms", "ours/bare");
    for (name, model) in models {
        let mut runner = Runner::start(&setup, Arc::new(AtomicBool::new(false)))?;
        ours(runner.load(Slot::Entry, &model))?;
        let mut session = engine.plain_session(&model, THREADS)?;
        ours(runner.warm_up(&pixels, SIZE, 10))?;
        for _ in 0..10 {
            runtime::forward(&mut session, &pixels, height, width)?;
        }
        let (mut bare_ms, mut our_ms, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut bare = Vec::new();
            for _ in 0..PASSES {
                let input = TensorRef::from_array_view(([1usize, 3, height as usize, width as usize], &pixels[..]))?;
                let start = Instant::now();
                session.run(ort::inputs![input])?;
                bare.push(start.elapsed().as_secs_f64() * 1e3);
            }
            let mut timed = Vec::new();
            for _ in 0..PASSES / 2 {
                timed.extend(ours(runner.block([&pixels, &pixels], SIZE, 1, None, 0))?.entry);
            }
            let (bare, timed) = (median(bare), median(timed));
            ratios.push(timed / bare);
            bare_ms.push(bare);
            our_ms.push(timed);
        }
        println!("{name:<24} {:>10.3} {:>10.3} {:>10.4}", median(bare_ms), median(our_ms), median(ratios));
    }
    Ok(())
}

fn ours<T>(outcome: Result<T, Fault>) -> anyhow::Result<T> {
    outcome.map_err(|fault| match fault {
        Fault::Model(problem) => problem.into(),
        Fault::Ours(error) => error,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
