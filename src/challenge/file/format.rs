//! `challenge.toml`: a whole challenge as text. Every key is here with what it means; a key that is not is refused.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    challenge::{
        joining::JoinPolicy,
        phase::{GateRule, QuotaLimits, Visibility},
        protocol::STANDARD,
    },
    problem::Problem,
    submission::fact_sheet::Field,
};

/// A challenge. Paths are relative to the file's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeFile {
    /// Lower-case letters, digits and hyphens; in addresses. It names the challenge: with another slug, the file makes another.
    pub slug: String,
    /// 1 to 200 characters.
    pub title: String,
    /// IANA name of the zone of all times that state none, as `Europe/Paris`; absent: such times are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Markdown at the top of the challenge's page.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub description: Text,
    /// Who may take part; absent: everybody, without terms.
    #[serde(default, skip_serializing_if = "is_default")]
    pub joining: JoiningFile,
    /// Further pages of the challenge, in their order.
    #[serde(default, rename = "page", skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageFile>,
    /// Fields that teams fill in; absent: left as it is, which for a new challenge is what the reports of the field ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact_sheet: Option<Vec<Field>>,
    /// In their order.
    #[serde(default, rename = "phase")]
    pub phases: Vec<PhaseFile>,
}

/// Markdown, or the file that it is in: `terms = "…"` or `terms = { file = "terms.md" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected text, or { file = \"…\" }")]
pub enum Text {
    Inline(String),
    File(TextFile),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// UTF-8, Markdown.
    pub file: PathBuf,
}

impl Text {
    fn is_empty(&self) -> bool {
        matches!(self, Text::Inline(text) if text.is_empty())
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::Inline(String::new())
    }
}

/// Who may take part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoiningFile {
    /// `open`: whoever accepts the terms; `approval`: an organizer lets each account in.
    pub policy: JoinPolicy,
    /// Markdown that everybody accepts who joins.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub terms: Text,
    /// People in a team at most; absent: no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_members: Option<u32>,
}

/// A page of the challenge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageFile {
    /// 1 to 100 characters.
    pub title: String,
    /// Markdown.
    pub text: Text,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseFile {
    /// As the challenge's; unique in it. It names the phase: with another slug, the file makes another.
    pub slug: String,
    /// Absent: the slug.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Absent: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens: Option<Moment>,
    /// Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closes: Option<Moment>,
    /// Who sees figures until an organizer publishes them. `live`: everybody, at once; `own`: a team its own; `frozen`: everybody,
    /// but from `frozen_at` until the phase closes the board stands still and a team sees its own; `after-end`: organizers until
    /// the phase closes, then everybody; `hidden`: organizers.
    #[serde(default = "live")]
    pub visibility: Visibility,
    /// From when on the board stands still: with `visibility = "frozen"`, and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_at: Option<Moment>,
    /// What an upload must hold: `results` and `model`, the zip of images and the ONNX model. Both are measured, so both.
    #[serde(default = "both")]
    pub artifacts: Vec<Artifact>,
    /// A dataset by its name, as `div2k-valid`, or by name and version, as `div2k-valid@2`; by name alone, the newest version.
    /// With `hr`: the name of the dataset that is made; absent, `CHALLENGE/PHASE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Folder or zip of the hidden HR PNGs. The same images make the same version again, others a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hr: Option<PathBuf>,
    /// Folder or zip of the LR PNGs; absent: MATLAB-style bicubic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<PathBuf>,
    /// HR size over LR size, 1 to 16; absent: that of the named dataset, else 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<u32>,
    /// Name of the rule set, without a version: rules that it has already are that version, others a new one.
    #[serde(default = "standard")]
    pub protocol: String,
    /// What `rules` begins from: a preset's name, or `none`; absent: the preset called as the protocol, else `standard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What differs from the preset, in the form of the API's `rules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<toml::Table>,
    /// What an entry must reach to be ranked: `{ psnr = 29.0 }`, `{ follows = "baseline" }`, or `"none"`: every entry is ranked.
    /// Absent: follows the baseline where the phase has its model or entry, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateFile>,
    /// Evaluations a team; absent: the defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub quota: QuotaFile,
    /// Absent: a baseline by the name of `Baseline`, without a model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub baseline: BaselineFile,
    /// What an import could not decide, a sentence each. The file is refused while one is left: set what it names, then remove it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<String>,
}

impl PhaseFile {
    /// One that states nothing but its slug.
    pub fn new(slug: &str) -> PhaseFile {
        PhaseFile {
            slug: slug.to_owned(),
            title: None,
            opens: None,
            closes: None,
            visibility: live(),
            frozen_at: None,
            artifacts: both(),
            dataset: None,
            hr: None,
            lr: None,
            scale: None,
            protocol: standard(),
            preset: None,
            rules: None,
            gate: None,
            quota: QuotaFile::default(),
            baseline: BaselineFile::default(),
            undecided: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Artifact {
    Results,
    Model,
}

/// What an entry must reach to be ranked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected { psnr = … }, { follows = \"baseline\" }, or \"none\"")]
pub enum GateFile {
    Word(NoGate),
    Stated(GateStated),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoGate {
    /// Every entry is ranked.
    None,
}

/// One of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateStated {
    /// A stated figure, dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    /// `baseline`: its measured PSNR, and nobody is ranked before there is one. Its model is measured for it; without a model, an
    /// organizer marks an entry as the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
}

impl GateFile {
    pub fn figure(psnr: f64) -> GateFile {
        GateFile::Stated(GateStated { psnr: Some(psnr), follows: None })
    }

    pub fn of_rule(rule: GateRule) -> GateFile {
        match rule {
            GateRule::None => GateFile::Word(NoGate::None),
            GateRule::Baseline => GateFile::Stated(GateStated { psnr: None, follows: Some(Follows::Baseline) }),
        }
    }

    /// Whether it says one thing.
    pub fn is_clear(self) -> bool {
        !matches!(self, GateFile::Stated(GateStated { psnr, follows }) if psnr.is_some() == follows.is_some())
    }

    /// dB.
    pub fn psnr(self) -> Option<f64> {
        match self {
            GateFile::Stated(stated) => stated.psnr,
            GateFile::Word(NoGate::None) => None,
        }
    }

    /// Where it is no figure.
    pub fn rule(self) -> Option<GateRule> {
        match self {
            GateFile::Word(NoGate::None) => Some(GateRule::None),
            GateFile::Stated(stated) => stated.follows.map(|Follows::Baseline| GateRule::Baseline),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follows {
    Baseline,
}

/// Evaluations a team. Days are UTC days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaFile {
    /// Completed ones a day.
    pub daily: u32,
    /// Completed ones in the whole phase; absent: no such limit. Without a quota at all it is 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// Failed runs a day; absent: four times the daily ones, at least 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_attempts: Option<u32>,
}

impl Default for QuotaFile {
    fn default() -> QuotaFile {
        let QuotaLimits { daily, total, .. } = QuotaLimits::default();
        QuotaFile { daily, total, daily_attempts: None }
    }
}

impl QuotaFile {
    pub fn limits(self) -> QuotaLimits {
        QuotaLimits {
            daily: self.daily,
            total: self.total,
            daily_attempts: self.daily_attempts.unwrap_or(QuotaLimits::attempts_for(self.daily)),
        }
    }

    pub fn of(limits: QuotaLimits) -> QuotaFile {
        let usual = limits.daily_attempts == QuotaLimits::attempts_for(limits.daily);
        QuotaFile {
            daily: limits.daily,
            total: limits.total,
            daily_attempts: (!usual).then_some(limits.daily_attempts),
        }
    }
}

/// What entries are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineFile {
    /// As `MSRResNet`.
    pub name: String,
    /// Its ONNX file, timed beside each entry; or `sha256:…` of the one that a phase of this challenge has already. Absent:
    /// entries are timed alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Default for BaselineFile {
    fn default() -> BaselineFile {
        BaselineFile { name: "Baseline".into(), model: None }
    }
}

/// A point in time: `2020-07-10T23:59:00Z`, or without a zone where the file has a `time_zone`. With quotes or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    At(DateTime<Utc>),
    Local(NaiveDateTime),
}

impl Moment {
    pub fn parse(text: &str) -> Option<Moment> {
        let text = text.trim().replacen(' ', "T", 1);
        if let Ok(at) = DateTime::parse_from_rfc3339(&text) {
            return Some(Moment::At(at.to_utc()));
        }
        let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
        forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok()).map(Moment::Local)
    }

    /// In UTC; local ones by the clocks of `zone`.
    pub fn utc(self, zone: Option<&str>, place: &str) -> Result<DateTime<Utc>, Problem> {
        let local = match self {
            Moment::At(at) => return Ok(at),
            Moment::Local(local) => local,
        };
        let Some(zone) = zone else {
            let problem = Problem::new("bad_times", format!("{local} has no zone")).at(place);
            return Err(
                problem.hint("End it with Z for UTC, or say `time_zone = \"Europe/Paris\"` at the top of the file.")
            );
        };
        let zone: chrono_tz::Tz = zone
            .parse()
            .map_err(|_| Problem::new("bad_times", format!("there is no time zone {zone}")).at("time_zone"))?;
        match zone.from_local_datetime(&local) {
            chrono::LocalResult::Single(at) => Ok(at.to_utc()),
            // The clocks go back: the later one, so that nobody who reads the earlier one is late.
            chrono::LocalResult::Ambiguous(_, later) => Ok(later.to_utc()),
            chrono::LocalResult::None => {
                let message = format!("{local} does not exist in {zone}: the clocks go forward then");
                Err(Problem::new("bad_times", message).at(place))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        let text = match toml::Value::deserialize(from)? {
            toml::Value::Datetime(at) => at.to_string(),
            toml::Value::String(text) => text,
            other => return Err(de::Error::custom(format!("expected a time, not {}", other.type_str()))),
        };
        Moment::parse(&text).ok_or_else(|| de::Error::custom(format!("{text} is no time as 2020-07-10T23:59:00Z")))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = match self {
            Moment::At(at) => at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Moment::Local(local) => local.format("%Y-%m-%dT%H:%M:%S").to_string(),
        };
        text.parse::<toml::value::Datetime>().map_err(serde::ser::Error::custom)?.serialize(to)
    }
}

fn live() -> Visibility {
    Visibility::Live
}

fn both() -> Vec<Artifact> {
    vec![Artifact::Results, Artifact::Model]
}

fn standard() -> String {
    STANDARD.into()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads the text of a file. Codes: `bad_file`.
pub fn parse(text: &str) -> Result<ChallengeFile, Problem> {
    // As editors of Windows begin a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let problem = Problem::new("bad_file", error.message().trim().to_owned());
        match line {
            Some(line) => problem.at(format!("line {line}")),
            None => problem,
        }
    })
}

/// The file as text.
pub fn write(file: &ChallengeFile) -> anyhow::Result<String> {
    Ok(toml::to_string_pretty(file)?)
}
