//! Result zips, honest, odd and hostile, each with the outcome it must have.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::NamedTempFile;
use upscore::{
    cli::score,
    evaluation::{
        fidelity::Settings,
        images::{Rgb8, decode_png, encode_png},
        results::{Device, Expected, Readme, ResultsZip},
    },
    problem::Problem,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::fidelity::{golden_pair, shared};

/// An archive of these files in a temporary file.
pub fn zip(files: &[(&str, Vec<u8>)]) -> NamedTempFile {
    on_disk(&zip_bytes(files, CompressionMethod::Deflated))
}

fn zip_bytes(files: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn on_disk(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn expected() -> Vec<Expected> {
    ["0001", "0002"].map(|name| Expected { name: name.into(), width: 48, height: 40 }).to_vec()
}

fn png() -> Vec<u8> {
    encode_png(&golden_pair().1).unwrap()
}

/// A complete set, and then some.
fn set_and(more: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut files = vec![("0001x4.png", png()), ("0002x4.png", png())];
    files.extend_from_slice(more);
    zip_bytes(&files, CompressionMethod::Deflated)
}

fn open(bytes: &[u8]) -> Result<ResultsZip, Vec<Problem>> {
    ResultsZip::open(on_disk(bytes).path(), &expected(), 4)
}

fn codes(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|p| p.code.as_ref()).collect()
}

/// Where the `n`th record that begins with `signature` is.
fn find(bytes: &[u8], signature: &[u8; 4], n: usize) -> usize {
    bytes.windows(4).enumerate().filter(|(_, w)| w == signature).nth(n).unwrap().0
}

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";

/// A complete set with bytes overwritten, at offsets from the start of the first record with the signature.
fn patched(patches: &[(&[u8; 4], usize, &[u8])]) -> Vec<u8> {
    let mut bytes = set_and(&[]);
    for (signature, offset, with) in patches {
        let at = find(&bytes, signature, 0) + offset;
        bytes[at..at + with.len()].copy_from_slice(with);
    }
    bytes
}

#[test]
fn honest_archives_are_read_whatever_their_layout() {
    let image = golden_pair().1;
    let folder = |prefix: &str| {
        let names = [format!("{prefix}0001x4.png"), format!("{prefix}0002X4.PNG")];
        zip_bytes(&[(&names[0], png()), (&names[1], png())], CompressionMethod::Deflated)
    };
    let junk = [
        ("__MACOSX/._0001x4.png", vec![0; 9]),
        ("._0002x4.png", vec![0; 9]),
        (".DS_Store", vec![0; 9]),
        ("a/Thumbs.db", vec![0; 9]),
    ];
    let cases = [
        ("deflated", set_and(&[])),
        ("stored", zip_bytes(&[("0001.png", png()), ("0002.png", png())], CompressionMethod::Stored)),
        ("nested folders", folder("results/x4/")),
        ("UTF-8 folder", folder("提交结果/")),
        ("backslashes", folder("Set5\\")),
        ("dot folder", folder("./")),
        ("junk", set_and(&junk)),
    ];
    for (what, bytes) in cases {
        let results = open(&bytes).unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
        for name in ["0001", "0002"] {
            let index = results.position(name).unwrap();
            assert_eq!(results.decode(index).unwrap().unwrap(), image, "{what}");
        }
        assert_eq!(results.readme, None, "{what}");
    }
}

#[test]
fn broken_archives_are_refused_by_their_fault() {
    let whole = set_and(&[]);
    let packed = |bytes: &[u8]| u32::from_le_bytes(bytes[find(bytes, CENTRAL, 0) + 20..][..4].try_into().unwrap());
    let inside_comment = {
        let mut bytes = whole.clone();
        let at = bytes.len() - 2;
        bytes[at..].copy_from_slice(&u16::try_from(whole.len()).unwrap().to_le_bytes());
        [bytes, whole.clone()].concat()
    };
    // The second line of the list points at the first entry, whose name is then another.
    let overlap = {
        let mut bytes = whole.clone();
        let line = find(&bytes, CENTRAL, 1);
        bytes[line + 42..line + 46].fill(0);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "zip_malformed"),
        ("text", b"<html>not a zip at all, but long enough</html>".to_vec(), "zip_malformed"),
        ("no entries", zip_bytes(&[], CompressionMethod::Stored), "zip_empty"),
        ("end cut off", whole[..whole.len() - 30].to_vec(), "zip_malformed"),
        ("middle cut out", [&whole[..500], &whole[900..]].concat(), "zip_malformed"),
        ("bytes before", [b"MZ junk".as_slice(), &whole].concat(), "zip_malformed"),
        ("bytes after", [whole.as_slice(), b"junk"].concat(), "zip_malformed"),
        ("two archives", inside_comment, "zip_malformed"),
        ("count too high", patched(&[(END, 8, &[3, 0, 3, 0])]), "zip_malformed"),
        ("count too low", patched(&[(END, 8, &[1, 0, 1, 0])]), "zip_malformed"),
        ("count absurd", patched(&[(END, 8, &[0xfe, 0xff, 0xfe, 0xff])]), "zip_malformed"),
        ("other local name", patched(&[(LOCAL, 30, b"0003")]), "zip_malformed"),
        ("offset outside", patched(&[(CENTRAL, 42, &[0xff, 0xff, 0xff, 0x7f])]), "zip_malformed"),
        ("packed size outside", patched(&[(CENTRAL, 20, &[0xff, 0xff, 0xff, 0x7f])]), "zip_malformed"),
        ("damaged data", patched(&[(LOCAL, 40, &[0xff; 200])]), "zip_malformed"),
        ("one entry twice", overlap, "zip_overlap"),
        ("one entry over two", patched(&[(CENTRAL, 20, &(packed(&whole) + 50).to_le_bytes())]), "zip_overlap"),
        ("claims 4 GB", patched(&[(CENTRAL, 24, &[0xfe, 0xff, 0xff, 0xff])]), "zip_too_large_unpacked"),
        ("claims too little", patched(&[(CENTRAL, 24, &[9, 0, 0, 0])]), "zip_size_mismatch"),
        ("claims too much", patched(&[(CENTRAL, 24, &[0, 0, 1, 0])]), "zip_size_mismatch"),
        ("wrong checksum", patched(&[(CENTRAL, 16, &[1, 2, 3, 4])]), "zip_crc"),
        ("password", patched(&[(CENTRAL, 8, &[1, 0])]), "zip_encrypted"),
        ("bzip2", patched(&[(CENTRAL, 10, &[12, 0]), (LOCAL, 8, &[12, 0])]), "zip_method"),
        ("symlink", patched(&[(CENTRAL, 40, &0o120_777u16.to_le_bytes())]), "zip_not_regular_file"),
        ("FIFO", patched(&[(CENTRAL, 40, &0o010_644u16.to_le_bytes())]), "zip_not_regular_file"),
        (
            "false UTF-8",
            patched(&[(CENTRAL, 46, b"\xff\xfe"), (LOCAL, 30, b"\xff\xfe"), (CENTRAL, 9, &[8])]),
            "zip_bad_name",
        ),
    ];
    for (what, bytes, code) in cases {
        let problems = open(&bytes).expect_err(what);
        assert!(codes(&problems).contains(&code), "{what}: {problems:?}");
    }
}

#[test]
fn names_that_point_elsewhere_or_cannot_be_shown_are_refused() {
    let long = "x".repeat(600);
    let cases = [
        ("../0003.png", "zip_unsafe_path"),
        ("a/../../0003.png", "zip_unsafe_path"),
        ("/tmp/0003.png", "zip_unsafe_path"),
        ("\\\\host\\share\\0003.png", "zip_unsafe_path"),
        ("..\\..\\0003.png", "zip_unsafe_path"),
        ("C:\\0003.png", "zip_unsafe_path"),
        ("c:0003.png", "zip_unsafe_path"),
        ("__MACOSX/../../x", "zip_unsafe_path"),
        ("3\n.png", "zip_bad_name"),
        ("3\u{202e}gnp.exe", "zip_bad_name"),
        ("3\0.png", "zip_bad_name"),
        (&long, "zip_bad_name"),
    ];
    for (name, code) in cases {
        // Written under an innocent name of the same length first: the zip crate would refuse or mend some of these.
        let plain = "q".repeat(name.len());
        let mut bytes = set_and(&[(&plain, b"x".to_vec())]);
        for at in [find(&bytes, LOCAL, 2) + 30, find(&bytes, CENTRAL, 2) + 46] {
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
        let problems = open(&bytes).expect_err(name);
        assert!(codes(&problems).contains(&code), "{name:?}: {problems:?}");
        for problem in problems {
            let shown = problem.to_string();
            assert!(shown.chars().count() < 300 && !shown.contains(char::is_control), "{shown:?}");
        }
    }
}

#[test]
fn every_problem_of_the_contents_is_listed_at_once() {
    let grey = png_of(png::ColorType::Grayscale, png::BitDepth::Eight, (48, 40), None);
    let many: Vec<Expected> = (1..=9).map(|i| Expected { name: format!("000{i}"), width: 48, height: 40 }).collect();
    let files = [
        ("0001.png", png()),
        ("a/0001x4.png", png()),
        ("0002x4.png", grey),
        ("0003x2.png", png()),
        ("0003.bmp", png()),
        ("inner.zip", zip_bytes(&[("0003.png", png())], CompressionMethod::Stored)),
    ];
    let zip = zip(&files);
    let problems = ResultsZip::open(zip.path(), &many, 4).unwrap_err();
    assert_eq!(codes(&problems), ["duplicate_image", "missing_image", "unexpected_file", "image_mode"]);
    assert_eq!(problems[0].place.as_deref(), Some("0001"));
    assert_eq!(problems[1].message, "2 of 9 images found; missing: 0003, 0004, 0005, 0006, 0007 and 2 more");
    assert_eq!(problems[2].message, "not among the 9 images: 0003x2.png, 0003.bmp, inner.zip");
}

fn png_of(color: png::ColorType, depth: png::BitDepth, (width, height): (u32, u32), trns: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(vec![7; 30]);
    }
    if let Some(trns) = trns {
        encoder.set_trns(trns.to_vec());
    }
    let bytes = width as usize * color.samples() * if depth == png::BitDepth::Sixteen { 2 } else { 1 };
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![5; bytes * height as usize]).unwrap();
    drop(writer);
    out
}

#[test]
fn only_8_bit_rgb_of_the_right_size_is_an_image() {
    use png::{BitDepth::*, ColorType::*};
    let size = (48, 40);
    let whole = png();
    let mut bad_crc = whole.clone();
    bad_crc[30] ^= 1;
    let mut bad_data = whole.clone();
    let middle = bad_data.len() / 2;
    bad_data[middle] ^= 1;
    let cases = [
        ("image_mode", "8-bit grayscale, expected 8-bit RGB", png_of(Grayscale, Eight, size, None)),
        ("image_mode", "8-bit grayscale with alpha,", png_of(GrayscaleAlpha, Eight, size, None)),
        ("image_mode", "8-bit palette,", png_of(Indexed, Eight, size, None)),
        ("image_mode", "8-bit RGBA,", png_of(Rgba, Eight, size, None)),
        ("image_mode", "16-bit RGB,", png_of(Rgb, Sixteen, size, None)),
        ("image_mode", "tRNS", png_of(Rgb, Eight, size, Some(&[0, 5, 0, 5, 0, 5]))),
        ("image_size", "40x48, expected 48x40", png_of(Rgb, Eight, (40, 48), None)),
        ("image_size", "12x10, expected 48x40", png_of(Rgb, Eight, (12, 10), None)),
        ("png_malformed", "JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec()),
        ("png_malformed", "BMP", b"BM\0\0\0\0\0\0".to_vec()),
        ("png_malformed", "SVG", b"<svg onload='alert(1)'/>".to_vec()),
        ("png_malformed", "empty", vec![]),
        ("png_malformed", "cut short", whole[..20].to_vec()),
        ("png_malformed", "too early", whole[..middle].to_vec()),
        ("png_malformed", "CRC", bad_crc),
        ("png_malformed", "damaged PNG", bad_data),
    ];
    for (code, says, bytes) in cases {
        let problems =
            open(&zip_bytes(&[("0001.png", png()), ("0002.png", bytes)], CompressionMethod::Deflated)).expect_err(says);
        assert_eq!(codes(&problems), [code], "{problems:?}");
        assert!(problems[0].message.contains(says), "{problems:?} does not say {says:?}");
        assert_eq!(problems[0].place.as_deref(), Some("0002"));
    }
}

#[test]
fn a_header_that_claims_gigapixels_allocates_nothing() {
    let mut bytes = png();
    bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let problem = decode_png(&bytes, "0001").unwrap_err();
    assert_eq!(problem.code, "image_size");
}

#[test]
fn readmes_are_read_as_far_as_they_can_be() {
    let full = |runtime, device, extra, text: &str| Readme {
        runtime_s: Some(runtime),
        device: Some(device),
        extra_data: Some(extra),
        description: Some(text.into()),
    };
    let cases: Vec<(&[u8], Readme)> = vec![
        (
            b"runtime per image [s] : 10.43\nCPU[1] / GPU[0] : 1\nExtra Data [1] / No Extra Data [0] : 1\nOther description : Based on A+.\n",
            full(10.43, Device::Cpu, true, "Based on A+."),
        ),
        (
            b"runtime per image [s] : 0.013512\nCPU [1] / GPU [0] : 1\nExtra Data [1] / No Extra Data [0] : 0\nOther description : Based on PIPAL\nand report: single core.\n",
            full(0.013512, Device::Cpu, false, "Based on PIPAL\nand report: single core."),
        ),
        (
            "\u{feff}Runtime per image [s]: 0,42\r\nCPU[1] / GPU[0] : 0 (GPU)\r\nExtra Data [1] / No Extra Data [0] : 1\r\nOther description : 中文说明\r\n".as_bytes(),
            full(0.42, Device::Gpu, true, "中文说明"),
        ),
        (
            b"runtime per frame [s]:1.5s\nCPU[1]/GPU[0]:GPU\nExtra Data [1] / No Extra Data [0] : no\nOther: --",
            full(1.5, Device::Gpu, false, "--"),
        ),
        (b"runtime per image [s] : fast\nCPU[1] / GPU[0] : ?\nOther description :\n", Readme::default()),
        (b"runtime per image [s] : 1e999\n", Readme::default()),
        (b"runtime per image [s] : 12 ms", Readme { runtime_s: Some(0.012), ..Readme::default() }),
        (b"runtime per image [ms] : 12.5", Readme { runtime_s: Some(0.0125), ..Readme::default() }),
        (b"runtime per image [ms] : 2 s", Readme { runtime_s: Some(2.0), ..Readme::default() }),
        (b"runtime per image [s] : 1/3", Readme::default()),
        (b"", Readme::default()),
        (b"\xff\xfe\x00\xd8\xff", Readme::default()),
        (b"\0\x01:\xc3\x28:::\n:", Readme::default()),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Readme::parse(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        let results = open(&set_and(&[("sub/README.TXT", bytes.to_vec())])).unwrap();
        assert_eq!(results.readme, Some(expected));
    }
    // One that cannot even be unpacked is as good as none.
    let mut bytes = set_and(&[("readme.txt", vec![b'x'; 500])]);
    let at = find(&bytes, LOCAL, 2) + 40;
    bytes[at..at + 4].fill(0xff);
    assert_eq!(open(&bytes).unwrap().readme, None);
}

/// The figure of a set, or the codes of its problems.
type Outcome = Result<f64, Vec<String>>;

fn outcome(zip: &Path, hr: &Path) -> (Outcome, BTreeMap<String, f64>) {
    match score::score(zip, hr, &Settings::default(), &|_, _| ()).unwrap() {
        Ok(report) => {
            let images = report.fidelity.images.iter().map(|i| (i.name.clone(), i.psnr.0)).collect();
            (Ok(report.fidelity.psnr), images)
        }
        Err(problems) => (Err(problems.iter().map(|p| p.code.to_string()).collect()), BTreeMap::new()),
    }
}

fn manifest(folder: &Path) -> serde_json::Value {
    // Python writes an infinity where JSON has none.
    let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap().replace(": Infinity", ": \"inf\"");
    serde_json::from_str(&text).unwrap()
}

/// A hostile case on disk, unpacked where the corpus stores it packed.
fn hostile_file(case: &serde_json::Value, hostile: &Path) -> (PathBuf, Option<NamedTempFile>) {
    let path = hostile.join(case["file"].as_str().unwrap());
    if case["stored_as"] != "gzip" {
        return (path, None);
    }
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let file = on_disk(&bytes);
    (file.path().to_owned(), Some(file))
}

#[test]
fn hostile_archives_have_their_outcomes() {
    let Some(hostile) = shared("hostile") else { return };
    let manifest = manifest(&hostile);
    let cases = manifest["cases"].as_array().unwrap().iter().filter(|case| case["kind"] != "onnx");
    let mut seen = 0;
    for case in cases.filter(|case| case["file"].as_str().unwrap().contains(".zip")) {
        let name = case["name"].as_str().unwrap();
        let (path, _keep) = hostile_file(case, &hostile);
        let may = |class: &str| case["acceptable"].as_array().unwrap().iter().any(|c| c == class);
        match outcome(&path, &hostile.join("images/HR")).0 {
            Ok(psnr) => {
                assert!(may("score_ok"), "{name} was scored");
                let expected = case["metrics"]["psnr_rgb_border4"].as_f64().unwrap();
                assert!((psnr - expected).abs() < 1e-5, "{name}: {psnr}, expected {expected}");
                println!("{name}: {psnr:.6} dB");
            }
            Err(codes) => {
                assert!(may("reject_at_upload"), "{name} was refused: {codes:?}");
                if let Some(code) = case["code"].as_str() {
                    assert!(codes.iter().any(|c| c == code), "{name}: {codes:?}, expected {code}");
                }
                println!("{name}: {codes:?}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} cases");
}

/// Bombs must not cost memory. Each is vetted in a process of its own, this same test, so that the peak is its own.
#[test]
fn hostile_archives_cost_little_memory() {
    const CASE: &str = "UPSCORE_TEST_RSS_CASE";
    let Some(hostile) = shared("hostile") else { return };
    if let Some(zip) = std::env::var_os(CASE) {
        let before = peak_rss_kib();
        let (outcome, _) = outcome(Path::new(&zip), &hostile.join("images/HR"));
        println!("grew by {} KiB: {outcome:?}", peak_rss_kib() - before);
        return;
    }
    for case in manifest(&hostile)["cases"].as_array().unwrap().iter().filter(|case| case["kind"] != "onnx") {
        let (path, _keep) = hostile_file(case, &hostile);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["archive::hostile_archives_cost_little_memory", "--exact", "--nocapture", "--test-threads=1"])
            .env(CASE, path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        let grown = said.split("grew by ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        let grown = grown.unwrap_or_else(|| panic!("{}: {said}", case["name"]));
        assert!(grown < 20 << 10, "{} grew by {grown} KiB", case["name"]);
    }
}

fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn odd_submissions_have_their_natural_outcomes() {
    let Some(odd) = shared("real/submissions/odd_FreeTiny") else { return };
    let hr = shared("real/images/FreeTiny/HR").expect("the pack is there in part only");
    let refused: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("01_missing_one", ["missing_image"].as_slice()),
        ("02_wrong_size_x2", &["image_size"]),
        ("03_off_by_four_rows", &["image_size"]),
        ("04_grayscale", &["image_mode"]),
        ("05_sixteen_bit", &["image_mode"]),
        ("06_jpeg_named_png", &["png_malformed"]),
        ("12_rgba", &["image_mode"]),
        ("13_palette", &["image_mode"]),
        ("14_truncated_png", &["png_malformed"]),
        ("20_bmp_files", &["missing_image", "unexpected_file"]),
        ("21_duplicate_entry", &["duplicate_image"]),
        ("22_zip_lzma", &["zip_method"]),
        ("23_zip_bzip2", &["zip_method"]),
        ("25_targz_named_zip", &["zip_malformed"]),
        ("30_empty_zip", &["zip_empty"]),
        ("31_upload_cut", &["zip_malformed"]),
    ]);
    let manifest = manifest(&odd);
    let cases = manifest["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 32);
    for (name, case) in cases {
        let (outcome, images) = outcome(&odd.join(format!("{name}.zip")), &hr);
        if let Some(codes) = refused.get(name.as_str()) {
            assert_eq!(outcome.unwrap_err(), *codes, "{name}");
            continue;
        }
        outcome.unwrap_or_else(|codes| panic!("{name} was refused: {codes:?}"));
        for (image, good) in manifest["good_psnr"].as_object().unwrap() {
            let changed = &case["kair_psnr_of_changed"][image];
            if changed == "inf" {
                assert_eq!(images[image], f64::INFINITY, "{name} {image}");
                continue;
            }
            let expected = changed.as_f64().or(good.as_f64()).unwrap();
            let found = images[image];
            assert!((found - expected).abs() <= 1e-4, "{name} {image}: {found}, expected {expected}");
        }
    }
}

#[test]
fn readmes_of_the_wild_are_read() {
    let Some(folder) = shared("real/submissions/odd_FreeTiny/readme_variants") else { return };
    let read = |i: u32| Readme::parse(&std::fs::read(folder.join(format!("readme_{i}.txt"))).unwrap());
    let figures: Vec<_> =
        (0..6).map(read).map(|r| (r.runtime_s, r.device, r.extra_data, r.description.is_some())).collect();
    let expected = [
        (10.43, Device::Cpu, true),
        (0.013512, Device::Cpu, false),
        (1.5, Device::Gpu, false),
        (8.5, Device::Gpu, false),
        (0.42, Device::Gpu, false),
        (0.42, Device::Gpu, true),
    ];
    assert_eq!(figures, expected.map(|(s, device, extra)| (Some(s), Some(device), Some(extra), true)));
}

/// A picture larger than one strip of the decoder, so that sizes other than toys are covered too.
#[test]
fn large_images_pass_through_the_archive() {
    let image = Rgb8 { width: 2040, height: 340, data: (0..2040 * 340 * 3u32).map(|i| (i / 7) as u8).collect() };
    let zip = zip(&[("1.png", encode_png(&image).unwrap())]);
    let expected = [Expected { name: "1".into(), width: 2040, height: 340 }];
    let results = ResultsZip::open(zip.path(), &expected, 4).unwrap();
    assert_eq!(results.decode(0).unwrap().unwrap(), image);
}
