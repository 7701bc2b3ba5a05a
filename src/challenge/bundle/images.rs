//! Whether data of a bundle are images, without unpacking them: names and sizes from the heads of the PNGs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{contents::Contents, inside};
use crate::{
    config::Limits,
    evaluation::{
        images::{PNG_HEADER_LEN, png_header},
        results::unpack::peek,
    },
};

/// Images of one folder, or of one zip.
pub struct Found {
    pub source: PathBuf,
    /// Width and height by name, without the ending.
    pub sizes: BTreeMap<String, (u32, u32)>,
}

/// Folders in one another that are looked into.
const MAX_DEPTH: usize = 8;

/// The images that a path of the bundle names; or why there are none.
pub fn look(folder: &Path, path: &str, contents: &Contents) -> anyhow::Result<Result<Found, String>> {
    let Some(inner) = inside(path) else { return Ok(Err("the path leads out of the bundle".into())) };
    let source = folder.join(&inner);
    if source.is_dir() {
        let mut pngs = Vec::new();
        walk(&source, MAX_DEPTH, &mut pngs)?;
        let folders: BTreeSet<_> = pngs.iter().filter_map(|(path, _)| path.parent()).map(Path::to_owned).collect();
        return Ok(one_folder(folders, &pngs));
    }
    if !source.is_file() {
        let key = uuid::Uuid::try_parse(path.trim()).is_ok();
        return Ok(Err(match key {
            true => "the key of data that the platform keeps; they are not in the bundle".into(),
            false => contents.why_not(&inner),
        }));
    }
    if !source.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip")) {
        return Ok(Err("neither a zip nor a folder of PNGs".into()));
    }
    let is_png = |name: &str| name.to_ascii_lowercase().ends_with(".png");
    let heads = match peek(&source, Limits::default().dataset_files, PNG_HEADER_LEN, is_png)? {
        Ok(heads) => heads,
        Err(problem) => return Ok(Err(format!("the zip cannot be read: {}", problem.message))),
    };
    let folders: BTreeSet<_> = heads.iter().filter_map(|(path, _)| path.parent()).map(Path::to_owned).collect();
    let found = one_folder(folders, &heads);
    Ok(found.map(|found| Found { source, ..found }))
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, Vec<u8>)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            walk(&path, depth - 1, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
            let mut head = Vec::with_capacity(PNG_HEADER_LEN);
            File::open(&path)?.take(PNG_HEADER_LEN as u64).read_to_end(&mut head)?;
            found.push((path, head));
        }
    }
    Ok(())
}

fn one_folder(folders: BTreeSet<PathBuf>, pngs: &[(PathBuf, Vec<u8>)]) -> Result<Found, String> {
    let mut folders = folders.into_iter();
    let (Some(source), None) = (folders.next(), folders.next()) else {
        return Err(match pngs.is_empty() {
            true => "there are no PNGs in it".into(),
            false => "its PNGs are in several folders".into(),
        });
    };
    let mut sizes = BTreeMap::new();
    for (path, head) in pngs {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let header = png_header(head, &name).map_err(|problem| format!("{problem}"))?;
        sizes.insert(name, (header.width, header.height));
    }
    Ok(Found { source, sizes })
}

/// By what `lr` is smaller than `hr`, image for image: `0901.png` or `0901x4.png` is LR of `0901.png`.
pub fn scale(hr: &Found, lr: &Found) -> Option<u32> {
    (2..=16).find(|scale| {
        let ending = format!("x{scale}");
        let lr: BTreeMap<&str, _> =
            lr.sizes.iter().map(|(name, size)| (name.strip_suffix(&ending).unwrap_or(name), size)).collect();
        lr.len() == hr.sizes.len()
            && hr.sizes.iter().all(|(name, (width, height))| {
                lr.get(name.as_str()).is_some_and(|size| **size == (width / scale, height / scale))
            })
    })
}
