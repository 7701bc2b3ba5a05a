//! The supervisor's side: starts the child, keeps its limits, asks, and says whose fault a failure is.

use std::{
    io::{BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    CRASHED, Hello, Oversized, Reply, Request, Slot, bytes_to_floats, complaint::plain, floats_to_bytes, read_frame,
    write_frame,
};
use crate::{
    problem::Problem,
    {
        Limits, Provider,
        load::Load,
        machine,
        runtime::NO_TELEMETRY,
        runtime::Shapes,
        sandbox::{self, Bait, Tried},
    },
};

/// Whose fault a failure is.
#[derive(Debug)]
pub enum Fault {
    /// The model's: final, shown to the team.
    Model(Problem),
    /// Ours: retried.
    Ours(anyhow::Error),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Fault::Ours(error)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Fault::Model(problem)
    }
}

/// How to start a child.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The `upscore` program.
    pub program: PathBuf,
    pub onnxruntime: PathBuf,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub threads: usize,
    pub limits: Limits,
    /// Refuse to run where a protection of the sandbox is missing.
    pub strict: bool,
}

/// A model's output: dimensions and values.
pub struct Tensor {
    pub dims: Vec<i64>,
    pub values: Vec<f32>,
}

/// How the runtime took the entry.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub providers: Vec<Provider>,
    /// Versions of the CUDA runtime and of cuDNN.
    pub cuda: Option<String>,
    pub cudnn: Option<String>,
}

/// One timed block.
pub struct Timed {
    /// ms, in the order of the inputs.
    pub entry: [f64; 2],
    pub baseline: Option<[f64; 2]>,
    pub load: Load,
    /// The output of the pass that was to be kept.
    pub kept: Option<Tensor>,
}

/// A running child. Dropping it kills it.
pub struct Runner {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<String>>,
    watch: Arc<Watch>,
    watchdog: Option<JoinHandle<()>>,
    limits: Limits,
    /// Protections in force, as the child reported them.
    pub sandbox: String,
    /// The runtime's own name and version.
    pub onnxruntime: String,
    /// Of the entry that was loaded last.
    pub loaded: Loaded,
    /// Cores that its threads are pinned to; empty: they are not.
    pub cores: Vec<usize>,
    _scratch: tempfile::TempDir,
}

/// Why the watchdog killed the child.
const ALIVE: u8 = 0;
const TIME: u8 = 1;
const MEMORY: u8 = 2;
const CANCELLED: u8 = 3;
const MACHINE: u8 = 4;

/// Below so much free memory of the machine, bytes, the child is killed before the kernel has to choose.
const FREE_FLOOR: u64 = 256 << 20;

#[derive(Default)]
struct Watch {
    killed: AtomicU8,
    over: AtomicBool,
    /// The child's resident memory when last looked at, bytes.
    resident: AtomicU64,
}

impl Runner {
    /// Starts and locks in a child. The time limit runs from here; when `cancel` becomes true the child is killed.
    pub fn start(setup: &Setup, cancel: Arc<AtomicBool>) -> Result<Runner> {
        let scratch = tempfile::Builder::new().prefix("upscore-run-").tempdir().context("no scratch folder")?;
        let mut command = Command::new(&setup.program);
        command
            .arg("runner")
            .env_clear()
            .current_dir(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command.env(NO_TELEMETRY.0, NO_TELEMETRY.1);
        // NVML numbers GPUs by their place on the bus; CUDA's own default is another order.
        command.env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        let gpu = machine::gpu(&setup.device);
        if let Some(gpu) = &gpu {
            // By its own name, so that it is found whatever else the driver may open; it is number 0 to the child.
            command.env("CUDA_VISIBLE_DEVICES", &gpu.uuid);
        }
        // SAFETY: both calls are async-signal-safe. The child dies with the thread that started it, so that no model
        // outlives a killed worker; evaluations run start to end on one thread. It inherits no descriptor but its three
        // pipes: what this process got from its own parent, or opened carelessly, is closed at exec. Where the kernel
        // cannot, the self-test says so.
        #[cfg(target_os = "linux")]
        unsafe {
            command.pre_exec(|| {
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", setup.program.display()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("the child has no pipes");
        };
        let watch = Arc::new(Watch::default());
        let watchdog = std::thread::spawn({
            let (watch, limits, pid) = (watch.clone(), setup.limits.clone(), child.id());
            move || keep_limits(&watch, &limits, pid, &cancel)
        });
        let log = Arc::new(Mutex::new(String::new()));
        std::thread::spawn({
            let log = log.clone();
            move || keep_tail(stderr, &log)
        });
        let mut runner = Runner {
            child,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
            stderr: log,
            watch,
            watchdog: Some(watchdog),
            limits: setup.limits.clone(),
            sandbox: String::new(),
            cores: Vec::new(),
            onnxruntime: String::new(),
            loaded: Loaded::default(),
            _scratch: scratch,
        };
        let user = hand_over(runner._scratch.path(), runner.pid())?;
        let hello = Hello {
            onnxruntime: std::path::absolute(&setup.onnxruntime)?,
            device: if gpu.is_some() { "cuda:0".into() } else { setup.device.clone() },
            gpu_minor: gpu.map(|gpu| gpu.minor),
            threads: setup.threads,
            user,
            scratch: runner._scratch.path().to_owned(),
            memory_bytes: setup.limits.memory_bytes,
            cpu_seconds: setup.limits.time.as_secs().saturating_mul(setup.threads.max(1) as u64) + 1,
            strict: setup.strict,
        };
        match runner.exchange(&hello, &[], 0) {
            Ok((Reply::Ready { sandbox, onnxruntime, cores }, _)) => {
                runner.sandbox = sandbox;
                runner.cores = cores;
                runner.onnxruntime = onnxruntime;
                Ok(runner)
            }
            Ok((other, _)) => bail!("the child greeted with {other:?}"),
            Err(Fault::Ours(error)) => Err(error),
            // It has not seen a model yet.
            Err(Fault::Model(problem)) => Err(anyhow!(problem)),
        }
    }

    /// Makes a session of the model. On CUDA a heavy node without a CUDA kernel is the model's fault.
    pub fn load(&mut self, slot: Slot, model: &[u8]) -> Result<(), Fault> {
        match self.exchange(&Request::Load(slot), model, 0)?.0 {
            Reply::Loaded { providers, cuda, cudnn } => {
                if slot == Slot::Entry {
                    self.loaded = Loaded { providers, cuda, cudnn };
                }
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Has the child try to break out; it is of no use after.
    pub fn probe(&mut self, bait: Bait) -> Result<Vec<Tried>, Fault> {
        match self.exchange(&Request::Probe(bait), &[], 0)?.0 {
            Reply::Probed(probes) => Ok(probes),
            other => Err(unexpected(&other)),
        }
    }

    /// Hands over the flat model that [`Runner::shapes`] profiles.
    pub fn flat(&mut self, model: &[u8]) -> Result<(), Fault> {
        self.expect_done(&Request::Flat, model)
    }

    /// Shapes of every tensor at an input of 1×3×`height`×`width`.
    pub fn shapes(&mut self, height: u32, width: u32) -> Result<Shapes, Fault> {
        match self.exchange(&Request::Shapes { height, width }, &[], 0)?.0 {
            Reply::Shapes(shapes) => Ok(shapes),
            other => Err(unexpected(&other)),
        }
    }

    /// One forward pass on NCHW pixels. The output may hold at most `most` values.
    pub fn run(&mut self, pixels: &[f32], size: (u32, u32), most: u64) -> Result<Tensor, Fault> {
        self.forward(pixels, size, most, false)
    }

    /// [`Runner::run`] in a session made for this pass alone.
    pub fn run_fresh(&mut self, pixels: &[f32], size: (u32, u32), most: u64) -> Result<Tensor, Fault> {
        self.forward(pixels, size, most, true)
    }

    fn forward(
        &mut self,
        pixels: &[f32],
        (height, width): (u32, u32),
        most: u64,
        fresh: bool,
    ) -> Result<Tensor, Fault> {
        let request = Request::Run { height, width, fresh };
        let (reply, bytes) = self.exchange(&request, &floats_to_bytes(pixels), most.saturating_mul(4))?;
        let Reply::Output { dims } = reply else { return Err(unexpected(&reply)) };
        Ok(Tensor { dims, values: bytes_to_floats(&bytes) })
    }

    /// Peak bytes of the entry's arena since it was loaded.
    pub fn arena_peak(&mut self) -> Result<u64, Fault> {
        match self.exchange(&Request::Memory, &[], 0)?.0 {
            Reply::Memory { peak_bytes } => Ok(peak_bytes),
            other => Err(unexpected(&other)),
        }
    }

    /// Untimed passes of the loaded models on one input.
    pub fn warm_up(&mut self, pixels: &[f32], (height, width): (u32, u32), passes: usize) -> Result<(), Fault> {
        self.expect_done(&Request::WarmUp { height, width, passes }, &floats_to_bytes(pixels))
    }

    /// One timed block on two inputs of one size, in the entry's range 0…`range`. The output of the entry's pass `keep`
    /// comes back; it may hold at most `most` values.
    pub fn block(
        &mut self,
        inputs: [&[f32]; 2],
        (height, width): (u32, u32),
        range: u32,
        keep: Option<usize>,
        most: u64,
    ) -> Result<Timed, Fault> {
        let request = Request::Block { height, width, keep, range: range as f32 };
        let (reply, bytes) = self.exchange(&request, &floats_to_bytes(&inputs.concat()), most.saturating_mul(4))?;
        let Reply::Block { entry, baseline, load, dims } = reply else { return Err(unexpected(&reply)) };
        let kept = keep.map(|_| Tensor { dims, values: bytes_to_floats(&bytes) });
        Ok(Timed { entry, baseline, load, kept })
    }

    /// Timed passes of a loaded model at two sizes in turns: ms of first, second, second, first. `inputs` are two of the first
    /// size and two of the second, in the model's range.
    pub fn pair(
        &mut self,
        slot: Slot,
        inputs: [&[f32]; 4],
        sizes: [(u32, u32); 2],
        warmup: usize,
    ) -> Result<([f64; 4], Load), Fault> {
        let request = Request::Pair { slot, sizes, warmup };
        match self.exchange(&request, &floats_to_bytes(&inputs.concat()), 0)?.0 {
            Reply::Pair { ms, load } => Ok((ms, load)),
            other => Err(unexpected(&other)),
        }
    }

    /// The machine's load while the child is idle.
    pub fn watch(&mut self, time: Duration) -> Result<Load, Fault> {
        match self.exchange(&Request::Watch { seconds: time.as_secs_f64() }, &[], 0)?.0 {
            Reply::Load(load) => Ok(load),
            other => Err(unexpected(&other)),
        }
    }

    /// Times of passes of a model of ours, ms.
    pub fn calibrate(&mut self, model: &[u8], (height, width): (u32, u32), passes: usize) -> Result<Vec<f64>, Fault> {
        match self.exchange(&Request::Calibrate { height, width, passes }, model, 0)?.0 {
            Reply::Times(times) => Ok(times),
            other => Err(unexpected(&other)),
        }
    }

    /// The child's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn expect_done(&mut self, request: &Request, payload: &[u8]) -> Result<(), Fault> {
        match self.exchange(request, payload, 0)?.0 {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn exchange(&mut self, head: &impl serde::Serialize, payload: &[u8], most: u64) -> Result<(Reply, Vec<u8>), Fault> {
        let Some(stdin) = &mut self.stdin else { return Err(Fault::Ours(anyhow!("the child is gone"))) };
        let answer = write_frame(stdin, head, payload).and_then(|()| read_frame::<Reply>(&mut self.stdout, most));
        match answer {
            Ok(Some((Reply::Refused { code, message }, _))) => Err(Fault::Model(refused(&code, &message))),
            Ok(Some((Reply::Broken { message }, _))) => Err(Fault::Ours(anyhow!("the model's process: {message}"))),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.post_mortem(None)),
            Err(error) => match error.downcast_ref::<Oversized>() {
                Some(&Oversized { bytes, limit }) if limit > 0 => {
                    self.stdin = None;
                    let (found, most) = (bytes / 4, limit / 4);
                    let message =
                        format!("the output holds {found} values, more than {most}, which is too many to look at");
                    Err(Problem::new("output_shape", message).into())
                }
                _ => Err(self.post_mortem(Some(error))),
            },
        }
    }

    /// The child is dead or talks nonsense: tell time, memory, sandbox, crash and our own fault apart.
    fn post_mortem(&mut self, error: Option<anyhow::Error>) -> Fault {
        self.stdin = None;
        kill_group(self.child.id());
        let status = self.child.wait();
        let limit = |code, message: String| Fault::Model(Problem::new(code, message));
        let seen = format!("{} MiB", self.watch.resident.load(Ordering::SeqCst) >> 20);
        match self.watch.killed.load(Ordering::SeqCst) {
            TIME => return limit("time_limit", format!("stopped after {} s", self.limits.time.as_secs())),
            MEMORY => return limit("memory_limit", memory_words(&self.limits)),
            MACHINE => {
                let what = "the machine's memory ran out while the model used what it may";
                return Fault::Ours(anyhow!("{what}: {seen} of {} MiB", self.limits.memory_bytes >> 20));
            }
            CANCELLED => return Fault::Ours(anyhow!("cancelled")),
            _ => {}
        }
        let log = self.stderr.lock().map(|l| l.clone()).unwrap_or_default();
        if log.contains("bad_alloc") || log.contains("memory allocation of") {
            return limit("memory_limit", memory_words(&self.limits));
        }
        // A pipe that ends is no more than its other end's death; anything else on it was not said by our own code.
        let nonsense = error.as_ref().is_some_and(|error| error.downcast_ref::<std::io::Error>().is_none());
        match status.map(|s| s.signal()) {
            Ok(Some(libc::SIGXCPU)) => {
                limit("time_limit", format!("stopped after {} s of CPU", self.limits.time.as_secs()))
            }
            Ok(Some(libc::SIGSYS | libc::SIGXFSZ)) => {
                limit("sandbox_violation", "the model's process tried what the sandbox forbids".into())
            }
            Ok(Some(signal @ (libc::SIGSEGV | libc::SIGABRT | libc::SIGFPE | libc::SIGILL | libc::SIGBUS))) => {
                limit(CRASHED, format!("ONNX Runtime crashed on this model (signal {signal})"))
            }
            Ok(Some(libc::SIGKILL)) if nonsense => {
                limit(CRASHED, "ONNX Runtime's process answered nonsense on this model".into())
            }
            // Neither we nor a limit of its own: the kernel, for want of memory, or a person.
            Ok(Some(libc::SIGKILL)) => Fault::Ours(anyhow!(
                "the model's process was killed at {seen}, below its {} MiB, by the kernel or a person",
                self.limits.memory_bytes >> 20
            )),
            other => {
                let error = error.unwrap_or_else(|| anyhow!("the pipe closed"));
                Fault::Ours(error.context(format!("the model's process ended: {other:?}; it said: {}", log.trim())))
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.watch.over.store(true, Ordering::SeqCst);
        self.stdin = None;
        kill_group(self.child.id());
        let _ = self.child.wait();
        if let Some(watchdog) = self.watchdog.take() {
            let _ = watchdog.join();
        }
    }
}

fn unexpected(reply: &Reply) -> Fault {
    Fault::Ours(anyhow!("unexpected answer of the model's process: {reply:?}"))
}

/// What the child said of the model; the node that the runtime names is the place.
fn refused(code: &str, message: &str) -> Problem {
    let (node, short) = plain(message);
    let problem = match code {
        "device_fallback" => Problem::new("device_fallback", short)
            .hint("A time on two devices is a time of neither: use operators that ONNX Runtime has for CUDA."),
        "memory_limit" => Problem::new("memory_limit", format!("the model needs more memory than allowed: {short}")),
        _ => Problem::new("runtime_error", format!("ONNX Runtime cannot run the model: {short}")),
    };
    match node {
        Some(node) => problem.at(node),
        None => problem,
    }
}

fn memory_words(limits: &Limits) -> String {
    format!("the model needs more memory than the {} MiB allowed", limits.memory_bytes >> 20)
}

/// The child and the group that it leads, should it have got out of it.
fn kill_group(pid: u32) {
    // SAFETY: plain system calls; the child is waited for only after, so that its number is nobody else's.
    unsafe {
        libc::kill(-(pid as i32), libc::SIGKILL);
        libc::kill(pid as i32, libc::SIGKILL);
    }
}

/// Kills the child when its time is up, its memory is too large, the machine's is at its end, or the run is cancelled.
fn keep_limits(watch: &Watch, limits: &Limits, pid: u32, cancel: &AtomicBool) {
    let start = Instant::now();
    while !watch.over.load(Ordering::SeqCst) {
        let resident = resident_bytes(pid);
        watch.resident.store(resident, Ordering::SeqCst);
        let verdict = if cancel.load(Ordering::SeqCst) {
            CANCELLED
        } else if start.elapsed() > limits.time {
            TIME
        } else if resident > limits.memory_bytes {
            MEMORY
        } else if available_bytes().is_some_and(|free| free < FREE_FLOOR) {
            MACHINE
        } else {
            ALIVE
        };
        if verdict != ALIVE {
            watch.killed.store(verdict, Ordering::SeqCst);
            kill_group(pid);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// What the machine can still give without swapping, bytes.
fn available_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Keeps the last few kilobytes of what the child says.
fn keep_tail(mut from: impl Read, log: &Mutex<String>) {
    const KEEP: usize = 4096;
    let mut buffer = [0u8; 1024];
    while let Ok(n) = from.read(&mut buffer) {
        let Ok(mut log) = log.lock() else { return };
        if n == 0 {
            return;
        }
        log.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let excess = log.len().saturating_sub(KEEP);
        let cut = (excess..=log.len()).find(|&i| log.is_char_boundary(i)).unwrap_or(0);
        log.drain(..cut);
    }
}

/// Started by root, the child becomes a user of its own, whose its folder must be; gives that user.
fn hand_over(folder: &Path, pid: u32) -> Result<Option<u32>> {
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let give = |user: u32| std::os::unix::fs::chown(folder, Some(user), Some(user)).map(|()| Some(user));
    // A container may know few users.
    Ok(give(sandbox::OWN_USERS + pid).or_else(|_| give(sandbox::NOBODY))?)
}
