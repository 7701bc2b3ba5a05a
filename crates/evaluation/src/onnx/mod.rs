//! ONNX's own format as Rust structs, and a builder for making graphs in code.

/// Generated from ONNX's `onnx-ml.proto` by `scripts/onnx-proto`; do not edit.
#[allow(clippy::all, clippy::pedantic, rustdoc::all)]
#[rustfmt::skip]
pub mod proto;

pub mod build;
pub mod networks;
