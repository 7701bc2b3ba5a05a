//! A phase as several pages show it.

use sqlx::PgConnection;

use super::super::{
    App, Error,
    lang::{say, t},
    metrics,
    upload::Limits,
    view::{When, bytes},
};
use crate::{
    challenge::{
        dataset,
        phase::{Phase, PhaseState},
    },
    leaderboard::GateView,
};

/// A phase's rules of entry in words.
pub struct PhaseView {
    pub slug: String,
    pub title: String,
    pub state: PhaseState,
    pub opens: Option<When>,
    pub closes: Option<When>,
    /// The next of the two, or when it closed.
    pub until: Option<When>,
    pub until_word: &'static str,
    pub images: usize,
    pub scale: u32,
    pub lr_size: String,
    pub results_bytes: u64,
    pub model_bytes: u64,
    pub results_limit: String,
    pub model_limit: String,
    pub quota: String,
    pub attempts: u32,
    pub device: String,
    pub gate: String,
}

impl PhaseView {
    pub async fn load(
        app: &App,
        conn: &mut PgConnection,
        phase: &Phase,
        gate: Option<GateView>,
    ) -> Result<PhaseView, Error> {
        let dataset = dataset::get(conn, phase.dataset).await?;
        let limits = Limits::of(&dataset, &app.settings);
        let (until, until_word) = until(phase);
        let quota = match phase.limits.total {
            Some(total) => say("%{n} evaluations a day, %{total} in all").with("total", total),
            None => say("%{n} evaluations a day"),
        };
        let quota = quota.with("n", phase.limits.daily).into();
        Ok(PhaseView {
            slug: phase.slug.clone(),
            title: phase.title.clone(),
            state: phase.state,
            opens: phase.opens_at.map(When::new),
            closes: phase.closes_at.map(When::new),
            until,
            until_word,
            images: dataset.images.len(),
            scale: dataset.scale,
            lr_size: bytes(dataset.images.iter().map(|i| i.lr_bytes).sum()),
            results_bytes: limits.results,
            model_bytes: limits.model,
            results_limit: bytes(limits.results),
            model_limit: bytes(limits.model),
            quota,
            attempts: phase.limits.daily_attempts,
            device: metrics::device_words(phase.protocol.rules.device, phase.protocol.rules.device_name.as_deref()),
            gate: gate_words(gate, &phase.baseline.name),
        })
    }

    pub fn is_open(&self) -> bool {
        self.state == PhaseState::Open
    }
}

/// The next moment that matters of a phase, and the word before it.
pub fn until(phase: &Phase) -> (Option<When>, &'static str) {
    match phase.state {
        PhaseState::Upcoming => (phase.opens_at.map(When::new), t("opens")),
        PhaseState::Open => (phase.closes_at.map(When::new), t("closes")),
        PhaseState::Closed => (phase.closes_at.map(When::new), t("closed")),
    }
}

/// The gate in one line.
pub fn gate_words(gate: Option<GateView>, baseline: &str) -> String {
    match gate {
        None => t("none: every entry is ranked").into(),
        Some(GateView { psnr: None, .. }) => {
            say("the PSNR of %{baseline}, not measured yet").with("baseline", baseline).into()
        }
        Some(GateView { psnr: Some(psnr), follows_baseline, .. }) => {
            let gate = format!("PSNR ≥ {psnr:.2} dB");
            match follows_baseline {
                true => say("%{gate}, measured of %{baseline}").with("gate", gate).with("baseline", baseline).into(),
                false => gate,
            }
        }
    }
}

/// What it means that the gate is not known yet.
pub fn pending_words(baseline: &str) -> String {
    say("The gate is the PSNR of %{baseline}, which is not measured yet: nobody is ranked until it is.")
        .with("baseline", baseline)
        .into()
}

/// The phase that a visitor means: the first that is open, else the next, else the last.
pub fn current(phases: &[Phase]) -> Option<&Phase> {
    let of = |state| phases.iter().find(move |p| p.state == state);
    of(PhaseState::Open).or_else(|| of(PhaseState::Upcoming)).or(phases.last())
}
