//! The child's side: lock in, then answer requests until the pipe closes.

use std::{
    io::{BufReader, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ort::session::Session;

use super::{Hello, Reply, Request, Slot, bytes_to_floats, floats_to_bytes, read_frame, write_frame};
use crate::{
    load::{self, Meter},
    runtime::{self, Bound, Device, Engine, FellBack, Output, Shaped},
    sandbox::{self, Inside},
};

/// Models and pixels come from our own supervisor, so this only guards against a torn pipe.
const MAX_PAYLOAD: u64 = 8 << 30;

/// `upscore runner`: stdin and stdout are the pipe. Must be called before any thread exists.
pub fn main() -> ExitCode {
    // SAFETY: there is no other thread.
    unsafe { runtime::forbid_telemetry() };
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
    // Before the lock-in, after which /proc may not be in reach.
    let cores = load::choose_cores(hello.threads).filter(|cores| load::pin(&cores[..1]).is_ok()).unwrap_or_default();
    let watched = if cores.is_empty() { load::choose_cores(1).unwrap_or_default() } else { cores.clone() };
    let meter = Meter::open(watched);
    let inside = sandbox::enter(&sandbox::Rules {
        scratch: &hello.scratch,
        library: &hello.onnxruntime,
        user: hello.user,
        memory_bytes: hello.memory_bytes,
        cpu_seconds: hello.cpu_seconds,
        strict: hello.strict,
        device,
        gpu_minor: hello.gpu_minor,
    })?;
    // The first foreign code.
    let engine = Engine::load(&inside.library, device, hello.threads, &cores)?;
    let version = runtime::version(&inside.library);
    inside.seal()?;
    let ready = Reply::Ready { sandbox: inside.level.clone(), onnxruntime: version, cores };
    write_frame(&mut output, &ready, &[])?;
    let mut state =
        State { engine, device, meter, inside, flat: Vec::new(), shaped: None, entry: None, baseline: None };
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
    meter: Meter,
    inside: Inside,
    flat: Vec<u8>,
    /// The session of `flat`, once its shapes are asked for.
    shaped: Option<Shaped>,
    entry: Option<Loaded>,
    baseline: Option<Loaded>,
}

struct Loaded {
    model: Vec<u8>,
    session: Session,
    /// For timed passes at the last size, and at the one before.
    bound: Option<Bound>,
    before: Option<Bound>,
}

impl Loaded {
    /// Binds the model for passes at this size. A new binding's first pass makes its output's buffer, and on a GPU the kernels
    /// of a size are chosen: at least one of `warmup` passes is not timed.
    fn bind(&mut self, engine: &Engine, size: (u32, u32), pixels: &[f32], warmup: usize) -> Result<()> {
        let is_here = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| bound.size == size);
        if is_here(&self.bound) {
            return Ok(());
        }
        std::mem::swap(&mut self.bound, &mut self.before);
        if !is_here(&self.bound) {
            self.bound = None;
            self.bound = Some(engine.bind(&self.session, size)?);
            for _ in 0..warmup.max(1) {
                self.pass(pixels, false)?;
            }
        }
        Ok(())
    }

    fn pass(&mut self, pixels: &[f32], keep: bool) -> Result<(f64, Option<Output>)> {
        self.bound.as_mut().context("a pass without a binding")?.pass(&mut self.session, pixels, keep)
    }
}

impl State {
    fn answer(&mut self, request: Request, payload: Vec<u8>) -> Result<(Reply, Vec<u8>)> {
        let none = Vec::new();
        Ok(match request {
            Request::Load(slot) => {
                self.shaped = None;
                let session = self.engine.session(&payload)?;
                let providers = runtime::providers(&session, self.device)?;
                let (cuda, cudnn) = runtime::cuda_versions();
                let loaded = Some(Loaded { model: payload, session, bound: None, before: None });
                match slot {
                    Slot::Entry => self.entry = loaded,
                    Slot::Baseline => self.baseline = loaded,
                }
                (Reply::Loaded { providers, cuda, cudnn }, none)
            }
            Request::Probe(bait) => (Reply::Probed(self.inside.probe(&bait)?), none),
            Request::Flat => {
                (self.flat, self.shaped) = (payload, None);
                (Reply::Done, none)
            }
            Request::Shapes { height, width } => {
                let shaped = match &mut self.shaped {
                    Some(shaped) => shaped,
                    none => none.insert(self.engine.shaped(&self.flat)?),
                };
                (Reply::Shapes(shaped.shapes(&self.inside.scratch, height, width)?), none)
            }
            Request::Run { height, width, fresh } => {
                let entry = self.entry.as_mut().context("no model loaded")?;
                let pixels = bytes_to_floats(&payload);
                let (dims, values) = if fresh {
                    runtime::forward(&mut self.engine.session(&entry.model)?, &pixels, height, width)?
                } else {
                    runtime::forward(&mut entry.session, &pixels, height, width)?
                };
                (Reply::Output { dims }, floats_to_bytes(&values))
            }
            Request::Memory => {
                let entry = self.entry.as_ref().context("no model loaded")?;
                (Reply::Memory { peak_bytes: self.engine.arena_peak(&entry.session)? }, none)
            }
            Request::WarmUp { height, width, passes } => {
                let pixels = bytes_to_floats(&payload);
                ensure!(pixels.len() == 3 * height as usize * width as usize, "torn input");
                for loaded in [&mut self.entry, &mut self.baseline].into_iter().flatten() {
                    loaded.bind(&self.engine, (height, width), &pixels, 1)?;
                    for _ in 1..passes {
                        loaded.pass(&pixels, false)?;
                    }
                }
                (Reply::Done, none)
            }
            Request::Block { height, width, keep, range } => self.block((height, width), keep, range, &payload)?,
            Request::Pair { slot, sizes, warmup } => (self.pair(slot, sizes, warmup, &payload)?, none),
            Request::Watch { seconds } => {
                (Reply::Load(self.meter.idle(Duration::from_secs_f64(seconds.clamp(0.0, 10.0)))), none)
            }
            Request::Calibrate { height, width, passes } => {
                let mut session = self.engine.session(&payload)?;
                let mut bound = self.engine.bind(&session, (height, width))?;
                let pixels = vec![0.5; 3 * height as usize * width as usize];
                // The first makes buffers and is left out.
                let mut times = Vec::with_capacity(passes);
                for pass in 0..=passes {
                    let (ms, _) = bound.pass(&mut session, &pixels, false)?;
                    if pass > 0 {
                        times.push(ms);
                    }
                }
                (Reply::Times(times), none)
            }
        })
    }

    fn block(&mut self, size: (u32, u32), keep: Option<usize>, range: f32, payload: &[u8]) -> Result<(Reply, Vec<u8>)> {
        let pixels = bytes_to_floats(payload);
        let one = 3 * size.0 as usize * size.1 as usize;
        ensure!(one > 0 && pixels.len() == 2 * one && range > 0.0, "torn inputs");
        let entry_inputs: Vec<&[f32]> = pixels.chunks(one).collect();
        let baseline_pixels: Vec<f32> = match self.baseline {
            Some(_) => pixels.iter().map(|v| v / range).collect(),
            None => Vec::new(),
        };
        let baseline_inputs: Vec<&[f32]> = baseline_pixels.chunks(one).collect();
        let entry = self.entry.as_mut().context("no model loaded")?;
        entry.bind(&self.engine, size, entry_inputs[0], 1)?;
        if let Some(baseline) = &mut self.baseline {
            baseline.bind(&self.engine, size, baseline_inputs[0], 1)?;
        }
        // Untimed: while the inputs came the caches went cold and a GPU dozed, which the block's first pass alone would pay
        // for, and with it the entry. After it each model is timed once behind itself and once behind the other.
        entry.pass(entry_inputs[1], false)?;
        let before = self.meter.read();
        let (first, kept_first) = entry.pass(entry_inputs[0], keep == Some(0))?;
        let baseline = match &mut self.baseline {
            Some(baseline) => {
                let (first, _) = baseline.pass(baseline_inputs[0], false)?;
                Some([first, baseline.pass(baseline_inputs[1], false)?.0])
            }
            None => None,
        };
        let (second, kept_second) = entry.pass(entry_inputs[1], keep == Some(1))?;
        let load = self.meter.since(&before);
        let (dims, values) = kept_first.or(kept_second).unwrap_or_default();
        Ok((Reply::Block { entry: [first, second], baseline, load, dims }, floats_to_bytes(&values)))
    }

    fn pair(&mut self, slot: Slot, sizes: [(u32, u32); 2], warmup: usize, payload: &[u8]) -> Result<Reply> {
        let pixels = bytes_to_floats(payload);
        let [first, second] = sizes.map(|(height, width)| 3 * height as usize * width as usize);
        ensure!(first > 0 && second > 0 && pixels.len() == 2 * (first + second), "torn inputs");
        let (at_first, at_second) = pixels.split_at(2 * first);
        let (at_first, at_second) = (at_first.split_at(first), at_second.split_at(second));
        let loaded = match slot {
            Slot::Entry => &mut self.entry,
            Slot::Baseline => &mut self.baseline,
        };
        let loaded = loaded.as_mut().context("no model loaded")?;
        let engine = &self.engine;
        loaded.bind(engine, sizes[1], at_second.1, warmup)?;
        loaded.bind(engine, sizes[0], at_first.1, warmup)?;
        // As in a block: the pause is paid for by an untimed pass, then each size is once behind itself and once behind the other.
        loaded.pass(at_first.1, false)?;
        let before = self.meter.read();
        let mut ms = [0.0; 4];
        let passes = [(0, at_first.0), (1, at_second.0), (1, at_second.1), (0, at_first.1)];
        for (ms, (size, pixels)) in ms.iter_mut().zip(passes) {
            loaded.bind(engine, sizes[size], pixels, warmup)?;
            *ms = loaded.pass(pixels, false)?.0;
        }
        Ok(Reply::Pair { ms, load: self.meter.since(&before) })
    }
}
