//! What ONNX Runtime complains of, without its own source paths, signatures and codes.

/// What comes before the sentence in one message or another; the last of them ends where the sentence begins.
const OPENINGS: [&str; 7] = [
    "Status Message: ",
    " failed:",
    "Exception during initialization: ",
    "[ShapeInferenceError] ",
    "[TypeInferenceError] ",
    " was false.",
    ", Error ",
];
/// Followed by a number, a name and the sentence, with ` : ` between them.
const CODE: &str = "[ONNXRuntimeError] : ";
/// What comes before a node's name, and what follows it.
const NODES: [(&str, &str); 4] = [("Name:'", "'"), ("Node (", ") Op ("), ("In Node, (\"", "\""), (" in node (", ")")];
/// Most characters of a sentence that are shown.
const LONGEST: usize = 300;

/// The node that a message names, and its sentence.
pub fn plain(message: &str) -> (Option<String>, String) {
    let text: String = message.replace(['\n', '\r', '\t'], " ").chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    let node = NODES.iter().find_map(|(before, after)| {
        let name = text.split_once(before)?.1.split_once(after)?.0;
        (!name.is_empty()).then(|| name.to_owned())
    });
    let opened = OPENINGS.iter().filter_map(|opening| Some(text.rfind(opening)? + opening.len()));
    let coded = text.rfind(CODE).and_then(|at| {
        let code = &text[at..];
        Some(at + code.match_indices(" : ").nth(2)?.0 + 3)
    });
    // An opening at the very end has nothing behind it: the sentence is before.
    let begins = opened.chain(coded).filter(|&at| at < text.len()).max().unwrap_or(0);
    let sentence = without_source(text[begins..].trim());
    (node, sentence.chars().take(LONGEST).collect())
}

/// Without `concat.cc:159 PrepareForCompute` or `/…/reshape_helper.h:45 a::Helper::Helper(const Shape&, bool) `.
fn without_source(sentence: &str) -> &str {
    let Some((place, rest)) = sentence.split_once(' ') else { return sentence };
    let is_place = place.rsplit_once(':').is_some_and(|(file, line)| {
        (file.ends_with(".cc") || file.ends_with(".h")) && line.bytes().all(|b| b.is_ascii_digit())
    });
    if !is_place {
        return sentence;
    }
    let behind = match place.starts_with('/') {
        true => rest.split_once(") ").map(|(_, behind)| behind.trim_start_matches("const ")),
        false => rest.split_once(' ').map(|(_, behind)| behind),
    };
    behind.unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::plain;

    /// As ONNX Runtime 1.31 and 1.32 said it.
    #[test]
    fn what_the_runtime_says_is_told_without_its_sources() {
        let cases = [
            (
                "[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from m.onnx failed:This is an invalid model. In Node, \
                 (\"n2\", LeakyRelu, \"\", -1) : (\"r1\": tensor(float),) -> (\"r2\",) , Error Field 'type' of 'attr' is required \
                 but missing.",
                Some("n2"),
                "Field 'type' of 'attr' is required but missing.",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:This is an invalid model. Model input (x) does not \
                 have type information.",
                None,
                "This is an invalid model. Model input (x) does not have type information.",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Type Error: Type parameter (T) of Optype (Mul) bound to different types \
                 (tensor(float16) and tensor(float) in node (n154).",
                Some("n154"),
                "Type Error: Type parameter (T) of Optype (Mul) bound to different types (tensor(float16) and tensor(float) in \
                 node (n154).",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:Node (n4) Op (Conv) [ShapeInferenceError] Number \
                 of spatial dimensions in the weight tensor (2) does not match the number of spatial dimensions in the input \
                 tensor (999998).",
                Some("n4"),
                "Number of spatial dimensions in the weight tensor (2) does not match the number of spatial dimensions in the \
                 input tensor (999998).",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'n2_nchwc' Status \
                 Message: nchwc_ops.cc:166 Compute NCHWc Conv group must be greater than 0.",
                Some("n2_nchwc"),
                "NCHWc Conv group must be greater than 0.",
            ),
            (
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running ConvTranspose node. \
                 Name:'n1' Status Message: output_padding[0] (99) must be less than max(stride, dilation) (1) for spatial \
                 dimension 0.",
                Some("n1"),
                "output_padding[0] (99) must be less than max(stride, dilation) (1) for spatial dimension 0.",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: \
                 /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/upsamplebase.h:314 \
                 onnxruntime::UpsampleBase::UpsampleBase(const KernelInfoType&) [with KernelInfoType = \
                 onnxruntime::OpKernelInfo] [ONNXRuntimeError] : 1 : FAIL : upsamplebase.h:540 ScalesValidation Scale value \
                 must be finite.\n",
                None,
                "Scale value must be finite.",
            ),
            (
                "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: \
                 /onnxruntime_src/onnxruntime/core/providers/cpu/nn/pool_attributes.h:88 \
                 onnxruntime::PoolAttributes::PoolAttributes(const KernelInfoType&, int) [with KernelInfoType = \
                 onnxruntime::OpKernelInfo] pads[dim] < kernel_shape[dim] was false. Pad should be smaller than kernel.\n",
                None,
                "Pad should be smaller than kernel.",
            ),
            (
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Reshape node. \
                 Name:'n3' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:47 \
                 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) \
                 input_shape_size == size was false.",
                Some("n3"),
                "input_shape_size == size was false.",
            ),
            ("Invalid input name: a", None, "Invalid input name: a"),
            ("", None, ""),
        ];
        for (message, node, sentence) in cases {
            assert_eq!(plain(message), (node.map(str::to_owned), sentence.to_owned()), "{message}");
        }
    }
}
