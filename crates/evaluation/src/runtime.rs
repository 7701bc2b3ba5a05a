//! ONNX Runtime inside the sandboxed child: sessions, forward passes, shapes from a profile, timing, memory.
//!
//! Everything here blocks and may crash or hang on a hostile model, so nothing but [`super::runner`]'s child calls it.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CStr,
    path::Path,
    ptr,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    thread::JoinHandle,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use ort::{
    AsPointer,
    environment::ThreadManager,
    ep,
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, RunOptions, Session, builder::GraphOptimizationLevel},
    value::{DynValue, Tensor, TensorRef},
};
use prost::Message;

use super::{
    Provider, load,
    onnx::proto::{ModelProto, NodeProto},
};

/// Where the forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cpu,
    /// The index of a GPU as CUDA numbers them.
    Cuda(i32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("cuda:").or((text == "cuda").then_some("0")) {
            Some(index) => index.parse().map(Device::Cuda).map_err(|_| format!("no GPU number in {text:?}")),
            None if text == "cpu" => Ok(Device::Cpu),
            None => Err(format!("unknown device {text:?}; known are cpu and cuda:N")),
        }
    }
}

/// The variable that keeps ONNX Runtime for Linux from reporting to Microsoft. Without it the library starts a thread for
/// that with its environment, and keeps a file in `~/.cache/Microsoft`.
pub const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Sets [`NO_TELEMETRY`] for this process and those it starts. [`Engine::load`] wants it set.
///
/// # Safety
/// No other thread may run yet, since any might be reading the environment.
pub unsafe fn forbid_telemetry() {
    // SAFETY: as above.
    unsafe { std::env::set_var(NO_TELEMETRY.0, NO_TELEMETRY.1) };
}

/// The runtime library, loaded once per process; it has no thread before the first session.
pub struct Engine {
    environment: ort::environment::Environment,
    device: Device,
    threads: usize,
    /// Cores of a session's threads beside the caller's; empty: the system places them.
    places: Vec<usize>,
}

/// Makes a session's threads, each on its own core. The runtime would place them by number, which the sandbox forbids: a
/// number may be another's.
struct Threads {
    places: Vec<usize>,
    made: AtomicUsize,
}

impl ThreadManager for Threads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<JoinHandle<()>> {
        let place = self.places.get(self.made.fetch_add(1, Ordering::Relaxed)).copied();
        let work = move || {
            if let Some(core) = place {
                // On the first thread's core it would still be right, and slow.
                let _ = load::pin(&[core]);
            }
            work();
        };
        let builder = std::thread::Builder::new().name("session".into()).stack_size(STACK);
        builder.spawn(work).map_err(|error| ort::Error::new(error.to_string()))
    }

    fn join(thread: JoinHandle<()>) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("a thread of the session panicked"))
    }
}

/// Stack of a session's thread, bytes; what the C library gives by default.
const STACK: usize = 8 << 20;

/// How a session is to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// As a user would run it: every optimisation on.
    Inference,
    /// Node by node as written.
    Shapes,
}

/// Tensor name → dimensions, for one input size.
pub type Shapes = HashMap<String, Vec<u64>>;

impl Engine {
    /// Loads `library` and readies the device; a missing library, GPU or driver is an error that says so. `cores`: one for
    /// each thread, the caller's first; empty: the system places them.
    pub fn load(library: &Path, device: Device, threads: usize, cores: &[usize]) -> Result<Engine> {
        let (name, value) = NO_TELEMETRY;
        ensure!(std::env::var_os(name).is_some_and(|set| set == value), "{name}={value} must be set first");
        let environment = ort::init_from(library)
            .with_context(|| format!("ONNX Runtime cannot be loaded from {}", library.display()))?
            .with_name("upscore")
            .with_telemetry(false)
            .build()?;
        if let Device::Cuda(_) = device {
            ensure!(
                <ep::CUDA as ep::ExecutionProvider>::is_available().unwrap_or(false),
                "{} has no CUDA support; run `UPSCORE_ORT=gpu make setup`",
                library.display()
            );
        }
        Ok(Engine { environment, device, threads, places: cores.iter().skip(1).copied().collect() })
    }

    pub fn session(&self, model: &[u8]) -> ort::Result<Session> {
        self.build(model, Purpose::Inference)
    }

    /// A session as the field's scripts make one: threads of its own, the library's defaults. For comparison only.
    pub fn plain_session(&self, model: &[u8], threads: usize) -> ort::Result<Session> {
        let mut builder = Session::builder(&self.environment)?.with_intra_threads(threads)?;
        if let Device::Cuda(index) = self.device {
            let cuda = ep::CUDA::default().with_device_id(index).build().error_on_failure();
            builder = builder.with_execution_providers([cuda])?;
        }
        builder.commit_from_memory(model)
    }

    fn build(&self, model: &[u8], purpose: Purpose) -> ort::Result<Session> {
        // Memory patterns plan from the second run on and would double the measured peak; off for every session.
        // Threads of one session would spin on after a pass, on the cores of the next session's.
        let mut builder = Session::builder(&self.environment)?
            .with_intra_threads(self.threads)?
            .with_memory_pattern(false)?
            .with_config_entry("session.force_spinning_stop", "1")?;
        if !self.places.is_empty() {
            let threads = Threads { places: self.places.clone(), made: AtomicUsize::new(0) };
            builder = builder.with_thread_manager(threads)?;
        }
        match purpose {
            Purpose::Inference => {
                builder = builder
                    .with_optimization_level(GraphOptimizationLevel::All)?
                    .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
                if let Device::Cuda(index) = self.device {
                    // The library's defaults are TF32 on and an exhaustive search at every new size: both move figures.
                    builder = builder.with_execution_providers([ep::CUDA::default()
                        .with_device_id(index)
                        .with_tf32(false)
                        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
                        .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                        .build()
                        .error_on_failure()])?;
                }
            }
            Purpose::Shapes => {
                // Prepacking would take constant weights out of a profile's rows.
                builder = builder.with_optimization_level(GraphOptimizationLevel::Disable)?.with_prepacking(false)?;
            }
        }
        builder.commit_from_memory(model)
    }

    /// For [`Shaped::shapes`].
    pub fn shaped(&self, flat: &[u8]) -> Result<Shaped> {
        let nodes = ModelProto::decode(flat)?.graph.map(|g| g.node).unwrap_or_default();
        Ok(Shaped { session: self.build(flat, Purpose::Shapes)?, nodes })
    }

    /// Peak bytes in use of the session's arena since it was made, weights included: after one pass of a fresh session the
    /// analogue of `torch.cuda.max_memory_allocated`.
    pub fn arena_peak(&self, session: &Session) -> Result<u64> {
        let (device, index) = self.memory();
        let arena =
            Allocator::new(session, MemoryInfo::new(device, index, AllocatorType::Arena, MemoryType::Default)?)?;
        let stats = arena_stats(&arena)?;
        stats.get("MaxInUse").and_then(|v| v.parse().ok()).context("the runtime's arena reports no peak")
    }

    /// Where tensors of the device live.
    fn memory(&self) -> (AllocationDevice<'static>, i32) {
        match self.device {
            Device::Cpu => (AllocationDevice::CPU, 0),
            Device::Cuda(index) => (AllocationDevice::CUDA, index),
        }
    }

    /// Binds a session for passes at one input size: the output is kept on the device.
    pub fn bind(&self, session: &Session, size: (u32, u32)) -> Result<Bound> {
        let (Some(input), Some(output)) = (session.inputs().first(), session.outputs().first()) else {
            bail!("the model has no input or no output");
        };
        let (input, output) = (input.name().to_owned(), output.name().to_owned());
        let mut binding = session.create_binding()?;
        let (device, index) = self.memory();
        let place = MemoryInfo::new(device, index, AllocatorType::Device, MemoryType::Default)?;
        binding.bind_output_to_device(output.as_str(), &place)?;
        Ok(Bound { binding, input, output, size, place })
    }
}

/// A session that runs node by node, as the model is written. One serves every input size: of thousands of nodes ONNX Runtime
/// makes a session in time that grows with their square.
pub struct Shaped {
    session: Session,
    nodes: Vec<NodeProto>,
}

impl Shaped {
    /// Shapes of every tensor that the nodes write, at an input of 1×3×`height`×`width`, read from a profile of one run.
    /// Static inference is not enough: networks of this field resize to sizes computed from shapes.
    pub fn shapes(&mut self, scratch: &Path, height: u32, width: u32) -> Result<Shapes> {
        let mut options = RunOptions::new()?;
        options.enable_profiling(scratch.join(PROFILE))?;
        // Memory of a large size would stay beside that of the next.
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        let pixels = vec![0.5f32; 3 * height as usize * width as usize];
        let input = TensorRef::from_array_view(([1usize, 3, height as usize, width as usize], pixels.as_slice()))?;
        let name = self.session.inputs().first().map(|i| i.name().to_owned()).context("the model has no input")?;
        let ran = self.session.run_with_options(ort::inputs![name.as_str() => input], &options).map(drop);
        let file = taken(scratch)?;
        ran?;
        let file = file.context("the runtime wrote no profile")?;
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&file)?;
        let mut shapes = Shapes::new();
        for row in &rows {
            let name = row["name"].as_str().and_then(|n| n.strip_suffix("_kernel_time"));
            let index = name.and_then(|n| n.strip_prefix('n')).and_then(|n| n.parse::<usize>().ok());
            let Some(node) = index.and_then(|i| self.nodes.get(i)) else { continue };
            let written: Vec<Vec<u64>> = dims_list(&row["args"]["output_type_shape"]);
            let outputs: Vec<&String> = node.output.iter().filter(|o| !o.is_empty()).collect();
            // An output that nobody reads may be left out of the row: then the order is no longer certain.
            if written.len() == outputs.len() || outputs.len() == 1 {
                shapes.extend(outputs.into_iter().cloned().zip(written));
            }
            let read: Vec<Vec<u64>> = dims_list(&row["args"]["input_type_shape"]);
            if read.len() == node.input.iter().filter(|i| !i.is_empty()).count() {
                for (input, dims) in node.input.iter().filter(|i| !i.is_empty()).zip(read) {
                    shapes.entry(input.clone()).or_insert(dims);
                }
            }
        }
        Ok(shapes)
    }
}

/// What a profile's name starts with.
const PROFILE: &str = "profile";

/// The profile of the last run, which is removed.
fn taken(scratch: &Path) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    for entry in std::fs::read_dir(scratch)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PROFILE) {
            found = Some(std::fs::read(entry.path())?);
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(found)
}

/// Operators whose time is the network's: on a CUDA board none of them may run on the CPU. The arithmetic of sizes does, by
/// ONNX Runtime's own choice.
const HEAVY: [&str; 8] =
    ["Conv", "MatMul", "Gemm", "Resize", "Einsum", "InstanceNormalization", "LayerNormalization", "Softmax"];

/// A node that counts fell back from the GPU to the CPU.
#[derive(Debug, thiserror::Error)]
#[error("{nodes} {op} nodes run on the CPU: ONNX Runtime has no CUDA kernel for them")]
pub struct FellBack {
    op: String,
    nodes: usize,
}

/// Where ONNX Runtime put the nodes of an inference session, after its optimisations. On CUDA a heavy node on the CPU is
/// [`FellBack`].
pub fn providers(session: &Session, device: Device) -> Result<Vec<Provider>> {
    let assigned = assignment(session)?;
    if let (Device::Cuda(_), Some(on_cpu)) = (device, assigned.get("CPUExecutionProvider")) {
        let heavy = |op: &str| HEAVY.iter().any(|h| op.contains(h));
        if let Some(op) = on_cpu.iter().find(|op| heavy(op)) {
            let nodes = on_cpu.iter().filter(|other| *other == op).count();
            return Err(FellBack { op: op.clone(), nodes }.into());
        }
    }
    Ok(assigned.into_iter().map(|(name, ops)| Provider { name, nodes: ops.len() as u64 }).collect())
}

/// Execution provider → operators of its nodes; ort has no safe wrapper.
fn assignment(session: &Session) -> Result<BTreeMap<String, Vec<String>>> {
    let mut assigned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // SAFETY: the pointers come from the session, which owns what they point at and outlives this; texts are copied.
    unsafe {
        let ok = |status| ort::Error::<()>::result_from_status(status);
        let api = ort::api();
        let text = |p| CStr::from_ptr(p).to_string_lossy().into_owned();
        let (mut graphs, mut count) = (ptr::null(), 0usize);
        ok((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut graphs, &mut count))?;
        for i in 0..count {
            let graph = *graphs.add(i);
            let mut name = ptr::null();
            ok((api.EpAssignedSubgraph_GetEpName)(graph, &mut name))?;
            let ops = assigned.entry(text(name)).or_default();
            let (mut nodes, mut count) = (ptr::null(), 0usize);
            ok((api.EpAssignedSubgraph_GetNodes)(graph, &mut nodes, &mut count))?;
            for j in 0..count {
                let mut op = ptr::null();
                ok((api.EpAssignedNode_GetOperatorType)(*nodes.add(j), &mut op))?;
                ops.push(text(op));
            }
        }
    }
    Ok(assigned)
}

/// A function of a library that is in the process already.
#[cfg(target_os = "linux")]
fn loaded(library: &CStr, function: &CStr) -> Option<*mut libc::c_void> {
    // SAFETY: with RTLD_NOLOAD nothing is loaded and no code runs; both names are C strings.
    let found = unsafe {
        let library = libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() { ptr::null_mut() } else { libc::dlsym(library, function.as_ptr()) }
    };
    (!found.is_null()).then_some(found)
}

/// The library's own version, `1.31.1`, and how it was built.
pub fn version(library: &Path) -> String {
    let build = ort::info();
    match number(library) {
        Some(number) => format!("{number} ({build})"),
        None => build.to_string(),
    }
}

#[cfg(target_os = "linux")]
fn number(library: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let library = std::ffi::CString::new(library.as_os_str().as_bytes()).ok()?;
    let function = loaded(&library, c"OrtGetApiBase")?;
    // SAFETY: const OrtApiBase* OrtGetApiBase(void), whose pointers live as long as the library; the text is static.
    unsafe {
        let ask: extern "C" fn() -> *const ort::sys::OrtApiBase = std::mem::transmute(function);
        let base = ask().as_ref()?;
        let text = (base.GetVersionString)();
        (!text.is_null()).then(|| CStr::from_ptr(text.cast()).to_string_lossy().into_owned())
    }
}

#[cfg(not(target_os = "linux"))]
fn number(_: &Path) -> Option<String> {
    None
}

/// Versions of the CUDA runtime and of cuDNN, asked of the libraries that ONNX Runtime has loaded.
#[cfg(target_os = "linux")]
pub fn cuda_versions() -> (Option<String>, Option<String>) {
    let cuda = [c"libcudart.so.13", c"libcudart.so.12"].iter().find_map(|l| loaded(l, c"cudaRuntimeGetVersion"));
    let cuda = cuda.and_then(|function| {
        let mut version: libc::c_int = 0;
        // SAFETY: cudaError_t cudaRuntimeGetVersion(int*), by NVIDIA's headers.
        let ask: extern "C" fn(*mut libc::c_int) -> libc::c_int = unsafe { std::mem::transmute(function) };
        (ask(&mut version) == 0).then(|| format!("{}.{}", version / 1000, version % 1000 / 10))
    });
    let cudnn = loaded(c"libcudnn.so.9", c"cudnnGetVersion").map(|function| {
        // SAFETY: size_t cudnnGetVersion(void), by NVIDIA's headers.
        let ask: extern "C" fn() -> usize = unsafe { std::mem::transmute(function) };
        let version = ask();
        format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
    });
    (cuda, cudnn)
}

#[cfg(not(target_os = "linux"))]
pub fn cuda_versions() -> (Option<String>, Option<String>) {
    (None, None)
}

/// A session's input and output at one size. The buffer of the output is made by the first pass and used again by the next,
/// so that no later pass allocates it.
pub struct Bound {
    binding: IoBinding,
    input: String,
    output: String,
    /// Height and width.
    pub size: (u32, u32),
    /// Where the output is kept.
    place: MemoryInfo<'static>,
}

/// A pass's output: dimensions and values.
pub type Output = (Vec<i64>, Vec<f32>);

impl Bound {
    /// One timed pass on NCHW pixels: ms, and with `keep` its output. The clock runs from when the input is on the device
    /// until the output is complete there; copies to and from it are outside.
    pub fn pass(&mut self, session: &mut Session, pixels: &[f32], keep: bool) -> Result<(f64, Option<Output>)> {
        let (height, width) = self.size;
        // Owned: binding a borrowed tensor copies it through a session of ort's own, which deadlocks in rc.15.
        let tensor = Tensor::from_array(([1usize, 3, height as usize, width as usize], pixels.to_vec()))?;
        self.binding.bind_input(self.input.as_str(), &tensor)?;
        self.binding.synchronize_inputs()?;
        let start = Instant::now();
        let outputs = session.run_binding(&self.binding)?;
        self.binding.synchronize_outputs()?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        if !keep {
            return Ok((ms, None));
        }
        if self.place.allocation_device() == AllocationDevice::CPU {
            let kept = values(&outputs[0])?;
            return Ok((ms, Some(kept)));
        }
        // A network that passed the vetting is a function of its input alone: the pass is made again with its output on
        // the host, and once more to have the buffer on the device back.
        drop(outputs);
        let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
        self.binding.bind_output_to_device(self.output.as_str(), &host)?;
        let kept = values(&session.run_binding(&self.binding)?[0])?;
        self.binding.bind_output_to_device(self.output.as_str(), &self.place)?;
        session.run_binding(&self.binding)?;
        Ok((ms, Some(kept)))
    }
}

fn values(output: &DynValue) -> Result<Output> {
    let (shape, values) = output.try_extract_tensor::<f32>()?;
    Ok((shape.to_vec(), values.to_vec()))
}

/// One forward pass on NCHW pixels, 1×3×height×width; the output's dimensions and values.
pub fn forward(session: &mut Session, pixels: &[f32], height: u32, width: u32) -> Result<Output> {
    let input = TensorRef::from_array_view(([1usize, 3, height as usize, width as usize], pixels))?;
    let Some(name) = session.inputs().first().map(|i| i.name().to_owned()) else { bail!("the model has no input") };
    let outputs = session.run(ort::inputs![name.as_str() => input])?;
    values(&outputs[0])
}

fn dims_list(rows: &serde_json::Value) -> Vec<Vec<u64>> {
    let entries = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.as_object()?.values().next()?.as_array())
        .map(|dims| dims.iter().filter_map(serde_json::Value::as_u64).collect())
        .collect()
}

/// The arena's counters; ort has no safe wrapper for them.
fn arena_stats(arena: &Allocator) -> Result<HashMap<String, String>> {
    let mut stats = HashMap::new();
    // SAFETY: the pointers come from the runtime, are read while the pairs live, and the pairs are released once.
    unsafe {
        let api = ort::api();
        let mut pairs = ptr::null_mut();
        ort::Error::<()>::result_from_status((api.AllocatorGetStats)(arena.ptr(), &mut pairs))?;
        let (mut keys, mut values, mut count) = (ptr::null(), ptr::null(), 0usize);
        (api.GetKeyValuePairs)(pairs, &mut keys, &mut values, &mut count);
        for i in 0..count {
            let text = |p| CStr::from_ptr(p).to_string_lossy().into_owned();
            stats.insert(text(*keys.add(i)), text(*values.add(i)));
        }
        (api.ReleaseKeyValuePairs)(pairs);
    }
    Ok(stats)
}
