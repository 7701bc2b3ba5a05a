//! (being written)
use std::path::Path;

use crate::problem::Problem;

/// A model that passed the vetting: self-contained, allowed operators only, one float32 NCHW image in, one out.
#[derive(Debug)]
pub struct Model {
    /// The self-contained file: data files merged in.
    pub bytes: Vec<u8>,
    /// The ai.onnx operator set version.
    pub opset: i64,
    /// Whether `bytes` differs from the uploaded file (it came as a zip, or with data files).
    pub merged: bool,
}

/// Reads and vets a model: a `.onnx` file, or a zip holding one and its data files. With `siblings`, data files beside
/// the `.onnx` file are merged too (command line only; an upload has no siblings). Never loads it into a runtime.
pub fn load(_path: &Path, _siblings: bool) -> Result<Model, Vec<Problem>> {
    Err(vec![])
}
