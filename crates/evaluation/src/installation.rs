//! Where `make setup` put what the program needs besides itself.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::bail;

/// The ONNX Runtime library: `ORT_DYLIB_PATH`, else the one that `make setup` unpacked.
pub fn find_onnxruntime() -> anyhow::Result<PathBuf> {
    const ADVICE: &str = "run `make setup`, or set ORT_DYLIB_PATH to libonnxruntime.so";
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("no ONNX Runtime library at {} (ORT_DYLIB_PATH): {ADVICE}", path.display());
        }
        return Ok(std::path::absolute(path)?);
    }
    match runtime_dirs("onnxruntime").iter().find_map(|folder| onnxruntime_in(folder)) {
        Some(library) => Ok(library),
        None => bail!("no ONNX Runtime library found: {ADVICE}"),
    }
}

fn onnxruntime_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| {
        name.starts_with("libonnxruntime.so") || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
    };
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library)).map(|entry| entry.path()).max()
}

/// Every folder `runtime/<part>` of `make setup` that could be ours, nearest first: beside the executable or any folder
/// above it (so that `target/debug/upscore` finds the checkout's), then under the current one.
pub fn runtime_dirs(part: &str) -> Vec<PathBuf> {
    let executable = env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let here = env::current_dir().unwrap_or_default();
    let roots = executable.ancestors().skip(1).chain([here.as_path()]);
    roots.map(|root| root.join("runtime").join(part)).filter(|folder| folder.is_dir()).collect()
}
