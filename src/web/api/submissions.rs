//! Sending an entry in, reading it, taking it back.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    App, Error,
    details::{Details, Standing},
    error::Errors,
    extract::{PhaseAt, SubmissionAt, Submitter},
    metrics::{self, Definition},
    sight::Sight,
    upload::{self, Incoming, Limits},
};
use crate::{
    challenge::{Challenge, dataset, phase::Phase},
    evaluation::{Cost, ImageScore, Memory, Progress, Provenance, Reproduction, Runtime},
    ids::{SubmissionId, UploadId},
    leaderboard::{Figures, Ranks},
    problem::Problem,
    queue::{self, Position, State as RunState},
    scoring::Reason,
    submission::{
        self, FactSheet, OrganizerStatus,
        intake::{self, Upload},
        uploads::{self, Part, Taken},
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
    let receipt = upload::answering(&app, request, limits, async |incoming| {
        receive(&app, submitter, &challenge, &phase, incoming, key).await
    });
    let receipt = receipt.await?;
    let location = [(header::LOCATION, format!("/api/v1{}", receipt.url))];
    Ok((StatusCode::ACCEPTED, location, Json(receipt)))
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
    match uploads::take(&app.pool, &app.storage, account, phase.id, &named).await? {
        Taken::UsedBy(first) => {
            let state = submission::get(&mut *app.db().await?, first).await?.map_or(RunState::Queued, |s| s.state);
            return Ok(Receipt { id: first, state, url: format!("/submissions/{first}"), repeated: true });
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
    let id = accepted.submission;
    let state = match accepted.repeated {
        true => submission::get(&mut *app.db().await?, id).await?.map_or(RunState::Queued, |s| s.state),
        false => RunState::Queued,
    };
    Ok(Receipt { id, state, url: format!("/submissions/{id}"), repeated: accepted.repeated })
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
    /// What a worker does now.
    pub progress: Option<Progress>,
    /// Where it waits.
    pub queue: Option<Position>,
    /// Why it failed, every problem.
    pub errors: Vec<Problem>,
    /// An organizer's word: `held` and `disqualified` entries are not ranked.
    pub mark: Mark,
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
    let details = Details::load(&mut *app.db().await?, &at).await?;
    Ok(Json(SubmissionDetail::new(at, details)))
}

impl SubmissionDetail {
    fn new(at: SubmissionAt, details: Details) -> SubmissionDetail {
        let SubmissionAt { submission: s, phase, sight, viewer: _ } = at;
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
            progress: newest.as_ref().filter(|_| full).and_then(|e| e.progress),
            queue: details.position.filter(|_| full),
            errors,
            mark: Mark { status: s.mark, reason: s.mark_reason },
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
    responses(
        (status = 200, description = "Cancelled, or about to be", body = StateNow),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 409, description = "It is final", body = Errors)),
    security(("token" = [])))]
pub async fn cancel(State(app): State<App>, at: SubmissionAt) -> Result<Json<StateNow>, Error> {
    let state = stop(&app, &at).await?;
    Ok(Json(StateNow { id: at.submission.id, state, withdrawn: at.submission.withdrawn_at.is_some() }))
}

/// Withdraw an entry for good: cancels what is live and takes it off the board; what it cost stays spent
#[utoipa::path(delete, path = "/submissions/{id}", tag = "submissions",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "Withdrawn", body = StateNow),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors)),
    security(("token" = [])))]
pub async fn withdraw(State(app): State<App>, at: SubmissionAt) -> Result<Json<StateNow>, Error> {
    own(&at)?;
    let mut conn = app.db().await?;
    let state = queue::cancel(&mut conn, at.submission.id).await?.unwrap_or(at.submission.state);
    submission::withdraw(&mut conn, at.submission.id).await?;
    Ok(Json(StateNow { id: at.submission.id, state, withdrawn: true }))
}

/// Cancels the evaluation of a submission that is the asker's.
pub async fn stop(app: &App, at: &SubmissionAt) -> Result<RunState, Error> {
    own(at)?;
    queue::cancel(&mut *app.db().await?, at.submission.id).await?.ok_or(Error::NotLive)
}

/// Its team's, or an organizer's, with a token that may do more than read.
fn own(at: &SubmissionAt) -> Result<(), Error> {
    match (&at.viewer.0, at.sight) {
        (None, _) => Err(Error::TokenNeeded),
        (_, Sight::Public) => Err(Error::SubmissionNotFound),
        (Some(signed), _) => signed.clone().may_submit().map(drop),
    }
}
