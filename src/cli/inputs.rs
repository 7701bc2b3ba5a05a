//! The paths that a command line names: there, of the kind that is asked for, and readable; said before any work begins.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    path::Path,
};

use crate::problem::Problem;

/// What a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ONNX model, or a zip with one. Read once, so that it may come through a pipe.
    Model,
    /// The zip of the SR images.
    Results,
    Image,
    /// A signed record. Read once.
    Record,
    /// A challenge's file, or terms. Read once.
    Text,
    /// A competition's zip.
    Bundle,
}

/// Whether there is such a file. Codes: `file_not_found`, `not_a_file`, `file_unreadable`.
pub fn file(path: &Path, kind: Kind) -> Result<(), Problem> {
    let found = look(path, "There is no such file.")?;
    if found.is_dir() {
        let hint = match kind {
            Kind::Model => "Give the .onnx file, or a zip with it and its data file.".to_owned(),
            Kind::Results => {
                format!("Zip it, and give the zip: (cd {} && zip ../results.zip *.png)", quoted(path))
            }
            Kind::Image => "Take it out of the folder of the images.".to_owned(),
            Kind::Record => "Give the .json file, as downloaded.".to_owned(),
            Kind::Text => "Give the file in it.".to_owned(),
            Kind::Bundle => format!("Zip it, and give the zip: (cd {} && zip -r ../bundle.zip .)", quoted(path)),
        };
        return Err(at(Problem::new("not_a_file", "This is a folder, not a file."), path).hint(hint));
    }
    let read_once = matches!(kind, Kind::Model | Kind::Record | Kind::Text);
    if !found.is_file() {
        if read_once {
            return Ok(());
        }
        let problem = Problem::new("not_a_file", "This is a pipe or a device, not a file.");
        return Err(at(problem, path).hint("Write it to a file first."));
    }
    File::open(path).map(drop).map_err(|error| unreadable(path, &error))
}

/// Whether there is such a folder. Codes: `file_not_found`, `not_a_folder`, `file_unreadable`.
pub fn folder(path: &Path) -> Result<(), Problem> {
    let found = look(path, "There is no such folder.")?;
    if !found.is_dir() {
        let zip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
        let hint = if zip { "Unpack it, and give the folder." } else { "Give the folder that the images lie in." };
        return Err(at(Problem::new("not_a_folder", "This is a file, not a folder."), path).hint(hint));
    }
    fs::read_dir(path).map(drop).map_err(|error| unreadable(path, &error))
}

/// Whether there is a folder of images, or a zip of them.
pub fn images(path: &Path) -> Result<(), Problem> {
    if path.is_file() { file(path, Kind::Results) } else { folder(path) }
}

/// Of a path that is there and cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Problem {
    at(Problem::new("file_unreadable", format!("It cannot be read: {error}.")), path)
}

fn look(path: &Path, missing: &str) -> Result<Metadata, Problem> {
    fs::metadata(path).map_err(|error| match error.kind() {
        // A file where a folder is meant to be holds nothing.
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            let problem = at(Problem::new("file_not_found", missing), path);
            if path.is_absolute() { problem } else { problem.hint(from_here()) }
        }
        _ => unreadable(path, &error),
    })
}

/// Paths are looked for from where the command was started.
fn from_here() -> String {
    let here = std::env::current_dir().unwrap_or_default();
    format!("It was looked for from {}.", here.display())
}

fn at(problem: Problem, path: &Path) -> Problem {
    problem.at(path.to_string_lossy())
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
