//! Sending an entry in, reading it, taking it back.

use axum::{
    Json,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use tower::ServiceExt;
use tower_http::services::ServeFile;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    App, Error,
    body::{Document, Stated},
    details::{Details, Standing},
    doors::Download,
    error::{Errors, rate_limit},
    extract::{PhaseAt, SubmissionAt, Submitter, Viewer},
    metrics::{self, Definition},
    sight::Sight,
    upload::{self, Incoming, Limits},
};
use crate::{
    audit::{self, Act, Power},
    challenge::{
        Challenge, dataset,
        phase::{self, Phase, PhaseState},
    },
    evaluation::{Cost, ImageScore, Memory, Progress, Provenance, Reproduction, Runtime, Verdict},
    ids::{SubmissionId, TeamId, UploadId},
    leaderboard::{Figures, Ranks},
    problem::Problem,
    queue::{self, Position, State as RunState},
    scoring::Reason,
    storage::BlobHash,
    submission::{
        self, FactSheet, OrganizerStatus, Submission, fact_sheet,
        intake::{self, Accepted, Upload},
        quota::{self, Quota},
        uploads::{self, Part, Taken},
        vetting,
    },
    team,
};

/// An accepted upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    pub id: SubmissionId,
    pub state: RunState,
    /// Its page; the same under `/api/v1` for scripts.
    #[schema(example = "/submissions/0197…")]
    pub url: String,
    /// The same upload was accepted before; this is it, and nothing more was charged.
    pub repeated: bool,
    /// What your team has used of its quota now.
    pub quota: Quota,
}

/// The parts of an upload; text parts of any other name make the fact sheet.
#[derive(ToSchema)]
#[allow(dead_code)] // Only described, never built.
pub struct UploadForm {
    /// A zip of the SR images, one PNG for each LR image.
    #[schema(value_type = String, format = Binary)]
    results: Vec<u8>,
    /// An `.onnx` file, or a zip with it and its data file; or this part twice, once for each of the two files.
    #[schema(value_type = String, format = Binary)]
    model: Vec<u8>,
    /// Instead of `results`: the id of a resumable upload.
    results_upload: Option<UploadId>,
    /// Instead of `model`: the id of a resumable upload; twice for two files.
    model_upload: Option<UploadId>,
    /// A field of the fact sheet.
    method: Option<String>,
}

/// Submit an entry
///
/// Files are vetted at once: a refused upload lists every problem, costs nothing and leaves nothing behind. At most
/// 32 parts. Large files come in better by a resumable upload, which a submission then names. A repetition with the same `Idempotency-Key`, or of the same files, gives the first submission again.
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/submissions", tag = "submissions",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        ("Idempotency-Key" = Option<String>, Header, description = "Your name for this upload, 1 to 200 characters")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 202, description = "Accepted and queued", body = Receipt),
        (status = 400, description = "The body is no well-formed multipart form", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The phase is not open, the token may not submit, or you are in no team", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 408, description = "The upload was too slow", body = Errors),
        (status = 409, description = "The idempotency key was used for other files", body = Errors),
        (status = 413, description = "The upload is larger than is allowed", body = Errors),
        (status = 422, description = "The files have problems; all are listed", body = Errors),
        (status = 429, description = "The quota is used up; `Retry-After` says for how long", body = Errors),
        (status = 503, description = "Try again in seconds", body = Errors),
        (status = 507, description = "The server's storage is nearly full", body = Errors)),
    security(("token" = [])))]
pub async fn submit(
    State(app): State<App>,
    PhaseAt { challenge, phase }: PhaseAt,
    submitter: Submitter,
    request: Request,
) -> Result<impl IntoResponse, Error> {
    let key = match request.headers().get("idempotency-key") {
        Some(key) => Some(key.to_str().map_err(|_| Error::from(submission::Rejection::BadKey))?.to_owned()),
        None => None,
    };
    let limits = Limits::of(&dataset::get(&mut *app.db().await?, phase.dataset).await?, &app.settings);
    let receipt = upload::answering(request, limits, async |incoming| {
        receive(&app, submitter, &challenge, &phase, incoming, key).await
    });
    let receipt = receipt.await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1{}", receipt.url)) {
        headers.insert(header::LOCATION, location);
    }
    let quota = &receipt.quota;
    let left = quota.limits.daily.saturating_sub(quota.daily_used);
    headers.extend(rate_limit(quota.limits.daily, left, (quota.resets_at - Utc::now()).num_seconds()));
    Ok((StatusCode::ACCEPTED, headers, Json(receipt)))
}

/// Some of a phase's submissions.
#[derive(Serialize, ToSchema)]
pub struct SubmissionPage {
    /// Newest first.
    pub submissions: Vec<SubmissionSummary>,
    /// Ask with this `cursor` for the next ones; `null`: these are the last.
    pub next: Option<SubmissionId>,
}

#[derive(Serialize, ToSchema)]
pub struct SubmissionSummary {
    pub id: SubmissionId,
    pub url: String,
    pub team: String,
    pub state: RunState,
    pub created_at: DateTime<Utc>,
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The team's choice for the board.
    pub chosen: bool,
    pub mark: Mark,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// `next` of the page before.
    cursor: Option<SubmissionId>,
    /// Of a page, 1 to 100; 50 where it is not given.
    limit: Option<u8>,
}

/// List the submissions of a phase: your team's, for organizers all
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/submissions", tag = "submissions",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        Paging),
    responses(
        (status = 200, description = "Newest first", body = SubmissionPage),
        (status = 400, description = "A parameter is malformed", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "You are in no team of this challenge", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors)),
    security(("token" = [])))]
pub async fn list(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { challenge, phase }: PhaseAt,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<SubmissionPage>, Error> {
    let bad = |_| Error::BadQuery("`cursor` is the id of a submission, `limit` is 1 to 100.".into());
    let Query(Paging { cursor, limit }) = paging.map_err(bad)?;
    let limit = limit.unwrap_or(50);
    if !(1..=100).contains(&limit) {
        return Err(Error::BadQuery("`limit` is 1 to 100.".into()));
    }
    if viewer.0.is_none() {
        return Err(Error::TokenNeeded);
    }
    let team = match viewer.organizes(challenge.id) {
        true => None,
        false => {
            let team = viewer.team(&app, &challenge).await?;
            Some(team.ok_or_else(|| viewer.or_scope(challenge.id, Error::NoTeam))?.id)
        }
    };
    // One more than is shown, to know whether there are more.
    let limit = usize::from(limit);
    let mut rows = submission::page(&mut *app.db().await?, phase.id, team, cursor, limit as i64 + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|s| s.id);
    let submissions = rows.into_iter().map(|s| SubmissionSummary {
        url: format!("/submissions/{}", s.id),
        id: s.id,
        team: s.team_name,
        state: s.state,
        created_at: s.created_at,
        withdrawn_at: s.withdrawn_at,
        chosen: s.chosen,
        mark: Mark { status: s.mark, reason: s.mark_reason },
    });
    Ok(Json(SubmissionPage { submissions: submissions.collect(), next }))
}

/// What page and API do with an upload of somebody who may submit.
pub async fn receive(
    app: &App,
    Submitter(signed): Submitter,
    challenge: &Challenge,
    phase: &Phase,
    incoming: &mut Incoming,
    idempotency_key: Option<String>,
) -> Result<Receipt, Error> {
    let team = team::of_account(&mut *app.db().await?, challenge.id, signed.account.id).await?.ok_or(Error::NoTeam)?;
    let upload::Files { mut results, mut model, uploads: named, fact_sheet } =
        incoming.files(&app.storage, "token").await?;
    let account = signed.account.id;
    // Before a file is read: a team has one entry vetted at a time, however many it sends.
    let _turn = vetting::turn(team.id).await;
    match uploads::take(&app.pool, &app.storage, account, phase.id, &named).await? {
        Taken::UsedBy(first) => {
            return receipt(app, phase, team.id, Accepted { submission: first, repeated: true }).await;
        }
        Taken::Files(files) => {
            for (part, name, file) in files {
                match part {
                    Part::Results => results = Some(file),
                    Part::Model | Part::Bundle => model.push((name, file)),
                }
            }
        }
    }
    let model = intake::one_model(&app.storage, model).await?;
    let upload = Upload { phase: phase.id, team: team.id, account, results, model, fact_sheet, idempotency_key };
    let accepted = intake::accept(&app.pool, &app.storage, upload).await?;
    if !named.is_empty()
        && let Err(error) = uploads::used(&mut *app.db().await?, &app.storage, &named, accepted.submission).await
    {
        // The submission stands; what is left of its uploads expires.
        tracing::warn!(error = format!("{error:#}"), "uploads of a submission were not removed");
    }
    receipt(app, phase, team.id, accepted).await
}

async fn receipt(app: &App, phase: &Phase, team: TeamId, accepted: Accepted) -> Result<Receipt, Error> {
    let Accepted { submission: id, repeated } = accepted;
    let mut conn = app.db().await?;
    let state = match repeated {
        true => submission::get(&mut conn, id).await?.map_or(RunState::Queued, |s| s.state),
        false => RunState::Queued,
    };
    let quota = quota::usage(&mut conn, phase.id, team, phase.limits).await?;
    Ok(Receipt { id, state, url: format!("/submissions/{id}"), repeated, quota })
}

/// A submission as its viewer may see it: all of it for its team, the figures alone for others.
#[derive(Serialize, ToSchema)]
pub struct SubmissionDetail {
    pub id: SubmissionId,
    /// Its page.
    pub url: String,
    pub challenge: String,
    pub phase: String,
    pub team: String,
    pub state: RunState,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The team's choice for the board.
    pub chosen: bool,
    /// What a worker does now.
    pub progress: Option<Progress>,
    /// Where it waits.
    pub queue: Option<Position>,
    /// Why it failed, every problem.
    pub errors: Vec<Problem>,
    /// An organizer's word: `held` and `disqualified` entries are not ranked.
    pub mark: Mark,
    /// The entry of another phase that an organizer carried over as this one; for the team only.
    pub carried_from: Option<SubmissionId>,
    /// On the board, where the entry is ranked.
    pub rank: Option<u32>,
    pub ranks: Option<Ranks>,
    /// Why the entry is not ranked.
    pub unranked: Option<Reason>,
    /// `aim2020@1`: what the figures were measured by.
    pub protocol: String,
    /// `null` until it is scored, and while the phase's figures are not published.
    pub metrics: Option<Figures>,
    /// What each of `metrics` is.
    pub definitions: Vec<Definition>,
    pub cost: Option<Cost>,
    pub runtime: Option<Runtime>,
    pub memory: Option<Memory>,
    /// By name; for the team only.
    pub images: Option<Vec<ImageScore>>,
    /// For the team only.
    pub reproduction: Option<Reproduction>,
    /// Whether the model makes the uploaded images; for the team, also while the phase hides its figures.
    pub verdict: Option<Verdict>,
    /// For the team only.
    pub provenance: Option<Provenance>,
    /// For the team only.
    pub fact_sheet: Option<FactSheet>,
    /// Self-reported figures from the zip's `readme.txt`; for the team only.
    #[schema(value_type = Option<Object>)]
    pub readme: Option<serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
pub struct Mark {
    pub status: OrganizerStatus,
    pub reason: Option<String>,
}

/// Read a submission: state, queue position, figures, problems, provenance
#[utoipa::path(get, path = "/submissions/{id}", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "All of your own; of others' on a public board the figures", body = SubmissionDetail),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours to see", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(State(app): State<App>, at: SubmissionAt) -> Result<Json<SubmissionDetail>, Error> {
    let details = Details::load(&app.boards, &app.pool, &at).await?;
    Ok(Json(SubmissionDetail::new(at, details)))
}

impl SubmissionDetail {
    fn new(at: SubmissionAt, details: Details) -> SubmissionDetail {
        let SubmissionAt { submission: s, phase, sight, is_member: _, viewer: _ } = at;
        let full = sight.is_full();
        let errors = details.problems(sight);
        let (rank, ranks, unranked) = match details.standing {
            Standing::Ranked(rank, ranks) => (Some(rank), Some(ranks), None),
            Standing::Unranked(reason) => (None, None, Some(reason)),
            Standing::Baseline | Standing::Absent => (None, None, None),
        };
        let newest = details.evaluations.first().cloned();
        let (cost, runtime, memory, images, reproduction, provenance) = match details.measurement {
            Some(m) => (
                Some(m.cost),
                Some(m.runtime),
                Some(m.memory),
                full.then_some(m.fidelity.images),
                full.then_some(m.reproduction),
                full.then_some(m.provenance),
            ),
            None => Default::default(),
        };
        SubmissionDetail {
            url: format!("/submissions/{}", s.id),
            id: s.id,
            challenge: s.challenge_slug,
            phase: s.phase_slug,
            team: s.team_name,
            state: s.state,
            created_at: s.created_at,
            started_at: newest.as_ref().and_then(|e| e.started_at),
            finished_at: newest.as_ref().and_then(|e| e.finished_at),
            withdrawn_at: s.withdrawn_at,
            chosen: s.chosen,
            progress: newest.as_ref().filter(|_| full).and_then(|e| e.progress),
            queue: details.position.filter(|_| full),
            errors,
            mark: Mark { status: s.mark, reason: s.mark_reason },
            carried_from: s.carried_from.filter(|_| full),
            rank,
            ranks,
            unranked,
            protocol: newest.map_or(phase.protocol.name, |e| e.protocol),
            metrics: details.figures,
            definitions: metrics::definitions(&phase.protocol.rules),
            cost,
            runtime,
            memory,
            images,
            reproduction,
            verdict: details.verdict,
            provenance,
            fact_sheet: full.then_some(s.fact_sheet),
            readme: s.readme.filter(|_| full),
        }
    }
}

/// The state after an act.
#[derive(Serialize, ToSchema)]
pub struct StateNow {
    pub id: SubmissionId,
    /// `running` after a cancellation: the worker stops within seconds.
    pub state: RunState,
    pub withdrawn: bool,
}

/// Cancel what is queued or running
#[utoipa::path(post, path = "/submissions/{id}/cancel", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Option<Stated>,
    responses(
        (status = 200, description = "Cancelled, or about to be", body = StateNow),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or the phase is over", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 409, description = "It is final", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn cancel(
    State(app): State<App>,
    at: SubmissionAt,
    Stated { reason }: Stated,
) -> Result<Json<StateNow>, Error> {
    let state = stop(&app, &at, &reason).await?;
    Ok(Json(StateNow { id: at.submission.id, state, withdrawn: at.submission.withdrawn_at.is_some() }))
}

/// Withdraw an entry for good: cancels what is live and takes it off the board; what it cost stays spent
///
/// A team may until the phase ends; an organizer may at any time, for a reason.
#[utoipa::path(post, path = "/submissions/{id}/withdraw", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Option<Stated>,
    responses(
        (status = 200, description = "Withdrawn", body = StateNow),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or the phase is over", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn withdraw(
    State(app): State<App>,
    at: SubmissionAt,
    Stated { reason }: Stated,
) -> Result<Json<StateNow>, Error> {
    let state = take_back(&app, &at, &reason).await?;
    Ok(Json(StateNow { id: at.submission.id, state, withdrawn: true }))
}

/// The same as withdrawing
#[utoipa::path(delete, path = "/submissions/{id}", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Option<Stated>,
    responses(
        (status = 200, description = "Withdrawn", body = StateNow),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or the phase is over", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn delete(app: State<App>, at: SubmissionAt, stated: Stated) -> Result<Json<StateNow>, Error> {
    withdraw(app, at, stated).await
}

/// Withdraws a submission, for its team until the phase ends or for an organizer at any time.
pub async fn take_back(app: &App, at: &SubmissionAt, reason: &str) -> Result<RunState, Error> {
    let power = right(at, reason)?;
    let mut tx = app.pool.begin().await?;
    let now = begin_change(&mut tx, at, power.as_ref()).await?;
    let state = queue::cancel(&mut tx, now.id).await?.unwrap_or(now.state);
    submission::withdraw(&mut tx, now.id).await?;
    if now.withdrawn_at.is_none() {
        note(&mut tx, at, power.as_ref(), "submission.withdraw", json!({ "withdrawn": [false, true] })).await?;
    }
    tx.commit().await?;
    Ok(state)
}

/// Which entry stands after a choice.
#[derive(Serialize, ToSchema)]
pub struct Choice {
    pub id: SubmissionId,
    pub chosen: bool,
}

/// Choose the entry that stands on the board for your team, where the phase's rules let teams choose
#[utoipa::path(post, path = "/submissions/{id}/choose", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Option<Stated>,
    responses(
        (status = 200, description = "It stands; the one before does not", body = Choice),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or the phase is over", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 409, description = "The rules offer no choice, or the entry cannot stand", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn choose(
    State(app): State<App>,
    at: SubmissionAt,
    Stated { reason }: Stated,
) -> Result<Json<Choice>, Error> {
    pick(&app, &at, &reason).await?;
    Ok(Json(Choice { id: at.submission.id, chosen: true }))
}

/// Makes a submission stand, for its team until the phase ends or for an organizer at any time.
pub async fn pick(app: &App, at: &SubmissionAt, reason: &str) -> Result<(), Error> {
    let power = right(at, reason)?;
    let mut tx = app.pool.begin().await?;
    let now = begin_change(&mut tx, at, power.as_ref()).await?;
    if !at.phase.protocol.rules.ranking.lets_choose() {
        return Err(Error::NoChoice);
    }
    if now.withdrawn_at.is_some() || now.state != RunState::Scored {
        return Err(Error::NotChoosable);
    }
    submission::choose(&mut tx, now.id).await?;
    note(&mut tx, at, power.as_ref(), "submission.choose", json!({ "chosen": [now.chosen, true] })).await?;
    tx.commit().await?;
    Ok(())
}

/// What may be changed of a submission.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// Fields to set, by key; an empty text takes one away. Others stay as they are.
    pub fact_sheet: FactSheet,
    /// From an organizer: why.
    #[serde(default)]
    pub reason: String,
}

/// The fact sheet after a change.
#[derive(Serialize, ToSchema)]
pub struct Amended {
    pub id: SubmissionId,
    pub fact_sheet: FactSheet,
}

/// Amend the fact sheet, until the phase ends
#[utoipa::path(patch, path = "/submissions/{id}", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Amendment,
    responses(
        (status = 200, description = "The sheet as it is now", body = Amended),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or the phase is over", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not said to be JSON", body = Errors),
        (status = 422, description = "The body has another form, or a field does not hold what it should", body = Errors)),
    security(("token" = [])))]
pub async fn amend(
    State(app): State<App>,
    at: SubmissionAt,
    Document(Amendment { fact_sheet, reason }): Document<Amendment>,
) -> Result<Json<Amended>, Error> {
    let fact_sheet = write_sheet(&app, &at, fact_sheet, &reason).await?;
    Ok(Json(Amended { id: at.submission.id, fact_sheet }))
}

/// Sets fields of a submission's sheet, for its team until the phase ends or for an organizer at any time; gives the whole sheet.
pub async fn write_sheet(app: &App, at: &SubmissionAt, said: FactSheet, reason: &str) -> Result<FactSheet, Error> {
    let power = right(at, reason)?;
    let mut tx = app.pool.begin().await?;
    let now = begin_change(&mut tx, at, power.as_ref()).await?;
    let fields = fact_sheet::fields(&mut tx, at.phase.challenge).await?;
    let mut sheet = now.fact_sheet.clone();
    sheet.extend(said);
    intake::check_sheet(&sheet)?;
    let sheet = fact_sheet::complete(&fields, &sheet, None).map_err(submission::Rejection::Vetting)?;
    fact_sheet::amend(&mut tx, now.id, &sheet).await?;
    note(&mut tx, at, power.as_ref(), "submission.amend", json!({ "fact_sheet": [now.fact_sheet, sheet] })).await?;
    tx.commit().await?;
    Ok(sheet)
}

/// Download the results zip, as it was uploaded
#[utoipa::path(get, path = "/submissions/{id}/results", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "The zip", body = Vec<u8>, content_type = "application/zip"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 429, description = "Too many downloads at once", body = Errors)),
    security(("token" = [])))]
pub async fn results(
    State(app): State<App>,
    at: SubmissionAt,
    download: Download,
    request: Request,
) -> Result<Response, Error> {
    let name = format!("results-{}.zip", at.submission.id);
    blob(&app, &at, &at.submission.results_sha256, ("application/zip", &name), request).await.map(|r| download.of(r))
}

/// Download the model that is measured: the uploaded file, or it with its data merged in
#[utoipa::path(get, path = "/submissions/{id}/model", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "The model", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 429, description = "Too many downloads at once", body = Errors)),
    security(("token" = [])))]
pub async fn model(
    State(app): State<App>,
    at: SubmissionAt,
    download: Download,
    request: Request,
) -> Result<Response, Error> {
    let name = format!("model-{}.onnx", at.submission.id);
    let kind = "application/octet-stream";
    blob(&app, &at, &at.submission.model_sha256, (kind, &name), request).await.map(|r| download.of(r))
}

/// A file of a submission, to be saved and never shown: it is whatever somebody uploaded.
async fn blob(
    app: &App,
    at: &SubmissionAt,
    hash: &BlobHash,
    (kind, name): (&'static str, &str),
    request: Request,
) -> Result<Response, Error> {
    if !at.sight.is_full() {
        return Err(at.viewer.or_scope(at.phase.challenge, Error::SubmissionNotFound));
    }
    if at.submission.files_removed_at.is_some() {
        return Err(Error::FilesRemoved);
    }
    // Whoever looks into another team's files leaves a line.
    if let Some(signed) = at.viewer.0.as_ref().filter(|_| !at.is_member && request.method() == Method::GET) {
        let id = at.submission.id.to_string();
        let act = Act::of(at.phase.challenge, "submission.download", &id).with(json!({ "file": name }));
        audit::note(&mut *app.db().await?, &signed.actor(), act).await?;
    }
    let kind = kind.parse().map_err(anyhow::Error::from)?;
    let served = ServeFile::new_with_mime(app.storage.path(hash), &kind).oneshot(request).await;
    let mut response = served.map_err(anyhow::Error::from)?.map(Body::new);
    let headers = response.headers_mut();
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).map_err(anyhow::Error::from)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    Ok(response)
}

/// Cancels the evaluation of a submission, for its team until the phase ends or for an organizer at any time.
pub async fn stop(app: &App, at: &SubmissionAt, reason: &str) -> Result<RunState, Error> {
    let power = right(at, reason)?;
    let mut tx = app.pool.begin().await?;
    let now = begin_change(&mut tx, at, power.as_ref()).await?;
    let state = queue::cancel(&mut tx, now.id).await?.ok_or(Error::NotLive)?;
    note(&mut tx, at, power.as_ref(), "submission.cancel", json!({ "state": [now.state, state] })).await?;
    tx.commit().await?;
    Ok(state)
}

/// By what right the asker changes an entry: its team by its own while the phase lasts (`None`), an organizer for a reason.
fn right(at: &SubmissionAt, reason: &str) -> Result<Option<Power>, Error> {
    let signed = at.viewer.0.as_ref().ok_or(Error::TokenNeeded)?;
    let lasts = at.phase.state != PhaseState::Closed;
    match at.sight {
        Sight::Organizer if !(at.is_member && lasts) => {
            let reason = audit::reason(reason).ok_or_else(Error::bad_reason)?.to_owned();
            Ok(Some(Power { actor: signed.actor(), reason }))
        }
        _ => own(at).map(|()| None),
    }
}

/// Locks an entry that is about to be changed and gives it as it is now. What was asked before (who is in the team, whether the
/// phase lasts) is asked again, as the body of the request may have taken its time.
async fn begin_change(tx: &mut PgConnection, at: &SubmissionAt, power: Option<&Power>) -> Result<Submission, Error> {
    let now = submission::lock(tx, at.submission.id).await?.ok_or(Error::SubmissionNotFound)?;
    if power.is_some() {
        return Ok(now);
    }
    let account = at.viewer.0.as_ref().ok_or(Error::TokenNeeded)?.account.id;
    if !team::is_member(tx, now.team, account).await? {
        return Err(Error::SubmissionNotFound);
    }
    let phase = phase::get(tx, now.phase).await?.ok_or(Error::SubmissionNotFound)?;
    match phase.closes_at.filter(|_| phase.state == PhaseState::Closed) {
        Some(closed_at) => Err(submission::Rejection::PhaseClosed { closed_at }.into()),
        None => Ok(now),
    }
}

/// What an organizer did with another's entry, in the transaction that does it.
async fn note(
    tx: &mut PgConnection,
    at: &SubmissionAt,
    power: Option<&Power>,
    action: &'static str,
    details: serde_json::Value,
) -> Result<(), Error> {
    let id = at.submission.id.to_string();
    Ok(audit::note_power(tx, power, Act::of(at.phase.challenge, action, &id).with(details)).await?)
}

/// Its team's, with a token that may do more than read.
pub fn own(at: &SubmissionAt) -> Result<(), Error> {
    match &at.viewer.0 {
        None => Err(Error::TokenNeeded),
        Some(signed) if at.is_member => signed.clone().may_submit().map(drop),
        Some(_) => Err(at.viewer.or_scope(at.phase.challenge, Error::SubmissionNotFound)),
    }
}
