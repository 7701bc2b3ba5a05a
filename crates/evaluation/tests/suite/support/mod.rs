//! What the tests share; `models` and `files` also serve the root package's suite.

pub mod files;
pub mod models;

use std::path::{Path, PathBuf};

/// The program that is started again as the model's process.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_upscore-runner").into()
}

/// The pack of published networks, photos and hostile files, which is not part of the repository. Absent: says so.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("UPSCORE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent (set UPSCORE_SHARED to the pack); its figures were NOT checked", path.display());
    None
}
