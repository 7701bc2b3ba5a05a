//! `/challenges/{slug}/{phase}/submit`: the form, and what it posts.

use askama::Template;
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;

use super::{
    super::{
        App, Error,
        api::submissions::{Receipt, receive},
        error::{render, wants_json},
        extract::{PhaseAt, Viewer, begin_by_token},
        facts::{self, FactField},
        lang::{say, t},
        upload::{self, Limits},
        view::{Page, When},
    },
    phase::PhaseView,
};
use crate::{
    challenge::{Challenge, dataset, phase::Phase},
    ids::SubmissionId,
    problem::Problem,
    submission::{self, FactSheet, fact_sheet, quota},
    team::Team,
};

/// Entries of the team that are listed below the form.
const RECENT: i64 = 10;

#[derive(Template)]
#[template(path = "submit.html")]
struct SubmitPage {
    page: Page,
    challenge: Challenge,
    phase: PhaseView,
    /// Whom the browser is signed in for.
    team: Option<String>,
    /// What is used of the quota, and when the day ends.
    quota: Option<(String, When)>,
    fields: Vec<FactField>,
    problems: Vec<Problem>,
    recent: Vec<Recent>,
    url: String,
}

struct Recent {
    id: SubmissionId,
    state: &'static str,
    when: When,
}

pub async fn show(State(app): State<App>, viewer: Viewer, at: PhaseAt, request: Request) -> Result<Response, Error> {
    let url = app.url(request.headers());
    Ok(render(&form(&app, &viewer, at, url, Vec::new()).await?))
}

async fn form(
    app: &App,
    viewer: &Viewer,
    at: PhaseAt,
    url: String,
    problems: Vec<Problem>,
) -> Result<SubmitPage, Error> {
    let PhaseAt { challenge, phase } = at;
    let team = viewer.team(app, &challenge).await?;
    let mut conn = app.db().await?;
    let gate = crate::leaderboard::gate_view(&mut conn, &phase).await?;
    let view = PhaseView::load(app, &mut conn, &phase, gate).await?;
    let (quota, recent) = match &team {
        Some(team) => {
            let (quota, recent) = history(&mut conn, team, &phase).await?;
            (Some(quota), recent)
        }
        None => Default::default(),
    };
    let fields = facts::of(fact_sheet::fields(&mut conn, challenge.id).await?, &FactSheet::new());
    Ok(SubmitPage {
        page: Page::of(format!("{} · {}", t("Submit"), challenge.title), viewer),
        challenge,
        phase: view,
        team: team.map(|t| t.name),
        quota,
        fields,
        problems,
        recent,
        url,
    })
}

async fn history(
    conn: &mut sqlx::PgConnection,
    team: &Team,
    phase: &Phase,
) -> Result<((String, When), Vec<Recent>), Error> {
    let used = quota::usage(conn, phase.id, team.id, phase.limits).await?;
    let words = match used.limits.total {
        Some(total) => say("%{used} of %{limit} evaluations of today are used, %{n} of %{total} in all")
            .with("n", used.total_used)
            .with("total", total),
        None => say("%{used} of %{limit} evaluations of today are used"),
    };
    let words = words.with("used", used.daily_used).with("limit", used.limits.daily).into();
    let recent = submission::of_team(conn, team.id, Some(phase.id), RECENT).await?.into_iter();
    let recent = recent.map(|s| Recent { id: s.id, state: s.state.as_str(), when: When::new(s.created_at) });
    Ok(((words, When::new(used.resets_at)), recent.collect()))
}

/// The form as posted: with a token in its first field, or by a browser that is signed in. Leads to the submission's page;
/// a refused one shows the form again with every problem. A script that asks for JSON gets the API's answer.
pub async fn accept(
    State(app): State<App>,
    viewer: Viewer,
    at: PhaseAt,
    jar: CookieJar,
    request: Request,
) -> Result<Response, Error> {
    let json = wants_json(request.uri().path(), request.headers());
    let url = app.url(request.headers());
    let limits = Limits::of(&dataset::get(&mut *app.db().await?, at.phase.dataset).await?, &app.settings);
    let (mut jar, headers) = (jar, request.headers().clone());
    let accepted = upload::answering(request, limits, async |incoming| {
        let signed = match &viewer.0 {
            Some(signed) => signed.clone(),
            None => {
                let token = incoming.first_text("token").await?.ok_or(Error::TokenNeeded)?;
                let (signed, cookie) = begin_by_token(&app, &headers, &token).await?;
                jar = std::mem::take(&mut jar).add(cookie);
                signed
            }
        };
        receive(&app, signed.may_submit()?, &at.challenge, &at.phase, incoming, None).await
    });
    match accepted.await {
        Ok(receipt) if json => Ok((StatusCode::ACCEPTED, jar, Json(receipt)).into_response()),
        Ok(Receipt { url, .. }) => Ok((jar, Redirect::to(&url)).into_response()),
        Err(error) if json => Err(error),
        Err(error) => {
            let fault = error.fault();
            if fault.status.is_server_error() {
                return Err(error);
            }
            let page = form(&app, &viewer, at, url, fault.problems).await?;
            Ok((fault.status, jar, render(&page)).into_response())
        }
    }
}
