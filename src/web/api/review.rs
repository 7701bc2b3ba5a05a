//! Reviewing entries: for the organizers of their challenge; and a team's objection.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Acquire;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        App, Error,
        body::Document,
        error::Errors,
        extract::{OrganizerPhaseAt, ReviewAt, SubmissionAt},
        sight::Sight,
    },
    submissions::own,
};
use crate::{
    audit,
    evaluation::SizeGate,
    ids::{ObjectionId, RerunId, SubmissionId},
    queue::rerun::{self, Decision, Rerun, Which},
    review::{
        drift,
        duplicates::{self, Duplicate},
        mark::{self, Marks, Why, Word},
        objection::{self, Objection, ObjectionError},
        queue::{self, Filter, Queue},
    },
    submission::{fact_sheet, fingerprint},
    team,
};

/// Fingerprints of older entries that are made at one look.
const BACKFILL: i64 = 20;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Shown {
    /// Which entries; all where it is not given.
    #[param(inline)]
    #[serde(default)]
    state: Filter,
}

/// List a phase's entries with what speaks against each (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/review", tag = "review",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase"), Shown),
    responses(
        (status = 200, description = "Best rank first", body = Queue),
        (status = 400, description = "A parameter is unknown", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn list(
    State(app): State<App>,
    OrganizerPhaseAt { phase, .. }: OrganizerPhaseAt,
    query: Result<Query<Shown>, QueryRejection>,
) -> Result<Json<Queue>, Error> {
    let Query(Shown { state }) = query.map_err(|error| Error::BadQuery(error.body_text()))?;
    Ok(Json(queue::of_phase(&mut *app.db().await?, &phase, state).await?))
}

/// Makes the fingerprints that older entries of a phase lack, a few at a time, beside the request.
pub fn backfill(app: &App, phase: crate::ids::PhaseId) {
    static ONE_AT_A_TIME: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);
    let app = app.clone();
    tokio::spawn(async move {
        let Ok(_turn) = ONE_AT_A_TIME.try_acquire() else { return };
        if let Err(error) = fingerprint::backfill(&app.pool, &app.storage, phase, BACKFILL).await {
            tracing::warn!(error = format!("{error:#}"), "fingerprints of older entries were not made");
        }
    });
}

/// What a reviewer needs besides the submission itself.
#[derive(Serialize, ToSchema)]
pub struct Evidence {
    pub id: SubmissionId,
    pub marks: Marks,
    /// Keys of the fact sheet's fields that it says nothing of.
    pub missing_facts: Vec<String>,
    /// Entries of other teams that are like it, the oldest first.
    pub duplicates: Vec<Duplicate>,
    /// Nodes of its model that decide by the input's size, by the evaluation that counts; those that may be more than padding
    /// first.
    pub size_gates: Vec<SizeGate>,
    /// What organizers did with it, newest first.
    pub history: Vec<audit::Entry>,
    pub objections: Vec<Objection>,
}

/// Read what there is to review of an entry (organizers)
#[utoipa::path(get, path = "/submissions/{id}/review", tag = "review",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "Marks, what the fact sheet lacks, duplicates, arithmetic on the size, history, objections", body = Evidence),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, or you do not run its challenge", body = Errors)),
    security(("token" = [])))]
pub async fn show(State(app): State<App>, ReviewAt { challenge, at, .. }: ReviewAt) -> Result<Json<Evidence>, Error> {
    let mut conn = app.db().await?;
    let id = at.submission.id;
    duplicates::compare_new(&mut conn, at.phase.id).await?;
    let fields = fact_sheet::fields(&mut conn, challenge.id).await?;
    let missing = queue::missing(&fields, &at.submission.fact_sheet);
    Ok(Json(Evidence {
        id,
        marks: mark::marks(&mut conn, id).await?,
        missing_facts: missing.into_iter().map(|field| field.key.clone()).collect(),
        duplicates: duplicates::of_submission(&mut conn, challenge.id, id).await?,
        size_gates: queue::size_gates(&mut conn, &at.phase, id).await?,
        history: mark::history(&mut conn, challenge.id, id).await?,
        objections: objection::of_submission(&mut conn, id).await?,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    pub word: Word,
    /// 1 to 2000 characters. The team reads it.
    pub reason: String,
    /// Of `hold` and `disqualify`: what the board says to everybody, at most 2000 characters. Where it is not given, the board
    /// says that the entry is held or disqualified, and not why.
    #[serde(default)]
    pub public_reason: String,
    /// `seen` of the marks that this was decided on: where they have changed since, nothing is done (409).
    pub seen: Option<String>,
}

/// Accept, hold, disqualify or verify an entry (organizers)
///
/// Done already, nothing changes. Nothing that was sent in or measured is deleted.
#[utoipa::path(post, path = "/submissions/{id}/mark", tag = "review",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Act,
    responses(
        (status = 200, description = "The marks as they are now", body = Marks),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, or you do not run its challenge", body = Errors),
        (status = 409, description = "It was changed since it was seen; the message says how", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn act(
    State(app): State<App>,
    at: ReviewAt,
    Document(Act { word, reason, public_reason, seen }): Document<Act>,
) -> Result<Json<Marks>, Error> {
    let why = Why { team: &reason, public: &public_reason };
    Ok(Json(set_mark(&app, &at, word, why, seen.as_deref()).await?))
}

/// What page and API do.
pub async fn set_mark(
    app: &App,
    ReviewAt { challenge, signed, at }: &ReviewAt,
    word: Word,
    why: Why<'_>,
    seen: Option<&str>,
) -> Result<Marks, Error> {
    let mut conn = app.db().await?;
    let mut tx = conn.begin().await?;
    let (marks, _) = mark::mark(&mut tx, (challenge.id, at.submission.id), word, why, seen, &signed.actor()).await?;
    tx.commit().await?;
    Ok(marks)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// 1 to 2000 characters.
    pub text: String,
}

/// Object to a mark on your entry, or to its score
///
/// One objection to an entry can be open. The organizers' answer closes it.
#[utoipa::path(post, path = "/submissions/{id}/objections", tag = "review",
    params(("id" = SubmissionId, Path, description = "The submission")),
    request_body = Said,
    responses(
        (status = 201, description = "Written down; the same text again gives the first", body = Objection),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 409, description = "One is open, or there is no result yet", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn object(
    State(app): State<App>,
    at: SubmissionAt,
    Document(Said { text }): Document<Said>,
) -> Result<(StatusCode, Json<Objection>), Error> {
    Ok((StatusCode::CREATED, Json(object_to(&app, &at, &text).await?)))
}

/// What page and API do.
pub async fn object_to(app: &App, at: &SubmissionAt, text: &str) -> Result<Objection, Error> {
    own(at)?;
    let account = at.viewer.0.as_ref().ok_or(Error::TokenNeeded)?.account.id;
    if !at.submission.state.is_final() {
        return Err(ObjectionError::TooEarly.into());
    }
    let mut conn = app.db().await?;
    // The text may have taken its time.
    if !team::is_member(&mut conn, at.submission.team, account).await? {
        return Err(Error::SubmissionNotFound);
    }
    Ok(objection::object(&mut conn, at.submission.id, account, text).await?)
}

/// What organizers did with an entry, and the team's objections.
#[derive(Serialize, ToSchema)]
pub struct Words {
    /// Newest first.
    pub decisions: Vec<Decided>,
    /// Newest first.
    pub objections: Vec<Objection>,
}

/// One act of the organizers, as its team sees it.
#[derive(Serialize, ToSchema)]
pub struct Decided {
    pub at: DateTime<Utc>,
    /// `accepted`, `held`, `disqualified`, `verified`, `no longer verified`; or, done in the team's place, `withdrawn`,
    /// `cancelled`, `chosen for the board`, `fact sheet amended`
    pub done: &'static str,
    pub reason: String,
}

/// Read what organizers did with your entry and why, and your objections with their answers
#[utoipa::path(get, path = "/submissions/{id}/objections", tag = "review",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "Newest first", body = Words),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors)),
    security(("token" = [])))]
pub async fn words(State(app): State<App>, at: SubmissionAt) -> Result<Json<Words>, Error> {
    if at.viewer.0.is_none() {
        return Err(Error::TokenNeeded);
    }
    if at.sight == Sight::Public {
        return Err(Error::SubmissionNotFound);
    }
    let mut conn = app.db().await?;
    let history = mark::history(&mut conn, at.phase.challenge, at.submission.id).await?;
    let decisions =
        history.into_iter().filter_map(|e| Some(Decided { at: e.at, done: mark::done(&e.action)?, reason: e.reason }));
    let objections = objection::of_submission(&mut conn, at.submission.id).await?;
    Ok(Json(Words { decisions: decisions.collect(), objections }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// 1 to 2000 characters. The team reads it.
    pub answer: String,
}

/// Answer and close an objection (organizers)
#[utoipa::path(post, path = "/submissions/{id}/objections/{objection}/answer", tag = "review",
    params(
        ("id" = SubmissionId, Path, description = "The submission"),
        ("objection" = ObjectionId, Path, description = "The objection")),
    request_body = Answer,
    responses(
        (status = 200, description = "Closed", body = Objection),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, or you do not run its challenge", body = Errors),
        (status = 409, description = "It was answered before", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn answer(
    State(app): State<App>,
    at: ReviewAt,
    Path((_id, objection)): Path<(String, String)>,
    Document(Answer { answer }): Document<Answer>,
) -> Result<Json<Objection>, Error> {
    Ok(Json(close(&app, &at, &objection, &answer).await?))
}

/// What page and API do.
pub async fn close(
    app: &App,
    ReviewAt { challenge, signed, at }: &ReviewAt,
    id: &str,
    words: &str,
) -> Result<Objection, Error> {
    let id: ObjectionId = id.parse().map_err(|_| ObjectionError::NotFound)?;
    let mut conn = app.db().await?;
    let mut tx = conn.begin().await?;
    let closed = objection::answer(&mut tx, (challenge.id, at.submission.id), id, words, &signed.actor()).await?;
    tx.commit().await?;
    Ok(closed)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Which; where it is not given, every entry of the phase that has a score.
    pub submissions: Option<Vec<SubmissionId>>,
    /// 1 to 2000 characters, for the audit log.
    pub reason: String,
}

/// A batch that was begun.
#[derive(Serialize, ToSchema)]
pub struct Begun {
    pub id: RerunId,
    /// Those that were queued: the rest waits, runs, is withdrawn, or is in a batch that is not decided.
    pub queued: Vec<SubmissionId>,
    /// The page of its drift report.
    pub url: String,
}

/// Measure entries again (organizers)
///
/// The results count for nothing until the batch is made official.
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/reruns", tag = "review",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    request_body = Again,
    responses(
        (status = 202, description = "Queued", body = Begun),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 409, description = "There is nothing to measure again", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn rerun(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Document(Again { submissions, reason }): Document<Again>,
) -> Result<(StatusCode, Json<Begun>), Error> {
    Ok((StatusCode::ACCEPTED, Json(begin(&app, &at, submissions.as_deref(), &reason).await?)))
}

/// What page and API do.
pub async fn begin(
    app: &App,
    OrganizerPhaseAt { challenge, phase, signed }: &OrganizerPhaseAt,
    submissions: Option<&[SubmissionId]>,
    reason: &str,
) -> Result<Begun, Error> {
    let reason = reasoned(reason)?;
    let which = submissions.map_or(Which::All, Which::These);
    let mut conn = app.db().await?;
    let mut tx = conn.begin().await?;
    let (id, queued) = rerun::start(&mut tx, (challenge.id, phase.id), which, &signed.actor(), reason).await?;
    tx.commit().await?;
    Ok(Begun { id, queued, url: format!("/organizer/{}/{}/reruns/{id}", challenge.slug, phase.slug) })
}

fn reasoned(reason: &str) -> Result<&str, Error> {
    audit::reason(reason).ok_or_else(Error::bad_reason)
}

/// List the batches of re-runs of a phase (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/reruns", tag = "review",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "Newest first, 100 at most", body = Vec<Rerun>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn reruns(
    State(app): State<App>,
    OrganizerPhaseAt { phase, .. }: OrganizerPhaseAt,
) -> Result<Json<Vec<Rerun>>, Error> {
    Ok(Json(rerun::of_phase(&mut *app.db().await?, phase.id, 100).await?))
}

/// Read a batch's drift report: old against new (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/reruns/{batch}", tag = "review",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        ("batch" = RerunId, Path, description = "The batch")),
    responses(
        (status = 200, description = "Each figure, and what would become of the ranks", body = drift::Report),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such batch, or you do not run its challenge", body = Errors)),
    security(("token" = [])))]
pub async fn drift_report(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Path((_slug, _phase, batch)): Path<(String, String, String)>,
) -> Result<Json<drift::Report>, Error> {
    Ok(Json(report(&app, &at, &batch).await?))
}

/// What page and API show.
pub async fn report(app: &App, at: &OrganizerPhaseAt, batch: &str) -> Result<drift::Report, Error> {
    let id: RerunId = batch.parse().map_err(|_| rerun::RerunError::NotFound)?;
    let mut conn = app.db().await?;
    let batch = rerun::get(&mut conn, at.phase.id, id).await?.ok_or(rerun::RerunError::NotFound)?;
    Ok(drift::report(&mut conn, &at.phase, batch).await?)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    pub decision: Decision,
    /// 1 to 2000 characters, for the audit log.
    pub reason: String,
}

/// Make a batch of re-runs official, or discard it (organizers)
///
/// Official: each scored evaluation takes the place of the one before; one that failed leaves the old score. Said twice it is
/// done once.
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/reruns/{batch}", tag = "review",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        ("batch" = RerunId, Path, description = "The batch")),
    request_body = Decide,
    responses(
        (status = 200, description = "The batch as it is now", body = Rerun),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such batch, or you do not run its challenge", body = Errors),
        (status = 409, description = "It has not ended, was decided otherwise, or nothing in it was scored", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn decide(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Path((_slug, _phase, batch)): Path<(String, String, String)>,
    Document(Decide { decision, reason }): Document<Decide>,
) -> Result<Json<Rerun>, Error> {
    Ok(Json(settle(&app, &at, &batch, decision, &reason).await?))
}

/// What page and API do.
pub async fn settle(
    app: &App,
    OrganizerPhaseAt { phase, signed, .. }: &OrganizerPhaseAt,
    batch: &str,
    decision: Decision,
    reason: &str,
) -> Result<Rerun, Error> {
    let reason = reasoned(reason)?;
    let id: RerunId = batch.parse().map_err(|_| rerun::RerunError::NotFound)?;
    let mut conn = app.db().await?;
    let mut tx = conn.begin().await?;
    // Of this phase: the address of another's is none.
    rerun::get(&mut tx, phase.id, id).await?.ok_or(rerun::RerunError::NotFound)?;
    drift::decide(&mut tx, phase, id, decision, &signed.actor(), reason).await??;
    let batch = rerun::get(&mut tx, phase.id, id).await?.ok_or(rerun::RerunError::NotFound)?;
    tx.commit().await?;
    Ok(batch)
}
