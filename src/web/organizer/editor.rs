//! A challenge's file as a form: words in, words out. What the form does not hold (rules, artifacts) stays as the file has it.

use axum::http::StatusCode;
use chrono::{DateTime, Duration, NaiveTime, SecondsFormat, Utc};

use super::super::{App, Error, posted::Posted};
use crate::{
    challenge::{
        file::{
            ChallengeFile, Parcel,
            format::{Artifact, BaselineFile, GateFile, JoiningFile, Moment, PageFile, PhaseFile, QuotaFile, Text},
        },
        phase::{GateRule, GateSource, Visibility},
        protocol::{DeviceClass, Preset, STANDARD},
    },
    ids::AccountId,
    problem::{Problem, printable},
    storage::{BlobHash, TempBlob},
    submission::fact_sheet::{Field, Kind},
};

/// What a new challenge's page of rules begins with.
const RULES: &str = "\
1. An entry is a zip of the enlarged images and the ONNX model that made them.
2. An entry that reaches the gate is ranked. One that does not is listed with what it lacks.
3. The validation and test images are not for training. Say in the fact sheet which data the model was trained on.";

/// Phases, and pages, that a form may have.
const MAX_PARTS: usize = 50;

/// The form, as words.
#[derive(Debug, Clone, Default)]
pub struct Form {
    pub slug: String,
    pub title: String,
    /// IANA name.
    pub time_zone: String,
    pub description: String,
    pub pages: Vec<PageForm>,
    pub policy: String,
    pub terms: String,
    pub max_members: String,
    /// One field a line, see [`fact_lines`].
    pub fact_sheet: String,
    pub phases: Vec<PhaseForm>,
    pub reason: String,
    pub measure_again: bool,
    /// Which button was pressed.
    pub act: String,
    /// A file that was looked at before: see [`stage`].
    pub staged: String,
}

#[derive(Debug, Clone, Default)]
pub struct PageForm {
    pub title: String,
    pub text: String,
}

#[derive(Debug, Clone, Default)]
pub struct PhaseForm {
    pub slug: String,
    pub title: String,
    /// By the clocks of the form's zone, as a browser's field has it: `2030-07-10T23:59`.
    pub opens: String,
    pub closes: String,
    pub visibility: String,
    /// From when on the board stands still, where `visibility` is `frozen`.
    pub frozen_at: String,
    /// `div2k-valid@2`
    pub dataset: String,
    /// Name of a preset; empty: the rules that the phase has.
    pub rules: String,
    pub device: String,
    /// dB; `none`: every entry is ranked; empty: follows the baseline.
    pub gate: String,
    pub daily: String,
    pub total: String,
    pub attempts: String,
    pub baseline: String,
    /// The baseline's model: `none`, `keep`, or one that was sent, see [`stage`].
    pub model: String,
    pub remove: bool,
    /// The challenge has it already: its slug stays.
    pub there: bool,
}

/// Stored models by the names that a file has for them.
type Models = Vec<(String, BlobHash)>;

/// A line of the fact sheet's fields.
fn fact_line(field: &Field) -> String {
    let kind = match &field.kind {
        Kind::Text if field.lines > 1 => format!("text {}", field.lines),
        Kind::Text => "text".into(),
        Kind::Bool => "bool".into(),
        Kind::Number => "number".into(),
        Kind::Choice { options } => format!("choice {}", options.join(", ")),
    };
    let required = if field.required { "required" } else { "optional" };
    format!("{} | {} | {kind} | {required} | {}", field.key, field.label, field.help)
}

/// `key | Label | text | required | help`, a field each.
fn fact_lines(fields: &[Field]) -> String {
    fields.iter().map(fact_line).collect::<Vec<_>>().join("\n")
}

fn read_fact_line(line: &str) -> Option<Field> {
    let mut parts = line.splitn(5, '|').map(str::trim);
    let (key, label, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let (kind, rest) = kind.split_once(' ').unwrap_or((kind, ""));
    let (kind, lines) = match kind {
        "text" if rest.is_empty() => (Kind::Text, 1),
        "text" => (Kind::Text, rest.trim().parse().ok()?),
        "bool" => (Kind::Bool, 1),
        "number" => (Kind::Number, 1),
        "choice" => (Kind::Choice { options: rest.split(',').map(|option| option.trim().to_owned()).collect() }, 1),
        _ => return None,
    };
    let required = match parts.next().unwrap_or("optional") {
        "required" => true,
        "optional" | "" => false,
        _ => return None,
    };
    let help = parts.next().unwrap_or("").to_owned();
    Some(Field { key: key.to_owned(), label: label.to_owned(), kind, required, help, lines })
}

/// A time as a browser's field shows it, by the clocks of a zone.
fn shown(moment: Option<Moment>, zone: &str) -> String {
    let local = match moment {
        None => return String::new(),
        Some(Moment::Local(local)) => local,
        Some(Moment::At(at)) => match zone.parse::<chrono_tz::Tz>() {
            Ok(zone) => at.with_timezone(&zone).naive_local(),
            Err(_) => return at.to_rfc3339_opts(SecondsFormat::Secs, true),
        },
    };
    let whole = local.format("%S").to_string() == "00";
    local.format(if whole { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" }).to_string()
}

/// The word of a value in the file.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A gate as the form has it: a figure, `none`, or nothing where it follows the baseline.
fn gate_words(phase: &PhaseFile) -> String {
    let (psnr, rule) = (phase.gate.and_then(GateFile::psnr), phase.gate.and_then(GateFile::rule));
    super::protocol::gate_words(GateSource::of(psnr, rule, phase.baseline.model.is_some(), None))
}

fn number_words(number: Option<u32>) -> String {
    number.map(|n| n.to_string()).unwrap_or_default()
}

impl Form {
    /// Of a challenge that is there; its texts are in the file itself.
    pub fn of(file: &ChallengeFile) -> Form {
        let words = |text: &Text| match text {
            Text::Inline(words) => words.clone(),
            Text::File(_) => String::new(),
        };
        let time_zone = file.time_zone.clone().unwrap_or_else(|| "UTC".into());
        let phases = file.phases.iter().map(|phase| PhaseForm::of(phase, &time_zone)).collect();
        let pages = file.pages.iter().map(|page| PageForm { title: page.title.clone(), text: words(&page.text) });
        Form {
            slug: file.slug.clone(),
            title: file.title.clone(),
            time_zone,
            description: words(&file.description),
            pages: pages.collect(),
            policy: word(&file.joining.policy),
            terms: words(&file.joining.terms),
            max_members: number_words(file.joining.max_members),
            fact_sheet: fact_lines(file.fact_sheet.as_deref().unwrap_or_default()),
            phases,
            ..Form::default()
        }
    }

    /// A new challenge in the manner of an edition: two months of development from tomorrow on, and a week of hidden tests.
    /// Which images, and what gate on them, nobody can guess: the one is to be chosen, the other follows the baseline.
    pub fn new(preset: &'static Preset, now: DateTime<Utc>) -> Form {
        let year = now.format("%Y");
        let midnight = (now + Duration::days(1)).date_naive().and_time(NaiveTime::MIN);
        let end = midnight + Duration::days(60) + Duration::minutes(23 * 60 + 59);
        let usual = QuotaFile::default();
        let phase = |slug: &str, title: &str, from, to| PhaseForm {
            slug: slug.into(),
            title: title.into(),
            opens: shown(Some(Moment::Local(from)), "UTC"),
            closes: shown(Some(Moment::Local(to)), "UTC"),
            visibility: word(&Visibility::Live),
            rules: preset.name.into(),
            device: DeviceClass::Cpu.as_str().into(),
            daily: number_words(Some(usual.daily)),
            total: number_words(usual.total),
            baseline: preset.baseline.into(),
            model: "none".into(),
            ..PhaseForm::default()
        };
        Form {
            slug: format!("efficient-sr-{year}"),
            title: format!("Efficient Super-Resolution {year}"),
            time_zone: "UTC".into(),
            description: "Super-resolve ×4 with as little as possible, and be at least as good as the baseline.".into(),
            pages: vec![PageForm { title: "Rules".into(), text: RULES.into() }],
            policy: "open".into(),
            phases: vec![
                phase("validation", "Development", midnight, end),
                PhaseForm {
                    visibility: word(&Visibility::Hidden),
                    daily: "3".into(),
                    total: "10".into(),
                    ..phase("test", "Test", end, end + Duration::days(7))
                },
            ],
            ..Form::default()
        }
    }

    /// From what was posted. A field that the form does not have is refused.
    pub fn read(posted: &Posted) -> Result<Form, Error> {
        let mut form = Form::default();
        for (name, value) in &posted.fields {
            // A browser ends lines in its own way; Postgres stores no NUL.
            let value = value.replace("\r\n", "\n").replace('\0', "");
            if form.set(name, value).is_none() {
                let message = format!("unknown field `{}`", printable(name));
                return Err(Error::BadBody(StatusCode::UNPROCESSABLE_ENTITY, message));
            }
        }
        Ok(form)
    }

    fn set(&mut self, name: &str, value: String) -> Option<()> {
        let parts: Vec<&str> = name.split('.').collect();
        let field = match parts[..] {
            [name] => match name {
                "slug" => &mut self.slug,
                "title" => &mut self.title,
                "time_zone" => &mut self.time_zone,
                "description" => &mut self.description,
                "policy" => &mut self.policy,
                "terms" => &mut self.terms,
                "max_members" => &mut self.max_members,
                "fact_sheet" => &mut self.fact_sheet,
                "reason" => &mut self.reason,
                "act" => &mut self.act,
                "staged" => &mut self.staged,
                "measure_again" => {
                    self.measure_again = value == "yes";
                    return Some(());
                }
                _ => return None,
            },
            ["page", at, name] => {
                let page = at_index(&mut self.pages, at)?;
                match name {
                    "title" => &mut page.title,
                    "text" => &mut page.text,
                    _ => return None,
                }
            }
            ["phase", at, name] => {
                let phase = at_index(&mut self.phases, at)?;
                match name {
                    "slug" => &mut phase.slug,
                    "title" => &mut phase.title,
                    "opens" => &mut phase.opens,
                    "closes" => &mut phase.closes,
                    "visibility" => &mut phase.visibility,
                    "frozen_at" => &mut phase.frozen_at,
                    "dataset" => &mut phase.dataset,
                    "rules" => &mut phase.rules,
                    "device" => &mut phase.device,
                    "gate" => &mut phase.gate,
                    "daily" => &mut phase.daily,
                    "total" => &mut phase.total,
                    "attempts" => &mut phase.attempts,
                    "baseline" => &mut phase.baseline,
                    "model" => &mut phase.model,
                    "remove" => {
                        phase.remove = value == "yes";
                        return Some(());
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        *field = value;
        Some(())
    }

    /// Room for one more phase, as the last one is.
    pub fn add_phase(&mut self, preset: &'static Preset) {
        let like = self.phases.last().cloned().unwrap_or_else(|| PhaseForm {
            visibility: "live".into(),
            daily: "5".into(),
            device: "cpu".into(),
            baseline: preset.baseline.into(),
            ..PhaseForm::default()
        });
        let rules = if like.rules.is_empty() { preset.name.into() } else { like.rules.clone() };
        let (slug, title) = (String::new(), String::new());
        let fresh = PhaseForm { slug, title, opens: like.closes.clone(), closes: String::new(), rules, ..like };
        self.phases.push(PhaseForm { model: "none".into(), remove: false, there: false, ..fresh });
    }

    /// The file that the form says, and the models that were sent with it. `base`: the challenge as it is. Every problem is found.
    pub fn file(&self, base: Option<&ChallengeFile>) -> Result<(ChallengeFile, Models), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut models = Vec::new();
        let words = |text: &str| Text::Inline(text.trim().to_owned());
        let pages = self.pages.iter().filter(|p| !p.title.trim().is_empty() || !p.text.trim().is_empty());
        let pages = pages.map(|page| PageFile { title: page.title.trim().into(), text: words(&page.text) }).collect();
        let mut phases = Vec::new();
        for (i, form) in self.phases.iter().enumerate().filter(|(_, p)| !p.remove && !p.slug.trim().is_empty()) {
            let before = base.and_then(|base| base.phases.iter().find(|phase| phase.slug == form.slug.trim()));
            phases.push(form.file(i, &self.time_zone, before, &mut models, &mut problems));
        }
        let policy = read(&self.policy, "joining", &mut problems).unwrap_or_default();
        let file = ChallengeFile {
            slug: self.slug.trim().into(),
            title: self.title.trim().into(),
            time_zone: Some(self.time_zone.trim().to_owned()).filter(|zone| !zone.is_empty()),
            description: words(&self.description),
            joining: JoiningFile {
                policy,
                terms: words(&self.terms),
                max_members: number(&self.max_members, "people in a team", &mut problems),
            },
            pages,
            fact_sheet: self.fields(base, &mut problems),
            phases,
        };
        if problems.is_empty() { Ok((file, models)) } else { Err(problems) }
    }

    /// The fields of the fact sheet; `None`: as they are.
    fn fields(&self, base: Option<&ChallengeFile>, problems: &mut Vec<Problem>) -> Option<Vec<Field>> {
        let present = base.and_then(|base| base.fact_sheet.as_deref());
        let written = self.fact_sheet.trim();
        if present.is_some_and(|present| fact_lines(present).trim() == written) || base.is_none() && written.is_empty()
        {
            return present.map(<[Field]>::to_vec);
        }
        let mut fields = Vec::new();
        for line in written.lines().filter(|line| !line.trim().is_empty()) {
            match read_fact_line(line) {
                Some(field) => fields.push(field),
                None => {
                    let message = format!("“{}” is no field of a fact sheet", printable(line));
                    let hint = "A line is: key | Label | text, text 4, bool, number or choice a, b | required or optional | help.";
                    problems.push(Problem::new("bad_fact_field", message).at("fact sheet").hint(hint));
                }
            }
        }
        Some(fields)
    }

    /// For an option of a select.
    pub fn is_policy(&self, policy: &str) -> bool {
        self.policy == policy
    }
}

impl PhaseForm {
    fn of(phase: &PhaseFile, zone: &str) -> PhaseForm {
        PhaseForm {
            slug: phase.slug.clone(),
            title: phase.title.clone().unwrap_or_else(|| phase.slug.clone()),
            opens: shown(phase.opens, zone),
            closes: shown(phase.closes, zone),
            visibility: word(&phase.visibility),
            frozen_at: shown(phase.frozen_at, zone),
            dataset: phase.dataset.clone().unwrap_or_default(),
            rules: String::new(),
            device: String::new(),
            gate: gate_words(phase),
            daily: phase.quota.daily.to_string(),
            total: number_words(phase.quota.total),
            attempts: number_words(phase.quota.daily_attempts),
            baseline: phase.baseline.name.clone(),
            model: if phase.baseline.model.is_some() { "keep" } else { "none" }.into(),
            remove: false,
            there: true,
        }
    }

    fn file(
        &self,
        index: usize,
        zone: &str,
        before: Option<&PhaseFile>,
        models: &mut Models,
        problems: &mut Vec<Problem>,
    ) -> PhaseFile {
        let slug = self.slug.trim().to_owned();
        let place = |field: &str| format!("phase {slug}: {field}");
        let mut time = |words: &str, present: Option<Moment>, field: &str| {
            let words = words.trim();
            // What the field shows is rounded to seconds; the time itself stays.
            if words.is_empty() || words == shown(present, zone) {
                return present.filter(|_| !words.is_empty());
            }
            let moment = Moment::parse(words);
            if moment.is_none() {
                let message = format!("“{}” is no time as 2030-07-10T23:59", printable(words));
                problems.push(Problem::new("bad_times", message).at(place(field)));
            }
            moment
        };
        let opens = time(&self.opens, before.and_then(|b| b.opens), "opens");
        let closes = time(&self.closes, before.and_then(|b| b.closes), "closes");
        let frozen_at = time(&self.frozen_at, before.and_then(|b| b.frozen_at), "board stands still from");
        let gate = self.gate.trim();
        let gate = match gate {
            // What the form shows is rounded; the figure itself stays.
            _ if !gate.is_empty()
                && before.is_some_and(|b| gate_words(b) == gate && b.gate.and_then(GateFile::psnr).is_some()) =>
            {
                before.and_then(|b| b.gate)
            }
            // What it shows is what is meant, also with another model.
            "" => Some(GateFile::of_rule(GateRule::Baseline)),
            "none" => Some(GateFile::of_rule(GateRule::None)),
            _ => {
                let psnr = gate.parse::<f64>().ok().filter(|psnr| psnr.is_finite());
                if psnr.is_none() {
                    let message = format!("“{}” is neither a PSNR in dB nor none", printable(gate));
                    problems.push(Problem::new("bad_gate", message).at(place("gate")));
                }
                psnr.map(GateFile::figure)
            }
        };
        let model = match self.model.as_str() {
            "none" | "" => None,
            "keep" => before.and_then(|b| b.baseline.model.clone()),
            staged => {
                let name = format!("phase-{index}.onnx");
                // That the words are ours was looked at before.
                if let Some(hash) = staged.split('.').next().and_then(|hash| hash.parse().ok()) {
                    models.push((name.clone(), hash));
                }
                Some(name)
            }
        };
        let dataset = Some(self.dataset.trim().to_owned()).filter(|name| !name.is_empty());
        let same_images = before.is_some_and(|b| b.dataset == dataset);
        let (protocol, preset, rules) = match before {
            Some(before) if self.rules.is_empty() => {
                (before.protocol.clone(), before.preset.clone(), before.rules.clone())
            }
            _ => {
                let name = if self.rules.is_empty() { STANDARD } else { self.rules.as_str() };
                let device = (self.device == DeviceClass::Cuda.as_str())
                    .then(|| toml::Table::from_iter([("device".to_owned(), toml::Value::from(self.device.as_str()))]));
                (name.to_owned(), None, device)
            }
        };
        let title = Some(self.title.trim().to_owned()).filter(|title| !title.is_empty());
        PhaseFile {
            title,
            opens,
            closes,
            visibility: read(&self.visibility, &place("visibility"), problems).unwrap_or(Visibility::Hidden),
            // What is left over of another choice is no time to refuse.
            frozen_at: frozen_at.filter(|_| self.visibility == "frozen"),
            artifacts: vec![Artifact::Results, Artifact::Model],
            dataset,
            hr: None,
            lr: None,
            scale: before.filter(|_| same_images).and_then(|b| b.scale),
            protocol,
            preset,
            rules,
            gate,
            quota: QuotaFile {
                daily: number(&self.daily, &place("evaluations a day"), problems).unwrap_or(QuotaFile::default().daily),
                total: number(&self.total, &place("evaluations in all"), problems),
                daily_attempts: number(&self.attempts, &place("failed runs a day"), problems),
            },
            baseline: BaselineFile { name: self.baseline.trim().into(), model },
            undecided: before.map(|b| b.undecided.clone()).unwrap_or_default(),
            slug,
        }
    }

    /// Of the rules that are chosen.
    pub fn ranks_foreign_images(&self) -> bool {
        Preset::named(&self.rules).is_some_and(|preset| preset.rules(1).ranks_foreign_images())
    }

    /// For an option of a select.
    pub fn is(&self, field: &str, value: &str) -> bool {
        let said = match field {
            "visibility" => &self.visibility,
            "dataset" => &self.dataset,
            "rules" => &self.rules,
            _ => &self.device,
        };
        said == value
    }

    /// What the edition asked for, on its own images.
    pub fn edition_gate(&self) -> Option<String> {
        let psnr = Preset::named(&self.rules)?.gate(self.slug.trim())?;
        Some(format!("On its own images, {} asked for {psnr:.2}.", self.rules.to_uppercase()))
    }

    /// A model was sent with the form before.
    pub fn has_sent(&self) -> bool {
        !matches!(self.model.as_str(), "" | "none" | "keep")
    }

    /// Whether its images are among those that can be chosen.
    pub fn is_listed(&self, datasets: &[(String, String)]) -> bool {
        self.dataset.is_empty() || datasets.iter().any(|(name, _)| *name == self.dataset)
    }
}

/// The part at an index, which is made where it is missing.
fn at_index<'a, T: Default>(parts: &'a mut Vec<T>, at: &str) -> Option<&'a mut T> {
    let at: usize = at.parse().ok().filter(|at| *at < MAX_PARTS)?;
    while parts.len() <= at {
        parts.push(T::default());
    }
    parts.get_mut(at)
}

fn number(words: &str, place: &str, problems: &mut Vec<Problem>) -> Option<u32> {
    let words = words.trim();
    let number = words.parse().ok();
    if number.is_none() && !words.is_empty() {
        problems.push(Problem::new("bad_form", format!("“{}” is no whole number", printable(words))).at(place));
    }
    number
}

fn read<T: serde::de::DeserializeOwned>(word: &str, place: &str, problems: &mut Vec<Problem>) -> Option<T> {
    let read = serde_json::from_value(word.into()).ok();
    if read.is_none() {
        problems.push(Problem::new("bad_form", format!("“{}” is not one of the choices", printable(word))).at(place));
    }
    read
}

/// Keeps a file between two looks at a form: its hash, and a seal that says who sent it. (A blob that no row names is harmless.)
pub async fn stage(app: &App, account: AccountId, sent: TempBlob) -> Result<String, Error> {
    let hash = app.storage.keep(sent).await?;
    Ok(format!("{hash}.{}", app.signer.seal(&owned(account, hash.as_str()))))
}

/// The file that [`stage`] gave these words for, to the same account.
pub fn staged(app: &App, account: AccountId, words: &str) -> Result<BlobHash, Problem> {
    let found = words.split_once('.').and_then(|(hash, seal)| {
        let hash: BlobHash = hash.parse().ok()?;
        app.signer.has_sealed(&owned(account, hash.as_str()), seal).then_some(hash)
    });
    found.ok_or_else(|| Problem::new("upload_not_found", "The file is gone, or not yours: choose it again."))
}

fn owned(account: AccountId, hash: &str) -> String {
    format!("a file of {account}: {hash}")
}

/// Keeps the models that were sent with a form, and sees that those it names are the sender's own.
pub async fn models(
    app: &App,
    account: AccountId,
    form: &mut Form,
    sent: Vec<(String, TempBlob)>,
) -> Result<(), Error> {
    for phase in form.phases.iter().filter(|phase| phase.has_sent()) {
        staged(app, account, &phase.model).map_err(Error::BadUpload)?;
    }
    for (name, file) in sent {
        let at = name.strip_prefix("phase.").and_then(|rest| rest.strip_suffix(".file"));
        let phase = at.and_then(|at| at.parse::<usize>().ok()).and_then(|at| form.phases.get_mut(at));
        let Some(phase) = phase else {
            return Err(Error::BadUpload(Problem::new("unexpected_file", "The form has no such file.").at(&name)));
        };
        phase.model = stage(app, account, file).await?;
    }
    Ok(())
}

/// The form's file with the models that it names.
pub fn parcel(app: &App, form: &Form, base: Option<&ChallengeFile>) -> Result<Parcel, Error> {
    let (file, models) =
        form.file(base).map_err(|problems| Error::Problems(StatusCode::UNPROCESSABLE_ENTITY, problems))?;
    Ok(Parcel::with_models(&app.storage, file, &models)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_back_as_they_are_shown() {
        for line in [
            "method | Method | text | required | Name of the network",
            "about | About | text 6 | optional | what | it is",
            "extra | Extra data | bool | optional | ",
            "kind | Kind | choice a, b c | required | ",
            "gpus | GPUs | number | optional | how many",
        ] {
            let field = read_fact_line(line).expect(line);
            assert_eq!(fact_line(&field), line);
        }
        for line in ["method", "a | b | texts", "a | b | text x", "a | b | text | maybe"] {
            assert!(read_fact_line(line).is_none(), "{line}");
        }
    }
}
