//! A challenge's file as it comes in over the network: the text alone, or a zip of it and what it names.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

use super::{
    format::{ChallengeFile, parse},
    source::Source,
};
use crate::{
    config::Limits,
    evaluation::results::unpack::{Room, unpack},
    problem::Problem,
    storage::{BlobHash, Storage},
};

/// How the file is called in a zip.
const NAME: &str = "challenge.toml";
/// Bytes of the file itself: all texts of the largest challenge.
const MAX_FILE: u64 = 16 << 20;

/// A file, and where what it names lies; what was unpacked goes with it.
#[derive(Debug)]
pub struct Parcel {
    pub file: ChallengeFile,
    pub source: Source,
    _folder: Option<TempDir>,
}

impl Parcel {
    /// A file with stored models beside it, by the names that it has for them.
    pub fn with_models(
        storage: &Storage,
        file: ChallengeFile,
        models: &[(String, BlobHash)],
    ) -> anyhow::Result<Parcel> {
        if models.is_empty() {
            return Ok(Parcel { file, source: Source::none(), _folder: None });
        }
        let folder = storage.scratch()?;
        for (name, hash) in models {
            let from = storage.path(hash);
            std::fs::copy(&from, folder.path().join(name)).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(Parcel { file, source: Source::confined([folder.path().to_owned()]), _folder: Some(folder) })
    }
}

/// Reads what lies at `path`: a zip with `challenge.toml` in it, at the top or in its one folder, or that file alone.
/// `Ok(Err(problem))` is the sender's fault. Codes: `bad_file`, and those of a results zip that concern the archive.
pub async fn open(storage: &Storage, path: &Path) -> anyhow::Result<Result<Parcel, Problem>> {
    let (path, storage) = (path.to_owned(), storage.clone());
    tokio::task::spawn_blocking(move || read(&storage, &path)).await?
}

fn read(storage: &Storage, path: &Path) -> anyhow::Result<Result<Parcel, Problem>> {
    let mut start = [0; 4];
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let zipped = file.read_exact(&mut start).is_ok() && start.starts_with(b"PK");
    if !zipped {
        return Ok(text(path)?.map(|file| Parcel { file, source: Source::none(), _folder: None }));
    }
    let limits = Limits::default();
    let room = Room { entries: limits.dataset_files, bytes: limits.dataset_bytes };
    let folder = storage.scratch()?;
    let unpacked = match unpack(path, folder.path(), room, |_| true)? {
        Ok(unpacked) => unpacked,
        Err(problem) => return Ok(Err(problem)),
    };
    let depth = |path: &&PathBuf| path.components().count();
    let named: Vec<&PathBuf> = unpacked.files.iter().filter(|path| path.ends_with(NAME)).collect();
    let least = named.iter().map(depth).min();
    let (first, second) = {
        let mut found = named.iter().filter(|path| Some(depth(path)) == least);
        (found.next(), found.next())
    };
    let root = match (first, second) {
        (Some(found), None) => folder.path().join(found.parent().unwrap_or(Path::new(""))),
        (Some(a), Some(b)) => {
            let message = format!("the zip has two challenges: {} and {}", a.display(), b.display());
            return Ok(Err(Problem::new("bad_file", message)));
        }
        (None, _) => {
            let problem = Problem::new("bad_file", format!("the zip has no {NAME}"));
            return Ok(Err(problem.hint("Zip the folder of the file, with what it names beside it.")));
        }
    };
    Ok(text(&root.join(NAME))?.map(|file| Parcel { file, source: Source::confined([root]), _folder: Some(folder) }))
}

fn text(path: &Path) -> anyhow::Result<Result<ChallengeFile, Problem>> {
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(|| format!("opening {}", path.display()))?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Ok(Err(Problem::new("bad_file", format!("a challenge's file has at most {} MiB", MAX_FILE >> 20))));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => parse(&text),
        Err(_) => Err(Problem::new("bad_file", "a challenge's file is text in UTF-8, or a zip")),
    })
}
