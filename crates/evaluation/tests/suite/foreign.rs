//! Files that people really send: read where they can mean one thing only, else refused in words for what they are.

use std::{io::Write, path::Path};

use tempfile::NamedTempFile;
use upscore_evaluation::{
    images::decode_png,
    model,
    problem::{Problem, printable},
    results::{Expected, ResultsZip},
};

use crate::support::{
    files::{png, tiny_model, zipped},
    shared,
};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";

fn expected(names: &[&str]) -> Vec<Expected> {
    names.iter().map(|&name| Expected { name: name.into(), width: 8, height: 4 }).collect()
}

fn on_disk(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    file
}

/// What a phase of `a` and `b` says of a results zip.
fn results(zip: &[u8]) -> Result<ResultsZip, Vec<Problem>> {
    ResultsZip::open(on_disk(zip).path(), &expected(&["a", "b"]), 4)
}

fn model_file(bytes: &[u8]) -> Result<model::Model, Vec<Problem>> {
    model::load_entry(on_disk(bytes).path(), false)
}

/// First a problem of this code that says these words; no word of a decoder's or of Rust's.
fn assert_told<T>(what: &str, found: Result<T, Vec<Problem>>, code: &str, words: &str) {
    let Err(problems) = found else { panic!("{what}: accepted") };
    let problem = &problems[0];
    assert_eq!(problem.code, code, "{what}: {problem}");
    let told = format!("{problem} {}", problem.hint.as_deref().unwrap_or_default());
    assert!(told.contains(words), "{what}: {told}");
    assert!(!["{", "Error", "::", "ONNXRuntime"].iter().any(|word| problem.message.contains(word)), "{what}: {told}");
}

/// Overwrites the `n`th record of a kind, at an offset.
fn patch(zip: &mut [u8], mark: &[u8; 4], n: usize, offset: usize, with: &[u8]) {
    let at = zip.windows(4).enumerate().filter(|(_, four)| four == mark).nth(n).expect("a record").0 + offset;
    zip[at..at + with.len()].copy_from_slice(with);
}

fn image() -> Vec<u8> {
    png(8, 4, 1)
}

fn set(names: [&str; 2]) -> Vec<u8> {
    zipped(&[(names[0], &image()), (names[1], &image())])
}

#[test]
fn zips_that_can_mean_one_thing_are_read() {
    let junk = [
        ".ipynb_checkpoints/a-checkpoint.png",
        "x/.ipynb_checkpoints/a.png",
        "Thumbs.db",
        "x/desktop.ini",
        ".git/config",
        "@eaDir/a.png",
        "__pycache__/run.pyc",
        ".hidden",
    ];
    let (first, second) = (image(), image());
    let mut with_junk: Vec<(&str, &[u8])> = vec![("a.png", &first), ("bx4.png", &second)];
    with_junk.extend(junk.map(|name| (name, b"junk".as_slice())));
    // The list and the entry itself: other slashes, other encodings of a folder.
    let mut slashes = set(["res/a.png", "res/b.png"]);
    for n in 0..2 {
        patch(&mut slashes, CENTRAL, n, 46 + 3, b"\\");
    }
    let mut encodings = set(["xx/a.png", "xx/b.png"]);
    for n in 0..2 {
        patch(&mut encodings, CENTRAL, n, 46, &[0x8e, 0xab]);
        patch(&mut encodings, LOCAL, n, 30, "é".as_bytes());
    }
    let cases = [
        ("line end behind", [set(["a.png", "b.png"]), b"\r\n".to_vec()].concat()),
        ("zeros behind", [set(["a.png", "b.png"]), vec![0; 600]].concat()),
        ("blanks in names", set(["a.png ", "x/ bx4 .png"])),
        ("junk", zipped(&with_junk)),
        ("slashes", slashes),
        ("encodings", encodings),
    ];
    for (what, bytes) in cases {
        let read = results(&bytes).unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
        assert!(read.decode(0).expect("ours").is_ok(), "{what}");
    }
    // An accent as a Mac writes it, in two characters.
    let mac = zipped(&[("e\u{301}.png", &image())]);
    ResultsZip::open(on_disk(&mac).path(), &expected(&["é"]), 4).expect("one name");
    // Names in an old code page with the true one beside it.
    let mut beside = zipped(&[("n.png", &image())]);
    let at = beside.windows(4).position(|four| four == CENTRAL).expect("a record");
    let mut field = vec![1];
    let mut crc = flate2::Crc::new();
    crc.update(b"n.png");
    field.extend(crc.sum().to_le_bytes());
    field.extend("图.png".as_bytes());
    let extra = [&[0x75, 0x70, field.len() as u8, 0][..], &field].concat();
    beside[at + 30..at + 32].copy_from_slice(&(extra.len() as u16).to_le_bytes());
    beside.splice(at + 46 + 5..at + 46 + 5, extra.iter().copied());
    let size = beside.len() - 22 - at;
    patch(&mut beside, b"PK\x05\x06", 0, 12, &(size as u32).to_le_bytes());
    ResultsZip::open(on_disk(&beside).path(), &expected(&["图"]), 4).expect("the name in UTF-8");
}

/// As a transfer in text mode leaves a file.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|&b| if b == b'\n' { vec![b'\r', b'\n'] } else { vec![b] }).collect()
}

#[test]
fn other_zips_are_told_by_their_true_cause() {
    let whole = set(["a.png", "b.png"]);
    let mut deflate64 = whole.clone();
    let mut utf16 = zipped(&[("a.png", &image()), ("b.png", &image()), ("xxxxxxxx", b"")]);
    for mark in [LOCAL, CENTRAL] {
        let (method, name) = if mark == LOCAL { (8, 30) } else { (10, 46) };
        for n in 0..2 {
            patch(&mut deflate64, mark, n, method, &[9, 0]);
        }
        patch(&mut utf16, mark, 2, name, b"t\0x\0t\0s\0");
    }
    let mut other_name = whole.clone();
    patch(&mut other_name, LOCAL, 0, 30, b"c");
    let large = zipped(&[("a.png", &png(200, 150, 3)), ("b.png", &image())]);
    let shorter = [&large[..200], &large[300..]].concat();
    let tar = [vec![b'x'; 257], b"ustar\0".to_vec(), vec![0; 300]].concat();
    let mut random = upscore_evaluation::onnx::build::Random::new(1);
    let noise: Vec<u8> = (0..20_000).map(|_| random.bits() as u8).collect();
    let noisy = zipped(&[("a.png", &noise), ("b.png", &noise)]);
    let cases: [(&str, Vec<u8>, &str, &str); 19] = [
        ("deflate64", deflate64, "zip_method", "Windows Explorer packs so above 2 GB"),
        (
            "bytes behind",
            [whole.clone(), b"junk".to_vec()].concat(),
            "zip_malformed",
            "4 bytes follow the archive's end",
        ),
        ("bytes before", [b"HTTP/1.1 200".to_vec(), whole.clone()].concat(), "zip_malformed", "12 bytes stand before"),
        ("bytes lost", shorter, "zip_malformed", "100 bytes of the archive are missing"),
        ("CRLF", crlf(&noisy), "zip_malformed", "as if it were text"),
        ("replaced", String::from_utf8_lossy(&noisy).into_owned().into_bytes(), "zip_malformed", "as if it were text"),
        ("two names", other_name, "zip_malformed", "give different names"),
        ("UTF-16", utf16, "zip_bad_name", "UTF-16"),
        ("zip in zip", zipped(&[("results.zip", &whole)]), "missing_image", "holds another archive in their place"),
        ("7z in zip", zipped(&[("results.7z", b"7z")]), "missing_image", "Unpack it once"),
        ("model", zipped(&[("model.onnx", &tiny_model())]), "missing_image", "holds a model in their place"),
        ("bare model", [tiny_model(), vec![0; 40]].concat(), "zip_malformed", "an ONNX model, not a zip archive"),
        ("rar", b"Rar!\x1a\x07\x01\0 and more than twenty".to_vec(), "zip_malformed", "a RAR archive, not a zip"),
        ("tar", tar, "zip_malformed", "a tar archive, not a zip"),
        ("tar.gz", b"\x1f\x8b\x08\0 and more than twenty bytes".to_vec(), "zip_malformed", "tar -xzf"),
        ("page", b"<!DOCTYPE html><title>Sign in</title>".to_vec(), "zip_malformed", "a web page (HTML)"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1".to_vec(), "zip_malformed", "git lfs pull"),
        ("empty", Vec::new(), "zip_malformed", "an empty file"),
        ("cut short", whole[..whole.len() - 30].to_vec(), "zip_malformed", "the upload was cut short?"),
    ];
    for (what, bytes, code, words) in cases {
        assert_told(what, results(&bytes), code, words);
    }
    assert_eq!(printable(" a\u{200b}.png "), "␣a\\u{200b}.png␣", "what cannot be seen is shown");
}

/// A chunk of a PNG with its right checksum.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(content);
    [&(content.len() as u32).to_be_bytes()[..], name, content, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of 8×4 by its header's last five bytes and its packed rows.
fn made_png(kind: [u8; 5], packed: &[u8], between: &[u8]) -> Vec<u8> {
    let header = [&[0, 0, 0, 8, 0, 0, 0, 4][..], &kind].concat();
    let parts = [chunk(b"IHDR", &header), between.to_vec(), chunk(b"IDAT", packed), chunk(b"IEND", b"")];
    [b"\x89PNG\r\n\x1a\n".to_vec(), parts.concat()].concat()
}

fn packed(rows: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn damaged_pngs_are_told_in_words() {
    const RGB: [u8; 5] = [8, 2, 0, 0, 0];
    let rows = [0; 4 * 25];
    let good = made_png(RGB, &packed(&rows), b"");
    assert!(decode_png(&good, "a").is_ok());
    let mut checksum = packed(&rows);
    *checksum.last_mut().expect("bytes") ^= 1;
    let mut filter = rows;
    filter[25] = 9;
    let mut header = [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"CgBI", &[0; 4]), good[8..].to_vec()].concat();
    header.truncate(400);
    let text = |from: &[u8], to: &[u8]| [to, &good[from.len()..]].concat();
    let impossible = |kind| made_png(kind, &packed(&rows), b"");
    let cases: [(&str, Vec<u8>, &str); 22] = [
        ("depth 3", impossible([3, 2, 0, 0, 0]), "3 bits and colour type 2, which no PNG has"),
        ("colour 5", impossible([8, 5, 0, 0, 0]), "colour type 5"),
        ("palette of 16 bits", impossible([16, 3, 0, 0, 0]), "16 bits and colour type 3"),
        ("interlace 7", impossible([8, 2, 0, 0, 7]), "compression, filter and interlace 0, 0 and 7"),
        ("compression 1", impossible([8, 2, 1, 0, 0]), "compression, filter and interlace 1"),
        ("unknown chunk", made_png(RGB, &packed(&rows), &chunk(b"CABX", b"x")), "it has a CABX chunk"),
        ("checksum of the data", made_png(RGB, &checksum, b""), "checksum (Adler-32) of its image data is wrong"),
        ("rows missing", made_png(RGB, &packed(&rows[..50]), b""), "image data ends too early"),
        ("a filter", made_png(RGB, &packed(&filter), b""), "a row has the filter 9"),
        ("no stream", made_png(RGB, b"\x78\x9c\xff\xff\xff\xff", b""), "its image data cannot be unpacked"),
        ("no end", good[..good.len() - 12].to_vec(), "without its IEND chunk"),
        ("cut", good[..good.len() - 20].to_vec(), "image data ends too early"),
        ("CgBI", header, "packed for iPhones (CgBI)"),
        ("CRLF to LF", text(b"\x89PNG\r\n", b"\x89PNG\n"), "as if it were text"),
        ("LF to CRLF", crlf(&text(b"\x89PNG\r\n", b"\x89PNG\n")), "as if it were text"),
        ("replaced", text(b"\x89", b"\xef\xbf\xbd"), "as if it were text"),
        ("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), "a JPEG image, not a PNG image"),
        ("WebP", b"RIFF\x10\0\0\0WEBPVP8 ".to_vec(), "a WebP image"),
        ("TIFF", b"II*\0\x08\0\0\0".to_vec(), "a TIFF image"),
        ("AVIF", b"\0\0\0\x1cftypavif".to_vec(), "an AVIF image"),
        ("array", b"\x93NUMPY\x01\0".to_vec(), "a NumPy array"),
        ("nothing", b"\x01\x02\x03".to_vec(), "not a PNG image"),
    ];
    for (what, bytes, words) in cases {
        assert_told(what, decode_png(&bytes, "a").map_err(|problem| vec![problem]), "png_malformed", words);
    }
    // Animated: the picture that every reader shows.
    let animated = made_png(RGB, &packed(&rows), &chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(decode_png(&animated, "a").is_ok());
}

#[test]
fn what_all_images_share_is_said_once() {
    let names: Vec<String> = (0..12).map(|i| format!("{i:02}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let zip_of = |bytes: &dyn Fn(usize) -> Vec<u8>| {
        let files: Vec<(String, Vec<u8>)> = (0..12).map(|i| (format!("{i:02}.png"), bytes(i))).collect();
        zipped(&files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
    };
    let told = |zip: &[u8]| ResultsZip::open(on_disk(zip).path(), &expected(&all), 4).expect_err("refused");
    let same = told(&zip_of(&|_| png(2, 1, 1)));
    assert_eq!(same.len(), 1, "{same:?}");
    assert_eq!(same[0].message, "2x1, expected 8x4");
    assert_eq!(same[0].place.as_deref(), Some("00, 01, 02, 03, 04 and 7 more"));
    let each = told(&zip_of(&|i| png(10 + i as u32, 4, 1)));
    assert_eq!(each.len(), 1, "{each:?}");
    assert_eq!(each[0].message, "10x4, expected 8x4; 11 more files have a problem of this kind");
    let two = told(&zip_of(&|i| if i < 10 { image() } else { png(i as u32, 4, 1) }));
    let places: Vec<_> = two.iter().map(|problem| problem.place.as_deref()).collect();
    assert_eq!(places, [Some("10"), Some("11")]);
}

#[test]
fn other_files_than_models_are_told_for_what_they_are() {
    let graph = tiny_model();
    let tensors = [&40u64.to_le_bytes()[..], b"{\"__metadata__\":{}}"].concat();
    let pickle = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    let flat = |mark: &[u8; 4]| [&[0x1c, 0, 0, 0], &mark[..], &[0; 20]].concat();
    let checkpoint =
        zipped(&[("archive/data.pkl", b"\x80\x02"), ("archive/data/0", b"1234"), ("archive/version", b"3")]);
    let script = zipped(&[("m/data.pkl", b"\x80\x02"), ("m/code/__torch__.py", b"x"), ("m/constants.pkl", b"y")]);
    let noisy_model = [graph.clone(), vec![0x32, 40], b"a\n".repeat(20)].concat();
    let mut not_utf8 = graph.clone();
    let name = not_utf8.windows(6).position(|six| six == b"output").expect("a name");
    not_utf8[name] = 0xff;
    let cases: [(&str, Vec<u8>, &str); 23] = [
        ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(), "git lfs pull"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "a gzip file, not an ONNX model"),
        ("page", b"\n<html><body>404".to_vec(), "a web page (HTML)"),
        ("empty", Vec::new(), "an empty file"),
        ("safetensors", tensors, "a safetensors file"),
        ("pickle", pickle, "a Python pickle"),
        ("tflite", flat(b"TFL3"), "a TensorFlow Lite model"),
        ("ort", flat(b"ORTM"), "ONNX Runtime's own format (.ort)"),
        ("text", b"ir_version: 8\nproducer_name: \"pytorch\"\n".to_vec(), "an ONNX model written as text"),
        ("TensorFlow", b"\x0a\x12\x0a\x05input\x12\x0bPlaceholder".to_vec(), "a TensorFlow graph"),
        ("saved model", b"\x08\x01\x12\x10\x0a\x0e\x32\x06".to_vec(), "a TensorFlow SavedModel"),
        ("HDF5", b"\x89HDF\r\n\x1a\n\0".to_vec(), "Keras"),
        ("PNG", image(), "a PNG image"),
        ("zeros", vec![0; 400], "a file of zeros"),
        ("cut short", graph[..graph.len() - 40].to_vec(), "the file is cut short"),
        ("checkpoint", checkpoint, "a PyTorch checkpoint, not an ONNX model"),
        ("TorchScript", script, "a TorchScript archive"),
        ("results", set(["a.png", "b.png"]), "a zip of images, not an ONNX model"),
        ("zip in zip", zipped(&[("model.zip", &zipped(&[("model.onnx", &graph)]))]), "a zip of another archive"),
        ("two models", zipped(&[("a/model.onnx", &graph), ("b/model.onnx", &graph)]), "2 .onnx files"),
        ("array", zipped(&[("w.npy", b"\x93NUMPY")]), "NumPy arrays (.npz)"),
        ("CRLF", crlf(&noisy_model), "as if it were text"),
        ("not UTF-8", not_utf8, "a name in the model is not UTF-8"),
    ];
    for (what, bytes, words) in cases {
        assert_told(what, model_file(&bytes), "onnx_malformed", words);
    }
    // A zip that Windows made, with a Mac's leftovers and a line end behind it.
    let odd = zipped(&[("net\\model.onnx", &graph), ("net\\readme.txt", b"x"), ("__MACOSX/._model.onnx", b"x")]);
    model_file(&[odd, b"\r\n".to_vec()].concat()).expect("one meaning");
}

/// What every real file that once was answered poorly must end as: `None`, accepted.
const CASES: [(&str, Option<(&str, &str)>); 17] = [
    ("h10_nhwc_float.onnx", Some(("onnx_bad_io", "channels last"))),
    ("h14_fp16_resize_scales_fp16.onnx", Some(("onnx_invalid_graph", "converter to half precision"))),
    ("h21_attention23.onnx", Some(("onnx_op_not_allowed", "MatMul, Softmax and MatMul"))),
    ("h27_dropout_inference.onnx", None),
    ("h37_lfs_pointer.onnx", Some(("onnx_malformed", "a Git LFS pointer"))),
    ("h41_gzip.onnx", Some(("onnx_malformed", "a gzip file"))),
    ("h44_truncated.onnx", Some(("onnx_malformed", "the file is cut short"))),
    ("p10_bad_adler.zip", Some(("png_malformed", "Adler-32"))),
    ("p19_unknown_critical.zip", Some(("png_malformed", "CABX chunk"))),
    ("p32_crlf_mangled.zip", Some(("png_malformed", "as if it were text"))),
    ("z01_deflate64.zip", Some(("zip_method", "Windows Explorer"))),
    ("z09_slash_differs.zip", None),
    ("z16_trailing_crlf.zip", None),
    ("z21_zip_in_zip.zip", Some(("missing_image", "another archive in their place"))),
    ("z22_ipynb_checkpoints.zip", None),
    ("z35_trailing_space.zip", None),
    ("Mixed255_new.onnx", None),
];

#[test]
fn real_files_end_as_they_should() {
    let Some(folder) = shared("cases/fail") else { return };
    let images: Vec<Expected> =
        ["0001", "0002", "0003"].map(|name| Expected { name: name.into(), width: 96, height: 64 }).into();
    for (name, outcome) in CASES {
        let path = folder.join(name);
        let found = match Path::new(name).extension().is_some_and(|e| e == "onnx") {
            true => model::load_entry(&path, false).map(|_| ()),
            false => ResultsZip::open(&path, &images, 4).map(|_| ()),
        };
        match outcome {
            None => found.unwrap_or_else(|problems| panic!("{name}: {problems:?}")),
            Some((code, words)) => assert_told(name, found, code, words),
        }
    }
}

#[test]
fn sizes_that_exporters_froze_are_told_with_the_node() {
    let Some(folder) = shared("real/exporters") else { return };
    for (name, node) in [
        ("smfanet_x4__dynamo.onnx", "node_expand"),
        ("safmn_x4__dynamo.onnx", "node_upsample_nearest2d"),
        ("ntire2025_team08__dynamo.onnx", "node_upsample_bilinear2d_1"),
    ] {
        let problems = model::load_entry(&folder.join(name), false).expect_err(name);
        assert_eq!(problems[0].place.as_deref(), Some(node), "{problems:?}");
        assert_told(
            name,
            Err::<(), _>(problems),
            "onnx_fixed_shape",
            "the exporter froze the size: the input is fixed at 64×64",
        );
    }
}

/// Published networks, as old and new exporters and converters to half precision wrote them: nothing above is said of them.
#[test]
fn honest_networks_are_none_of_these() {
    for folder in ["real/models", "real/models_new_exporter"] {
        let Some(folder) = shared(folder) else { return };
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|e| e == "onnx") {
                model::load(&path, true).unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
            }
        }
    }
    let Some(odd) = shared("real/models_odd") else { return };
    let outcomes = [
        ("01_fixed_256.onnx", "onnx_fixed_shape"),
        ("02_fixed_64.onnx", "onnx_fixed_shape"),
        ("03_fp16_weights_fp32_io.onnx", ""),
        ("04_fp16_io.onnx", "onnx_bad_io"),
        ("06_external_data_missing.onnx", "onnx_external_data"),
        ("07_external_path_escape.onnx", "onnx_external_data"),
        ("10_rlfn_wrapped_0_1.onnx", ""),
        ("11_uint8_nhwc.onnx", "onnx_bad_io"),
        ("12_fmen_opset9.onnx", ""),
        ("13_rlfn_opset9.onnx", ""),
        ("15_weights_as_constants.onnx", ""),
        ("16_two_outputs.onnx", "onnx_bad_io"),
        ("18_initializers_listed_as_inputs.onnx", ""),
        ("19_custom_op.onnx", "onnx_op_not_allowed"),
        ("21_pth_named_onnx.onnx", "onnx_malformed"),
        ("22_int8_dynamic.onnx", ""),
        ("23_ort_optimised.onnx", "onnx_op_not_allowed"),
    ];
    for (name, code) in outcomes {
        let found = model::load_entry(&odd.join(name), false).err().unwrap_or_default();
        assert_eq!(found.first().map_or("", |problem| &problem.code), code, "{name}: {found:?}");
    }
}
