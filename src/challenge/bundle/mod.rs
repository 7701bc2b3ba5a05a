//! Competition bundles of Codabench (version 2) and CodaLab (1.5): read, and turned into a challenge's file with a report that
//! says of each field what became of it. Nothing in a bundle is run.
//!
//! ```text
//! bundle.zip ─▶ yaml (bounded) ─▶ codabench | codalab ─▶ Competition ─▶ draft ─▶ challenge.toml, texts, images, report.md
//!                                 what each version says   of either     └ html → Markdown, dates → UTC, columns → our figures
//! ```

mod codabench;
mod codalab;
mod contents;
mod dates;
mod draft;
mod fields;
mod html;
mod images;
mod report;
mod text;
mod yaml;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use self::{contents::Contents, draft::Draft, fields::Fields, yaml::Node};
use super::file::format::{self, ChallengeFile, Moment, Text};
use crate::{
    config::Limits,
    evaluation::results::unpack::{Room, list, unpack},
    problem::Problem,
};

pub use self::{
    html::to_markdown,
    report::{Outcome, Report, Row},
};

/// Bytes of `competition.yaml`. The longest that are known have 30,000.
const MAX_YAML: u64 = 1 << 20;

/// Folders in one another that a bundle may lie in.
const MAX_FOLDERS: usize = 4;

/// What an organizer says of a bundle besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The new challenge's slug; `None`: from its title.
    pub slug: Option<&'a str>,
    /// Name of the dataset of those phases for which the bundle has no images.
    pub dataset: Option<&'a str>,
}

/// What became of a bundle. The files lie in the folder that was given, `challenge.toml` at its top.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The challenge that `challenge.toml` makes; texts are files of their own.
    pub file: ChallengeFile,
    /// By their names in it, Markdown.
    pub texts: Vec<(PathBuf, String)>,
    /// Relative to the folder, in order.
    pub files: Vec<PathBuf>,
    pub report: Report,
    /// What stands in the way of applying it, a sentence each.
    pub left: Vec<String>,
}

impl Imported {
    /// The file with its texts inside: all of it but the images, which it still names as files.
    pub fn alone(&self) -> anyhow::Result<String> {
        let mut file = self.file.clone();
        let pages = file.pages.iter_mut().map(|page| &mut page.text);
        for text in pages.chain([&mut file.description, &mut file.joining.terms]) {
            let Text::File(named) = text else { continue };
            if let Some((_, words)) = self.texts.iter().find(|(name, _)| *name == named.file) {
                *text = Text::Inline(words.clone());
            }
        }
        format::write(&file)
    }

    /// The files as a zip, in a folder of the challenge's slug; they lie in `folder`.
    pub fn zip(&self, folder: &Path, to: impl Write + Seek) -> io::Result<()> {
        let mut zip = ZipWriter::new(to);
        for name in &self.files {
            // PNGs, and zips of them, do not shrink further.
            let packed = name.starts_with("images");
            let method = if packed { CompressionMethod::Stored } else { CompressionMethod::Deflated };
            let options = SimpleFileOptions::default().compression_method(method);
            let from = folder.join(name);
            for file in if from.is_dir() { within(&from)? } else { vec![from] } {
                let inner = file.strip_prefix(folder).unwrap_or(&file);
                zip.start_file(format!("{}/{}", self.file.slug, inner.display()), options)?;
                io::copy(&mut File::open(&file)?, &mut zip)?;
            }
        }
        zip.finish()?;
        Ok(())
    }
}

/// The files of a folder of images.
fn within(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a bundle and writes into the empty folder `out` what `upscore admin challenge apply` makes the challenge of.
/// `Ok(Err(problem))` is the bundle's fault.
///
/// Codes: `bad_bundle`, and those of an archive.
pub fn import(zip: &Path, out: &Path, wish: Wish<'_>) -> anyhow::Result<Result<Imported, Problem>> {
    let limits = Limits::default();
    let scratch = tempfile::tempdir_in(out).context("making a scratch folder")?;
    let first = scratch.path().join("first");
    fs::create_dir(&first)?;
    let room = Room { entries: limits.dataset_files, bytes: 16 * MAX_YAML };
    let found = match unpack(zip, &first, room, is_competition)? {
        Ok(found) => found,
        Err(problem) => return Ok(Err(problem)),
    };
    let Some(path) = found.files.iter().min_by_key(|path| path.components().count()) else {
        let problem = Problem::new("bad_bundle", "the zip has no `competition.yaml` at its top, or in a folder there");
        return Ok(Err(problem.hint("Zip the folder of the bundle as Codabench and CodaLab take it.")));
    };
    if fs::metadata(first.join(path))?.len() > MAX_YAML {
        let message = format!("`competition.yaml` has more than {MAX_YAML} bytes");
        return Ok(Err(Problem::new("bad_bundle", message)));
    }
    let Some((text, encoding)) = text::decode(&fs::read(first.join(path))?) else {
        let problem =
            Problem::new("bad_bundle", "the file is text in no encoding that is known").at("competition.yaml");
        return Ok(Err(problem.hint("Save it as UTF-8.")));
    };
    let tree = match yaml::parse(&text) {
        Ok(tree) => tree,
        Err(problem) => return Ok(Err(problem)),
    };

    let root = path.parent().unwrap_or(Path::new("")).to_owned();
    let named = named(&tree);
    let second = scratch.path().join("second");
    fs::create_dir(&second)?;
    let room = Room { entries: limits.dataset_files, bytes: limits.dataset_bytes };
    let wanted = |name: &str| {
        let Ok(name) = Path::new(name).strip_prefix(&root) else { return false };
        let png = name.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
        named.contains(name) || png && name.ancestors().skip(1).any(|folder| named.contains(folder))
    };
    let found = match unpack(zip, &second, room, wanted)? {
        Ok(found) => found,
        Err(problem) => return Ok(Err(problem)),
    };
    let contents = match list(zip, limits.dataset_files)? {
        Ok(names) => Contents::new(names, &root),
        Err(problem) => return Ok(Err(problem)),
    };
    let bundle = Bundle { folder: &second.join(&root), contents, order: order(&tree), slug: wish.slug };
    let mut draft = match read(tree, bundle) {
        Ok(draft) => draft,
        Err(problem) => return Ok(Err(problem)),
    };
    if let Some(encoding) = encoding {
        draft.report.changed("competition.yaml", "", format!("read as {encoding}, as it is not UTF-8"));
    }
    for name in found.twice {
        draft.report.changed("the zip", &name, "it is there more than once: the last one counts");
    }
    draft.choose_images(wish.dataset)?;
    Ok(Ok(write(draft, out)?))
}

/// What a `competition.yaml` says, with the texts that lie in `folder`. Codes: `bad_bundle`.
pub fn translate(text: &str, folder: &Path) -> Result<(ChallengeFile, Report), Problem> {
    let tree = yaml::parse(text)?;
    let bundle = Bundle { folder, contents: Contents::default(), order: order(&tree), slug: None };
    let draft = read(tree, bundle)?;
    Ok((draft.file, draft.report))
}

/// What is known of a bundle beside its tree.
struct Bundle<'a> {
    /// Where it is unpacked.
    folder: &'a Path,
    contents: Contents,
    order: dates::Order,
    slug: Option<&'a str>,
}

/// What all its dates tell of their order.
fn order(tree: &Node) -> dates::Order {
    let mut found = Vec::new();
    tree.of_keys(&["start", "end", "start_date", "end_date"], &mut |text| found.push(text.to_owned()));
    dates::order(found.iter().map(String::as_str))
}

fn read(tree: Node, bundle: Bundle<'_>) -> Result<Draft, Problem> {
    let mut fields = Fields::open("", tree);
    let (version, said) = (fields.text("version"), fields.has("html") || fields.has("leaderboard"));
    let major = version.as_deref().and_then(|v| v.trim().split('.').next()?.parse::<u32>().ok());
    match major {
        Some(2) => codabench::read(fields, bundle),
        Some(1) => codalab::read(fields, bundle),
        // Without a version: told apart by keys that only one of them has.
        None if said || !fields.has("tasks") => codalab::read(fields, bundle),
        None => codabench::read(fields, bundle),
        Some(_) => {
            let message = format!("version {} is neither Codabench's 2 nor CodaLab's 1.5", version.unwrap_or_default());
            Err(Problem::new("bad_bundle", message).at("version"))
        }
    }
}

fn is_competition(name: &str) -> bool {
    let mut parts = name.split('/').rev();
    let file = parts.next().unwrap_or_default().to_ascii_lowercase();
    matches!(file.as_str(), "competition.yaml" | "competition.yml") && parts.count() <= MAX_FOLDERS
}

/// All that could be the path of a file in the bundle.
fn named(tree: &Node) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    tree.scalars(&mut |text| {
        found.extend(inside(text).filter(|path| path.components().next().is_some()));
    });
    found
}

/// A path of a bundle, as its parts; `None` where it leads out of it.
fn inside(path: &str) -> Option<PathBuf> {
    let path = path.trim();
    let drive = path.as_bytes().get(1) == Some(&b':');
    let parts = || path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
    let out = drive || path.starts_with(['/', '\\']) || parts().any(|part| part == "..") || path.contains('\0');
    (!out && path.len() <= 512).then(|| parts().collect())
}

/// What stands in the way of applying it, a sentence each.
fn left(file: &ChallengeFile) -> Vec<String> {
    let mut left = Vec::new();
    for phase in &file.phases {
        let slug = &phase.slug;
        if phase.hr.is_none() && phase.dataset.is_none() {
            left.push(format!("phase {slug}: name a `dataset`, or a folder or zip of HR PNGs as `hr`."));
        }
        left.extend(phase.undecided.iter().map(|what| format!("phase {slug}: {what}")));
        if let (Some(Moment::At(opens)), Some(Moment::At(closes))) = (phase.opens, phase.closes)
            && closes <= opens
        {
            left.push(format!("phase {slug}: it would close before it opens: set `opens` or `closes`."));
        }
    }
    left
}

fn write(draft: Draft, out: &Path) -> anyhow::Result<Imported> {
    let Draft { file, texts, images, report, .. } = draft;
    let mut files = Vec::new();
    let mut put = |name: &Path, bytes: &[u8]| {
        let path = out.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        files.push(name.to_owned());
        made.with_context(|| format!("writing {}", path.display()))
    };
    let left = left(&file);
    let head = match left.is_empty() {
        true => String::new(),
        false => {
            let lines: String = left.iter().map(|line| format!("# - {}\n", line.replace(['\n', '\r'], " "))).collect();
            format!("# Before it can be applied:\n{lines}\n")
        }
    };
    put(Path::new("challenge.toml"), format!("{head}{}", format::write(&file)?).as_bytes())?;
    for (name, words) in &texts {
        put(name, format!("{words}\n").as_bytes())?;
    }
    put(Path::new("report.md"), report.markdown(&file.title).as_bytes())?;
    for (from, name) in &images {
        let to = out.join(name);
        fs::create_dir_all(to.parent().unwrap_or(out))?;
        fs::rename(from, &to).with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
        files.push(name.clone());
    }
    files.sort();
    Ok(Imported { file, texts, files, report, left })
}
