//! Data files: PyTorch's exporter writes `model.onnx` and `model.onnx.data` by default. They are merged into one
//! self-contained model, only under plain names and only when they came along; the runtime itself would read any file.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use prost::bytes::Bytes;

use super::{MAX_MODEL_BYTES, too_large};
use crate::{
    onnx::proto::{AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, tensor_proto},
    problem::{Problem, printable},
    results::{
        archive::{Archive, Entry, Fault},
        names,
    },
};

/// Most entries in a model's zip: the model, its data files, a readme, a Mac's junk.
const MAX_ENTRIES: usize = 64;
/// Most that are listed, to see what the zip is: a checkpoint has one for each tensor.
const LISTED: u64 = 20_000;
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
    let theirs = |fault| match fault {
        Fault::Theirs(problem) => problem,
        Fault::Ours(error) => Problem::new("zip_malformed", format!("the model's zip cannot be read: {error:#}")),
    };
    let packed = fs::metadata(path).map_err(|error| theirs(Fault::Ours(error.into())))?.len();
    let archive = Archive::open(path, LISTED).map_err(theirs)?;
    let files: Vec<&Entry> = archive.entries.iter().filter(|e| !e.is_folder() && !names::is_junk(&e.name)).collect();
    let place = |entry: &Entry| {
        let mut parts: Vec<String> = names::parts(&entry.name).map(|part| part.trim().to_owned()).collect();
        (parts.pop().unwrap_or_default(), parts)
    };
    let is_model = |entry: &Entry| place(entry).0.to_ascii_lowercase().ends_with(".onnx");
    let models: Vec<&Entry> = files.iter().copied().filter(|entry| is_model(entry)).collect();
    let model = match models.as_slice() {
        [model] => *model,
        [] => return Err(no_model(&files)),
        several => {
            let message = format!("a zip with {} .onnx files; exactly one is expected", several.len());
            return Err(
                Problem::new("onnx_malformed", message).at(names::listed(several.iter().map(|e| e.name.as_str())))
            );
        }
    };
    if archive.entries.len() > MAX_ENTRIES {
        let message = format!("the archive holds {} entries, at most {MAX_ENTRIES} are allowed", archive.entries.len());
        return Err(Problem::new("zip_too_many_entries", message));
    }
    archive.entries.iter().try_for_each(names::safe)?;
    let most = MAX_MODEL_BYTES.min(UNPACKED + UNPACKED_RATIO * packed);
    let mut room = most;
    let mut read = |entry: &Entry| {
        entry.readable()?;
        room = room.checked_sub(entry.size).ok_or_else(|| match most {
            MAX_MODEL_BYTES => too_large(),
            _ => {
                let message = format!("the model's zip of {packed} bytes unpacks to more than {most} bytes");
                Problem::new("zip_too_large_unpacked", message)
            }
        })?;
        archive.read(entry).map_err(theirs)
    };
    let folder = place(model).1;
    let mut beside = BTreeMap::new();
    for &entry in files.iter().filter(|entry| !is_model(entry) && place(entry).1 == folder) {
        let bytes = read(entry)?;
        if beside.insert(place(entry).0, Bytes::from(bytes)).is_some() {
            let problem = Problem::new("zip_malformed", "two entries of the archive have the same name");
            return Err(problem.at(&entry.name));
        }
    }
    Ok((read(model)?, beside))
}

/// What a zip is that holds no model.
fn no_model(files: &[&Entry]) -> Problem {
    let any = |test: &dyn Fn(&str) -> bool| files.iter().any(|entry| test(&entry.name.to_ascii_lowercase()));
    let all = |endings: &[&str]| {
        let ends =
            |entry: &&Entry| endings.iter().any(|ending| entry.name.trim().to_ascii_lowercase().ends_with(ending));
        !files.is_empty() && files.iter().all(ends)
    };
    let (message, hint) = if any(&|name| name.ends_with("data.pkl")) {
        let hint = "Send what torch.onnx.export wrote, model.onnx and where there is one model.onnx.data.";
        match any(&|name| name.contains("/code/")) {
            true => ("a TorchScript archive, not an ONNX model", hint),
            false => ("a PyTorch checkpoint, not an ONNX model", hint),
        }
    } else if any(&|name| name.ends_with(".png")) {
        ("a zip of images, not an ONNX model", "Send the images' zip as results, and the .onnx file as model.")
    } else if all(&[".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"]) {
        ("a zip of another archive, not of a model", "Unpack it once, and send the .onnx file itself.")
    } else if all(&[".npy"]) {
        ("NumPy arrays (.npz), not an ONNX model", "Send what torch.onnx.export wrote.")
    } else if any(&|name| name.ends_with("saved_model.pb") || name.ends_with(".weights.h5")) {
        ("a model of TensorFlow or Keras, not an ONNX model", "Convert it, e.g. with tf2onnx, and send the .onnx file.")
    } else {
        ("a zip without an .onnx file in it", "Zip model.onnx and, where there is one, model.onnx.data.")
    };
    Problem::new("onnx_malformed", message).hint(hint)
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
