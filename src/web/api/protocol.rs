//! The rules of a phase: what others would change, and changing them.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{App, Error, body::Document, error::Errors, extract::OrganizerAt, rules::Proposal};
use crate::{
    challenge::{
        phase::{self, GateRule},
        protocol::Rules,
    },
    ids::SubmissionId,
    leaderboard::Preview,
};

/// Other rules for a phase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// Name of the rule set, without its version, as `ntire2024`; the present one where not given.
    #[serde(default)]
    name: Option<String>,
    rules: Rules,
    /// dB; `null`: `gate` says.
    gate_psnr: Option<f64>,
    /// Where no figure is stated: `none`: every entry is ranked; `baseline`: the baseline's measured PSNR, and nobody is ranked before
    /// there is one; not given: `baseline` where the phase has a baseline's model or entry, else `none`.
    #[serde(default)]
    gate: Option<GateRule>,
}

/// Other rules for a phase, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Name of the rule set, without its version, as `ntire2024`; the present one where not given.
    #[serde(default)]
    name: Option<String>,
    rules: Rules,
    /// dB; `null`: `gate` says.
    gate_psnr: Option<f64>,
    /// Where no figure is stated: `none`: every entry is ranked; `baseline`: the baseline's measured PSNR, and nobody is ranked before
    /// there is one; not given: `baseline` where the phase has a baseline's model or entry, else `none`.
    #[serde(default)]
    gate: Option<GateRule>,
    /// Kept in the audit log.
    reason: String,
    /// Queue the entries whose scores do not count under these rules.
    #[serde(default)]
    measure_again: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Saved {
    /// `ntire2024@1`
    protocol: String,
    /// Entries that were queued to be measured again.
    measured_again: u64,
    /// The baseline's entry, where it was queued because the board waits for its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<SubmissionId>,
}

/// Preview a change of rules (organizers)
///
/// Nothing is saved: the answer says where each team would stand, and how many entries would have to be measured again.
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/protocol/preview", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    request_body = Proposed,
    responses(
        (status = 200, description = "What would change", body = Preview),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed, or the rules cannot hold", body = Errors)),
    security(("token" = [])))]
pub async fn preview(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
    Path(path): Path<(String, String)>,
    Document(Proposed { name, rules, gate_psnr, gate }): Document<Proposed>,
) -> Result<Json<Preview>, Error> {
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, &path.1).await?.ok_or(Error::PhaseNotFound)?;
    Ok(Json(Proposal { name, rules, gate_psnr, gate_rule: gate }.preview(&mut conn, &phase).await?))
}

/// Change the rules of a phase (organizers)
///
/// Makes a new version of the protocol; scores that were measured alike stand. The change is noted with its reason.
#[utoipa::path(put, path = "/challenges/{slug}/phases/{phase}/protocol", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    request_body = Decided,
    responses(
        (status = 200, description = "The rules hold", body = Saved),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed, or the rules cannot hold", body = Errors)),
    security(("token" = [])))]
pub async fn save(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path(path): Path<(String, String)>,
    Document(Decided { name, rules, gate_psnr, gate, reason, measure_again }): Document<Decided>,
) -> Result<Json<Saved>, Error> {
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, &path.1).await?.ok_or(Error::PhaseNotFound)?;
    let proposal = Proposal { name, rules, gate_psnr, gate_rule: gate };
    let (protocol, measured_again, baseline) =
        proposal.save(&mut conn, &phase, &signed.actor(), &reason, measure_again).await?;
    Ok(Json(Saved { protocol: protocol.name, measured_again, baseline }))
}
