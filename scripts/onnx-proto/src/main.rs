//! Compiles `onnx.proto` to the Rust structs that Upscore commits, so that a user's build needs no protobuf compiler.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = env!("CARGO_MANIFEST_DIR");
    let descriptors = protox::compile([format!("{here}/onnx.proto")], [here])?;
    let out = format!("{here}/../../crates/evaluation/src/onnx");
    prost_build::Config::new().bytes(["raw_data"]).out_dir(&out).compile_fds(descriptors)?;
    std::fs::rename(format!("{out}/onnx.rs"), format!("{out}/proto.rs"))?;
    Ok(())
}
