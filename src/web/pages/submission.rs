//! `/submissions/{id}`: live while it waits and runs, then its results.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::super::{
    App, Error,
    body::{Fields, Stated},
    details::{Details, Standing},
    error::render,
    extract::SubmissionAt,
    facts::{self, FactField},
    lang::{say, t, told},
    metrics::{self, Better},
    plot::{self, Strip},
    sight::{Sight, hidden_words},
    steps::StepView,
    view::{Page, When, bytes, fixed, grouped},
};
use crate::{
    challenge::{self, phase::PhaseState},
    evaluation::{Db, Host, Measurement, Memory, RankedImages, Runtime, Verdict},
    ids::SubmissionId,
    leaderboard::{BaselineRow, Figures},
    problem::Problem,
    queue::{self, Fault},
    review::{mark, objection},
    submission::{
        self, FactSheet, Submission,
        fact_sheet::{self, Field},
    },
};

#[derive(Template)]
#[template(path = "submission.html")]
struct SubmissionPage {
    page: Page,
    at: Submission,
    challenge_title: String,
    phase_title: String,
    state: &'static str,
    submitted: When,
    /// The viewer is of its team, or an organizer.
    full: bool,
    live: bool,
    may_cancel: bool,
    may_withdraw: bool,
    /// The viewer acts as an organizer, who says why.
    needs_reason: bool,
    /// The rules let the team choose, and this entry could stand.
    may_choose: bool,
    /// The viewer may edit the fact sheet.
    may_amend: bool,
    steps: Vec<StepView>,
    percent: u8,
    live_line: String,
    standing: Option<Line>,
    problems: Vec<Problem>,
    /// The fault is not the team's.
    ours: bool,
    /// Why its figures are not shown.
    hidden: Option<(&'static str, &'static str)>,
    results: Option<Results>,
    /// Label and words.
    facts: Vec<(String, String)>,
    fields: Vec<FactField>,
    /// Sizes of the files.
    files: Option<[String; 2]>,
    history: Vec<Past>,
    /// What organizers did with it, newest first.
    decisions: Vec<Decided>,
    objections: Vec<Objected>,
    may_object: bool,
    /// The team's in this phase, newest first.
    entries: Vec<Entry>,
    /// For a wide page and for a narrow one.
    progress: Vec<(&'static str, plot::Progress)>,
}

struct Entry {
    id: SubmissionId,
    here: bool,
    when: When,
    state: &'static str,
    note: &'static str,
    psnr: String,
    runtime: String,
}

/// Entries of the team that are listed and plotted.
const ENTRIES: i64 = 50;

pub struct Line {
    pub class: &'static str,
    pub text: String,
}

struct Decided {
    done: &'static str,
    reason: String,
    when: When,
}

struct Objected {
    text: String,
    when: When,
    answer: Option<(String, When)>,
}

struct Past {
    number: i32,
    state: &'static str,
    protocol: String,
    queued: When,
}

pub struct Results {
    pub cards: Vec<Card>,
    pub baseline_name: String,
    /// The cards show the baseline's figures.
    pub beside: bool,
    pub verdict: VerdictLine,
    pub images: Option<Images>,
    pub cost_input: String,
    pub operators: Vec<Operator>,
    pub provenance: Vec<(&'static str, String)>,
}

pub struct Card {
    pub name: &'static str,
    pub unit: &'static str,
    pub text: String,
    pub value: String,
    pub spread: Option<String>,
    pub noisy: bool,
    pub rank: Option<u32>,
    pub baseline: Option<String>,
    pub delta: Option<Line>,
}

pub struct VerdictLine {
    pub class: &'static str,
    pub word: &'static str,
    pub text: String,
}

pub struct Images {
    pub rows: Vec<ImageRow>,
    pub strip: Option<Strip>,
}

pub struct ImageRow {
    pub name: String,
    pub psnr: String,
    pub psnr_exact: String,
    pub ssim: String,
    /// Largest difference between the uploaded image and the model's.
    pub apart: String,
}

pub struct Operator {
    pub op: String,
    pub calls: u64,
    pub macs: String,
    pub macs_exact: u64,
    pub share: Option<String>,
    pub params: String,
    pub params_exact: u64,
    pub output: String,
    pub output_exact: u64,
}

pub async fn show(State(app): State<App>, at: SubmissionAt) -> Result<Response, Error> {
    let details = Details::load(&app.boards, &app.pool, &at).await?;
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, &at.submission.challenge_slug).await?;
    let full = at.sight.is_full();
    let past = match full {
        true => submission::history(&mut conn, at.submission.team, at.phase.id, ENTRIES).await?,
        false => Vec::new(),
    };
    let fields = fact_sheet::fields(&mut conn, at.phase.challenge).await?;
    let (decisions, objections) = match full {
        true => (
            mark::history(&mut conn, at.phase.challenge, at.submission.id).await?,
            objection::of_submission(&mut conn, at.submission.id).await?,
        ),
        false => Default::default(),
    };
    drop(conn);
    let open = objections.iter().any(|o| o.closed_at.is_none());
    let decisions = decisions
        .into_iter()
        .filter_map(|e| Some(Decided { done: mark::done(&e.action)?, reason: e.reason, when: When::new(e.at) }));
    let objections = objections.into_iter().map(|o| Objected {
        text: o.text,
        when: When::new(o.created_at),
        answer: o.answer.zip(o.closed_at.map(When::new)),
    });
    let (entries, progress) = entries(&at, &past);
    let facts = facts(&fields, &at.submission.fact_sheet);
    let lasts = at.phase.state != PhaseState::Closed;
    // An organizer who is not of its team says why, and so does one who is once the phase is over.
    let needs_reason = at.sight == Sight::Organizer && !(at.is_member && lasts);
    let may_change = needs_reason || at.is_member && lasts;
    let withdrawn = at.submission.withdrawn_at.is_some();
    let chooses = at.phase.protocol.rules.ranking.lets_choose();
    let scored = at.submission.state == queue::State::Scored;
    let live = full && !at.submission.state.is_final();
    let hidden = (details.measurement.is_none() && scored).then_some(match details.verdict {
        Some(Verdict::Reproduced) => t("Its model makes every sample of the uploaded images."),
        Some(Verdict::WithinRounding) => t("Its model makes the uploaded images, but for rounding."),
        Some(Verdict::Differs) => t("Its model does not make the uploaded images."),
        None => "",
    });
    let hidden = hidden.map(|verdict| (verdict, hidden_words(&at.phase)));
    let results = match (&details.measurement, &details.figures) {
        (Some(m), Some(figures)) => Some(results(&at, &details, m, figures)),
        _ => None,
    };
    let history = details.evaluations.iter().filter(|_| full).map(|e| Past {
        number: e.number,
        state: e.state.as_str(),
        protocol: e.protocol.clone(),
        queued: When::new(e.created_at),
    });
    let page = SubmissionPage {
        page: Page::of(format!("{} · {}", at.submission.team_name, t("submission")), &at.viewer),
        challenge_title: challenge.map_or_else(|| at.submission.challenge_slug.clone(), |c| c.title),
        phase_title: at.phase.title.clone(),
        state: at.submission.state.as_str(),
        submitted: When::new(at.submission.created_at),
        full,
        live,
        may_cancel: live && may_change,
        may_withdraw: may_change && !withdrawn,
        needs_reason,
        may_choose: may_change && chooses && scored && !withdrawn && !at.submission.chosen,
        may_amend: may_change,
        percent: details.steps.percent,
        live_line: details.steps.line.clone(),
        standing: standing(&details.standing),
        problems: details.problems(at.sight),
        ours: details.evaluations.first().is_some_and(|e| e.fault == Some(Fault::Ours)),
        hidden,
        results,
        facts: if full { facts } else { Vec::new() },
        fields: facts::of(fields, &at.submission.fact_sheet),
        files: (full && at.submission.files_removed_at.is_none())
            .then(|| [at.submission.results_bytes, at.submission.model_bytes].map(bytes)),
        history: history.collect(),
        decisions: decisions.collect(),
        objections: objections.collect(),
        may_object: at.is_member && at.submission.state.is_final() && !open,
        entries,
        progress,
        steps: details.steps.steps,
        at: at.submission,
    };
    Ok(render(&page))
}

/// A form's way to cancel: shows the page again.
pub async fn cancel(State(app): State<App>, at: SubmissionAt, Stated { reason }: Stated) -> Result<Response, Error> {
    super::super::api::submissions::stop(&app, &at, &reason).await?;
    Ok(Redirect::to(&format!("/submissions/{}", at.submission.id)).into_response())
}

/// Takes an entry back: the page asks once before.
pub async fn withdraw(State(app): State<App>, at: SubmissionAt, Stated { reason }: Stated) -> Result<Response, Error> {
    super::super::api::submissions::take_back(&app, &at, &reason).await?;
    Ok(back(&at))
}

/// Makes an entry stand on the board.
pub async fn choose(State(app): State<App>, at: SubmissionAt, Stated { reason }: Stated) -> Result<Response, Error> {
    super::super::api::submissions::pick(&app, &at, &reason).await?;
    Ok(back(&at))
}

/// The team's word against a mark or its score.
pub async fn object(
    State(app): State<App>,
    at: SubmissionAt,
    Fields(Objection { text }): Fields<Objection>,
) -> Result<Response, Error> {
    super::super::api::review::object_to(&app, &at, &text).await?;
    Ok(back(&at))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objection {
    text: String,
}

/// The fact sheet's form: its fields are all there, so that an empty one is one that was taken away.
pub async fn amend(
    State(app): State<App>,
    at: SubmissionAt,
    Fields(mut said): Fields<FactSheet>,
) -> Result<Response, Error> {
    let reason = said.remove(fact_sheet::ORGANIZERS_REASON).unwrap_or_default();
    super::super::api::submissions::write_sheet(&app, &at, said, &reason).await?;
    Ok(back(&at))
}

fn back(at: &SubmissionAt) -> Response {
    Redirect::to(&format!("/submissions/{}", at.submission.id)).into_response()
}

/// What the team says, by the fields' labels and in their order, then what it says besides.
pub fn facts(fields: &[Field], sheet: &FactSheet) -> Vec<(String, String)> {
    let asked = fields.iter().filter_map(|f| Some((f.label.clone(), sheet.get(&f.key)?.clone())));
    let more = sheet.iter().filter(|(key, _)| fields.iter().all(|f| f.key != **key));
    asked.chain(more.map(|(key, words)| (key.clone(), words.clone()))).collect()
}

/// The team's entries, newest first, and the plot of those that are scored.
fn entries(at: &SubmissionAt, past: &[submission::Past]) -> (Vec<Entry>, Vec<(&'static str, plot::Progress)>) {
    let shown = at.sight.sees_figures(&at.phase);
    let psnr = |p: &submission::Past| p.psnr.filter(|_| shown);
    let rows = past.iter().rev().map(|p| Entry {
        id: p.id,
        here: p.id == at.submission.id,
        when: When::new(p.created_at),
        state: p.state.as_str(),
        note: match (p.withdrawn, p.chosen) {
            (true, _) => t("withdrawn"),
            (_, true) => t("chosen for the board"),
            _ => "",
        },
        psnr: psnr(p).map_or_else(String::new, |db| format!("{db:.2}")),
        runtime: match (p.runtime_ratio.filter(|_| shown), p.runtime_ms.filter(|_| shown)) {
            (Some(ratio), _) => format!("× {}", fixed(ratio, 2)),
            (None, Some(ms)) => format!("{} ms", fixed(ms, 1)),
            _ => String::new(),
        },
    });
    let points: Vec<_> = past
        .iter()
        .filter(|p| !p.withdrawn)
        .filter_map(|p| {
            let db = psnr(p)?;
            let title = format!("{db:.2} dB, {}", p.created_at.format("%Y-%m-%d %H:%M UTC"));
            Some((db, title, format!("/submissions/{}", p.id), p.id == at.submission.id))
        })
        .collect();
    let draw = |(class, frame)| Some((class, plot::progress(&points, frame)?));
    (rows.collect(), plot::FLAT.into_iter().filter_map(draw).collect())
}

fn standing(standing: &Standing) -> Option<Line> {
    match standing {
        Standing::Ranked(rank, _) => {
            Some(Line { class: "good", text: say("Rank %{n} on the board.").with("n", rank).into() })
        }
        Standing::Unranked(reason) => Some(Line {
            class: "bad",
            text: say("Not ranked: %{reason}.").with("reason", told(&reason.message)).into(),
        }),
        Standing::Baseline => Some(Line { class: "", text: t("This is the baseline of the phase.").into() }),
        Standing::Absent => None,
    }
}

/// The figures of a measurement, each beside the baseline's, and how they came about.
pub fn results(at: &SubmissionAt, details: &Details, m: &Measurement, figures: &Figures) -> Results {
    let rules = &at.phase.protocol.rules;
    let against = figures.runtime_ratio.is_some();
    let ranks = match &details.standing {
        Standing::Ranked(_, ranks) => Some(ranks),
        _ => None,
    };
    // The runtime and memory beside which this very run was measured; the rest from the baseline's own entry.
    let beside = details.baseline.as_ref().and_then(|b| b.figures).map(|mut f| {
        if let Some(base) = &m.runtime.baseline {
            f.runtime_ms = base.median_ms;
        }
        f.memory_mib = m.memory.baseline_peak_bytes.map_or(f.memory_mib, |b| b as f64 / f64::from(1 << 20));
        f
    });
    let is_baseline = matches!(details.standing, Standing::Baseline);
    let cells = metrics::cells(figures, ranks, against);
    let base = beside.filter(|_| !is_baseline).map(|f| metrics::cells(&f, None, false));
    let cards = metrics::definitions(rules).into_iter().zip(cells).enumerate().map(|(i, (d, cell))| {
        let base = base.as_ref().and_then(|b| b.get(i)).filter(|b| b.id != "runtime_ratio" && !b.exact.is_empty());
        Card {
            delta: base.and_then(|b| delta(d.id, d.better, &cell.exact, &b.exact)),
            baseline: base.map(|b| b.text.clone()),
            name: d.name,
            unit: d.unit,
            text: d.text,
            value: cell.text,
            spread: cell.spread,
            noisy: figures.noisy && cell.id.starts_with("runtime"),
            rank: cell.rank,
        }
    });
    let macs = m.cost.macs.max(1) as f64;
    let operators = m.cost.operators.iter().map(|o| Operator {
        op: o.op.clone(),
        calls: o.calls,
        macs: fixed(o.macs as f64 / 1e6, 1),
        macs_exact: o.macs,
        share: (o.macs > 0).then(|| format!("{:.0}", 100.0 * o.macs as f64 / macs)),
        params: grouped(o.params),
        params_exact: o.params,
        output: fixed(o.output_elements as f64 / 1e6, 2),
        output_exact: o.output_elements,
    });
    Results {
        beside: base.is_some(),
        cards: cards.collect(),
        baseline_name: baseline_name(details.baseline.as_ref()),
        verdict: verdict(m),
        images: (at.sight != Sight::Public).then(|| images(m)),
        cost_input: m.cost.input.map(|n| n.to_string()).join("×"),
        operators: operators.collect(),
        provenance: provenance(at, m),
    }
}

fn baseline_name(baseline: Option<&BaselineRow>) -> String {
    baseline.map_or_else(|| t("Baseline").into(), |b| b.team.clone())
}

/// How the figure compares with the baseline's: in dB where it is one, else as a factor.
fn delta(id: &str, better: Better, value: &str, base: &str) -> Option<Line> {
    let (value, base): (f64, f64) = (value.parse().ok()?, base.parse().ok()?);
    let text = match id {
        "psnr" => format!("{:+.2} dB", value - base),
        "ssim" => format!("{:+.4}", value - base),
        _ if base > 0.0 => format!("× {}", fixed(value / base, 2)),
        _ => return None,
    };
    let good = match better {
        Better::Higher => value > base,
        Better::Lower => value < base,
    };
    let class = if value == base {
        "even"
    } else if good {
        "good"
    } else {
        "bad"
    };
    let word = if value == base {
        ""
    } else if good {
        " ▲"
    } else {
        " ▼"
    };
    Some(Line { class, text: text + word })
}

fn verdict(m: &Measurement) -> VerdictLine {
    let r = &m.reproduction;
    let share = |fraction: f64| format!("{:.4} %", 100.0 * fraction);
    let differ = share(1.0 - r.identical_fraction);
    let range = if r.input_range == 1 { "0…1" } else { "0…255" };
    let (class, word, text) = match r.verdict {
        Verdict::Reproduced => (
            "good",
            t("Reproduced."),
            say("The model makes every sample of the uploaded images (input range %{range})."),
        ),
        Verdict::WithinRounding => (
            "near",
            t("Within rounding."),
            say(
                "The model makes the uploaded images but for one grey level in %{share} of the samples (input range %{range}).",
            ),
        ),
        Verdict::Differs => (
            "bad",
            t("Not reproduced."),
            say("The model's own images are up to %{levels} grey levels away, in %{share} of the samples."),
        ),
    };
    let text = text.with("range", range).with("share", differ).with("levels", r.max_abs).to_string();
    let other = match (r.ranked, r.model_psnr, r.uploaded_psnr) {
        (RankedImages::Model, _, Some(other)) => {
            say("The PSNR that ranks is of the model's images; that of the uploaded ones is %{psnr} dB.")
                .with("psnr", fixed(other, 2))
        }
        (RankedImages::Uploaded, Some(other), _) => {
            say("The PSNR that ranks is of the uploaded images; that of the model's is %{psnr} dB.")
                .with("psnr", fixed(other, 2))
        }
        _ => return VerdictLine { class, word, text },
    };
    let text = format!("{text} {other}");
    VerdictLine { class, word, text }
}

fn images(m: &Measurement) -> Images {
    let mut scores = m.fidelity.images.clone();
    scores.sort_by(|a, b| a.psnr.0.total_cmp(&b.psnr.0));
    let apart = |name: &str| m.reproduction.images.iter().find(|i| i.name == name).map(|i| i.max_abs);
    let psnr =
        |db: Db| if db.0.is_infinite() { (t("identical").into(), Db::CAP) } else { (format!("{:.2}", db.0), db.0) };
    let values: Vec<(String, f64)> = scores.iter().map(|i| (i.name.clone(), i.psnr.0)).collect();
    let rows = scores.iter().map(|i| {
        let (text, exact) = psnr(i.psnr);
        ImageRow {
            name: i.name.clone(),
            psnr: text,
            psnr_exact: exact.to_string(),
            ssim: format!("{:.4}", i.ssim),
            apart: apart(&i.name).map_or_else(|| "–".into(), |n| n.to_string()),
        }
    });
    Images { rows: rows.collect(), strip: plot::strip(&values, m.fidelity.psnr) }
}

fn provenance(at: &SubmissionAt, m: &Measurement) -> Vec<(&'static str, String)> {
    let p = &m.provenance;
    let measured_by = match &p.protocol {
        Some(protocol) => protocol.clone(),
        None => at.phase.protocol.name.clone(),
    };
    let device = match &p.device_id {
        Some(id) => format!("{} ({}, {id})", p.device_name, m.runtime.device),
        None => format!("{} ({})", p.device_name, m.runtime.device),
    };
    let device = say("%{device}, %{n} threads").with("device", device).with("n", p.threads).into();
    let commit =
        p.commit.as_deref().map_or_else(String::new, |commit| format!(" at {}", &commit[..commit.len().min(12)]));
    let mut software = format!("Upscore {}{commit}, ONNX Runtime {}, {}", p.upscore, p.onnxruntime, p.os);
    for (name, version) in [(t("driver"), &p.driver), ("CUDA", &p.cuda), ("cuDNN", &p.cudnn)] {
        if let Some(version) = version {
            software += &format!(", {name} {version}");
        }
    }
    let mut lines = vec![
        (t("Protocol"), measured_by),
        (t("Device"), device),
        (t("Timing"), timing(&m.runtime)),
        (t("Noise"), noise(&m.runtime)),
        (t("Memory"), memory(&m.memory)),
        (t("Software"), software),
    ];
    let nodes: Vec<String> = p
        .providers
        .iter()
        .map(|p| say("%{n} nodes by %{provider}").with("n", p.nodes).with("provider", &p.name).into())
        .collect();
    let steps = p.steps.iter().map(|s| format!("{} {} s", told(queue::step_word(s.step)), fixed(s.seconds, 1)));
    let steps: Vec<_> = steps.collect();
    let host = host(&p.host);
    for (name, parts) in [(t("Optimised graph"), nodes), (t("Machine"), host), (t("Steps"), steps)] {
        if !parts.is_empty() {
            lines.push((name, parts.join(", ")));
        }
    }
    lines.push((t("Sandbox"), p.sandbox.clone()));
    if let Some(rates) = &m.runtime.record.throughput {
        let giga = |rate: f64| fixed(rate / 1e9, 1);
        let text = say(
            "%{macs} G multiply-adds a second, where dense convolutions reach %{most} G; %{bytes} GB/s of weights, input and \
             output, where %{ceiling} GB/s are reached",
        )
        .with("macs", giga(rates.macs_per_s))
        .with("most", giga(rates.ceiling_macs_per_s))
        .with("bytes", giga(rates.bytes_per_s))
        .with("ceiling", giga(rates.ceiling_bytes_per_s));
        lines.push((t("Throughput"), text.into()));
    }
    let size = |(height, width): (u32, u32)| format!("{height}×{width}");
    let elsewhere = m.runtime.record.secret.iter().map(|secret| {
        say("%{growth} times as long per pixel at %{drawn} as at %{timed}")
            .with("growth", fixed(secret.growth, 3))
            .with("drawn", size(secret.input))
            .with("timed", size(secret.beside))
            .to_string()
    });
    let elsewhere: Vec<String> = elsewhere.collect();
    if !elsewhere.is_empty() {
        lines.push((t("At sizes drawn by lot"), elsewhere.join("; ")));
    }
    if at.sight.is_full() {
        lines.push((t("Model SHA-256"), p.model_sha256.clone()));
        lines.push((t("Results SHA-256"), p.results_sha256.clone()));
    }
    if let Some(baseline) = &p.baseline_sha256 {
        lines.push((t("Baseline SHA-256"), baseline.clone()));
    }
    if let Some(dataset) = &p.dataset {
        lines.push((t("LR images SHA-256"), dataset.lr_sha256.clone()));
        lines.push((t("HR images SHA-256"), dataset.hr_sha256.clone()));
    }
    lines
}

/// The machine's settings in words, those that it told.
fn host(host: &Host) -> Vec<String> {
    let Host {
        processors,
        smt,
        governor,
        clock_mhz,
        turbo,
        transparent_huge_pages,
        address_randomisation,
        memory_bytes,
        swap_bytes,
    } = host;
    let on = |flag: bool| if flag { t("on") } else { t("off") };
    let gib = |bytes: u64| format!("{} GiB", fixed(bytes as f64 / f64::from(1 << 30), 1));
    let words = [
        processors.map(|n| say("%{n} logical processors").with("n", n)),
        smt.map(|smt| say("SMT %{state}").with("state", on(smt))),
        governor.as_ref().map(|governor| say("governor %{name}").with("name", governor)),
        clock_mhz
            .map(|[low, high]| say("clock %{low}…%{high} MHz").with("low", fixed(low, 0)).with("high", fixed(high, 0))),
        turbo.map(|turbo| say("turbo %{state}").with("state", on(turbo))),
        transparent_huge_pages.as_ref().map(|word| say("huge pages %{mode}").with("mode", word)),
        address_randomisation.map(|level| say("address randomisation %{level}").with("level", level)),
        memory_bytes.map(|bytes| say("memory %{size}").with("size", gib(bytes))),
        swap_bytes.map(|bytes| if bytes == 0 { say("no swap") } else { say("swap %{size}").with("size", gib(bytes)) }),
    ];
    words.into_iter().flatten().map(String::from).collect()
}

fn timing(runtime: &Runtime) -> String {
    let Runtime { input, median_ms, ci95_ms: [low, high], runs, baseline, record, .. } = runtime;
    let mut text = say("%{runs} passes at %{input}, median %{median} ms, 95 % interval %{low}…%{high} ms")
        .with("runs", runs)
        .with("input", input)
        .with("median", fixed(*median_ms, 2))
        .with("low", fixed(*low, 2))
        .with("high", fixed(*high, 2))
        .to_string();
    if let Some(base) = baseline {
        let [low, high] = base.ratio_ci95;
        text += &say("; ratio %{ratio}, %{low}…%{high}")
            .with("ratio", fixed(base.ratio, 4))
            .with("low", fixed(low, 4))
            .with("high", fixed(high, 4))
            .to_string();
    }
    if record.processes > 1 {
        text += &say("; in %{n} processes").with("n", record.processes).to_string();
    }
    if record.half_width_asked > 0.0 {
        let words = match record.half_width <= record.half_width_asked {
            true => say("; ±%{width} % asked, reached"),
            false => say("; ±%{width} % asked, not reached"),
        };
        text += &words.with("width", fixed(100.0 * record.half_width_asked, 1)).to_string();
    }
    text
}

fn noise(runtime: &Runtime) -> String {
    let record = &runtime.record;
    let disturbed = record.blocks.iter().filter(|b| b.disturbed.is_some()).count();
    let cause = record.blocks.iter().rev().find_map(|b| b.disturbed.as_deref());
    let cause = cause.map_or_else(String::new, |cause| say(", the last: %{cause}").with("cause", told(cause)).into());
    let words = match record.blocks.len() {
        0 => return t("not recorded").into(),
        _ if record.noisy => say("⚠ noisy: %{n} of %{all} blocks were disturbed, and all count%{cause}"),
        _ => say("%{n} of %{all} blocks were disturbed and run again%{cause}"),
    };
    words.with("n", disturbed).with("all", record.blocks.len()).with("cause", cause).into()
}

fn memory(memory: &Memory) -> String {
    let mut text = told(&memory.method).into_owned();
    if let Some(ratio) = memory.ratio() {
        text += &say("; %{ratio}× the baseline's").with("ratio", fixed(ratio, 3)).to_string();
    }
    if let Some(process) = memory.process_bytes {
        text += &say("; %{size} for the whole process by the GPU's driver, CUDA context included")
            .with("size", bytes(process))
            .to_string();
    }
    text
}
