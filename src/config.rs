//! tmp
pub fn find_onnxruntime() -> anyhow::Result<std::path::PathBuf> {
    Ok(std::env::var("ORT_DYLIB_PATH")?.into())
}
