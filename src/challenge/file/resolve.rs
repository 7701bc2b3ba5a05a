//! From a file to what it means: texts read, images and models stored, names looked up. Nothing here is seen by anybody yet.

use std::{io::Read, path::Path};

use anyhow::Context;
use sqlx::{PgConnection, PgPool};

use super::{
    format::{Artifact, ChallengeFile, PhaseFile, Text},
    rules,
    setup::{Current, DatasetChoice, Images, PhaseSetup, Setup},
    source::{Reach, Source},
};
use crate::{
    challenge::{
        dataset::{self, Summary},
        images,
        joining::Joining,
        page::Page,
        vet::{self, Stated},
    },
    evaluation::model,
    problem::Problem,
    storage::{BlobHash, Storage},
    submission::vetting,
};

/// Characters of a text.
const MAX_TEXT: usize = 100_000;
/// Phases, and pages, of a challenge.
const MAX_PARTS: usize = 50;

/// Every problem is found, not only the first. No connection is held while images are read and models vetted.
pub async fn resolve(
    pool: &PgPool,
    storage: &Storage,
    file: &ChallengeFile,
    source: &Source,
    reach: &Reach,
    current: Option<&Current>,
) -> anyhow::Result<Result<Setup, Vec<Problem>>> {
    let mut problems = Vec::new();
    if file.phases.len() > MAX_PARTS || file.pages.len() > MAX_PARTS {
        let message = format!("a challenge has at most {MAX_PARTS} phases and {MAX_PARTS} pages");
        return Ok(Err(vec![Problem::new("bad_file", message)]));
    }
    let description = text(&file.description, source, "description", &mut problems)?;
    let terms = text(&file.joining.terms, source, "joining.terms", &mut problems)?;
    let mut pages = Vec::new();
    for (i, page) in file.pages.iter().enumerate() {
        let place = format!("page {}", i + 1);
        let title = page.title.trim().to_owned();
        if !(1..=100).contains(&title.chars().count()) {
            problems.push(Problem::new("bad_title", "the title of a page has 1 to 100 characters").at(&place));
        }
        pages.push(Page { title, body: text(&page.text, source, &place, &mut problems)? });
    }
    if file.joining.max_members.is_some_and(|n| !(1..=1000).contains(&n)) {
        problems.push(Problem::new("bad_members", "a team has 1 to 1000 people at most").at("joining.max_members"));
    }
    let mut phases = Vec::new();
    for phase in &file.phases {
        let mut resolver = Resolver { pool, storage, file, source, reach, current };
        match resolver.phase(phase).await? {
            Ok(phase) => phases.push(phase),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    Ok(Ok(Setup {
        slug: file.slug.clone(),
        title: file.title.clone(),
        description,
        pages,
        joining: Joining { policy: file.joining.policy, terms, max_members: file.joining.max_members },
        fact_sheet: file.fact_sheet.clone(),
        phases,
    }))
}

struct Resolver<'a> {
    pool: &'a PgPool,
    storage: &'a Storage,
    file: &'a ChallengeFile,
    source: &'a Source,
    reach: &'a Reach,
    current: Option<&'a Current>,
}

impl Resolver<'_> {
    async fn phase(&mut self, phase: &PhaseFile) -> anyhow::Result<Result<PhaseSetup, Vec<Problem>>> {
        let place = format!("phase {}", phase.slug);
        let mut problems = Vec::new();
        let mut time = |moment: Option<super::format::Moment>, key: &str| {
            let at = moment.map(|m| m.utc(self.file.time_zone.as_deref(), &format!("{place}.{key}")));
            at.transpose().unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
        };
        let (opens_at, closes_at) = (time(phase.opens, "opens"), time(phase.closes, "closes"));
        let frozen_at = time(phase.frozen_at, "frozen_at");
        for left in &phase.undecided {
            let problem = Problem::new("undecided", left.clone()).at(format!("{place}.undecided"));
            problems.push(problem.hint("Set what it names, then remove the sentence from `undecided`."));
        }
        if ![Artifact::Results, Artifact::Model].iter().all(|a| phase.artifacts.contains(a)) {
            let message = "an upload holds results and model: both are measured";
            problems.push(Problem::new("bad_artifacts", message).at(format!("{place}.artifacts")));
        }
        if phase.gate.is_some_and(|gate| !gate.is_clear()) {
            let message = "a gate states `psnr`, or `follows` the baseline, or is \"none\": one of the three";
            problems.push(Problem::new("bad_gate", message).at(format!("{place}.gate")));
        }
        let dataset = self.dataset(phase, &place).await?.map_err(|found| problems.extend(found)).ok();
        let model = self.model(phase, &place).await?.map_err(|found| problems.extend(found)).ok();
        let scale = dataset.as_ref().map(|d| d.scale).or(phase.scale).unwrap_or(4);
        let rules = rules::read(&phase.protocol, phase.preset.as_deref(), scale, phase.rules.as_ref(), &place);
        let rules = rules.map_err(|problem| problems.push(problem)).ok();
        if let Some(rules) = &rules
            && rules.fidelity.scale != scale
        {
            let message = format!("the rules are for ×{}, the images are ×{scale}", rules.fidelity.scale);
            problems.push(Problem::new("bad_scale", message).at(format!("{place}.rules.fidelity.scale")));
        }
        let title = phase.title.clone().unwrap_or_else(|| phase.slug.clone());
        let (gate_psnr, gate_rule) = (phase.gate.and_then(|gate| gate.psnr()), phase.gate.and_then(|gate| gate.rule()));
        if let Some(rules) = &rules {
            let smallest = match &dataset {
                Some(dataset) => dataset.smallest_side(&mut *self.pool.acquire().await?).await?,
                None => None,
            };
            problems.extend(vet::phase(Stated {
                slug: &phase.slug,
                title: &title,
                opens_at,
                closes_at,
                frozen_at,
                visibility: phase.visibility,
                limits: phase.quota.limits(),
                protocol: &phase.protocol,
                rules,
                gate_psnr,
                // What says two things was refused above.
                gate_rule: gate_rule.filter(|_| gate_psnr.is_none()),
                baseline_name: &phase.baseline.name,
                smallest,
            }));
        }
        let (true, Some(dataset), Some(baseline_model), Some(rules)) = (problems.is_empty(), dataset, model, rules)
        else {
            return Ok(Err(problems));
        };
        Ok(Ok(PhaseSetup {
            slug: phase.slug.clone(),
            title,
            opens_at,
            closes_at,
            limits: phase.quota.limits(),
            visibility: phase.visibility,
            frozen_at,
            dataset,
            protocol: phase.protocol.clone(),
            rules,
            gate_psnr,
            gate_rule,
            baseline_name: phase.baseline.name.clone(),
            baseline_model,
        }))
    }

    async fn dataset(&mut self, phase: &PhaseFile, place: &str) -> anyhow::Result<Result<DatasetChoice, Vec<Problem>>> {
        let one = |problem: Problem| Ok(Err(vec![problem]));
        let Some(hr) = &phase.hr else {
            let Some(full) = &phase.dataset else {
                let message = "the phase names no dataset, and no `hr` to make one of";
                return one(Problem::new("dataset_missing", message).at(place));
            };
            let found =
                dataset::by_name(&mut *self.pool.acquire().await?, full).await?.filter(|found| self.may_use(found));
            let Some(found) = found else {
                let problem = Problem::new("dataset_not_found", format!("there is no dataset {full}")).at(place);
                return one(problem.hint("`upscore admin dataset list` lists them; or name a folder or zip as `hr`."));
            };
            if phase.scale.is_some_and(|scale| scale != found.scale) {
                let message = format!("{full} is of ×{}", found.scale);
                return one(Problem::new("bad_scale", message).at(format!("{place}.scale")));
            }
            return Ok(Ok(DatasetChoice::stored(found)));
        };
        let name = phase.dataset.clone().unwrap_or_else(|| format!("{}/{}", self.file.slug, phase.slug));
        if let Err(problem) = dataset::vet_name(&name) {
            return one(problem);
        }
        // A name of others is not theirs to make a version of: by it, their images would become the newest.
        let newest = dataset::by_name(&mut *self.pool.acquire().await?, &name).await?;
        if newest.is_some_and(|found| !self.may_use(&found)) {
            let problem = Problem::new("dataset_taken", "another challenge has a dataset of this name");
            return one(problem.at(&name));
        }
        let scale = phase.scale.unwrap_or(4);
        if !(1..=16).contains(&scale) {
            return one(Problem::new("bad_scale", "a scale is 1 to 16").at(format!("{place}.scale")));
        }
        let found = (self.source.find(hr), phase.lr.as_ref().map(|lr| self.source.find(lr)).transpose());
        let (hr, lr) = match found {
            (Ok(hr), Ok(lr)) => (hr, lr),
            (hr, lr) => return Ok(Err([hr.err(), lr.err()].into_iter().flatten().collect())),
        };
        let images = match images::ingest(self.storage, &hr, lr.as_deref(), scale).await? {
            Ok(images) => images,
            Err(problems) => return Ok(Err(problems)),
        };
        Ok(Ok(choice(&mut *self.pool.acquire().await?, &name, scale, images).await?))
    }

    fn may_use(&self, dataset: &Summary) -> bool {
        let Reach::Only(_) = self.reach else { return true };
        self.current.is_some_and(|current| dataset.is_of(&current.setup.slug))
    }

    async fn model(
        &mut self,
        phase: &PhaseFile,
        place: &str,
    ) -> anyhow::Result<Result<Option<(BlobHash, u64)>, Vec<Problem>>> {
        let Some(named) = &phase.baseline.model else { return Ok(Ok(None)) };
        if let Some(hash) = named.strip_prefix("sha256:") {
            // Only what this challenge has already: a hash is no proof that whoever states it may have the file.
            let known = self.current.iter().flat_map(|c| &c.setup.phases).filter_map(|p| p.baseline_model.as_ref());
            return Ok(match known.into_iter().find(|(known, _)| known.as_str() == hash) {
                Some(known) => Ok(Some(known.clone())),
                None => {
                    let problem =
                        Problem::new("model_not_found", "no phase of this challenge has this baseline's model");
                    Err(vec![problem.at(format!("{place}.baseline.model")).hint("Name the ONNX file.")])
                }
            });
        }
        let path = match self.source.find(Path::new(named)) {
            Ok(path) => path,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let bytes = tokio::fs::metadata(&path).await.map_or(0, |file| file.len());
        let share = vetting::share(vetting::of_model(bytes)).await?;
        let load = move || {
            let loaded = model::load(&path, true);
            (loaded, share)
        };
        let (loaded, _share) = tokio::task::spawn_blocking(load).await?;
        Ok(match loaded {
            Ok(model) => Ok(Some((self.storage.put(&model.bytes).await?, model.bytes.len() as u64))),
            Err(found) => Err(found),
        })
    }
}

/// The version that has these images, or one to be made.
pub async fn choice(
    conn: &mut PgConnection,
    name: &str,
    scale: u32,
    images: Vec<dataset::Image>,
) -> sqlx::Result<DatasetChoice> {
    let sha256 = dataset::sha256_of(scale, &images);
    let versions = dataset::list(conn).await?;
    let same = versions.into_iter().find(|d| d.name == name && d.sha256 == sha256);
    Ok(match same {
        Some(found) => DatasetChoice::stored(found),
        None => {
            DatasetChoice { name: name.to_owned(), scale, count: images.len(), sha256, images: Images::New(images) }
        }
    })
}

fn text(text: &Text, source: &Source, place: &str, problems: &mut Vec<Problem>) -> anyhow::Result<String> {
    let words = match text {
        Text::Inline(words) => words.clone(),
        Text::File(named) => {
            let path = match source.find(&named.file) {
                Ok(path) => path,
                Err(problem) => {
                    problems.push(problem);
                    return Ok(String::new());
                }
            };
            let mut bytes = Vec::new();
            let file = std::fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let read = file.take(4 * MAX_TEXT as u64 + 1).read_to_end(&mut bytes);
            match read.ok().and_then(|_| String::from_utf8(bytes).ok()) {
                Some(words) => words,
                None => {
                    let problem = Problem::new("file_unreadable", "the file is no text in UTF-8");
                    problems.push(problem.at(named.file.display().to_string()));
                    return Ok(String::new());
                }
            }
        }
    };
    // Postgres stores no NUL.
    if words.chars().count() > MAX_TEXT || words.contains('\0') {
        let message = format!("a text has at most {MAX_TEXT} characters, and no NUL");
        problems.push(Problem::new("text_too_long", message).at(place));
    }
    Ok(words.replace("\r\n", "\n").trim().to_owned())
}
