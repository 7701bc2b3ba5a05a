//! `/teams/{id}` and `/submissions/{id}/model`: where a team, and where a model, stands on public boards.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};

use super::super::{
    App, Error,
    error::render,
    extract::{SubmissionAt, Viewer},
    lang::{say, t},
    metrics::{self, Cell, Definition},
    sight::is_public,
    view::{Page, When},
};
use crate::{
    challenge,
    challenge::phase::{self, Phase},
    ids::{SubmissionId, TeamId},
    leaderboard::{Board, RankedRow, UnrankedRow},
    submission, team,
};

#[derive(Template)]
#[template(path = "standing.html")]
struct StandingPage {
    page: Page,
    /// Where it belongs: address and words.
    crumbs: Vec<(String, String)>,
    heading: String,
    thin: &'static str,
    intro: String,
    definitions: Vec<Definition>,
    rows: Vec<Row>,
    /// For a readme: address of the picture and of the board.
    badges: Vec<Badge>,
}

struct Row {
    challenge: String,
    phase: String,
    board: String,
    href: String,
    team: String,
    when: When,
    rank: Option<u32>,
    reason: Option<String>,
    cells: Vec<Cell>,
}

struct Badge {
    title: String,
    picture: String,
    markdown: String,
}

/// A row of either kind.
enum Stands<'a> {
    Ranked(&'a RankedRow),
    Unranked(&'a UnrankedRow),
}

fn find<'a>(board: &'a Board, is: impl Fn(TeamId, SubmissionId) -> bool) -> Option<Stands<'a>> {
    let ranked = board.ranked.iter().find(|r| is(r.team_id, r.submission)).map(Stands::Ranked);
    ranked.or_else(|| board.unranked.iter().find(|r| is(r.team_id, r.submission)).map(Stands::Unranked))
}

fn row(title: &str, phase: &Phase, board: &Board, stands: &Stands<'_>) -> Row {
    let against = board.by_ratio;
    let cells = |mut cells: Vec<Cell>| {
        cells.retain(|cell| SHOWN.contains(&cell.id));
        cells
    };
    let (team, submission, when, rank, reason, cells) = match stands {
        Stands::Ranked(r) => {
            let figures = cells(metrics::cells(&r.figures, Some(&r.ranks), against));
            (&r.team, r.submission, r.submitted_at, Some(r.rank), None, figures)
        }
        Stands::Unranked(r) => {
            let figures = cells(metrics::cells(&r.figures, None, against));
            (&r.team, r.submission, r.submitted_at, None, Some(r.reason.message.clone()), figures)
        }
    };
    Row {
        challenge: title.to_owned(),
        phase: phase.title.clone(),
        board: format!("/challenges/{}/{}", phase.challenge_slug, phase.slug),
        href: format!("/submissions/{submission}"),
        team: team.clone(),
        when: When::new(when),
        rank,
        reason,
        cells,
    }
}

/// Convolutions and SSIM tell a reader of these pages little.
const SHOWN: [&str; 7] = ["psnr", "runtime_ms", "runtime_ratio", "params", "flops", "activations", "memory_mib"];

fn definitions(phase: Option<&Phase>) -> Vec<Definition> {
    let all = phase.map(|phase| metrics::definitions(&phase.protocol.rules)).unwrap_or_default();
    all.into_iter().filter(|d| SHOWN.contains(&d.id)).collect()
}

/// A team is known to everybody as soon as it stands on a public board; before, to its members and its organizers.
pub async fn of_team(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id: TeamId = id.parse().map_err(|_| Error::TeamNotFound)?;
    let mut conn = app.db().await?;
    let team = team::get(&mut conn, id).await?.ok_or(Error::TeamNotFound)?;
    let challenge = challenge::get(&mut conn, team.challenge).await?.ok_or(Error::TeamNotFound)?;
    let phases = phase::of_challenge(&mut conn, challenge.id).await?;
    let own = match &viewer.0 {
        Some(signed) => viewer.organizes(challenge.id) || team::is_member(&mut conn, id, signed.account.id).await?,
        None => false,
    };
    drop(conn);
    let (mut rows, mut badges) = (Vec::new(), Vec::new());
    let url = app.url(&headers);
    for phase in phases.iter().filter(|phase| is_public(phase)) {
        let board = app.boards.of(&app.pool, phase).await?;
        let Some(stands) = find(&board, |of, _| of == id) else { continue };
        rows.push(row(&challenge.title, phase, &board, &stands));
        let path = format!("/challenges/{}/{}", challenge.slug, phase.slug);
        let picture = format!("{path}/teams/{id}/badge.svg");
        let markdown = format!("[![{}]({url}{picture})]({url}{path})", phase.title.replace(['[', ']'], ""));
        badges.push(Badge { title: phase.title.clone(), picture, markdown });
    }
    if rows.is_empty() && !own {
        return Err(Error::TeamNotFound);
    }
    Ok(render(&StandingPage {
        page: Page::of(format!("{} · {}", team.name, challenge.title), &viewer),
        crumbs: vec![
            ("/".into(), t("Challenges").into()),
            (format!("/challenges/{}", challenge.slug), challenge.title),
        ],
        heading: team.name,
        thin: t("team"),
        intro: t("Its entries that stand on public boards.").into(),
        definitions: definitions(phases.first().filter(|_| !rows.is_empty())),
        rows,
        badges,
    }))
}

/// The entries with the weights of this one, of the same people, that stand on public boards.
pub async fn of_model(State(app): State<App>, at: SubmissionAt) -> Result<Response, Error> {
    let SubmissionAt { submission, viewer, .. } = at;
    let mut same = submission::same_model(&mut *app.db().await?, submission.id).await?;
    same.sort_by_key(|(_, phase)| *phase);
    let phases: Vec<_> = same.iter().map(|(_, phase)| *phase).collect();
    let mut rows = Vec::new();
    let mut first = None;
    for (i, id) in phases.iter().enumerate().filter(|(i, id)| !phases[..*i].contains(*id)) {
        let phase = phase::get(&mut *app.db().await?, *id).await?;
        let Some(phase) = phase.filter(is_public) else { continue };
        let board = app.boards.of(&app.pool, &phase).await?;
        let is = |_, entry| same[i..].iter().any(|(submission, of)| *submission == entry && of == id);
        let Some(stands) = find(&board, is) else { continue };
        let challenge = challenge::get(&mut *app.db().await?, phase.challenge).await?;
        let challenge = challenge.ok_or(Error::ChallengeNotFound)?;
        rows.push(row(&challenge.title, &phase, &board, &stands));
        first.get_or_insert(phase);
    }
    let entry = (format!("/submissions/{}", submission.id), t("Entry").to_owned());
    Ok(render(&StandingPage {
        page: Page::of(say("Model of %{team}").with("team", &submission.team_name), &viewer),
        crumbs: vec![("/".into(), t("Challenges").into()), entry],
        heading: submission.team_name,
        thin: t("model"),
        intro: t("Entries of the same people with the same weights as this one, where they stand on public boards.")
            .into(),
        definitions: definitions(first.as_ref()),
        rows,
        badges: Vec::new(),
    }))
}
