//! A challenge of the database as its file: applied again, it changes nothing.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use sqlx::PgConnection;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    format::{
        Artifact, BaselineFile, ChallengeFile, GateFile, JoiningFile, Moment, PageFile, PhaseFile, QuotaFile, Text,
        TextFile, write,
    },
    rules,
    setup::{Current, CurrentPhase, PhaseSetup},
};
use crate::{
    challenge::{Challenge, phase::GateRule},
    storage::{BlobHash, Storage},
};

/// The file, and what lies beside it.
#[derive(Debug, Clone)]
pub struct Exported {
    /// `challenge.toml`.
    pub toml: String,
    /// Texts by name, as `pages/overview.md`; none where the file holds them itself.
    pub texts: Vec<(String, String)>,
    /// Models by name, as `msrresnet.onnx`.
    pub models: Vec<(String, BlobHash)>,
}

impl Exported {
    /// All of it as a zip with one folder.
    pub fn zip(&self, storage: &Storage, folder: &str, to: impl Write) -> io::Result<()> {
        let options = SimpleFileOptions::default();
        let mut zip = ZipWriter::new_stream(BufWriter::with_capacity(64 << 10, to));
        zip.start_file(format!("{folder}/challenge.toml"), options)?;
        zip.write_all(self.toml.as_bytes())?;
        for (name, words) in &self.texts {
            zip.start_file(format!("{folder}/{name}"), options)?;
            zip.write_all(words.as_bytes())?;
        }
        for (name, hash) in &self.models {
            zip.start_file(format!("{folder}/{name}"), options)?;
            io::copy(&mut File::open(storage.path(hash))?, &mut zip)?;
        }
        zip.finish()?.into_inner().flush()
    }
}

/// With `beside`, long texts and baselines' models are files of their own; else the one file says all, and names models by hash.
pub async fn export(conn: &mut PgConnection, challenge: &Challenge, beside: bool) -> anyhow::Result<Exported> {
    let current = Current::load(conn, challenge).await?;
    let setup = &current.setup;
    let mut exported = Exported { toml: String::new(), texts: Vec::new(), models: Vec::new() };
    let mut text = |name: String, words: &str| match beside && !words.is_empty() {
        false => Text::Inline(words.to_owned()),
        true => {
            exported.texts.push((name.clone(), format!("{}\n", words.trim_end())));
            Text::File(TextFile { file: name.into() })
        }
    };
    let description = text("description.md".into(), &setup.description);
    let terms = text("terms.md".into(), &setup.joining.terms);
    let pages = setup.pages.iter().enumerate().map(|(i, page)| PageFile {
        title: page.title.clone(),
        text: text(format!("pages/{}-{}.md", i + 1, plain(&page.title)), &page.body),
    });
    let mut file = ChallengeFile {
        slug: setup.slug.clone(),
        title: setup.title.clone(),
        time_zone: None,
        description,
        pages: pages.collect(),
        joining: JoiningFile { policy: setup.joining.policy, terms, max_members: setup.joining.max_members },
        fact_sheet: setup.fact_sheet.clone(),
        phases: Vec::new(),
    };
    for (phase, about) in setup.phases.iter().zip(&current.phases) {
        let mut written = of_phase(phase, about)?;
        if let (true, Some((hash, _))) = (beside, &phase.baseline_model) {
            let known = exported.models.iter().find(|(_, other)| other == hash).map(|(name, _)| name.clone());
            let name = known.unwrap_or_else(|| {
                let name = format!("{}.onnx", plain(&phase.baseline_name));
                let taken = exported.models.iter().any(|(other, _)| *other == name);
                let name = if taken { format!("{}-{}.onnx", plain(&phase.baseline_name), phase.slug) } else { name };
                exported.models.push((name.clone(), hash.clone()));
                name
            });
            written.baseline.model = Some(name);
        }
        file.phases.push(written);
    }
    exported.toml = write(&file)?;
    Ok(exported)
}

fn of_phase(phase: &PhaseSetup, about: &CurrentPhase) -> anyhow::Result<PhaseFile> {
    let (preset, rules) = rules::write(&phase.protocol, &phase.rules)?;
    let gate = match phase.gate_psnr {
        Some(psnr) => Some(GateFile::figure(psnr)),
        None if about.has_baseline_entry && phase.baseline_model.is_none() => {
            Some(GateFile::of_rule(phase.gate_rule.unwrap_or(GateRule::Baseline)))
        }
        None => phase.gate_rule.map(GateFile::of_rule),
    };
    Ok(PhaseFile {
        slug: phase.slug.clone(),
        title: (phase.title != phase.slug).then(|| phase.title.clone()),
        opens: phase.opens_at.map(Moment::At),
        closes: phase.closes_at.map(Moment::At),
        visibility: phase.visibility,
        frozen_at: phase.frozen_at.map(Moment::At),
        artifacts: vec![Artifact::Results, Artifact::Model],
        dataset: Some(phase.dataset.words()),
        hr: None,
        lr: None,
        scale: Some(phase.dataset.scale),
        protocol: phase.protocol.clone(),
        preset,
        rules,
        gate,
        quota: QuotaFile::of(phase.limits),
        baseline: BaselineFile {
            name: phase.baseline_name.clone(),
            model: phase.baseline_model.as_ref().map(|(hash, _)| format!("sha256:{hash}")),
        },
        undecided: Vec::new(),
    })
}

/// A title as part of a file's name.
fn plain(title: &str) -> String {
    let words: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words = words.split('-').filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-");
    let cut: String = words.chars().take(60).collect();
    if cut.is_empty() { "text".into() } else { cut }
}
