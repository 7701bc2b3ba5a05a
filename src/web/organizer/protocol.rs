//! `/organizer/{slug}/{phase}/protocol`: the rules of a phase as a form, what a change would do, and the change.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        body::Fields,
        error::render,
        extract::{OrganizerAt, Signed, Viewer},
        pages::again,
        rules::Proposal,
        view::Page,
    },
    Frame, Tab,
};
use crate::{
    challenge::{
        Challenge,
        phase::{self, GateRule, GateSource, Phase},
        protocol::{
            Comparison, DeviceClass, EntryRule, FlopsProfile, PRESETS, Preset, Ranking, ReproductionRule, Rules,
            SubTrack, Ties, Verification,
        },
    },
    evaluation::{RankedImages, TimedInput, Whole},
    leaderboard::{Preview, Stand},
    problem::Problem,
    worker::presence,
};

#[derive(Template)]
#[template(path = "organizer_protocol.html")]
struct ProtocolPage {
    page: Page,
    frame: Frame,
    problems: Vec<Problem>,
    phase: String,
    protocol: String,
    baseline: String,
    presets: &'static [Preset],
    form: Form,
    /// Names of the workers' devices.
    devices: Vec<String>,
    preview: Option<Previewed>,
}

/// The form, as words. What it does not hold (channel, operators, threads, limits) stays as it is, or is the preset's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Of the preset that the rest was filled from; empty: the phase's present rules.
    #[serde(default)]
    preset: String,
    /// dB; `none`: every entry is ranked; empty: follows the baseline.
    #[serde(default)]
    gate: String,
    /// `exact`, or so many decimals.
    #[serde(default)]
    comparison: String,
    #[serde(default)]
    ranking: String,
    #[serde(default)]
    sub_tracks: String,
    #[serde(default)]
    entry: String,
    #[serde(default)]
    ties: String,
    #[serde(default)]
    flops: String,
    #[serde(default)]
    device: String,
    /// Empty: any of the class.
    #[serde(default)]
    device_name: String,
    /// `256x256`, or `lr-images`.
    #[serde(default)]
    input: String,
    #[serde(default)]
    images: String,
    #[serde(default)]
    reproduction: String,
    #[serde(default)]
    verification: String,
    #[serde(default)]
    reason: String,
    /// `yes`
    #[serde(default)]
    measure_again: String,
    #[serde(default)]
    act: String,
}

struct Previewed {
    measured_alike: bool,
    measure_again: i64,
    /// Team, where it stands, where it would stand, whether that differs.
    rows: Vec<(String, String, String, bool)>,
    changed: usize,
    /// Teams that are ranked before or after.
    ranked: usize,
}

pub async fn show(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_, phase)): Path<(String, String)>,
) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, &phase).await?.ok_or(Error::PhaseNotFound)?;
    let form = Form::of(&phase.protocol.rules, phase.gate_source());
    Ok(render(&page(&mut conn, &challenge, &phase, signed, form).await?))
}

async fn page(
    conn: &mut PgConnection,
    challenge: &Challenge,
    phase: &Phase,
    signed: Signed,
    form: Form,
) -> Result<ProtocolPage, Error> {
    Ok(ProtocolPage {
        page: Page::of(format!("{}: protocol", challenge.title), &Viewer(Some(signed))),
        frame: Frame::load(conn, challenge, Tab::Protocol(phase.slug.clone())).await?,
        problems: Vec::new(),
        phase: phase.slug.clone(),
        protocol: phase.protocol.name.clone(),
        baseline: phase.baseline.name.clone(),
        presets: &PRESETS,
        form,
        devices: presence::device_names(conn).await?,
        preview: None,
    })
}

/// Fills the form from a preset, previews, or saves.
pub async fn act(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_, phase)): Path<(String, String)>,
    Fields(form): Fields<Form>,
) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, &phase).await?.ok_or(Error::PhaseNotFound)?;
    if form.act == "fill" {
        let present = phase.protocol.rules.clone();
        let rules = match Preset::named(&form.preset) {
            Some(preset) => Rules {
                device: present.device,
                device_name: present.device_name.clone(),
                ..preset.rules(present.fidelity.scale)
            },
            None => present,
        };
        // The edition's figure was for its own images: the gate stays.
        let form = Form { preset: form.preset, reason: form.reason, ..Form::of(&rules, phase.gate_source()) };
        return Ok(render(&page(&mut conn, &challenge, &phase, signed, form).await?));
    }
    let actor = signed.actor();
    let page = page(&mut conn, &challenge, &phase, signed, form.clone()).await?;
    let done = async {
        let proposal = form.proposal(&phase).map_err(|why| Error::Rules(Problem::new("bad_rules", why)))?;
        if form.act == "save" {
            proposal.save(&mut conn, &phase, &actor, &form.reason, form.measure_again == "yes").await?;
            return Ok(None);
        }
        Ok(Some(proposal.preview(&mut conn, &phase).await?))
    };
    match done.await {
        Ok(None) => {
            let to = format!("/organizer/{}/{}/protocol", challenge.slug, phase.slug);
            Ok(Redirect::to(&to).into_response())
        }
        Ok(Some(preview)) => Ok(render(&ProtocolPage { preview: Some(preview.into()), ..page })),
        Err(error @ Error::Rules(_)) => {
            let Error::Rules(problem) = error else { return Err(Error::PageNotFound) };
            let page = ProtocolPage { problems: vec![problem], ..page };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, render(&page)).into_response())
        }
        Err(error) => Ok(again(error, |problems| ProtocolPage { problems, ..page })),
    }
}

impl Form {
    fn of(rules: &Rules, gate: GateSource) -> Form {
        let tracks = rules.ranking.sub_tracks.iter().map(|t| format!("{} | {} | {}", t.slug, t.title, t.rule));
        Form {
            gate: gate_words(gate),
            comparison: match rules.gate {
                Comparison::Exact => "exact".into(),
                Comparison::Rounded { decimals } => decimals.to_string(),
            },
            ranking: rules.ranking.rule.to_string(),
            sub_tracks: tracks.collect::<Vec<_>>().join("\n"),
            entry: word(&rules.ranking.entry),
            ties: word(&rules.ranking.ties),
            flops: rules.flops.as_str().into(),
            device: rules.device.as_str().into(),
            device_name: rules.device_name.clone().unwrap_or_default(),
            input: match rules.timing.input {
                TimedInput::Tile(height, width) => format!("{height}x{width}"),
                TimedInput::Whole(Whole::LrImages) => "lr-images".into(),
            },
            images: rules.ranked_images.as_str().into(),
            reproduction: word(&rules.reproduction),
            verification: word(&rules.verification),
            ..Form::default()
        }
    }

    fn proposal(&self, phase: &Phase) -> Result<Proposal, String> {
        let present = &phase.protocol.rules;
        let preset = Preset::named(&self.preset);
        let mut rules = preset.map_or_else(|| present.clone(), |preset| preset.rules(present.fidelity.scale));
        rules.gate = match self.comparison.as_str() {
            "exact" => Comparison::Exact,
            decimals => {
                Comparison::Rounded { decimals: decimals.parse().map_err(|_| "The comparison is exact or decimals.")? }
            }
        };
        let track = |line: &str| {
            let [slug, title, rule] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
                return Err(format!("A sub-track is “slug | title | order”, not “{line}”."));
            };
            Ok(SubTrack::new(slug, title, rule.parse()?))
        };
        let lines = self.sub_tracks.lines().map(str::trim).filter(|line| !line.is_empty());
        rules.ranking = Ranking {
            rule: self.ranking.parse()?,
            entry: read::<EntryRule>(&self.entry)?,
            ties: read::<Ties>(&self.ties)?,
            sub_tracks: lines.map(track).collect::<Result<_, String>>()?,
        };
        rules.flops = read::<FlopsProfile>(&self.flops)?;
        rules.device = read::<DeviceClass>(&self.device)?;
        rules.device_name = Some(self.device_name.trim().to_owned()).filter(|name| !name.is_empty());
        rules.ranked_images = read::<RankedImages>(&self.images)?;
        rules.reproduction = read::<ReproductionRule>(&self.reproduction)?;
        rules.verification = read::<Verification>(&self.verification)?;
        rules.timing.input = match self.input.trim() {
            "lr-images" => TimedInput::Whole(Whole::LrImages),
            size => {
                let sides = size
                    .split_once(['x', '×'])
                    .and_then(|(h, w)| Some((h.trim().parse().ok()?, w.trim().parse().ok()?)));
                let (height, width) = sides.ok_or("The timing input is lr-images or a tile as 256x256.")?;
                TimedInput::Tile(height, width)
            }
        };
        let gate = self.gate.trim();
        let (gate_psnr, gate_rule) = match gate {
            // What the form shows is rounded; the figure itself, or the rule, stays.
            _ if gate_words(phase.gate_source()) == gate => (phase.gate.stated, phase.gate.rule),
            "" => (None, Some(GateRule::Baseline)),
            "none" => (None, Some(GateRule::None)),
            _ => (Some(gate.parse().map_err(|_| format!("“{gate}” is no PSNR in dB, nor none."))?), None),
        };
        Ok(Proposal { name: preset.map(|p| p.name.to_owned()), rules, gate_psnr, gate_rule })
    }

    /// For an option of a select.
    fn is(&self, field: &str, value: &str) -> bool {
        let said = match field {
            "comparison" => &self.comparison,
            "entry" => &self.entry,
            "ties" => &self.ties,
            "flops" => &self.flops,
            "device" => &self.device,
            "images" => &self.images,
            "reproduction" => &self.reproduction,
            "verification" => &self.verification,
            _ => &self.preset,
        };
        said == value
    }
}

/// A gate as the form has it: a figure, `none`, or nothing where it follows the baseline.
pub fn gate_words(gate: GateSource) -> String {
    match gate {
        GateSource::Stated(psnr) => format!("{psnr:.2}"),
        GateSource::None => "none".into(),
        GateSource::Baseline(_) => String::new(),
    }
}

/// The word of a value in JSON.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(word.into()).map_err(|_| format!("“{word}” is not one of the choices."))
}

impl From<Preview> for Previewed {
    fn from(preview: Preview) -> Previewed {
        let words = |stand: &Stand| match (&stand.rank, &stand.reason) {
            (Some(rank), _) => format!("{rank}"),
            (None, Some(reason)) => reason.message.clone(),
            (None, None) => "not on the board".into(),
        };
        let rows: Vec<_> =
            preview.changes.iter().map(|c| (c.team.clone(), words(&c.before), words(&c.after), c.moves())).collect();
        Previewed {
            measured_alike: preview.measured_alike,
            measure_again: preview.measure_again,
            changed: rows.iter().filter(|row| row.3).count(),
            ranked: preview.changes.iter().filter(|c| c.is_ranked()).count(),
            rows,
        }
    }
}
