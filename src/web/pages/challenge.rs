//! `/challenges/{slug}`: what it is about, the phases, and the protocol in plain words.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        error::render,
        extract::Viewer,
        lang::{say, t},
        metrics::{self, Definition},
        view::{Page, When, markdown, span},
    },
    phase::{PhaseView, current, gate_words, pending_words},
};
use crate::{
    challenge::{
        self, Challenge, announcement, page,
        phase::{self, Phase},
        protocol::EntryRule,
    },
    leaderboard::{self, GateView},
    team::{self, participant},
};

#[derive(Template)]
#[template(path = "challenge.html")]
struct ChallengePage {
    page: Page,
    challenge: Challenge,
    about: String,
    /// Title and HTML of the organizers' further pages.
    sections: Vec<(String, String)>,
    /// Newest first.
    news: Vec<News>,
    phases: Vec<PhaseView>,
    rules: Option<RulesView>,
    part: Part,
    /// Not there yet: without ways on.
    preview: bool,
}

/// What stands below the title.
#[derive(Template)]
#[template(path = "challenge.html", block = "body")]
struct Body(ChallengePage);

impl std::ops::Deref for Body {
    type Target = ChallengePage;

    fn deref(&self) -> &ChallengePage {
        &self.0
    }
}

/// An announcement.
pub struct News {
    pub title: String,
    /// HTML.
    pub text: String,
    pub when: When,
}

/// Whether the viewer takes part.
enum Part {
    /// With the team of this name.
    In(String),
    /// For an organizer's word.
    Waiting,
    /// For this reason.
    Banned(String),
    Not,
}

struct RulesView {
    protocol: String,
    scale: u32,
    words: Vec<Rule>,
    definitions: Vec<Definition>,
}

struct Rule {
    title: &'static str,
    text: String,
}

pub async fn show(State(app): State<App>, viewer: Viewer, Path(slug): Path<String>) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    Ok(render(&view(&app, &mut conn, challenge, &viewer).await?))
}

/// The page below its title, in HTML, as it is on this connection: with changes that are not kept yet.
pub async fn preview(app: &App, conn: &mut PgConnection, challenge: &Challenge) -> Result<String, Error> {
    let page = view(app, conn, challenge.clone(), &Viewer(None)).await?;
    Ok(Body(ChallengePage { preview: true, ..page }).render()?)
}

async fn view(
    app: &App,
    conn: &mut PgConnection,
    challenge: Challenge,
    viewer: &Viewer,
) -> Result<ChallengePage, Error> {
    let phases = phase::of_challenge(conn, challenge.id).await?;
    let mut views = Vec::new();
    let mut rules = None;
    let now = current(&phases).map(|p| p.id);
    for phase in &phases {
        let gate = leaderboard::gate_view(conn, phase).await?;
        views.push(PhaseView::load(app, conn, phase, gate).await?);
        if now == Some(phase.id) {
            rules = Some(rules_view(phase, gate));
        }
    }
    let sections = page::list(conn, challenge.id).await?;
    let sections = sections.into_iter().map(|page| (page.title, markdown(&page.body))).collect();
    let part = part(conn, viewer, &challenge).await?;
    let news = announcement::list(conn, challenge.id, false).await?.into_iter().map(|one| News {
        title: one.title,
        text: markdown(&one.body),
        when: When::new(one.created_at),
    });
    let news = news.collect();
    let page = Page::of(&challenge.title, viewer);
    let about = markdown(&challenge.description);
    Ok(ChallengePage { page, challenge, about, sections, news, phases: views, rules, part, preview: false })
}

async fn part(conn: &mut PgConnection, viewer: &Viewer, challenge: &Challenge) -> Result<Part, Error> {
    let Some(signed) = &viewer.0 else { return Ok(Part::Not) };
    if let Some(reason) = participant::ban(conn, challenge.id, signed.account.id).await? {
        return Ok(Part::Banned(reason));
    }
    if let Some(team) = team::of_account(conn, challenge.id, signed.account.id).await? {
        return Ok(Part::In(team.name));
    }
    let state = participant::state(conn, challenge.id, signed.account.id).await?;
    Ok(if state == Some(participant::State::Waiting) { Part::Waiting } else { Part::Not })
}

fn rules_view(phase: &Phase, gate: Option<GateView>) -> RulesView {
    let rules = &phase.protocol.rules;
    let baseline = &phase.baseline.name;
    let gate = match gate {
        None => t("There is no gate: every entry is ranked.").into(),
        Some(view) if view.psnr.is_none() => pending_words(baseline),
        Some(view) => say("An entry is ranked only with a %{gate}, %{how}. The others are listed with what they lack.")
            .with("gate", gate_words(Some(view), baseline))
            .with("how", metrics::comparison(view.comparison))
            .into(),
    };
    let against = phase.baseline.model_sha256.is_some();
    let entry = match rules.ranking.entry {
        EntryRule::Best => t("Of each team, its best entry stands."),
        EntryRule::Chosen => t("Of each team, the entry stands that it chose; without a choice, its best."),
    };
    let ranking = say("By %{rule}. %{ties} %{entry}")
        .with("rule", metrics::ranked_by(&rules.ranking.rule, against))
        .with("ties", metrics::ties(rules.ranking.ties))
        .with("entry", entry)
        .into();
    let limits = say("%{memory} GiB of memory and %{span} for the whole evaluation; past them it fails.")
        .with("memory", format!("{:.0}", rules.limits.memory_bytes as f64 / f64::from(1 << 30)))
        .with("span", span(rules.limits.seconds))
        .into();
    let device = match against {
        true => say("%{device}, with %{baseline} timed beside each entry, so that boards of two machines compare."),
        false => say("%{device}."),
    };
    let measures = metrics::device_words(rules.device, rules.device_name.as_deref());
    let device = device.with("device", measures).with("baseline", baseline).into();
    let rule = |title, text| Rule { title, text };
    RulesView {
        protocol: phase.protocol.name.clone(),
        scale: rules.fidelity.scale,
        words: vec![
            rule(t("Gate."), gate),
            rule(t("Order."), ranking),
            rule(t("Reproduction."), metrics::reproduction(rules.reproduction, rules.ranked_images).into()),
            rule(t("Device."), device),
            rule(t("Limits."), limits),
        ],
        definitions: metrics::definitions(rules),
    }
}
