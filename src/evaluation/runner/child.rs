//! The child's side: lock in, then answer requests until the pipe closes.

use std::{
    io::{BufReader, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ort::session::Session;

use super::{Hello, Reply, Request, Slot, bytes_to_floats, floats_to_bytes, read_frame, write_frame};
use crate::evaluation::{
    runtime::{self, Device, Engine, FellBack},
    sandbox,
};

/// Models and pixels come from our own supervisor, so this only guards against a torn pipe.
const MAX_PAYLOAD: u64 = 8 << 30;

/// `upscore runner`: stdin and stdout are the pipe. Must be called before any thread exists.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = write_frame(&mut std::io::stdout(), &Reply::Broken { message: format!("{error:#}") }, &[]);
            ExitCode::from(3)
        }
    }
}

fn serve() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    let (hello, _) = read_frame::<Hello>(&mut input, 0)?.context("no greeting on stdin")?;
    let device: Device = hello.device.parse().map_err(anyhow::Error::msg)?;
    // The library is opened first: after the lock-in its folder may be out of reach.
    let engine = Engine::load(&hello.onnxruntime, device, hello.threads)?;
    let inside = sandbox::enter(&sandbox::Rules {
        scratch: &hello.scratch,
        library: &hello.onnxruntime,
        memory_bytes: hello.memory_bytes,
        cpu_seconds: hello.cpu_seconds,
        strict: hello.strict,
        device,
        gpu_minor: hello.gpu_minor,
    })?;
    write_frame(
        &mut output,
        &Reply::Ready { sandbox: inside.level, onnxruntime: runtime::version(&hello.onnxruntime) },
        &[],
    )?;
    let mut state = State { engine, device, scratch: inside.scratch, flat: Vec::new(), entry: None, baseline: None };
    while let Some((request, payload)) = read_frame::<Request>(&mut input, MAX_PAYLOAD)? {
        let (reply, payload) = match state.answer(request, payload) {
            Ok(answer) => answer,
            Err(error) => (refusal(&error), Vec::new()),
        };
        write_frame(&mut output, &reply, &payload)?;
        output.flush()?;
    }
    Ok(())
}

/// What the runtime says is the model's fault: it does not load, does not run, or wants too much memory.
fn refusal(error: &anyhow::Error) -> Reply {
    let message = format!("{error:#}");
    let lower = message.to_ascii_lowercase();
    let memory = ["failed to allocate", "bad_alloc", "out of memory", "cannot allocate", "std::length_error"];
    let code = if error.is::<FellBack>() {
        "device_fallback"
    } else if memory.iter().any(|m| lower.contains(m)) {
        "memory_limit"
    } else {
        "runtime_error"
    };
    Reply::Refused { code: code.into(), message }
}

struct State {
    engine: Engine,
    device: Device,
    scratch: std::path::PathBuf,
    flat: Vec<u8>,
    entry: Option<(Vec<u8>, Session)>,
    baseline: Option<(Vec<u8>, Session)>,
}

impl State {
    fn answer(&mut self, request: Request, payload: Vec<u8>) -> Result<(Reply, Vec<u8>)> {
        let none = Vec::new();
        Ok(match request {
            Request::Load(slot) => {
                let session = self.engine.session(&payload)?;
                let providers = runtime::providers(&session, self.device)?;
                let (cuda, cudnn) = runtime::cuda_versions();
                *self.slot(slot) = Some((payload, session));
                (Reply::Loaded { providers, cuda, cudnn }, none)
            }
            Request::Probe(bait) => (Reply::Probed(sandbox::probe(&bait, &self.scratch, self.device)?), none),
            Request::Flat => {
                self.flat = payload;
                (Reply::Done, none)
            }
            Request::Shapes { height, width } => {
                (Reply::Shapes(self.engine.shapes(&self.flat, &self.scratch, height, width)?), none)
            }
            Request::Run { height, width } => {
                let (_, session) = self.entry.as_mut().context("no model loaded")?;
                let (dims, values) = runtime::forward(session, &bytes_to_floats(&payload), height, width)?;
                (Reply::Output { dims }, floats_to_bytes(&values))
            }
            Request::Memory { slot, height, width } => {
                let pixels = bytes_to_floats(&payload);
                let model = self.slot(slot).as_ref().map(|(model, _)| model.clone()).context("no model loaded")?;
                (Reply::Memory { peak_bytes: self.engine.peak_memory(&model, &pixels, height, width)? }, none)
            }
            Request::Time { inputs, height, width, warmup, runs, seconds } => {
                let pixels = bytes_to_floats(&payload);
                ensure!(inputs > 0 && pixels.len() == inputs * 3 * height as usize * width as usize, "torn inputs");
                let inputs: Vec<Vec<f32>> = pixels.chunks(pixels.len() / inputs).map(<[f32]>::to_vec).collect();
                let (_, entry) = self.entry.as_mut().context("no model loaded")?;
                let samples = runtime::time(
                    entry,
                    self.baseline.as_mut().map(|(_, session)| session),
                    &inputs,
                    (height, width),
                    warmup,
                    runs,
                    Duration::from_secs_f64(seconds),
                )?;
                (Reply::Times { entry: samples.entry, baseline: samples.baseline }, none)
            }
        })
    }

    fn slot(&mut self, slot: Slot) -> &mut Option<(Vec<u8>, Session)> {
        match slot {
            Slot::Entry => &mut self.entry,
            Slot::Baseline => &mut self.baseline,
        }
    }
}
