//! Files that a team would upload, made small and in code.

use std::io::{Cursor, Write};

use prost::Message;
use upscore_evaluation::{
    images::{Rgb8, encode_png},
    onnx::proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension,
        tensor_shape_proto::dimension::Value, type_proto,
    },
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Nearest-neighbour ×4: the smallest model that passes the vetting.
pub fn tiny_model() -> Vec<u8> {
    let image = |name: &str| {
        let fixed = |n| Dimension { value: Some(Value::DimValue(n)), ..Default::default() };
        let free = |n: &str| Dimension { value: Some(Value::DimParam(n.into())), ..Default::default() };
        let dim = vec![fixed(1), fixed(3), free(&format!("{name}_h")), free(&format!("{name}_w"))];
        let tensor = type_proto::Tensor { elem_type: 1, shape: Some(TensorShapeProto { dim }) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
    };
    let scales = TensorProto {
        name: "scales".into(),
        dims: vec![4],
        data_type: 1,
        float_data: vec![1.0, 1.0, 4.0, 4.0],
        ..Default::default()
    };
    let text = |name: &str, value: &str| AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..Default::default()
    };
    let resize = NodeProto {
        op_type: "Resize".into(),
        input: vec!["input".into(), String::new(), "scales".into()],
        output: vec!["output".into()],
        attribute: vec![
            text("mode", "nearest"),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ],
        ..Default::default()
    };
    let graph = GraphProto {
        name: "nearest".into(),
        node: vec![resize],
        initializer: vec![scales],
        input: vec![image("input")],
        output: vec![image("output")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }.encode_to_vec()
}

/// The same with its weights in a file of their own, as the new exporter of PyTorch writes it: the graph, and the data.
pub fn external_model(data_file: &str) -> (Vec<u8>, Vec<u8>) {
    let mut model = ModelProto::decode(&*tiny_model()).expect("a model");
    let tensor = &mut model.graph.as_mut().expect("a graph").initializer[0];
    let data: Vec<u8> = tensor.float_data.drain(..).flat_map(f32::to_le_bytes).collect();
    tensor.data_location = 1;
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    tensor.external_data =
        vec![entry("location", data_file), entry("offset", "0"), entry("length", &data.len().to_string())];
    (model.encode_to_vec(), data)
}

/// A zip of these files.
pub fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("a zip").into_inner()
}

/// A PNG whose pixels depend on `seed`.
pub fn png(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let data = (0..width * height * 3).map(|i| (i as u8).wrapping_mul(7).wrapping_add(seed)).collect();
    encode_png(&Rgb8 { width, height, data }).expect("a PNG")
}

/// Results for the two images of [`super::app::App::phase`]; another seed, other bytes.
pub fn results(seed: u8) -> Vec<u8> {
    zipped(&[("0901x4.png", &png(96, 64, seed)), ("0902x4.png", &png(96, 64, seed.wrapping_add(1)))])
}
