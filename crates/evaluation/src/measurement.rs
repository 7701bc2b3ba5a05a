//! What one evaluation measured. Every figure states its definition, its input size and its unit here; the API, the
//! column headers and the docs say the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that one evaluation of one submission measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measurement {
    /// Of the images that rank by the protocol ([`Reproduction::ranked`]) against the hidden HR.
    pub fidelity: Fidelity,
    /// Whether the uploaded model makes the uploaded images.
    pub reproduction: Reproduction,
    /// Counted from the graph at 1×3×256×256.
    pub cost: Cost,
    pub runtime: Runtime,
    pub memory: Memory,
    pub provenance: Provenance,
}

/// A PSNR in dB. Identical images have an infinite one, written `"inf"` in JSON; it counts as 100 dB in a mean.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, ToSchema)]
#[schema(value_type = f64)]
pub struct Db(pub f64);

impl Db {
    /// What an infinite PSNR counts as where a mean is taken, in dB.
    pub const CAP: f64 = 100.0;

    /// The value that enters a mean: finite, at most [`Db::CAP`].
    pub fn capped(self) -> f64 {
        self.0.min(Self::CAP)
    }
}

impl Serialize for Db {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_infinite() { s.serialize_str("inf") } else { s.serialize_f64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Db {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Word(String),
        }
        match Either::deserialize(d)? {
            Either::Number(n) => Ok(Db(n)),
            Either::Word(w) if w == "inf" => Ok(Db(f64::INFINITY)),
            Either::Word(w) => Err(serde::de::Error::custom(format!("not a PSNR: {w:?}"))),
        }
    }
}

/// PSNR and SSIM of a set: the arithmetic means of the per-image figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fidelity {
    /// dB, mean over images.
    pub psnr: f64,
    pub ssim: f64,
    pub images: Vec<ImageScore>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageScore {
    /// The image's id: `0901` for `0901.png` and `0901x4.png`.
    pub name: String,
    pub psnr: Db,
    pub ssim: f64,
}

/// Cost of a model, counted at an input of 1×3×256×256.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    /// NCHW of the counted input.
    pub input: [u64; 4],
    /// Output height over input height.
    pub scale: u32,
    /// Elements of every input-independent tensor where it meets data, once each.
    pub params: u64,
    /// Calls of two-dimensional convolutions.
    pub convs: u64,
    /// Output elements of every convolution call.
    pub activations: u64,
    pub flops: Flops,
    /// Multiply-adds of every weighted operator, however it is written.
    pub macs: u64,
    /// Per operator kind, dearest first.
    pub operators: Vec<OperatorCost>,
}

/// The field's two FLOP counts; a multiply-add counts as one, biases as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flops {
    /// AIM2020, NTIRE2022, NTIRE2023.
    pub kair: u64,
    /// NTIRE2024 on.
    pub fvcore: u64,
}

impl Cost {
    /// Calls of operators that multiply and add with what they read: convolutions, matrix products and their disguises.
    pub fn weighted_ops(&self) -> u64 {
        self.operators.iter().map(|row| row.weighted_calls).sum()
    }

    /// Output elements of those calls: the activations that no other way of writing a convolution hides.
    pub fn weighted_activations(&self) -> u64 {
        self.operators.iter().map(|row| row.weighted_elements).sum()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorCost {
    /// ONNX operator name, e.g. `Conv`.
    pub op: String,
    pub calls: u64,
    pub macs: u64,
    pub params: u64,
    pub output_elements: u64,
    /// Calls among them that multiply and add, and their output elements. (Absent in scores of before.)
    #[serde(default)]
    pub weighted_calls: u64,
    #[serde(default)]
    pub weighted_elements: u64,
}

/// Wall-clock time of the forward pass alone, batch 1, fp32; decoding, copies and rounding are outside. Figures are of the
/// quiet blocks; where there were too few, of all, and `record.noisy` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Runtime {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What was fed: `1x3x256x256`, or `100 LR images, at most 1x3x339x510`.
    pub input: String,
    /// CPU threads that the runtime may use.
    pub threads: usize,
    /// ms per image: the median over timed passes at each input size, averaged over the images.
    pub median_ms: f64,
    /// 95 % bootstrap interval over processes, of one over its blocks, ms.
    pub ci95_ms: [f64; 2],
    /// Timed passes of the entry that count; warm-up is not among them.
    pub runs: usize,
    /// The baseline, timed in the same processes, interleaved (A B B A).
    pub baseline: Option<RuntimeRatio>,
    /// The passes that count, of the entry, in order, ms.
    pub samples_ms: Vec<f64>,
    /// How the figures came about.
    #[serde(default)]
    pub record: TimingRecord,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeRatio {
    pub median_ms: f64,
    /// Entry over baseline, the median over the blocks of a process, the mean over processes; below 1 is faster than the
    /// baseline.
    pub ratio: f64,
    /// 95 % bootstrap interval over processes; of one process, over its blocks.
    pub ratio_ci95: [f64; 2],
    pub samples_ms: Vec<f64>,
}

/// How a timing was done, with every raw sample. Empty for scores older than this record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TimingRecord {
    /// CPU cores that the threads were pinned to; empty: not pinned.
    pub cores: Vec<usize>,
    /// Half of the ratio's interval over the ratio (of the time's, where there is no baseline).
    pub half_width: f64,
    /// What the protocol asked for; timing stopped there, or at the protocol's cap.
    pub half_width_asked: f64,
    /// Processes that the blocks that count were timed in; 0 in records older than this count, which had one.
    pub processes: usize,
    /// Disturbed blocks that were thrown away and run again.
    pub discarded: usize,
    /// The machine never got quiet: disturbed blocks count too.
    pub noisy: bool,
    /// Timed passes, drawn at random, whose output was checked.
    pub checked: usize,
    pub throughput: Option<Throughput>,
    /// The entry at sizes that its file could not foresee, one a process. Empty: it runs at none, or the record is older.
    pub secret: Vec<SecretSize>,
    /// How near its timed output is to its own answer at other sizes; absent: it runs at no other, or the record is older.
    pub agreement: Option<Agreement>,
    /// Why the entry is held for an organizer's decision, beside a throughput that is implausible.
    pub doubts: Vec<Doubt>,
    /// Every timed block in order, the disturbed ones too.
    pub blocks: Vec<BlockRecord>,
}

impl TimingRecord {
    /// All that the entry is held for.
    pub fn held_for(&self) -> impl Iterator<Item = &str> {
        let implausible = self.throughput.as_ref().and_then(|t| t.implausible.as_deref());
        implausible.into_iter().chain(self.doubts.iter().map(|doubt| doubt.message.as_str()))
    }
}

/// What speaks against a time, found by the timing itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doubt {
    /// Stable: `slower_elsewhere`, `timed_output_differs`.
    pub code: String,
    /// One sentence with the figures.
    pub message: String,
}

/// The entry timed at a size drawn at random for one process, in turns with a size of the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecretSize {
    /// Which process it was timed in, from 0.
    pub process: usize,
    /// Height and width that were drawn.
    pub input: (u32, u32),
    /// Height and width of the protocol's size.
    pub beside: (u32, u32),
    /// Pairs of passes, ms: at `beside` and at `input`.
    pub pairs_ms: Vec<[f64; 2]>,
    /// Time per pixel at `input` over that at `beside`, the median over the pairs.
    pub growth: f64,
    /// What a second look found; absent: `growth` gave no reason for one.
    #[serde(default)]
    pub again: Option<SecondLook>,
}

/// A growth that was beyond the bound, measured again by passes of their own, beside what explains one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecondLook {
    pub pairs_ms: Vec<[f64; 2]>,
    /// Median over these pairs, and the lower end of its 95 % interval, or the growth by the fastest pass at each size if that
    /// is less.
    pub growth: f64,
    pub low: f64,
    /// Growth of the counted multiply-adds per pixel: what padding to windows adds.
    pub counted: f64,
    /// The baseline's growth at the same two sizes; absent without a baseline.
    pub baseline: Option<f64>,
    /// A lower end beyond this is a doubt.
    pub most: f64,
}

/// The timed output beside what the model makes of the same pixels in larger pictures, away from their right and lower
/// edges; grey levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agreement {
    /// Height and width of the larger pictures: drawn at random, and of the phase's largest image.
    pub inputs: Vec<(u32, u32)>,
    /// Neither the size nor what lies beyond the timed pixels changes its answer far from their edges: then the two must be
    /// equal there to rounding.
    pub local: bool,
    /// Largest difference of any sample.
    pub max_abs: f64,
    /// Root of the mean square, and the most that is no doubt where the network is not local.
    pub rms: f64,
    pub most: f64,
    /// The model's answers in the larger pictures from each other, root of the mean square.
    pub own_rms: f64,
    /// Bicubic enlargement from its answer, root of the mean square.
    pub bicubic_rms: f64,
}

/// One timed block: entry, baseline, baseline, entry; or the entry alone twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockRecord {
    /// Which process it was timed in, from 0.
    #[serde(default)]
    pub process: usize,
    /// Height and width of the input.
    pub input: (u32, u32),
    pub entry_ms: [f64; 2],
    pub baseline_ms: Option<[f64; 2]>,
    /// What disturbed it, in words; absent: it was quiet.
    pub disturbed: Option<String>,
}

/// What the measured time means, beside what the device was measured to do with the same threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Throughput {
    /// Multiply-adds of one image over its time.
    pub macs_per_s: f64,
    /// What dense convolutions reach.
    pub ceiling_macs_per_s: f64,
    /// Bytes of weights, input and output over the time.
    pub bytes_per_s: f64,
    /// What adding one to a picture of the output's size moves.
    pub ceiling_bytes_per_s: f64,
    /// Why the entry is held for review: its rate is beyond what the device can do.
    pub implausible: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Memory {
    pub peak_bytes: u64,
    /// What `peak_bytes` is: which allocator or counter, at which input.
    pub method: String,
    /// The baseline's peak by the same method, in a process of its own too.
    pub baseline_peak_bytes: Option<u64>,
    /// Device memory of the whole process after the pass as the GPU's driver counts it (NVML), its CUDA context included;
    /// absent on CPU and where the driver does not tell.
    #[serde(default)]
    pub process_bytes: Option<u64>,
    /// The same of the baseline.
    #[serde(default)]
    pub baseline_process_bytes: Option<u64>,
}

impl Memory {
    /// The entry's peak over the baseline's; below 1 is less.
    pub fn ratio(&self) -> Option<f64> {
        self.baseline_peak_bytes.filter(|&b| b > 0).map(|b| self.peak_bytes as f64 / b as f64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every sample of every image is the same.
    Reproduced,
    /// At most one grey level apart in at most 0.1 % of the samples: two correct runtimes differ by that much.
    WithinRounding,
    Differs,
}

impl Verdict {
    /// The word in JSON, in the database and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::WithinRounding => "within-rounding",
            Verdict::Differs => "differs",
        }
    }
}

/// Whose images' PSNR and SSIM are an entry's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RankedImages {
    /// The uploaded ones.
    #[default]
    Uploaded,
    /// Those that the model made of the LR images here.
    Model,
}

impl RankedImages {
    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            RankedImages::Uploaded => "uploaded",
            RankedImages::Model => "model",
        }
    }
}

/// The uploaded images beside what the uploaded model makes of the LR images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reproduction {
    pub verdict: Verdict,
    /// Largest difference of any sample, grey levels.
    pub max_abs: u8,
    /// Share of samples that are equal, 0…1.
    pub identical_fraction: f64,
    /// The range the model expects: 1 for 0…1, 255 for 0…255.
    pub input_range: u32,
    /// Whose images [`Measurement::fidelity`] is of, by the protocol.
    #[serde(default)]
    pub ranked: RankedImages,
    /// PSNR of the model's own outputs against the hidden HR, dB (mean over images); absent without HR.
    pub model_psnr: Option<f64>,
    /// PSNR of the uploaded images, likewise.
    #[serde(default)]
    pub uploaded_psnr: Option<f64>,
    pub images: Vec<ImageReproduction>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageReproduction {
    pub name: String,
    pub max_abs: u8,
    /// PSNR between the uploaded image and the model's output, dB.
    pub psnr_between: Db,
}

/// What a measurement was made with. Figures measured by an older version lack what that did not store.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Provenance {
    pub upscore: String,
    /// The Git commit that Upscore was built from; absent in a development build.
    pub commit: Option<String>,
    /// The rules: `aim2020@1`; absent outside a server.
    pub protocol: Option<String>,
    pub onnxruntime: String,
    /// Where ONNX Runtime put the nodes of the optimised entry.
    pub providers: Vec<Provider>,
    /// Versions of the NVIDIA driver, the CUDA runtime and cuDNN.
    pub driver: Option<String>,
    pub cuda: Option<String>,
    pub cudnn: Option<String>,
    /// CPU or GPU model name.
    pub device_name: String,
    /// The GPU's UUID; of a CPU vendor, family, model, stepping and microcode.
    pub device_id: Option<String>,
    pub threads: usize,
    /// System, kernel and processor architecture.
    pub os: String,
    /// The machine's settings when it measured.
    pub host: Host,
    pub model_sha256: String,
    pub results_sha256: String,
    pub baseline_sha256: Option<String>,
    /// Absent outside a server.
    pub dataset: Option<DatasetHashes>,
    /// Protections in force round the model's process: `own uid, namespaces, rlimits, landlock 7, seccomp`; one that is
    /// missing reads `no landlock`.
    pub sandbox: String,
    /// How long each step took.
    pub steps: Vec<StepTime>,
    /// Heights and widths that the model was counted at, 256×256 first: those of the phase, and others that nobody could know
    /// beforehand. The figures are of the first and do not depend on the draw.
    pub counted_at: Vec<[u32; 2]>,
    /// Nodes of the model that decide by the input's size how much of the picture goes which way.
    pub size_gates: Vec<SizeGate>,
}

/// A node that computes on the input's size otherwise than by sums and products, and whose result decides how much of the
/// picture goes which way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizeGate {
    /// What its author called it.
    pub node: String,
    /// E.g. `Equal`.
    pub op: String,
    /// Stored numbers that it compares with, or divides by.
    pub numbers: Vec<f64>,
    /// Nodes whose extent or choice it decides, with their operators; the first four.
    pub decides: Vec<String>,
    pub means: SizeMeans,
}

/// What arithmetic on the input's size may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SizeMeans {
    /// It can send the picture one way at some sizes and another at others.
    Fork,
    /// It divides one size by another, as networks that work in windows do.
    Ratio,
    /// It decides nothing but how far the picture is padded: to a multiple of its number.
    Padding,
}

impl SizeGate {
    /// In words: `eq (Equal with 256)`.
    pub fn called(&self) -> String {
        let numbers: Vec<String> = self.numbers.iter().map(f64::to_string).collect();
        let with = if numbers.is_empty() { String::new() } else { format!(" with {}", numbers.join(", ")) };
        format!("{} ({}{with})", self.node, self.op)
    }
}

impl Provenance {
    /// The nodes among [`Provenance::size_gates`] that an honest network has no use for.
    pub fn forks(&self) -> impl Iterator<Item = &SizeGate> {
        self.size_gates.iter().filter(|gate| gate.means == SizeMeans::Fork)
    }
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// E.g. `CPUExecutionProvider`.
    pub name: String,
    pub nodes: u64,
}

/// Settings of a machine that move times or memory; absent: the system does not say. The list of `isolate`, the sandbox of
/// programming contests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Host {
    /// Logical processors in use.
    pub processors: Option<u64>,
    /// Two threads share a core.
    pub smt: Option<bool>,
    /// How the clock is chosen, e.g. `performance`.
    pub governor: Option<String>,
    /// Lowest and highest clock that the governor may choose, MHz.
    pub clock_mhz: Option<[f64; 2]>,
    /// The clock may rise above its nominal for a while.
    pub turbo: Option<bool>,
    /// `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Addresses are random: 0 no, 1 but for the heap, 2 all.
    pub address_randomisation: Option<u8>,
    pub memory_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
}

/// What a dataset holds: SHA-256 of lines `HASH  NAME`, the SHA-256 and the id of each image, in the order of the ids, each
/// line ended by a newline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatasetHashes {
    pub lr_sha256: String,
    pub hr_sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepTime {
    pub step: super::Step,
    /// Wall clock, s.
    pub seconds: f64,
}
