//! HR images decoded once per dataset, not once per submission: two thirds of the time that PSNR takes is unpacking PNG.
//!
//! A decoded image is the file `<SHA-256 of the PNG>.rgb` of a folder in the worker's data folder, as hidden as the PNG
//! itself. It is only a copy: whatever goes wrong with it, the PNG is read instead.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use rayon::prelude::*;

use crate::{
    evaluation::{EvalImage, Job, images},
    storage::Storage,
};

/// Bytes that the folder may hold: about a thousand 2K images, which is ten datasets of this field.
const MOST_BYTES: u64 = 8 << 30;

/// The same job with the decoded copies of its HR images, made where they are not there yet.
pub(super) fn decoded(mut job: Job, folder: &Path, storage: &Storage) -> Job {
    let made = job.images.par_iter_mut().map(|image| match copy_of(image, folder, storage) {
        Ok((copy, new)) => {
            image.hr = Some(copy);
            new
        }
        // No image, no space, no right to write: the evaluation reads the PNG and says what is wrong with it, if anything.
        Err(error) => {
            tracing::debug!(image = image.name, %error, "no decoded copy of an HR image");
            false
        }
    });
    if made.reduce(|| false, |a, b| a | b)
        && let Err(error) = forget_oldest(folder, MOST_BYTES)
    {
        tracing::warn!(%error, "old copies of HR images cannot be removed");
    }
    job
}

/// The decoded copy of an image, and whether it is new.
fn copy_of(image: &EvalImage, folder: &Path, storage: &Storage) -> anyhow::Result<(PathBuf, bool)> {
    let png = image.hr.as_ref().context("no HR")?;
    let name = png.file_name().context("a blob has a name")?;
    let copy = folder.join(name).with_extension(images::RAW_EXTENSION);
    if let Ok(file) = File::open(&copy) {
        // So that the copies in use are the last to go; one that cannot be touched is used all the same.
        let _ = file.set_modified(SystemTime::now());
        return Ok((copy, false));
    }
    fs::create_dir_all(folder)?;
    let decoded = images::read_png(png)?;
    storage.check_space_for(decoded.data.len() as u64)?;
    images::write_raw(&decoded, &copy)?;
    Ok((copy, true))
}

/// Removes the copies that were not used for longest until at most `most` bytes are left.
fn forget_oldest(folder: &Path, most: u64) -> std::io::Result<()> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        copies.push((about.modified()?, about.len(), entry.path()));
    }
    copies.sort();
    let mut total: u64 = copies.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in copies {
        if total <= most {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_copies_unused_for_longest_go_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        for (name, age) in [("old", 300), ("older", 400), ("new", 1)] {
            let file = File::create(folder.path().join(name)).expect("a file");
            file.set_len(10).expect("its length");
            file.set_modified(now - Duration::from_secs(age)).expect("its time");
        }
        forget_oldest(folder.path(), 20).expect("removed");
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!((left("older"), left("old"), left("new")), (false, true, true));
    }
}
