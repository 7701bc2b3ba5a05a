//! From a folder or zip of HR images to a dataset: checked, cropped to the scale, LR made where none is given, all stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};

use tempfile::TempDir;

use super::dataset::Image;
use crate::{
    config::Limits,
    evaluation::{
        images::{decode_png, encode_png},
        resize,
        results::unpack::{Room, unpack},
    },
    problem::{Problem, printable},
    storage::Storage,
};

/// Reads the PNGs of `hr`, and of `lr` where there is one, and stores the pairs. HR is cropped at the bottom and right to a
/// multiple of the scale; LR is MATLAB-style bicubic where none is given. One image a core is in memory at a time.
pub async fn ingest(
    storage: &Storage,
    hr: &Path,
    lr: Option<&Path>,
    scale: u32,
) -> anyhow::Result<Result<Vec<Image>, Vec<Problem>>> {
    ingest_telling(storage, hr, lr, scale, &|_, _| {}).await
}

/// As [`ingest`], telling after each image how many are read, and how many there are.
pub async fn ingest_telling(
    storage: &Storage,
    hr: &Path,
    lr: Option<&Path>,
    scale: u32,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> anyhow::Result<Result<Vec<Image>, Vec<Problem>>> {
    let (hr, lr) = (open(storage, hr).await?, opt(storage, lr).await?);
    let (hr, lr) = match (hr, lr.transpose()) {
        (Ok(hr), Ok(lr)) => (hr, lr),
        (hr, lr) => return Ok(Err([hr.err(), lr.err()].into_iter().flatten().collect())),
    };
    let pairs = match pairs(&hr, lr.as_ref(), scale)? {
        Ok(pairs) => pairs,
        Err(problems) => return Ok(Err(problems)),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (total, mut done) = (pairs.len(), 0);
    tell(done, total);
    let read: Vec<Result<Image, Problem>> = stream::iter(pairs)
        .map(|pair| async move {
            let prepared = tokio::task::spawn_blocking(move || pair.prepare(scale)).await??;
            anyhow::Ok(match prepared {
                Ok(prepared) => Ok(prepared.store(storage).await?),
                Err(problem) => Err(problem),
            })
        })
        .buffered(cores)
        .inspect(|_| {
            done += 1;
            tell(done, total);
        })
        .try_collect()
        .await?;
    let (images, problems): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
    if problems.is_empty() {
        Ok(Ok(images.into_iter().flatten().collect()))
    } else {
        Ok(Err(problems.into_iter().filter_map(Result::err).collect()))
    }
}

/// A folder of images; an unpacked one is removed with it.
struct Folder {
    path: PathBuf,
    /// What it is called in a problem.
    shown: String,
    _unpacked: Option<TempDir>,
}

async fn opt(storage: &Storage, path: Option<&Path>) -> anyhow::Result<Option<Result<Folder, Problem>>> {
    match path {
        None => Ok(None),
        Some(path) => open(storage, path).await.map(Some),
    }
}

/// The folder itself, or what a zip unpacks to: the one folder in it that has PNGs.
async fn open(storage: &Storage, path: &Path) -> anyhow::Result<Result<Folder, Problem>> {
    if !path.is_file() {
        return Ok(Ok(Folder { path: path.to_owned(), shown: path.display().to_string(), _unpacked: None }));
    }
    let limits = Limits::default();
    let room = Room { entries: limits.dataset_files, bytes: limits.dataset_bytes };
    let scratch = storage.scratch()?;
    let (zip, to) = (path.to_owned(), scratch.path().to_owned());
    let is_png = |name: &str| name.to_ascii_lowercase().ends_with(".png");
    let unpacked = tokio::task::spawn_blocking(move || unpack(&zip, &to, room, is_png)).await??;
    let unpacked = match unpacked {
        Ok(unpacked) => unpacked,
        Err(problem) => return Ok(Err(problem)),
    };
    if let Some(name) = unpacked.twice.first() {
        return Ok(Err(Problem::new("duplicate_image", "the zip has two files of this name").at(name)));
    }
    let folders: BTreeSet<_> = unpacked.files.iter().filter_map(|file| file.parent()).collect();
    let mut folders = folders.into_iter();
    match (folders.next(), folders.next()) {
        (Some(first), Some(second)) => {
            let (first, second) = (first.display(), second.display());
            let message = format!("the zip has images in several folders: {first}, {second}");
            Ok(Err(Problem::new("several_folders", message).hint("HR images in one zip, LR images in another.")))
        }
        (first, _) => {
            let path = scratch.path().join(first.unwrap_or(Path::new("")));
            Ok(Ok(Folder { path, shown: "the zip".into(), _unpacked: Some(scratch) }))
        }
    }
}

struct Pair {
    name: String,
    hr: PathBuf,
    lr: Option<PathBuf>,
}

struct Prepared {
    name: String,
    hr_size: [u32; 2],
    lr_size: [u32; 2],
    hr: Vec<u8>,
    lr: Vec<u8>,
}

/// Pairs both folders by name, or says what does not pair.
fn pairs(hr: &Folder, lr: Option<&Folder>, scale: u32) -> anyhow::Result<Result<Vec<Pair>, Vec<Problem>>> {
    let (hrs, mut lrs) = match (pngs(hr, scale)?, lr.map(|lr| pngs(lr, scale)).transpose()?.transpose()) {
        (Ok(hrs), Ok(lrs)) => (hrs, lrs),
        (hrs, lrs) => return Ok(Err([hrs.err(), lrs.err()].into_iter().flatten().flatten().collect())),
    };
    let mut problems = Vec::new();
    let mut pairs = Vec::new();
    for (name, path) in hrs {
        let lr = lrs.as_mut().map(|lrs| lrs.remove(&name));
        if let Some(None) = lr {
            problems
                .push(Problem::new("missing_lr", format!("there is no LR image for {}", printable(&name))).at(&name));
        }
        pairs.push(Pair { name, hr: path, lr: lr.flatten() });
    }
    for name in lrs.into_iter().flatten().map(|(name, _)| name) {
        problems
            .push(Problem::new("unexpected_lr", format!("there is no HR image for {}", printable(&name))).at(&name));
    }
    Ok(if problems.is_empty() { Ok(pairs) } else { Err(problems) })
}

/// The PNGs of a folder by image id: `0901.png` and `0901x4.png` are both `0901`.
fn pngs(folder: &Folder, scale: u32) -> anyhow::Result<Result<BTreeMap<String, PathBuf>, Vec<Problem>>> {
    let shown = &folder.shown;
    let entries = match fs::read_dir(&folder.path) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Err(vec![Problem::new("no_such_folder", format!("{shown} is not a folder")).at(shown)]));
        }
        Err(e) => return Err(e).with_context(|| format!("reading {shown}")),
    };
    let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
    for entry in entries {
        let path = entry?.path();
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            continue;
        }
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let name = stem.strip_suffix(&format!("x{scale}")).unwrap_or(&stem).to_owned();
        let bad = name.is_empty() || name.len() > 80 || !name.bytes().all(|b| b.is_ascii_graphic());
        if bad {
            let problem = Problem::new("bad_image_name", "an image's name has 1 to 80 printable ASCII characters");
            problems.push(problem.at(&stem));
            continue;
        }
        if let Some(other) = files.insert(name, path) {
            let problem = Problem::new("duplicate_image", "two files are the same image");
            problems.push(problem.at(other.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    if files.is_empty() && problems.is_empty() {
        problems.push(Problem::new("no_images", "there are no PNGs in it").at(shown));
    }
    Ok(if problems.is_empty() { Ok(files) } else { Err(problems) })
}

impl Pair {
    fn prepare(self, scale: u32) -> anyhow::Result<Result<Prepared, Problem>> {
        let Pair { name, hr, lr } = self;
        let hr_bytes = fs::read(&hr).with_context(|| format!("reading {}", hr.display()))?;
        let image = match decode_png(&hr_bytes, &name) {
            Ok(image) => image,
            Err(problem) => return Ok(Err(problem)),
        };
        let size = [image.width, image.height];
        // SSIM's window must fit inside the border that is cut off.
        let least = 11 + 3 * scale;
        if size.iter().any(|n| *n < least) {
            let message = format!("{}×{} is too small; at least {least}×{least} is needed", size[0], size[1]);
            return Ok(Err(Problem::new("image_too_small", message).at(&name)));
        }
        let image = image.crop_to_multiple(scale);
        let hr_size = [image.width, image.height];
        let hr_bytes = if hr_size == size { hr_bytes } else { encode_png(&image)? };
        let lr_size = hr_size.map(|n| n / scale);
        let lr_bytes = match lr {
            None => encode_png(&resize::downscale(&image, scale))?,
            Some(path) => {
                let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                match decode_png(&bytes, &name) {
                    Ok(lr) if [lr.width, lr.height] == lr_size => bytes,
                    Ok(lr) => {
                        let message = format!(
                            "the LR image is {}×{}, expected {}×{}: the HR image by {scale}",
                            lr.width, lr.height, lr_size[0], lr_size[1]
                        );
                        return Ok(Err(Problem::new("lr_size", message).at(&name)));
                    }
                    Err(problem) => return Ok(Err(problem)),
                }
            }
        };
        Ok(Ok(Prepared { name, hr_size, lr_size, hr: hr_bytes, lr: lr_bytes }))
    }
}

impl Prepared {
    async fn store(self, storage: &Storage) -> anyhow::Result<Image> {
        let Prepared { name, hr_size, lr_size, hr, lr } = self;
        Ok(Image {
            name,
            hr_size,
            lr_size,
            hr: storage.put(&hr).await?,
            lr: storage.put(&lr).await?,
            lr_bytes: lr.len() as u64,
        })
    }
}
