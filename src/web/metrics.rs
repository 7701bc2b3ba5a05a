//! What each figure is: the one place that column headers, cards, the API and the protocol page take their words from.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    lang::{Lang, say, t, told},
    view::fixed,
};
use crate::{
    challenge::protocol::{self, Comparison, DeviceClass, FlopsProfile, Metric, ReproductionRule, Rule, Rules, Ties},
    evaluation::{RankedImages, TimedInput, fidelity::Channel},
    leaderboard::{Figures, Place, Ranks},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
}

/// A figure's name, unit and meaning under one protocol.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Definition {
    /// The field's name in JSON.
    pub id: &'static str,
    pub name: &'static str,
    /// As the pages show it; JSON holds plain units (a count, ms, MiB).
    pub unit: &'static str,
    pub better: Better,
    /// One or two sentences.
    pub text: String,
}

/// All figures of a board in the order of its columns.
pub fn definitions(rules: &Rules) -> Vec<Definition> {
    let define = |id, name, unit, better, text: String| Definition { id, name, unit, better, text };
    let fidelity = &rules.fidelity;
    let channel = match fidelity.channel {
        Channel::Rgb => t("the three RGB channels together"),
        Channel::Y => t("the luma channel rounded to 8 bits"),
        Channel::YFloat => t("the luma channel, not rounded"),
    };
    let whose = match rules.ranked_images {
        RankedImages::Uploaded => t("that were uploaded"),
        RankedImages::Model => t("that the model makes here"),
    };
    let timing = &rules.timing;
    let threads = match rules.device {
        DeviceClass::Cpu => say("%{n} pinned CPU threads").with("n", timing.threads).to_string(),
        DeviceClass::Cuda => rules.device_name.clone().unwrap_or_else(|| t("one GPU").to_owned()),
    };
    let (fed, at) = match timing.input {
        TimedInput::Tile(height, width) => {
            let size = format!("1×3×{height}×{width}");
            let fed = say("a %{size} tile of LR images").with("size", &size).to_string();
            (fed, say("a %{size} input").with("size", size).to_string())
        }
        TimedInput::Whole(_) => (t("each LR image at its full size").to_owned(), t("the largest LR image").to_owned()),
    };
    let counter = match rules.flops {
        FlopsProfile::Kair => t("of AIM2020 and NTIRE2022–2023 (convolutions, linear layers, activations)"),
        FlopsProfile::Fvcore => t("of NTIRE2024 on (fvcore)"),
    };
    use Better::{Higher, Lower};
    let psnr = say(
        "Of the 8-bit images %{whose} against the hidden HR, over %{channel}, %{border} pixels at each border left out; mean \
         over images.",
    );
    let runtime = say(
        "Forward pass alone per image, batch 1, fp32, on %{threads}, fed %{fed}: median of up to %{runs} passes after \
         %{warmup} to warm up. Decoding and copies are outside.",
    );
    let ratio = say(
        "Runtime over the baseline's, both timed in turn (A B B A) on the same pixels, spread over processes (%{processes} or \
         more, as far as time allows), until the 95 % interval is within ±%{width} % or the time for it, at most %{seconds} s, \
         is over; ± half of that interval. Below 1 is faster. “noisy”: the machine never got quiet.",
    );
    let memory = say("Most that the runtime's own allocator had in use during one pass at %{at}, weights included.")
        .with("at", at);
    vec![
        define(
            "psnr",
            "PSNR",
            "dB",
            Higher,
            psnr.with("whose", whose).with("channel", channel).with("border", fidelity.border).into(),
        ),
        define(
            "ssim",
            "SSIM",
            "",
            Higher,
            t("Same pixels as the PSNR, 11×11 Gaussian window; mean over images.").into(),
        ),
        define(
            "runtime_ms",
            t("Runtime"),
            "ms",
            Lower,
            runtime
                .with("threads", threads)
                .with("fed", fed)
                .with("runs", timing.runs)
                .with("warmup", timing.warmup)
                .into(),
        ),
        define(
            "runtime_ratio",
            t("× baseline"),
            "",
            Lower,
            ratio
                .with("processes", timing.processes)
                .with("width", fixed(100.0 * timing.half_width, 1))
                .with("seconds", timing.max_seconds)
                .into(),
        ),
        define(
            "params",
            t("Params"),
            "M",
            Lower,
            t("Learned values, each counted once, in the model as deployed.").into(),
        ),
        define(
            "flops",
            "FLOPs",
            "G",
            Lower,
            say("At a 1×3×256×256 input, by the counter %{counter}; a multiply-add counts as one.")
                .with("counter", counter)
                .into(),
        ),
        define(
            "activations",
            t("Acts"),
            "M",
            Lower,
            t("Output elements of every convolution at a 1×3×256×256 input.").into(),
        ),
        define("memory_mib", t("Memory"), "MiB", Lower, memory.into()),
        define("convs", t("Convs"), "", Lower, t("Two-dimensional convolutions executed in one forward pass.").into()),
    ]
}

/// One sentence of the gate's comparison.
pub fn comparison(gate: Comparison) -> String {
    match gate {
        Comparison::Exact => t("compared as measured, not rounded").into(),
        Comparison::Rounded { decimals } => say("both rounded to %{n} decimals").with("n", decimals).into(),
    }
}

pub fn reproduction(rule: ReproductionRule, ranked: RankedImages) -> &'static str {
    match (rule, ranked) {
        (ReproductionRule::Required, RankedImages::Model) => t(
            "Your model is run on the LR images, and the images it makes here are scored and ranked. The images you upload \
             must be the same within one grey level; otherwise the entry is not ranked.",
        ),
        (ReproductionRule::Held, RankedImages::Model) => t(
            "Your model is run on the LR images, and the images it makes here are scored and ranked. Where the images you \
             upload are others by more than one grey level, the entry is held until an organizer decides.",
        ),
        (ReproductionRule::Shown, RankedImages::Model) => t(
            "Your model is run on the LR images, and the images it makes here are scored and ranked; whether they are those \
             that you upload is shown beside the entry.",
        ),
        (ReproductionRule::Held, RankedImages::Uploaded) => t(
            "Your model is run on the LR images and must make the images you upload, within one grey level; otherwise the \
             entry is held until an organizer decides.",
        ),
        (ReproductionRule::Required, RankedImages::Uploaded) => t(
            "Your model is run on the LR images and must make the images you upload, within one grey level; otherwise the \
             entry is not ranked.",
        ),
        (ReproductionRule::Shown, RankedImages::Uploaded) => {
            t("Your model is run on the LR images; whether it makes the images you upload is shown beside the entry.")
        }
    }
}

/// What a board is ordered by, in words.
pub fn ranked_by(rule: &Rule, against_baseline: bool) -> String {
    match rule {
        Rule::Metric(Metric::Runtime) if against_baseline => t("runtime relative to the baseline").into(),
        Rule::Metric(metric) => told(metric.words()).into_owned(),
        Rule::RankSum(metrics) => say("sum of the ranks by %{figures}")
            .with("figures", listed(metrics.iter().map(|m| told(m.words()).into())))
            .into(),
        Rule::Score(terms) => {
            let parts = terms.iter().map(|t| format!("{} {}", t.weight, told(t.metric.words())));
            say("weighted score of %{figures}").with("figures", listed(parts)).into()
        }
    }
}

/// `a, b and c`.
fn listed(words: impl Iterator<Item = String>) -> String {
    match Lang::now() {
        Lang::English => protocol::listed(words),
        Lang::Chinese => words.collect::<Vec<_>>().join("、"),
    }
}

/// Who shares a rank.
pub fn ties(ties: Ties) -> &'static str {
    match ties {
        Ties::Equal => t("Equal values share a rank."),
        Ties::Interval => t(
            "Where runtime orders, entries that the timing does not tell apart share a rank: it is one more than the number of \
             entries whose whole 95 % interval lies below.",
        ),
    }
}

/// How the figure that orders a track comes about, for its column's header.
fn rule_definition(rule: &Rule, against_baseline: bool) -> String {
    match rule {
        Rule::Metric(_) => say("Ordered by %{figure}.").with("figure", ranked_by(rule, against_baseline)).into(),
        Rule::RankSum(metrics) => {
            let words = listed(metrics.iter().map(|m| told(m.words()).into()));
            say("The entry's ranks by %{figures} added up, each among the ranked entries by unrounded values; lower is better.")
                .with("figures", words)
                .into()
        }
        Rule::Score(terms) => {
            let parts = terms.iter().map(|term| {
                say("%{weight} · exp(2 · %{figure} / baseline’s)")
                    .with("weight", term.weight)
                    .with("figure", told(term.metric.words()))
                    .to_string()
            });
            let own = terms.iter().map(|t| t.weight).sum::<f64>() * 2f64.exp();
            say("%{sum}; lower is better. The baseline has %{own}.")
                .with("sum", parts.collect::<Vec<_>>().join(" + "))
                .with("own", fixed(own, 4))
                .into()
        }
    }
}

/// The column of what orders a track, where that is no figure of its own.
pub fn score_column(rule: &Rule, against_baseline: bool) -> Option<Definition> {
    let name = match rule {
        Rule::Metric(_) => return None,
        Rule::RankSum(_) => t("Rank sum"),
        Rule::Score(_) => t("Score"),
    };
    let text = rule_definition(rule, against_baseline);
    Some(Definition { id: "score", name, unit: "", better: Better::Lower, text })
}

/// Its cell; `place` is none for what is not ranked.
pub fn score_cell(place: Option<Place>) -> Cell {
    let text = place.map_or("–".to_owned(), |p| p.words());
    // Sorts by the logarithm where there is one: it has no limit.
    let exact = place.and_then(|p| p.ln.or(p.value)).map(|v| v.to_string()).unwrap_or_default();
    Cell { id: "score", text, exact, ..Cell::default() }
}

/// What measures: a kind of it by name where the rules say which.
pub fn device_words(class: DeviceClass, name: Option<&str>) -> String {
    name.map_or_else(|| device(class).to_owned(), str::to_owned)
}

pub fn device(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Cpu => "CPU",
        DeviceClass::Cuda => "GPU (CUDA)",
    }
}

/// One value as a table shows it.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// The definition's id.
    pub id: &'static str,
    pub text: String,
    /// All digits, for a tooltip and for sorting; empty: there is no value.
    pub exact: String,
    /// `± 0.01`, where there is an interval.
    pub spread: Option<String>,
    pub rank: Option<u32>,
}

impl Cell {
    pub fn is_best(&self) -> bool {
        self.rank == Some(1)
    }
}

/// The figures in the order of [`definitions`].
pub fn cells(figures: &Figures, ranks: Option<&Ranks>, against_baseline: bool) -> Vec<Cell> {
    let f = figures;
    let cell = |id, value: f64, scale: f64, decimals, rank: fn(&Ranks) -> Option<u32>| Cell {
        id,
        text: fixed(value / scale, decimals),
        exact: value.to_string(),
        spread: None,
        rank: ranks.and_then(rank),
    };
    let none = |_: &Ranks| None;
    let runtime: fn(&Ranks) -> Option<u32> = |r| r.runtime;
    let (by_ms, by_ratio) = if against_baseline { (none as fn(&Ranks) -> _, runtime) } else { (runtime, none as _) };
    let ratio = match f.runtime_ratio {
        Some(ratio) => {
            let half = f.runtime_ratio_ci95.map(|[low, high]| (high - low) / 2.0);
            let decimals = if half.is_some_and(|half| half < 0.005) { 3 } else { 2 };
            let spread = half.map(|half| fixed(half, decimals));
            let text = format!("{}×", fixed(ratio, decimals));
            Cell { spread, text, ..cell("runtime_ratio", ratio, 1.0, decimals, by_ratio) }
        }
        None => Cell { id: "runtime_ratio", text: "–".into(), ..Cell::default() },
    };
    vec![
        cell("psnr", f.psnr, 1.0, 2, |r| r.psnr),
        cell("ssim", f.ssim, 1.0, 4, |r| r.ssim),
        cell("runtime_ms", f.runtime_ms, 1.0, if f.runtime_ms < 10.0 { 2 } else { 1 }, by_ms),
        ratio,
        cell("params", f.params as f64, 1e6, 3, |r| r.params),
        cell("flops", f.flops as f64, 1e9, 2, |r| r.flops),
        cell("activations", f.activations as f64, 1e6, 2, |r| r.activations),
        cell("memory_mib", f.memory_mib, 1.0, 0, |r| r.memory),
        cell("convs", f.convs as f64, 1.0, 0, none),
    ]
}
