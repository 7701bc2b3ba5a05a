//! What is fuzzed: everything that reads bytes from a stranger before the sandbox does. Each target says what came of the bytes,
//! so that a run without coverage can tell a new answer from an old one.

use std::io::Write;

use upscore::{
    challenge::bundle,
    evaluation::{
        cost,
        images::{decode_png, decode_png_sized, png_header},
        model,
        results::{Depth, Expected, Readme, ResultsZip},
        runtime::Shapes,
    },
};

pub const TARGETS: [(&str, fn(&[u8]) -> String); 6] =
    [("zip", zip), ("readme", readme), ("png", png), ("onnx", onnx), ("competition", competition), ("page", page)];

/// The images that the results zips are expected to hold.
pub fn expected() -> Vec<Expected> {
    ["0001", "0002"].map(|name| Expected { name: name.into(), width: 8, height: 12 }).into()
}

/// Listing, vetting and decoding a results zip.
pub fn zip(data: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new_in(scratch()).expect("a scratch file");
    file.write_all(data).expect("a scratch file");
    match ResultsZip::vet(file.path(), &expected(), 4, Depth::Pixels) {
        Ok(Ok(found)) => {
            let images: Vec<bool> = (0..2).map(|i| found.decode(i).is_ok_and(|image| image.is_ok())).collect();
            format!("{images:?} {}", found.readme.is_some())
        }
        Ok(Err(problems)) => problems.iter().map(|p| skeleton(&format!("{} {}", p.code, p.message))).collect(),
        Err(error) => skeleton(&format!("{error:#}")),
    }
}

/// A folder in memory where there is one: a run writes thousands of files a second.
fn scratch() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { std::env::temp_dir() }
}

pub fn readme(data: &[u8]) -> String {
    let Readme { runtime_s, device, extra_data, description } = Readme::parse(data);
    format!("{} {device:?} {extra_data:?} {}", runtime_s.is_some(), description.is_some())
}

pub fn png(data: &[u8]) -> String {
    let header = png_header(data, "0001");
    let sized = decode_png_sized(data, "0001", (8, 12));
    let free = decode_png(data, "0001");
    let words = |problem: &upscore::problem::Problem| skeleton(&format!("{} {}", problem.code, problem.message));
    let answers = [header.err(), sized.err(), free.err()];
    answers.iter().map(|answer| answer.as_ref().map_or("ok".into(), words)).collect::<Vec<_>>().join(" | ")
}

/// Decoding, vetting and expanding a model, and counting it on shapes that a runtime might give.
pub fn onnx(data: &[u8]) -> String {
    match model::vet(data.to_vec()) {
        Ok(model) => {
            let names = model.flat.node.iter().flat_map(|node| node.output.iter().chain(&node.input));
            let shapes: Shapes = names.enumerate().map(|(i, name)| (name.clone(), shape(i))).collect();
            match cost::count(&model, &shapes, 16, 16) {
                Ok(count) => format!("counted {} {}", count.cost.macs > 0, count.cost.params > 0),
                Err(problem) => skeleton(&format!("{} {}", problem.code, problem.message)),
            }
        }
        Err(problems) => problems.iter().map(|p| skeleton(&format!("{} {}", p.code, p.message))).collect(),
    }
}

/// A `competition.yaml` without the files that it names.
pub fn competition(data: &[u8]) -> String {
    match bundle::translate(&String::from_utf8_lossy(data), std::path::Path::new("/nonexistent")) {
        Ok((_, report)) => report.rows.iter().map(|row| skeleton(&row.words)).collect(),
        Err(problem) => skeleton(&problem.message),
    }
}

/// A page of a bundle, HTML as Markdown.
pub fn page(data: &[u8]) -> String {
    let page = bundle::to_markdown(&String::from_utf8_lossy(data));
    let marks: String = page.markdown.chars().filter(|c| !c.is_alphanumeric() && *c != ' ').take(40).collect();
    format!("{marks} {:?}", page.left_out.keys())
}

/// Dimensions as a profile could report them: mostly a picture's, now and then none or immense ones.
fn shape(seed: usize) -> Vec<u64> {
    match seed % 11 {
        7 => vec![],
        8 => vec![8],
        9 => vec![1, 1 << 20, 1 << 20],
        _ => vec![1, 8, 16, 16],
    }
}

/// A message without what differs from input to input.
fn skeleton(message: &str) -> String {
    message.chars().filter(|c| c.is_ascii_alphabetic()).take(60).collect()
}
