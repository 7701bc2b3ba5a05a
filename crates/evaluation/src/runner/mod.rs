//! The model's own process. The supervisor sends the model and pixels over a pipe and gets floats, shapes and times back;
//! the child holds no HR, no database, no token, and is locked in by [`super::sandbox`] before it sees the model.
//!
//! A message is a frame: length of the JSON head (u32 LE), length of the payload (u64 LE), head, payload.

mod child;
mod complaint;
mod parent;

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Provider,
    load::Load,
    runtime::Shapes,
    sandbox::{Bait, Tried},
};

pub use child::main;
pub use parent::{Fault, Loaded, Runner, Setup, Tensor, Timed};

/// Longest head accepted; a profile of 20,000 nodes needs about 4 MB.
const MAX_HEAD: u32 = 64 << 20;
/// Code of a crash of the runtime: not the model's fault until it happens twice.
pub const CRASHED: &str = "model_crashed_runtime";

/// Said once, before anything else.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    onnxruntime: std::path::PathBuf,
    device: String,
    /// Of the leased GPU's node `/dev/nvidiaN`, where it is known.
    gpu_minor: Option<u32>,
    threads: usize,
    /// To become, where the supervisor is root.
    user: Option<u32>,
    /// Empty folder, the only place that the child may write to.
    scratch: std::path::PathBuf,
    memory_bytes: u64,
    cpu_seconds: u64,
    /// Refuse to go on when a protection is missing.
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    Entry,
    Baseline,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Payload: a model file. Makes its session.
    Load(Slot),
    /// Tries to break out; only the self-test asks it.
    Probe(Bait),
    /// Payload: the flat model. Kept for [`Request::Shapes`].
    Flat,
    Shapes {
        height: u32,
        width: u32,
    },
    /// Payload: 3×height×width f32.
    Run {
        height: u32,
        width: u32,
        /// In a session made for this pass alone.
        fresh: bool,
    },
    /// Peak of the entry's arena so far.
    Memory,
    /// `passes` untimed passes of each loaded model. Payload as of [`Request::Block`], one input.
    WarmUp {
        height: u32,
        width: u32,
        passes: usize,
    },
    /// One timed block: after an untimed pass of the entry, the entry and the baseline as A B B A, or the entry alone
    /// twice. Payload: two inputs of 3×height×width f32 for the entry's range; the baseline gets the same pixels in 0…1.
    Block {
        height: u32,
        width: u32,
        /// Which of the entry's two passes gives its output back, if any.
        keep: Option<usize>,
        range: f32,
    },
    /// Timed passes of one model at two sizes in turns: first, second, second, first, behind an untimed pass of the first.
    /// Payload: two inputs of the first size and two of the second, for the model's own range.
    Pair {
        slot: Slot,
        sizes: [(u32, u32); 2],
        /// Untimed passes at a size that has not been met.
        warmup: usize,
    },
    /// Watch the load of the machine without working.
    Watch {
        seconds: f64,
    },
    /// Time passes of one model of ours, in a session of its own. Payload: the model.
    Calibrate {
        height: u32,
        width: u32,
        passes: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// The child is locked in; the protections in force, the runtime's version.
    Ready {
        sandbox: String,
        onnxruntime: String,
        /// Cores that the threads are pinned to; empty: they are not.
        cores: Vec<usize>,
    },
    Done,
    /// A session is made, with its nodes here; versions of the CUDA runtime and cuDNN.
    Loaded {
        providers: Vec<Provider>,
        cuda: Option<String>,
        cudnn: Option<String>,
    },
    Probed(Vec<Tried>),
    Shapes(Shapes),
    /// Payload: the output's values, f32.
    Output {
        dims: Vec<i64>,
    },
    Memory {
        peak_bytes: u64,
    },
    /// Times in ms, in the order of the inputs. Payload: the kept output's values, f32.
    Block {
        entry: [f64; 2],
        baseline: Option<[f64; 2]>,
        load: Load,
        dims: Vec<i64>,
    },
    /// ms, in the order of the passes.
    Pair {
        ms: [f64; 4],
        load: Load,
    },
    Load(Load),
    Times(Vec<f64>),
    /// The model's fault, with a code of [`crate::problem::Problem`].
    Refused {
        code: String,
        message: String,
    },
    /// Ours.
    Broken {
        message: String,
    },
}

fn write_frame(out: &mut impl Write, head: &impl Serialize, payload: &[u8]) -> Result<()> {
    let head = serde_json::to_vec(head)?;
    out.write_all(&u32::try_from(head.len())?.to_le_bytes())?;
    out.write_all(&(payload.len() as u64).to_le_bytes())?;
    out.write_all(&head)?;
    out.write_all(payload)?;
    out.flush()?;
    Ok(())
}

/// A payload above what was asked for; not read.
#[derive(Debug, thiserror::Error)]
#[error("a payload of {bytes} bytes, at most {limit} expected")]
struct Oversized {
    bytes: u64,
    limit: u64,
}

/// Reads one frame; `None` at a clean end. A payload above `limit` bytes is [`Oversized`].
fn read_frame<H: DeserializeOwned>(from: &mut impl Read, limit: u64) -> Result<Option<(H, Vec<u8>)>> {
    let mut lengths = [0u8; 12];
    match from.read(&mut lengths)? {
        0 => return Ok(None),
        n => from.read_exact(&mut lengths[n..])?,
    }
    let (head, payload) = lengths.split_at(4);
    let head = u32::from_le_bytes(head.try_into()?);
    let payload = u64::from_le_bytes(payload.try_into()?);
    ensure!(head <= MAX_HEAD, "a head of {head} bytes is too large");
    if payload > limit {
        return Err(Oversized { bytes: payload, limit }.into());
    }
    let mut bytes = vec![0u8; head as usize];
    from.read_exact(&mut bytes)?;
    let parsed = serde_json::from_slice(&bytes).context("a frame's head is no valid message")?;
    let mut bytes = vec![0u8; payload as usize];
    from.read_exact(&mut bytes)?;
    Ok(Some((parsed, bytes)))
}

fn floats_to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn bytes_to_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
