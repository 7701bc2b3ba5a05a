//! Data files: PyTorch's exporter writes `model.onnx` and `model.onnx.data` by default. They are merged into one
//! self-contained model, only under plain names and only when they came along; the runtime itself would read any file.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use prost::bytes::Bytes;
use zip::result::ZipError;

use super::{MAX_MODEL_BYTES, too_large};
use crate::{
    onnx::proto::{AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, tensor_proto},
    problem::{Problem, printable},
};

/// Most entries in a model's zip: the model, its data files, a readme, a Mac's junk.
const MAX_ENTRIES: usize = 64;
/// What any zip may unpack to, bytes, and how often its own size beyond that: weights hardly pack.
const UNPACKED: u64 = 64 << 20;
const UNPACKED_RATIO: u64 = 100;

/// Where the data files of a model may be.
pub enum Companions {
    /// Unpacked from the same zip, by plain name.
    Unpacked(BTreeMap<String, Bytes>),
    /// The folder the model lies in; command line only.
    Folder(PathBuf),
}

/// The one `.onnx` file of a zip, and the other files beside it by plain name.
pub fn unpack(path: &Path) -> Result<(Vec<u8>, BTreeMap<String, Bytes>), Problem> {
    let broken = |error: String| Problem::new("zip_malformed", format!("the model's zip cannot be read: {error}"));
    let file = File::open(path).map_err(|e| broken(e.to_string()))?;
    let packed = file.metadata().map_err(|e| broken(e.to_string()))?.len();
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| broken(e.to_string()))?;
    if archive.len() > MAX_ENTRIES {
        let found = archive.len();
        return Err(broken(format!("{found} entries, at most {MAX_ENTRIES} expected")));
    }
    if archive.has_overlapping_files().map_err(|e| broken(e.to_string()))? {
        return Err(Problem::new("zip_overlap", "entries of the model's zip overlap"));
    }
    let most = MAX_MODEL_BYTES.min(UNPACKED + UNPACKED_RATIO * packed);
    let bomb = || match most {
        MAX_MODEL_BYTES => too_large(),
        _ => {
            let message = format!("the model's zip of {packed} bytes unpacks to more than {most} bytes");
            Problem::new("zip_too_large_unpacked", message)
        }
    };
    let mut room = most;
    let mut models: Vec<(String, Vec<u8>)> = Vec::new();
    let mut others: Vec<(String, String, Vec<u8>)> = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| match e {
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
                Problem::new("zip_encrypted", "the model's zip is password-protected")
            }
            other => broken(other.to_string()),
        })?;
        let name = entry.name().map_err(|e| broken(e.to_string()))?.into_owned();
        let regular = entry.unix_mode().is_none_or(|m| matches!(m & 0o170000, 0 | 0o100000 | 0o040000));
        if !regular || name.contains(['\\', '\0']) || name.starts_with('/') || name.split('/').any(|p| p == "..") {
            return Err(Problem::new("zip_unsafe_path", "only plain files are taken from a model's zip").at(&name));
        }
        let base = name.rsplit('/').next().unwrap_or_default().to_owned();
        if entry.is_dir() || name.starts_with("__MACOSX/") || base.starts_with('.') {
            continue;
        }
        let folder = name.strip_suffix(base.as_str()).unwrap_or_default().to_owned();
        // A PyTorch checkpoint is a zip too: do not unpack what cannot be part of an ONNX model.
        let mut bytes = Vec::new();
        (&mut entry).take(room + 1).read_to_end(&mut bytes).map_err(|e| broken(e.to_string()))?;
        room = room.checked_sub(bytes.len() as u64).ok_or_else(bomb)?;
        if base.to_ascii_lowercase().ends_with(".onnx") {
            models.push((folder, bytes));
        } else {
            others.push((folder, base, bytes));
        }
    }
    let count = models.len();
    let mut models = models.into_iter();
    match (models.next(), count) {
        (Some((folder, model)), 1) => {
            let beside = others.into_iter().filter(|o| o.0 == folder).map(|(_, name, b)| (name, Bytes::from(b))).collect();
            Ok((model, beside))
        }
        (None, _) => Err(Problem::new("onnx_malformed", "a zip without an .onnx file in it").hint(
            "A PyTorch checkpoint is a zip as well: upload what torch.onnx.export wrote, model.onnx and model.onnx.data.",
        )),
        _ => Err(Problem::new("onnx_malformed", format!("a zip with {count} .onnx files; exactly one is expected"))),
    }
}

/// Replaces every external reference, wherever the model holds a tensor, by the bytes it points at. True when there was
/// one; every reference that cannot be honoured is a problem.
pub fn merge(model: &mut ModelProto, companions: &Companions) -> Result<bool, Vec<Problem>> {
    let mut merger = Merger {
        companions,
        files: HashMap::new(),
        room: MAX_MODEL_BYTES,
        merged: 0,
        found: false,
        problems: Vec::new(),
    };
    if let Some(graph) = &mut model.graph {
        merger.graph(graph);
    }
    for function in &mut model.functions {
        for node in &mut function.node {
            node.attribute.iter_mut().for_each(|a| merger.attribute(a));
        }
        function.attribute_proto.iter_mut().for_each(|a| merger.attribute(a));
    }
    for training in &mut model.training_info {
        training.initialization.iter_mut().chain(training.algorithm.iter_mut()).for_each(|g| merger.graph(g));
    }
    if merger.problems.is_empty() { Ok(merger.found) } else { Err(merger.problems) }
}

struct Merger<'a> {
    companions: &'a Companions,
    files: HashMap<String, Bytes>,
    room: u64,
    /// Bytes of the tensors merged so far: many may point at the same bytes, and each gets its own.
    merged: u64,
    found: bool,
    problems: Vec<Problem>,
}

impl Merger<'_> {
    fn graph(&mut self, graph: &mut GraphProto) {
        graph.initializer.iter_mut().for_each(|t| self.tensor(t));
        graph.sparse_initializer.iter_mut().for_each(|t| self.sparse(t));
        for node in &mut graph.node {
            node.attribute.iter_mut().for_each(|a| self.attribute(a));
        }
    }

    fn attribute(&mut self, attribute: &mut AttributeProto) {
        attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(|t| self.tensor(t));
        attribute.sparse_tensor.iter_mut().chain(&mut attribute.sparse_tensors).for_each(|t| self.sparse(t));
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|g| self.graph(g));
    }

    fn sparse(&mut self, sparse: &mut SparseTensorProto) {
        sparse.values.iter_mut().chain(&mut sparse.indices).for_each(|t| self.tensor(t));
    }

    fn tensor(&mut self, tensor: &mut TensorProto) {
        if tensor.data_location != tensor_proto::DataLocation::External as i32 && tensor.external_data.is_empty() {
            return;
        }
        match self.resolve(tensor) {
            Ok(bytes) => {
                tensor.raw_data = bytes;
                tensor.external_data.clear();
                tensor.data_location = tensor_proto::DataLocation::Default as i32;
                self.found = true;
            }
            Err(_) if self.problems.len() == super::MAX_PROBLEMS => {}
            // Every tensor of a missing file would say the same.
            Err(problem) if self.problems.iter().any(|known| known.message == problem.message) => {}
            Err(problem) => self.problems.push(problem),
        }
    }

    fn resolve(&mut self, tensor: &TensorProto) -> Result<Bytes, Problem> {
        let refused = |message: String| {
            Problem::new("onnx_external_data", message).at(&tensor.name).hint(
                "Upload a zip holding the .onnx file and its data file side by side, or export with external_data=False.",
            )
        };
        let field = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = field("location").unwrap_or_default();
        if location.is_empty() || location.contains(['/', '\\', ':', '\0']) || location.starts_with('.') {
            return Err(refused(format!(
                "weights are read from {:?}, not from a plain file beside the model",
                printable(location)
            )));
        }
        let number = |key: &str| match field(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| refused(format!("{key} {:?} is no number", printable(text)))),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.file(location).map_err(|e| refused(format!("the data file {:?} {e}", printable(location))))?;
        let end = match length {
            Some(length) => offset.checked_add(length),
            None => Some(file.len()),
        };
        match end {
            Some(end) if offset <= end && end <= file.len() => {
                self.merged += (end - offset) as u64;
                if self.merged > MAX_MODEL_BYTES {
                    return Err(too_large());
                }
                Ok(file.slice(offset..end))
            }
            _ => Err(refused(format!("the data file {:?} is too short: {} bytes", printable(location), file.len()))),
        }
    }

    fn file(&mut self, name: &str) -> Result<Bytes, String> {
        if let Some(bytes) = self.files.get(name) {
            return Ok(bytes.clone());
        }
        let bytes = match self.companions {
            Companions::Unpacked(files) => files.get(name).cloned().ok_or("did not come with the upload")?,
            Companions::Folder(folder) => {
                let path = folder.join(name);
                let regular = std::fs::symlink_metadata(&path).map_err(|e| format!("cannot be read: {e}"))?.is_file();
                if !regular {
                    return Err("is not a regular file".into());
                }
                let mut bytes = Vec::new();
                let read = File::open(&path).and_then(|f| f.take(self.room + 1).read_to_end(&mut bytes));
                read.map_err(|e| format!("cannot be read: {e}"))?;
                Bytes::from(bytes)
            }
        };
        self.room = self.room.checked_sub(bytes.len() as u64).ok_or("makes the model too large")?;
        self.files.insert(name.to_owned(), bytes.clone());
        Ok(bytes)
    }
}
