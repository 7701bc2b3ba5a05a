//! What to do about a problem where whoever found it has nothing more exact to say.

/// The usual hint for a code of a file, a model or its run; the same advice as in `docs/participants.md`.
pub fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "zip_malformed" | "zip_overlap" | "zip_size_mismatch" | "zip_crc" => "Make the zip again and upload it again.",
        "zip_empty" | "missing_image" => {
            "Zip one PNG for each image of the phase: cd results && zip ../results.zip *.png"
        }
        "zip_encrypted" => "Make the zip again without a password.",
        "zip_method" => "Make the zip with Deflate, the usual method of every tool.",
        "zip_bad_name" | "zip_unsafe_path" => "Zip the files by plain names: cd results && zip ../results.zip *.png",
        "zip_not_regular_file" => "Zip the files themselves, not links to them.",
        "zip_too_large_unpacked" | "zip_too_many_entries" | "unexpected_file" => {
            "Leave out everything that is not asked for: images and a readme.txt, or the model and its data."
        }
        "duplicate_image" => "Keep one file for each image.",
        "image_size" => "Save the network's whole output, scale times as high and wide as the LR image.",
        "image_mode" => "Save the image as an 8-bit RGB PNG.",
        "png_malformed" => "Save the image again as PNG; another format under the name .png is none.",
        "results_unreadable" | "unreadable" => "Send the file again.",
        "onnx_malformed" => "Send what torch.onnx.export wrote, not a checkpoint.",
        "onnx_version" => "Export with torch.onnx.export(…, opset_version=17).",
        "onnx_too_large" => "Export weights as raw bytes, and nothing but what the network needs.",
        "onnx_too_many_nodes" => {
            "Export the network without what only training needs, and simplify it, e.g. with onnxsim."
        }
        "onnx_external_data" => "Send the .data file too, under the name that the graph gives it.",
        "onnx_fixed_shape" => "Leave height and width free when you export: dynamic_axes or dynamic_shapes.",
        "onnx_bad_io" => "The model takes one float32 image [N, 3, H, W] and gives one.",
        "onnx_bad_tensor" | "onnx_invalid_graph" => {
            "Export the model again; onnx.checker.check_model says the same at home."
        }
        "onnx_op_not_allowed" => {
            "Use standard, deterministic operators only; `upscore profile --operators` lists them."
        }
        "output_ignores_input" => "Export the network itself: what it gives must come from the image.",
        "output_shape" => "The output must be exactly scale times as high and wide as the input, at every size.",
        "output_not_finite" => "Try the range that the network expects, 0…1 or 0…255, and check its weights.",
        "output_range" => {
            "Let the network give the range that it takes: divide its output by 255, or multiply, before you export."
        }
        "runtime_error" => "`upscore check` runs it at every size of the phase before you upload.",
        "model_crashed_runtime" => {
            "Export it another way, e.g. with another opset_version, and try it with `upscore check`."
        }
        "time_limit" => "Make the network cheaper: a run may take no longer than that.",
        "memory_limit" => "Make the network cheaper: a run may take no more than that.",
        "sandbox_violation" => {
            "A model needs no files, no network and no processes: export it without custom operators."
        }
        "cost_unknown" => "Write what this operator does with Conv, MatMul or arithmetic on elements.",
        "cost_depends_on_shape" => {
            "Leave out branches on the size: the cost of a pixel must be the same at every size."
        }
        "cost_depends_on_pixels" => "Compute sizes from the input's shape alone.",
        "cost_uncounted" => "Write convolutions as Conv and matrix products as MatMul.",
        "timed_output_wrong" => "What is timed must be the network's answer to fresh pixels.",
        "phase_not_open" | "phase_closed" => "The challenge's page lists its phases and their times.",
        "internal" => "Try again; if it happens again, tell the organizers the request's id.",
        _ => return None,
    })
}
