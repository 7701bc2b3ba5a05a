//! `upscore score RESULTS.zip --reference HR_DIR`: PSNR and SSIM of a results zip.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;

use super::Outcome;
use crate::{
    evaluation::{
        Fidelity,
        fidelity::{Channel, Settings},
        images,
        results::{self, Expected, Readme, ResultsZip},
    },
    problem::Problem,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The zip of SR results.
    results: PathBuf,
    /// Folder of the HR images, NAME.png.
    #[arg(long, value_name = "HR_DIR")]
    reference: PathBuf,
    /// y rounds the luma to uint8 as KAIR does, y-float keeps it as BasicSR does.
    #[arg(long, default_value = "rgb")]
    channel: Channel,
    /// Pixels cut off on each side; the scale by default.
    #[arg(long)]
    border: Option<u32>,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Score {
    #[serde(flatten)]
    fidelity: Fidelity,
    readme: Option<Readme>,
}

pub fn run(args: &Args) -> Outcome {
    let files = pngs(&args.reference, args.scale)?;
    if files.is_empty() {
        let problem = Problem::new("missing_image", "the reference folder holds no PNG");
        return Ok(Err(vec![problem.at(args.reference.to_string_lossy())]));
    }
    let mut expected = Vec::with_capacity(files.len());
    let mut problems = Vec::new();
    for (name, path) in &files {
        match images::png_header(&std::fs::read(path)?, name) {
            Ok(header) => {
                let crop = |n: u32| n - n % args.scale;
                expected.push(Expected { name: name.clone(), width: crop(header.width), height: crop(header.height) });
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    let zip = match ResultsZip::vet(&args.results, &expected, args.scale) {
        Ok(zip) => zip,
        Err(problems) => return Ok(Err(problems)),
    };
    let hr = |name: &str| {
        let path = files.get(name).context("an image without a reference")?;
        images::decode_png(&std::fs::read(path)?, name).map_err(|problem| anyhow::anyhow!(problem))
    };
    let settings =
        Settings { channel: args.channel, border: args.border.unwrap_or(args.scale), scale: args.scale };
    let fidelity = results::score(&zip, &hr, settings, &|_, _| ())?;
    if args.json {
        println!("{}", serde_json::to_string(&Score { fidelity, readme: zip.readme })?);
        return Ok(Ok(()));
    }
    println!("{:<24} {:>10} {:>8}", "image", "PSNR dB", "SSIM");
    for image in &fidelity.images {
        println!("{:<24} {:>10.4} {:>8.4}", image.name, image.psnr.0, image.ssim);
    }
    println!("{:<24} {:>10.4} {:>8.4}", "mean", fidelity.psnr, fidelity.ssim);
    Ok(Ok(()))
}

/// PNG files of a folder by image id, `0901` for `0901.png` and `0901x4.png`.
pub fn pngs(folder: &Path, scale: u32) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("the folder {}", folder.display()))? {
        let path = entry?.path();
        let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if let (true, Some(stem)) = (is_png, path.file_stem().and_then(|s| s.to_str())) {
            let id = stem.strip_suffix(&format!("x{scale}")).unwrap_or(stem).to_owned();
            found.insert(id, path);
        }
    }
    Ok(found)
}
