//! Reads a model and vets it: bytes in, a [`Model`] that is safe to hand to the runtime out, or every problem found.
//!
//! Nothing here loads the model into ONNX Runtime: a 17 KB file can hang it while loading, so only the sandboxed child
//! does that. What passes has one float32 NCHW image in and one out, allowed operators only, checked tensors, and no
//! reference to any other file.

mod external;
mod inline;
mod io;
mod operators;
mod tensors;
mod types;
mod vet;
mod weigh;

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use prost::{Message, bytes::Bytes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::onnx::proto::{GraphProto, ModelProto};
use crate::{problem::Problem, sniff};

pub use inline::Place;
pub use operators::{ALLOWED as ALLOWED_OPERATORS, is_view, size_inputs, structural_inputs, weight_inputs};
pub use tensors::{element_count, floats, integers};

/// Largest model accepted, data files included. The largest network of this field has about 70 MB of weights.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;
/// Most nodes after every local function is expanded; the largest of 126 real networks has 1,400.
pub const MAX_NODES: u64 = 20_000;
/// Most memory that the lists, texts and messages of a model may take when it is decoded, raw tensors aside: 20,000 nodes with all
/// that belongs to them stay below 64 MiB.
const MAX_DECODED_BYTES: u64 = 128 << 20;
/// Operator sets and file versions that the pinned ONNX Runtime takes.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;
pub const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=13;
/// Most problems listed for one model; a broken exporter repeats itself.
const MAX_PROBLEMS: usize = 20;

/// A model that passed the vetting.
#[derive(Debug)]
pub struct Model {
    /// The self-contained file: data files merged in.
    pub bytes: Bytes,
    /// The ai.onnx operator set version.
    pub opset: i64,
    /// Whether `bytes` differs from the uploaded file (it came as a zip, or with data files).
    pub merged: bool,
    /// Names of the image input and output.
    pub input: String,
    pub output: String,
    /// Height and width of the input, where the file fixes them.
    pub size: (Option<i64>, Option<i64>),
    /// The graph with every local function expanded and every node named `n0`, `n1`, … so that a runtime profile's rows
    /// map back to it; `places` says where each came from.
    pub flat: GraphProto,
    pub places: Vec<Place>,
    proto: ModelProto,
}

/// The operators that a protocol allows, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operators(pub Vec<String>);

impl Default for Operators {
    /// All that can be counted.
    fn default() -> Self {
        Operators(ALLOWED_OPERATORS.iter().map(|&name| name.to_owned()).collect())
    }
}

impl Model {
    /// Whether it keeps to a protocol's operators, local functions expanded.
    pub fn keeps_to(&self, operators: &Operators) -> Result<(), Vec<Problem>> {
        let mut problems: Vec<Problem> = Vec::new();
        for (node, place) in self.flat.node.iter().zip(&self.places) {
            let op = &node.op_type;
            let message = format!("the operator {op} is not among those that this protocol allows");
            if !operators.0.contains(op) && problems.iter().all(|known| known.message != message) {
                problems.push(Problem::new("onnx_op_not_allowed", message).at(&place.label));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// `onnx_fixed_shape` where the file fixes the input's height or width, with the node that shows why; `so` says why it matters.
    pub fn fixed(&self, so: &str) -> Option<Problem> {
        let fixed = match self.size {
            (None, None) => return None,
            (Some(height), Some(width)) => format!("at {height}×{width}"),
            (Some(height), None) => format!("at a height of {height}"),
            (None, Some(width)) => format!("at a width of {width}"),
        };
        let hint = "Export with dynamic_axes={\"input\": {2: \"height\", 3: \"width\"}}, or dynamic_shapes for the new exporter.";
        Some(match io::frozen_at(&self.flat, self.size) {
            Some((node, shape)) => {
                let op = &self.flat.node[node].op_type;
                let message = format!(
                    "the exporter froze the size: the input is fixed {fixed}, and this {op} asks for {shape:?}; {so}"
                );
                Problem::new("onnx_fixed_shape", message).at(&self.places[node].label).hint(
                    "Export with dynamic_axes (dynamo=False) or dynamic_shapes; a size used as a number, as for an adaptive pool, freezes it.",
                )
            }
            None => {
                Problem::new("onnx_fixed_shape", format!("the input is fixed {fixed}; {so}")).at(&self.input).hint(hint)
            }
        })
    }

    /// The flat graph as a file of its own, for profiling.
    pub fn flat_bytes(&self) -> Vec<u8> {
        let model = ModelProto {
            graph: Some(self.flat.clone()),
            functions: Vec::new(),
            metadata_props: Vec::new(),
            doc_string: String::new(),
            ..self.proto.clone()
        };
        model.encode_to_vec()
    }
}

/// [`load`] for a challenge: images of every size must fit, so a fixed input size is refused too.
pub fn load_entry(path: &Path, siblings: bool) -> Result<Model, Vec<Problem>> {
    let model = load(path, siblings)?;
    match model.fixed("images of every size must fit") {
        None => Ok(model),
        Some(problem) => Err(vec![problem]),
    }
}

/// Reads and vets a model: a `.onnx` file, or a zip holding one and its data files. With `siblings`, data files beside
/// the `.onnx` file are merged too (command line only; an upload has no siblings). Never loads it into a runtime.
pub fn load(path: &Path, siblings: bool) -> Result<Model, Vec<Problem>> {
    let bytes = read_limited(path).map_err(|p| vec![p])?;
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let (model, companions) = external::unpack(path).map_err(|p| vec![p])?;
        return vet_bytes(model, &external::Companions::Unpacked(companions), true);
    }
    let companions = match path.parent() {
        Some(folder) if siblings => external::Companions::Folder(folder.to_owned()),
        _ => external::Companions::Unpacked(BTreeMap::new()),
    };
    vet_bytes(bytes, &companions, false)
}

/// Vets a model held in memory, with nothing beside it.
pub fn vet(bytes: Vec<u8>) -> Result<Model, Vec<Problem>> {
    vet_bytes(bytes, &external::Companions::Unpacked(BTreeMap::new()), false)
}

fn vet_bytes(bytes: Vec<u8>, companions: &external::Companions, unpacked: bool) -> Result<Model, Vec<Problem>> {
    if let Some(problem) = another_file(&bytes) {
        return Err(vec![problem]);
    }
    match weigh::fits(&bytes, MAX_DECODED_BYTES) {
        Some(true) => {}
        Some(false) => {
            let message = format!("its lists and texts would take more than {} MiB when read", MAX_DECODED_BYTES >> 20);
            return Err(vec![
                Problem::new("onnx_too_large", message).hint("Store weights as raw bytes, as torch.onnx.export does."),
            ]);
        }
        None => return Err(vec![undecodable(&bytes, "")]),
    }
    let shared = Bytes::from(bytes);
    let mut proto =
        ModelProto::decode(shared.clone()).map_err(|error| vec![undecodable(&shared, &error.to_string())])?;
    vet::header(&proto).map_err(|p| vec![p])?;
    let had_external = external::merge(&mut proto, companions)?;
    let mut problems = vet::check(&proto);
    problems.truncate(MAX_PROBLEMS);
    if !problems.is_empty() {
        return Err(problems);
    }
    let (flat, places) = inline::flatten(&proto).map_err(|p| vec![p])?;
    problems = vet::flow(&flat, &places);
    problems.extend(io::read_by_convolutions(&flat, &places));
    if problems.is_empty() {
        problems = types::check(&flat, &places, vet::opset(&proto));
    }
    problems.truncate(MAX_PROBLEMS);
    if !problems.is_empty() {
        return Err(problems);
    }
    // The tensors of `proto` and `flat` are parts of these bytes: a model is in memory once.
    let bytes = if had_external { proto.encode_to_vec().into() } else { shared };
    let (input, output) = io::io_names(&flat);
    Ok(Model {
        bytes,
        opset: vet::opset(&proto),
        merged: had_external || unpacked,
        input,
        output,
        size: io::fixed_size(&flat),
        flat,
        places,
        proto,
    })
}

/// What is wrong with a file that a decoder stops in; its own words are of its types.
fn undecodable(bytes: &[u8], error: &str) -> Problem {
    if sniff::changed_as_text(bytes) {
        return Problem::new("onnx_malformed", sniff::AS_TEXT).hint(sniff::AS_TEXT_ADVICE);
    }
    Problem::new(
        "onnx_malformed",
        match error.contains("UTF-8") {
            true => "a name in the model is not UTF-8",
            false => "the file is no ONNX model: its bytes are not what onnx.proto describes",
        },
    )
    .hint("Export with torch.onnx.export(model, …, \"model.onnx\"); a .pth checkpoint is no ONNX file.")
}

/// Another file under a model's name, or a part of one.
fn another_file(bytes: &[u8]) -> Option<Problem> {
    let malformed = |message: String| Problem::new("onnx_malformed", message);
    match sniff::kind(bytes) {
        Some(kind) if kind.words != "an ONNX model" => {
            let problem = malformed(format!("{}, not an ONNX model", kind.words));
            return Some(match kind.advice {
                Some(advice) => problem.hint(advice),
                None => problem,
            });
        }
        _ => {}
    }
    if sniff::changed_as_text(bytes) {
        return None;
    }
    let (here, whole) = weigh::cut_short(bytes)?;
    let problem = malformed(format!("the file is cut short: {here} of at least {whole} bytes are here"));
    Some(problem.hint("Copy or download the file again, and send it whole."))
}

fn read_limited(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new("onnx_malformed", format!("the model cannot be read: {error}")).at(path.to_string_lossy())
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_MODEL_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

fn too_large() -> Problem {
    Problem::new("onnx_too_large", format!("the model is larger than {} MiB", MAX_MODEL_BYTES >> 20))
}
