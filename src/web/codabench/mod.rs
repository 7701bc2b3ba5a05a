//! The part of Codabench's REST that its clients drive, over the same intake, sight and board as everything else.
//!
//! A client signs in with its account's name and, as the password, an API token that may submit: what it gets is that token,
//! so that it can do no more than the token and ends with it. The model rides in the results zip.

mod numbers;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use tower_http::timeout::TimeoutLayer;

use super::{
    App, Error,
    api::{MAX_DOCUMENT, submissions, uploads as pieces},
    body::{self, Document},
    details::Details,
    doors::Download,
    extract::{Signed, SubmissionAt, Submitter, Viewer},
    metrics::{self, Better},
    sight::{seen_by, sees_board},
    upload::{Limits, Piece},
    view::markdown,
};
use crate::{
    challenge::{
        self, Challenge, dataset,
        phase::{self, Phase, PhaseState},
        protocol::Metric,
    },
    evaluation::results::bundle::{self, Half},
    ids::{PhaseId, SubmissionId, UploadId},
    leaderboard::Figures,
    problem::Problem,
    queue::State as RunState,
    submission::{
        self, FactSheet, Rejection, Submission,
        intake::{self, Upload},
        quota,
        uploads::{self, NewUpload, Part},
        vetting,
    },
    team,
};

pub fn router(app: &App) -> Router<App> {
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.settings.request_timeout);
    let quick = Router::new()
        .route("/api/api-token-auth/", post(sign_in))
        .route("/api/competitions/", get(competitions))
        .route("/api/competitions/{id}/", get(competition))
        .route("/api/can_make_submission/{phase}/", get(may_submit))
        .route("/api/datasets/", post(announce))
        .route("/api/datasets/completed/{key}/", put(completed))
        .route("/api/submissions/{id}/", get(show))
        .route("/api/submissions/{id}/get_details/", get(details))
        .route("/api/submissions/{id}/file/", get(file))
        .route("/api/phases/{id}/get_leaderboard/", get(board))
        .route("/api/leaderboards/{id}/", get(board))
        .layer(timeout)
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT));
    // Vetting takes as long as the files are large.
    let slow = Router::new()
        .route("/api/submissions/", get(list).post(submit).layer(DefaultBodyLimit::max(MAX_DOCUMENT)))
        .route("/api/datasets/upload/{key}/", put(upload).layer(DefaultBodyLimit::disable()));
    quick.merge(slow)
}

/// Who asks, by `Authorization: Token …`; everybody may.
struct Asker(Viewer);

impl FromRequestParts<App> for Asker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let words = parts.headers.get(header::AUTHORIZATION).map(|v| v.to_str().unwrap_or("").to_owned());
        match words.as_deref().map(|words| words.split_once(' ').unwrap_or((words, ""))) {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("token") => {
                Ok(Asker(Viewer(Some(Signed::of_token(app, secret).await?))))
            }
            _ => Ok(Asker(Viewer::from_request_parts(parts, app).await?)),
        }
    }
}

impl Asker {
    fn signed(self) -> Result<Signed, Error> {
        self.0.0.ok_or(Error::TokenNeeded)
    }
}

/// The fields of a form or of a JSON object, as text.
struct Fields(BTreeMap<String, String>);

impl FromRequest<App> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            let Document(object) = Document::<Map<String, Value>>::from_request(request, app).await?;
            let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Ok(Fields(object.into_iter().map(|(key, value)| (key, text(value))).collect()));
        }
        let body::Fields(pairs) = body::Fields::<Vec<(String, String)>>::from_request(request, app).await?;
        Ok(Fields(pairs.into_iter().collect()))
    }
}

impl Fields {
    fn get<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        let value = self.0.get(name).and_then(|text| text.trim().parse().ok());
        let problem = || Problem::new("bad_form", "This field is missing or has another form.").at(name);
        value.ok_or_else(|| Error::BadUpload(problem()))
    }
}

async fn sign_in(State(app): State<App>, fields: Fields) -> Result<Json<Value>, Error> {
    let (name, token) = (fields.get::<String>("username")?, fields.get::<String>("password")?);
    let signed = Signed::of_token(&app, &token).await?;
    if !signed.account.name.eq_ignore_ascii_case(name.trim()) {
        return Err(Error::TokenRefused);
    }
    Ok(Json(json!({ "token": token.trim() })))
}

#[derive(Deserialize)]
struct Search {
    search: Option<String>,
}

async fn competitions(State(app): State<App>, Query(Search { search }): Query<Search>) -> Result<Json<Value>, Error> {
    let mut conn = app.db().await?;
    let wanted = search.unwrap_or_default().to_lowercase();
    let numbers = numbers::of_challenges(&mut conn).await?;
    let mut all = Vec::new();
    for challenge in challenge::list(&mut conn).await? {
        if challenge.title.to_lowercase().contains(&wanted) || challenge.slug.contains(&wanted) {
            all.push(json!({ "id": numbers.get(&challenge.id), "title": challenge.title, "created_by": "organizers", "published": true }));
        }
    }
    Ok(Json(all.into()))
}

async fn competition(State(app): State<App>, Path(id): Path<i64>, asker: Asker) -> Result<Json<Value>, Error> {
    let mut conn = app.db().await?;
    let slug = numbers::challenge(&mut conn, id).await?.ok_or(Error::ChallengeNotFound)?;
    let challenge = challenge::by_slug(&mut conn, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    let phases = phase::of_challenge(&mut conn, challenge.id).await?;
    let team = match &asker.0.0 {
        Some(signed) => team::of_account(&mut conn, challenge.id, signed.account.id).await?,
        None => None,
    };
    let (mut shown, mut boards) = (Vec::new(), Vec::new());
    for (index, phase) in phases.iter().enumerate() {
        let number = numbers::of_phase(&mut conn, phase.id).await?;
        let used = match &team {
            Some(team) => Some(quota::usage(&mut conn, phase.id, team.id, phase.limits).await?),
            None => None,
        };
        shown.push(json!({
            "id": number, "index": index, "name": phase.title, "start": phase.opens_at, "end": phase.closes_at,
            "status": match phase.state {
                PhaseState::Upcoming => "Next",
                PhaseState::Open => "Current",
                PhaseState::Closed => "Previous",
            },
            "max_submissions_per_day": phase.limits.daily,
            "max_submissions_per_person": phase.limits.total,
            "used_submissions_per_day": used.map(|q| q.daily_used),
            "used_submissions_per_person": used.map(|q| q.total_used),
            "tasks": [{ "id": number, "name": phase.title, "public_datasets": [], "solutions": [] }],
        }));
        boards.push(board_head(number, phase));
    }
    Ok(Json(json!({
        "id": id,
        "title": challenge.title,
        "created_by": "organizers",
        "description": challenge.description,
        "pages": [{ "index": 0, "title": "Overview", "content": markdown(&challenge.description) }],
        "phases": shown,
        "leaderboards": boards,
        "participant_status": team.map(|_| "approved"),
    })))
}

/// A board's title and columns, in the order of our own.
fn board_head(number: i64, phase: &Phase) -> Value {
    let columns = metrics::definitions(&phase.protocol.rules);
    let primary = match phase.protocol.rules.ranking.rule.lead() {
        Metric::Runtime if phase.baseline.model_sha256.is_some() => "runtime_ratio",
        Metric::Runtime => "runtime_ms",
        Metric::Memory => "memory_mib",
        other => other.as_str(),
    };
    let index = columns.iter().position(|column| column.id == primary).unwrap_or(0);
    let columns: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let sorting = if column.better == Better::Higher { "desc" } else { "asc" };
            json!({ "index": i, "key": column.id, "title": column.name, "sorting": sorting, "precision": 4 })
        })
        .collect();
    json!({ "id": number, "title": phase.title, "key": phase.slug, "primary_index": index, "columns": columns })
}

/// Each figure by its column.
fn scores(phase: &Phase, figures: &Figures) -> Value {
    let head = board_head(0, phase);
    let cells = metrics::cells(figures, None, figures.runtime_ratio.is_some());
    let scores = cells.iter().enumerate().filter(|(_, cell)| !cell.exact.is_empty()).map(|(index, cell)| {
        json!({ "index": index, "column_key": cell.id, "score": cell.exact, "is_primary": head["primary_index"] == index })
    });
    scores.collect()
}

async fn phase_of(conn: &mut PgConnection, number: i64) -> Result<(Challenge, Phase), Error> {
    let id = numbers::phase(conn, number).await?.ok_or(Error::PhaseNotFound)?;
    let phase = phase::get(conn, id).await?.ok_or(Error::PhaseNotFound)?;
    let challenge = challenge::by_slug(conn, &phase.challenge_slug).await?.ok_or(Error::ChallengeNotFound)?;
    Ok((challenge, phase))
}

async fn may_submit(State(app): State<App>, Path(number): Path<i64>, asker: Asker) -> Result<Json<Value>, Error> {
    let Submitter(signed) = asker.signed()?.may_submit()?;
    let mut conn = app.db().await?;
    let (challenge, phase) = phase_of(&mut conn, number).await?;
    let refused = match team::of_account(&mut conn, challenge.id, signed.account.id).await? {
        None => Some(Error::NoTeam),
        Some(team) => {
            let quota = quota::usage(&mut conn, phase.id, team.id, phase.limits).await?;
            intake::check_open(&phase).and_then(|()| quota.check()).err().map(Error::from)
        }
    };
    let reason = refused.and_then(|error| Some(error.fault().problems.first()?.message.clone()));
    Ok(Json(json!({ "can": reason.is_none(), "reason": reason })))
}

/// Begins an upload. It names no phase, so that the largest limit of those that are open to the account holds; the intake
/// holds it to its phase's.
async fn announce(
    State(app): State<App>,
    headers: HeaderMap,
    asker: Asker,
    fields: Fields,
) -> Result<impl IntoResponse, Error> {
    let Submitter(signed) = asker.signed()?.may_submit()?;
    if fields.get::<String>("type")? != "submission" {
        let problem = Problem::new("bad_form", "Only submissions are taken here.").at("type");
        return Err(Error::BadUpload(problem));
    }
    // A decimal number where a client sends one.
    let length = fields.get::<f64>("file_size")?;
    if !(1.0..1e15).contains(&length) {
        return Err(Error::BadUpload(Problem::new("empty_file", "The file is empty.").at("file_size")));
    }
    let length = length as u64;
    let mut conn = app.db().await?;
    let mut largest: Option<(u64, PhaseId)> = None;
    for id in numbers::open_to(&mut conn, signed.account.id).await? {
        if let Some(phase) = phase::get(&mut conn, id).await? {
            let limits = Limits::of(&dataset::get(&mut conn, phase.dataset).await?, &app.settings);
            largest = largest.max(Some((limits.of_part(Part::Bundle), id)));
        }
    }
    drop(conn);
    let (limit, phase) = largest.ok_or(Error::NoTeam)?;
    if length > limit {
        return Err(Rejection::TooLarge { limit }.into());
    }
    let name = fields.0.get("request_sassy_file_name").cloned();
    let filename = name.filter(|n| (1..=255).contains(&n.chars().count())).unwrap_or_else(|| "bundle.zip".into());
    let id = UploadId(uuid::Builder::from_random_bytes(rand::random()).into_uuid());
    let new = NewUpload {
        id,
        account: signed.account.id,
        phase,
        part: Part::Bundle,
        filename,
        length,
        sha256: None,
        metadata: String::new(),
    };
    uploads::begin(&app.pool, &app.storage, &new, app.settings.uploads).await?;
    let url = format!("{}/api/datasets/upload/{id}/", app.url(&headers));
    Ok((StatusCode::CREATED, Json(json!({ "key": id, "sassy_url": url }))))
}

/// The file's bytes; who knows the address may send them, once.
async fn upload(State(app): State<App>, Path(key): Path<UploadId>, request: Request) -> Result<Json<Value>, Error> {
    let upload = uploads::bundle(&mut *app.db().await?, key).await?.ok_or(Error::UploadNotFound)?;
    let (turn, mut file) = pieces::hold(&app, key).await?;
    if file.bytes() >= upload.length {
        return Err(Error::UploadOffset(file.bytes()));
    }
    file.cut(0).await?;
    let piece = Piece::open(request.into_body(), upload.length);
    let written = pieces::write(&turn, &mut file, piece).await;
    let bytes = file.bytes();
    if written.is_err() || bytes != upload.length {
        file.cut(0).await?;
        file.release().await;
        written?;
        return Err(Rejection::UploadIncomplete { id: key, have: bytes, length: upload.length }.into());
    }
    file.sync().await?;
    // Before the answer: the client may name the upload at once.
    file.release().await;
    Ok(Json(json!({})))
}

async fn completed(State(app): State<App>, Path(key): Path<UploadId>, asker: Asker) -> Result<Json<Value>, Error> {
    let signed = asker.signed()?;
    uploads::get(&mut *app.db().await?, signed.account.id, key).await?.ok_or(Error::UploadNotFound)?;
    Ok(Json(json!({ "key": key })))
}

async fn submit(State(app): State<App>, asker: Asker, fields: Fields) -> Result<impl IntoResponse, Error> {
    let Submitter(signed) = asker.signed()?.may_submit()?;
    let (number, key) = (fields.get::<i64>("phase")?, fields.get::<UploadId>("data")?);
    let mut conn = app.db().await?;
    let (challenge, phase) = phase_of(&mut conn, number).await?;
    let team = team::of_account(&mut conn, challenge.id, signed.account.id).await?.ok_or(Error::NoTeam)?;
    let upload = uploads::get(&mut conn, signed.account.id, key).await?.filter(|u| u.part == Part::Bundle);
    let upload = upload.ok_or(Rejection::NoSuchUpload(key))?;
    let limits = Limits::of(&dataset::get(&mut conn, phase.dataset).await?, &app.settings);
    drop(conn);
    // Before the file is read: a team has one entry vetted at a time, however many it sends.
    let _turn = vetting::turn(team.id).await;
    let whole = Arc::new(uploads::stage(&app.storage, key, upload.length).await?);
    let looked = whole.clone();
    let found = tokio::task::spawn_blocking(move || bundle::look(looked.path())).await.map_err(anyhow::Error::from)?;
    let has_model = found?.map_err(|problem| Rejection::Vetting(vec![problem]))?;
    let half = async |half: Half, limit: u64| {
        let from = whole.clone();
        let file = app.storage.stage_with(move |to| bundle::copy(from.path(), half, to)).await?;
        if file.bytes > limit { Err(Error::from(Rejection::TooLarge { limit })) } else { Ok(file) }
    };
    let results = Some(half(Half::Results, limits.results).await?);
    let model = if has_model { Some(half(Half::Model, limits.model).await?) } else { None };
    let account = signed.account.id;
    let new = Upload {
        phase: phase.id,
        team: team.id,
        account,
        results,
        model,
        fact_sheet: FactSheet::new(),
        idempotency_key: None,
    };
    let accepted = intake::accept(&app.pool, &app.storage, new).await?;
    let mut conn = app.db().await?;
    if let Err(error) = uploads::used(&mut conn, &app.storage, &[(Part::Bundle, key)], accepted.submission).await {
        // The submission stands; what is left of its upload expires.
        tracing::warn!(error = format!("{error:#}"), "the upload of a submission was not removed");
    }
    let stored = submission::get(&mut conn, accepted.submission).await?.ok_or(Error::SubmissionNotFound)?;
    Ok((StatusCode::CREATED, Json(head(&mut conn, &stored).await?)))
}

/// A submission without its figures.
async fn head(conn: &mut PgConnection, s: &Submission) -> Result<Value, Error> {
    Ok(json!({
        "id": numbers::of_submission(conn, s.id).await?,
        "phase": numbers::of_phase(conn, s.phase).await?,
        "owner": s.team_name,
        "filename": format!("results-{}.zip", s.id),
        "created_when": s.created_at,
        "status": match s.state {
            RunState::Queued => "Submitted",
            RunState::Running => "Running",
            RunState::Scored => "Finished",
            RunState::Failed => "Failed",
            RunState::Cancelled => "Cancelled",
        },
        "scores": [],
    }))
}

async fn at(app: &App, number: i64, asker: Asker) -> Result<SubmissionAt, Error> {
    let id: Option<SubmissionId> = numbers::submission(&mut *app.db().await?, number).await?;
    SubmissionAt::load(app, asker.0, id.ok_or(Error::SubmissionNotFound)?).await
}

async fn show(State(app): State<App>, Path(number): Path<i64>, asker: Asker) -> Result<Json<Value>, Error> {
    let at = at(&app, number, asker).await?;
    let told = Details::load(&app.boards, &app.pool, &at).await?;
    let mut shown = head(&mut *app.db().await?, &at.submission).await?;
    if let Some(figures) = &told.figures {
        shown["scores"] = scores(&at.phase, figures);
    }
    let problems = told.problems(at.sight);
    shown["status_details"] = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into();
    Ok(Json(shown))
}

/// Addresses of the files, which the client asks for with its token.
async fn details(
    State(app): State<App>,
    headers: HeaderMap,
    Path(number): Path<i64>,
    asker: Asker,
) -> Result<Json<Value>, Error> {
    let at = at(&app, number, asker).await?;
    let mut conn = app.db().await?;
    let board = board_head(numbers::of_phase(&mut conn, at.phase.id).await?, &at.phase);
    let file = format!("{}/api/submissions/{number}/file/", app.url(&headers));
    Ok(Json(json!({
        "data_file": at.sight.is_full().then_some(file),
        "prediction_result": null, "scoring_result": null, "detailed_result": null,
        "leaderboards": [board], "logs": [],
    })))
}

/// The results zip; the model that came with it is kept apart.
async fn file(
    State(app): State<App>,
    Path(number): Path<i64>,
    asker: Asker,
    download: Download,
    request: Request,
) -> Result<Response, Error> {
    let at = at(&app, number, asker).await?;
    submissions::results(State(app), at, download, request).await
}

#[derive(Deserialize)]
struct OfPhase {
    phase: Option<i64>,
}

/// Submissions of one's own teams that are listed.
const LISTED: i64 = 100;

async fn list(
    State(app): State<App>,
    Query(OfPhase { phase }): Query<OfPhase>,
    asker: Asker,
) -> Result<Json<Value>, Error> {
    let signed = asker.signed()?;
    let mut conn = app.db().await?;
    let mut all = Vec::new();
    let challenges = match phase {
        Some(number) => vec![phase_of(&mut conn, number).await?.0],
        None => challenge::list(&mut conn).await?,
    };
    let phase = match phase {
        Some(number) => numbers::phase(&mut conn, number).await?,
        None => None,
    };
    for challenge in challenges {
        if let Some(team) = team::of_account(&mut conn, challenge.id, signed.account.id).await? {
            for submission in submission::of_team(&mut conn, team.id, phase, LISTED).await? {
                all.push(head(&mut conn, &submission).await?);
            }
        }
    }
    Ok(Json(all.into()))
}

async fn board(State(app): State<App>, Path(number): Path<i64>, asker: Asker) -> Result<Json<Value>, Error> {
    let mut conn = app.db().await?;
    let (_, phase) = phase_of(&mut conn, number).await?;
    if !sees_board(&asker.0, &phase) {
        return Err(Error::NotPublished);
    }
    let phase = seen_by(&asker.0, phase);
    drop(conn);
    let ranking = app.boards.of(&app.pool, &phase).await?;
    let entries = ranking.ranked.iter().map(|row| row.submission);
    let numbers = numbers::of_submissions(&mut *app.db().await?, entries).await?;
    let mut rows = Vec::new();
    for row in &ranking.ranked {
        rows.push(json!({
            "id": numbers.get(&row.submission),
            "owner": row.team, "created_when": row.submitted_at, "scores": scores(&phase, &row.figures),
        }));
    }
    let mut board = board_head(number, &phase);
    board["submissions"] = rows.into();
    Ok(Json(board))
}
