//! Models for tests, and the child process that counts and runs them.

use std::sync::{Arc, atomic::AtomicBool};

use upscore_evaluation::{
    Cost, Limits, Tools, cost, count_model, installation,
    model::{self, Model},
    onnx::build::{Attribute, GraphBuilder, Value},
    runner::{Fault, Runner, Setup, Slot, Tensor},
};

/// The program and the runtime library.
pub fn tools() -> Tools {
    Tools {
        onnxruntime: installation::find_onnxruntime().expect("run `make setup` first"),
        runner: crate::support::program(),
        strict_sandbox: false,
        commit: None,
    }
}

/// A fresh child on CPU, as lenient as a laptop.
pub fn runner() -> Runner {
    let Tools { onnxruntime, runner, strict_sandbox, .. } = tools();
    let setup = Setup {
        program: runner,
        onnxruntime,
        device: "cpu".into(),
        threads: 1,
        limits: Limits::default(),
        strict: strict_sandbox,
    };
    Runner::start(&setup, Arc::new(AtomicBool::new(false))).expect("the child starts")
}

/// The model as a challenge would take it.
pub fn vetted(bytes: Vec<u8>) -> Model {
    model::vet(bytes).unwrap_or_else(|problems| panic!("refused: {problems:?}"))
}

/// What the server would count: at 256×256, compared with other sizes.
pub fn count(runner: &mut Runner, bytes: Vec<u8>) -> Result<Cost, Fault> {
    Ok(count_model(runner, &vetted(bytes), &[], &|_, _| ())?.cost)
}

/// The cost at one small input size.
pub fn count_at(runner: &mut Runner, bytes: Vec<u8>, (height, width): (u32, u32)) -> Result<Cost, Fault> {
    count_once(runner, &vetted(bytes), (height, width))
}

/// The cost at one input size, of a model that has been read.
pub fn count_once(runner: &mut Runner, model: &Model, (height, width): (u32, u32)) -> Result<Cost, Fault> {
    runner.flat(&model.flat_bytes())?;
    let shapes = runner.shapes(height, width)?;
    Ok(cost::count(model, &shapes, height, width)?.cost)
}

/// One pass over a soft ramp in 0…1.
pub fn run(runner: &mut Runner, bytes: &[u8], (height, width): (u32, u32)) -> Result<Tensor, Fault> {
    let samples = 3 * height * width;
    let pixels: Vec<f32> = (0..samples).map(|i| i as f32 / samples as f32).collect();
    runner.load(Slot::Entry, bytes)?;
    runner.run(&pixels, (height, width), u64::from(samples) * 64)
}

/// A model around a single operator: `inner` gets the image and what it makes joins the output as a mean, at no cost in
/// any profile.
pub fn around(inner: impl FnOnce(&mut GraphBuilder, Value) -> Value) -> Vec<u8> {
    let mut g = GraphBuilder::new(7);
    let x = g.input();
    let made = inner(&mut g, x);
    let mean = g.node("ReduceMean", &[made], &[("keepdims", Attribute::Int(0))]);
    let output = g.add(x, mean);
    g.build(output)
}

/// Eight channels out of the image's three, at no cost.
pub fn eight(g: &mut GraphBuilder, x: Value) -> Value {
    let two = part(g, x, 1, 2);
    g.concat(&[x, x, two.with_channels(2)])
}

/// The first `length` entries along `axis`, at no cost.
pub fn part(g: &mut GraphBuilder, x: Value, axis: i64, length: i64) -> Value {
    let [from, to, axis] = [0, length, axis].map(|n| g.integers(&[n]));
    g.node("Slice", &[x, from, to, axis], &[])
}
