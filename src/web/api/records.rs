//! Signed records of results, and the key to check them with.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{App, Error, details::Details, error::Errors, extract::SubmissionAt};
use crate::{
    ids::SubmissionId,
    queue::State as RunState,
    record::{self, Scope, Subject},
};

/// The key that this server signs its records with.
#[derive(Serialize, ToSchema)]
pub struct RecordKey {
    #[schema(example = "ed25519")]
    pub algorithm: &'static str,
    /// 64 hexadecimal digits.
    pub public_key: String,
}

/// The public key of this server's records
#[utoipa::path(get, path = "/record-key", tag = "records",
    responses((status = 200, description = "The key", body = RecordKey)))]
pub async fn key(State(app): State<App>) -> Json<RecordKey> {
    Json(RecordKey { algorithm: "ed25519", public_key: app.signer.public_key().to_owned() })
}

/// The signed record of a result
///
/// Everything that was measured of the newest scored evaluation and with what, as canonical JSON with its SHA-256 and the
/// server's Ed25519 signature; `upscore verify` checks it. For its team and the organizers all of it, for everybody else
/// what the board shows, without single images and files' hashes.
#[utoipa::path(get, path = "/submissions/{id}/record", tag = "records",
    params(("id" = SubmissionId, Path, description = "The submission")),
    responses(
        (status = 200, description = "The record", content_type = "application/json", body = Object),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The figures of the phase are not published", body = Errors),
        (status = 404, description = "There is none, it is not yours to see, or it is not scored", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(State(app): State<App>, at: SubmissionAt) -> Result<([(HeaderName, String); 2], String), Error> {
    let details = Details::load(&app.boards, &app.pool, &at).await?;
    let Some(scored) = details.evaluations.iter().find(|e| e.state == RunState::Scored) else {
        return Err(Error::NotScored);
    };
    let measurement = details.measurement.as_ref().ok_or(Error::NotPublished)?;
    let s = &at.submission;
    let subject = Subject {
        submission: s.id,
        evaluation: scored.id,
        number: scored.number,
        challenge: s.challenge_slug.clone(),
        phase: s.phase_slug.clone(),
        team: s.team_name.clone(),
        protocol: scored.protocol.clone(),
        submitted_at: s.created_at,
        started_at: scored.started_at,
        finished_at: scored.finished_at,
    };
    let scope = if at.sight.is_full() { Scope::Full } else { Scope::Public };
    let document = app.signer.sign(&record::compose(&subject, measurement, scope)?);
    let head = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"upscore-{}.json\"", s.id)),
    ];
    Ok((head, document))
}
