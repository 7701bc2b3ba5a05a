//! Small model files that would become large once they are read: each is refused by its code before it takes the memory.

use prost::Message;
use upscore_evaluation::{
    model,
    onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto},
};

use crate::support::files;

fn codes(file: Vec<u8>) -> Vec<String> {
    match model::vet(file) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|p| p.code.into_owned()).collect(),
    }
}

/// `content` as a length-delimited field, as protobuf writes it.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(number, &content.to_vec(), &mut out);
    out
}

/// Two bytes each, hundreds in memory.
#[test]
fn a_file_of_empty_messages_is_refused_before_it_is_decoded() {
    let empty = |number: u32, count: usize| field(number, &[]).repeat(count);
    let graph = |content: &[u8]| field(7, content);
    let node = |content: &[u8]| graph(&field(1, content));
    let bombs = [
        ("nodes", graph(&empty(1, 4_000_000))),
        ("tensors", graph(&empty(5, 4_000_000))),
        ("inputs", graph(&empty(11, 4_000_000))),
        ("attributes", node(&empty(5, 4_000_000))),
        ("names of inputs", node(&empty(1, 12_000_000))),
        ("device configurations", node(&empty(10, 6_000_000))),
        ("operator sets", empty(8, 12_000_000)),
        ("functions", empty(25, 4_000_000)),
        ("nodes of a function", field(25, &empty(7, 4_000_000))),
        ("integers", node(&field(5, &field(8, &vec![1; 40_000_000])))),
    ];
    for (what, bomb) in bombs {
        let file = [files::tiny_model(), bomb].concat();
        assert_eq!(codes(file), ["onnx_too_large"], "{what}");
    }
    // Behind a group, which no ONNX file has, a reader may lose the thread; and what is text is no file either.
    let behind = [vec![0x9b, 0x06, 0x9c, 0x06], graph(&empty(1, 4_000_000))].concat();
    for file in [[files::tiny_model(), behind].concat(), b"no model".to_vec(), b"kind of a model".to_vec()] {
        assert_eq!(codes(file), ["onnx_malformed"]);
    }
    let texts = ModelProto { doc_string: "d".repeat(8 << 20), ..decoded() };
    assert!(codes(texts.encode_to_vec()).is_empty(), "a long text takes what it takes in the file");
}

fn decoded() -> ModelProto {
    ModelProto::decode(files::tiny_model().as_slice()).expect("a model")
}

/// A function that is called often, with something large inside.
#[test]
fn calls_do_not_multiply_what_a_function_holds() {
    let call = |i: usize| NodeProto {
        op_type: "Block".into(),
        domain: "local".into(),
        input: vec![if i == 0 { "input".into() } else { format!("b{i}") }],
        output: vec![format!("b{}", i + 1)],
        ..NodeProto::default()
    };
    let node = |op: &str, input: &str, output: &str| NodeProto {
        op_type: op.into(),
        input: vec![input.into()],
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let model = |between: &str, calls: usize| {
        let mut model = decoded();
        model.functions = vec![FunctionProto {
            domain: "local".into(),
            name: "Block".into(),
            input: vec!["a".into()],
            output: vec!["b".into()],
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: model.opset_import[0].version }],
            node: vec![node("Relu", "a", between), node("Relu", between, "b")],
            ..FunctionProto::default()
        }];
        model.opset_import.push(OperatorSetIdProto { domain: "local".into(), version: 1 });
        let graph: &mut GraphProto = model.graph.as_mut().expect("a graph");
        graph.node.extend((0..calls).map(call));
        model.encode_to_vec()
    };
    assert!(codes(model("between", 5000)).is_empty(), "an honest network calls its blocks");
    assert_eq!(codes(model(&"n".repeat(100_000), 5000)), ["onnx_too_large"]);
}

/// Tensors that all point at the same bytes of one data file.
#[test]
fn a_data_file_is_not_merged_a_hundred_times() {
    const BYTES: usize = 6 << 20;
    let (graph, _) = files::external_model("weights.data");
    let mut model = ModelProto::decode(graph.as_slice()).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    let mut aliased = graph.initializer[0].clone();
    aliased.external_data.retain(|entry| entry.key == "location");
    aliased.dims = vec![BYTES as i64 / 4];
    graph.initializer.extend((0..100).map(|i| TensorProto { name: format!("t{i}"), ..aliased.clone() }));
    let file = files::zipped(&[("model.onnx", &model.encode_to_vec()), ("weights.data", &vec![1; BYTES])]);
    assert_eq!(refused(&file), ["onnx_too_large"]);
}

fn refused(zip: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.zip");
    std::fs::write(&path, zip).expect("a file");
    model::load(&path, false).expect_err("refused").into_iter().map(|p| p.code.into_owned()).collect()
}

#[test]
fn a_models_zip_says_what_is_wrong_with_it() {
    let bomb = files::zipped(&[("model.onnx", &files::tiny_model()), ("weights.data", &vec![0; 80 << 20])]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(refused(&bomb), ["zip_too_large_unpacked"]);
    let mut locked = files::zipped(&[("model.onnx", &files::tiny_model())]);
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = locked.windows(4).position(|four| four == mark).expect("an entry");
        locked[at + flags] |= 1;
    }
    assert_eq!(refused(&locked), ["zip_encrypted"]);
}
