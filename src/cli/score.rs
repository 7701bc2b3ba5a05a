//! `upscore score`: the fidelity of a results zip, without a server.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::{
    inputs::{self, Kind, unreadable},
    output::{err, out, outln},
};
use crate::{
    evaluation::{
        Fidelity,
        fidelity::{self, Channel, Settings},
        images::{self, PNG_HEADER_LEN},
        results::{Depth, Device, Expected, Readme, ResultsZip},
    },
    problem::Problem,
};

/// PSNR and SSIM of a results zip against a folder of HR images
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The results zip: one 8-bit RGB PNG per reference, named `0901.png` or `0901x4.png`
    pub results: PathBuf,
    /// Folder of the HR images, `NAME.png`
    #[arg(long, value_name = "HR_DIR")]
    pub reference: PathBuf,
    /// All three channels, Y rounded to uint8 (KAIR), or Y not rounded (BasicSR)
    #[arg(long, default_value = "rgb", value_parser = channel_parser())]
    pub channel: Channel,
    /// Pixels left out on each side [default: the scale]
    #[arg(long, value_name = "N")]
    pub border: Option<u32>,
    /// The factor of super-resolution; references are cropped to a multiple of it
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub scale: u32,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

pub fn channel_parser() -> impl TypedValueParser<Value = Channel> {
    PossibleValuesParser::new(["rgb", "y", "y-float"]).map(|word| match word.as_str() {
        "y" => Channel::Y,
        "y-float" => Channel::YFloat,
        _ => Channel::Rgb,
    })
}

impl Args {
    pub fn settings(&self) -> Settings {
        Settings { channel: self.channel, border: self.border.unwrap_or(self.scale), scale: self.scale }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub fidelity: Fidelity,
    pub readme: Option<Readme>,
}

/// Scores and prints. `Ok(Err(problems))`: an input is at fault and the caller prints why; `Err`: we are.
pub fn run(args: Args) -> anyhow::Result<Result<(), Vec<Problem>>> {
    let progress = |done: u32, total: u32| {
        if std::io::stderr().is_terminal() {
            let end = if done == total { "\n" } else { "" };
            err!("\rscored {done} of {total} images{end}");
        }
    };
    let report = match score(&args.results, &args.reference, &args.settings(), &progress)? {
        Ok(report) => report,
        Err(problems) => return Ok(Err(problems)),
    };
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        out!("{}", table(&report, &args.settings()));
    }
    Ok(Ok(()))
}

/// Scores a results zip against the PNGs of a folder.
pub fn score(
    results: &Path,
    reference: &Path,
    settings: &Settings,
    progress: &(dyn Fn(u32, u32) + Sync),
) -> anyhow::Result<Result<Report, Vec<Problem>>> {
    let missing: Vec<_> =
        [inputs::file(results, Kind::Results), inputs::folder(reference)].into_iter().filter_map(Result::err).collect();
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let references = match references(reference, settings)? {
        Ok(references) => references,
        Err(problems) => return Ok(Err(problems)),
    };
    let expected: Vec<Expected> = references.values().map(|(expected, _)| expected.clone()).collect();
    // Headers are enough where all is well, as scoring decodes the images anyway. Otherwise list every last problem.
    let results = match ResultsZip::vet(results, &expected, settings.scale, Depth::Headers)? {
        Ok(results) => results,
        Err(problems) => {
            let all = ResultsZip::vet(results, &expected, settings.scale, Depth::Pixels)?.err();
            return Ok(Err(all.unwrap_or(problems)));
        }
    };
    let hr = |name: &str| {
        let (_, path) = references.get(name).context("an image without a reference")?;
        images::read_png(path)
    };
    match fidelity::score(&results, &hr, settings, progress, &AtomicBool::new(false)) {
        Ok(Ok(fidelity)) => Ok(Ok(Report { fidelity, readme: results.readme.clone() })),
        Ok(Err(problems)) => Ok(Err(problems)),
        // The user's own reference may be damaged.
        Err(e) => Ok(Err(vec![e.downcast::<Problem>()?])),
    }
}

type References = BTreeMap<String, (Expected, PathBuf)>;

/// The PNGs of a folder by name, and what the zip must hold for them.
fn references(folder: &Path, settings: &Settings) -> anyhow::Result<Result<References, Vec<Problem>>> {
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(e) => return Ok(Err(vec![unreadable(folder, &e)])),
    };
    let (mut references, mut problems) = (BTreeMap::new(), Vec::new());
    for item in list {
        let path = item.context("listing the references")?.path();
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) || !path.is_file() {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match expect(&path, &name, settings) {
            Ok(expected) => drop(references.insert(name, (expected, path))),
            Err(problem) => problems.push(problem),
        }
    }
    if references.is_empty() && problems.is_empty() {
        let problem = Problem::new("reference_empty", "the folder holds no .png files");
        problems.push(problem.at(folder.to_string_lossy()).hint("--reference takes the folder of the HR images."));
    }
    Ok(if problems.is_empty() { Ok(references) } else { Err(problems) })
}

/// What the zip must hold for the reference at `path`.
fn expect(path: &Path, name: &str, settings: &Settings) -> Result<Expected, Problem> {
    let place = path.to_string_lossy();
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PNG_HEADER_LEN as u64).read_to_end(&mut head));
    read.map_err(|e| unreadable(path, &e))?;
    let header = images::png_header(&head, &place)?;
    header.require_rgb8(&place)?;
    let crop = |side: u32| side - side % settings.scale;
    let (width, height) = (crop(header.width), crop(header.height));
    let least = settings.border.saturating_mul(2).saturating_add(11);
    if width < least || height < least {
        let message = format!(
            "a reference of {}x{} is too small: inside a border of {} SSIM needs 11x11 pixels",
            header.width, header.height, settings.border
        );
        return Err(Problem::new("reference_too_small", message).at(place));
    }
    Ok(Expected { name: name.to_owned(), width, height })
}

fn table(report: &Report, settings: &Settings) -> String {
    let Settings { channel, border, scale } = settings;
    let channel = match channel {
        Channel::Rgb => "RGB",
        Channel::Y => "Y rounded to uint8",
        Channel::YFloat => "Y not rounded",
    };
    let images = &report.fidelity.images;
    let wide = images.iter().map(|i| i.name.chars().count()).max().unwrap_or(0).max("image".len());
    let mut out = format!("{:<wide$}  {:>9}  {:>7}\n", "image", "PSNR [dB]", "SSIM");
    // Writing to a String cannot fail.
    for image in images {
        let _ = writeln!(out, "{:<wide$}  {:>9.4}  {:>7.5}", image.name, image.psnr.0, image.ssim);
    }
    let mean = format!("mean of {}", images.len());
    let _ = writeln!(out, "{mean:<wide$}  {:>9.4}  {:>7.5}", report.fidelity.psnr, report.fidelity.ssim);
    let _ = writeln!(out, "on {channel}, border {border}, scale {scale}");
    if images.iter().any(|i| i.psnr.0.is_infinite()) {
        let _ = writeln!(out, "inf: equal to the reference; counts as 100 dB in the mean");
    }
    if let Some(readme) = &report.readme {
        let runtime = readme.runtime_s.map_or("not given".into(), |s| format!("{s} s per image"));
        let device = readme.device.map_or("", |device| match device {
            Device::Cpu => " on CPU",
            Device::Gpu => " on GPU",
        });
        let extra = readme.extra_data.map_or("not given", |extra| if extra { "yes" } else { "no" });
        let _ = writeln!(out, "readme.txt: runtime {runtime}{device}, extra data: {extra}");
    }
    out
}

/// PNG files of a folder by image id, `0901` for `0901.png` and `0901x4.png`.
pub fn pngs(folder: &Path, scale: u32) -> Result<BTreeMap<String, PathBuf>, Problem> {
    inputs::folder(folder)?;
    let list = std::fs::read_dir(folder).map_err(|e| unreadable(folder, &e))?;
    let mut found = BTreeMap::new();
    for path in list.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if let (true, Some(stem)) = (is_png, path.file_stem().and_then(|s| s.to_str())) {
            let id = stem.strip_suffix(&format!("x{scale}")).unwrap_or(stem).to_owned();
            found.insert(id, path);
        }
    }
    Ok(found)
}
