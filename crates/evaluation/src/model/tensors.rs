//! Checks of stored tensors: dimensions that multiply without overflow, and data of that very size.

use crate::{
    onnx::proto::{SparseTensorProto, TensorProto, tensor_proto::DataType},
    problem::Problem,
};

/// Elements of a shape; `None` for a negative dimension or an overflow (2³² × 2³² wraps to 0 and would match empty data).
pub fn element_count(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?))
}

/// Numbers of a stored float tensor, however they are stored; `None` for another element type.
pub fn floats(tensor: &TensorProto) -> Option<impl Iterator<Item = f32>> {
    let raw = tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    (tensor.data_type == DataType::Float as i32).then(|| raw.chain(tensor.float_data.iter().copied()))
}

/// Numbers of a stored int64 tensor; `None` for another element type.
pub fn integers(tensor: &TensorProto) -> Option<impl Iterator<Item = i64>> {
    let raw = tensor.raw_data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    (tensor.data_type == DataType::Int64 as i32).then(|| raw.chain(tensor.int64_data.iter().copied()))
}

pub fn check(tensor: &TensorProto) -> Option<Problem> {
    let bad = |message: String| Some(Problem::new("onnx_bad_tensor", message).at(&tensor.name));
    let Some(elements) = element_count(&tensor.dims) else {
        return bad(format!("impossible dimensions {:?}", tensor.dims));
    };
    let Ok(kind) = DataType::try_from(tensor.data_type) else {
        return bad(format!("unknown element type {}", tensor.data_type));
    };
    if tensor.segment.is_some() {
        return bad("segmented tensors are not supported".into());
    }
    let bits = match kind {
        DataType::Double | DataType::Int64 | DataType::Uint64 | DataType::Complex64 => 64,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 32,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 16,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 8,
        DataType::Int4 | DataType::Uint4 => 4,
        _ => return bad(format!("element type {} is not supported", kind.as_str_name())),
    };
    let (held, wanted) = if !tensor.raw_data.is_empty() {
        (tensor.raw_data.len() as u64, elements.checked_mul(bits).map(|b| b.div_ceil(8)))
    } else {
        let stored = match kind {
            DataType::Float | DataType::Complex64 => tensor.float_data.len(),
            DataType::Double => tensor.double_data.len(),
            DataType::Int64 => tensor.int64_data.len(),
            DataType::Uint32 | DataType::Uint64 => tensor.uint64_data.len(),
            _ => tensor.int32_data.len(),
        };
        let per_value = match kind {
            DataType::Complex64 => elements.checked_mul(2),
            DataType::Int4 | DataType::Uint4 => Some(elements.div_ceil(2)),
            _ => Some(elements),
        };
        (stored as u64, per_value)
    };
    if wanted == Some(held) {
        None
    } else {
        bad(format!("dimensions {:?} do not match the {held} values or bytes stored", tensor.dims))
    }
}

pub fn check_sparse(sparse: &SparseTensorProto) -> Vec<Problem> {
    let mut problems: Vec<Problem> = sparse.values.iter().chain(&sparse.indices).filter_map(check).collect();
    let name = sparse.values.as_ref().map(|v| v.name.as_str()).unwrap_or_default();
    if element_count(&sparse.dims).is_none_or(|n| n > super::MAX_MODEL_BYTES) {
        problems.push(Problem::new("onnx_bad_tensor", format!("impossible dimensions {:?}", sparse.dims)).at(name));
    }
    problems
}
