//! Challenges and their phases.

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::super::{
    App, Error,
    error::Errors,
    extract::Viewer,
    metrics::{self, Definition},
    sight::is_public,
    upload::Limits,
};
use crate::{
    challenge::{
        self,
        dataset::{self, PublicImage},
        phase::{self, Phase, PhaseState},
        protocol::Rules,
    },
    leaderboard::{self, GateView},
    submission::{
        fact_sheet::{self, Field},
        quota::{self, Quota},
    },
    team::Team,
};

/// A challenge in a list.
#[derive(Serialize, ToSchema)]
pub struct ChallengeSummary {
    pub slug: String,
    pub title: String,
}

/// A challenge with its phases.
#[derive(Serialize, ToSchema)]
pub struct ChallengeDetail {
    pub slug: String,
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Of the phase that is open now, or of the next or last one.
    pub protocol: Option<String>,
    /// The asker's team.
    pub team: Option<String>,
    pub phases: Vec<PhaseDetail>,
    /// What a submission is asked to say of its method.
    pub fact_sheet: Vec<Field>,
}

/// A phase: when it is open, what it asks for, and its rules.
#[derive(Serialize, ToSchema)]
pub struct PhaseDetail {
    pub slug: String,
    pub title: String,
    pub state: PhaseState,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    /// `aim2020@1`.
    pub protocol: String,
    pub rules: Rules,
    /// What each figure is under these rules.
    pub definitions: Vec<Definition>,
    pub gate: Option<GateView>,
    pub baseline: BaselineName,
    /// Whether everybody sees the figures.
    pub public: bool,
    /// Since when the board stands still for everybody but organizers; `null`: it does not.
    pub stands_still_since: Option<DateTime<Utc>>,
    pub scale: u32,
    /// What the model gets; a results zip holds one image for each.
    pub images: Vec<PublicImage>,
    /// Bytes an upload may have.
    pub limits: UploadLimits,
    /// Of the asker's team.
    pub quota: Option<Quota>,
    pub links: PhaseLinks,
}

#[derive(Serialize, ToSchema)]
pub struct BaselineName {
    pub name: String,
}

#[derive(Serialize, ToSchema)]
pub struct UploadLimits {
    pub results: u64,
    pub model: u64,
}

/// Paths on this server.
#[derive(Serialize, ToSchema)]
pub struct PhaseLinks {
    pub leaderboard: String,
    pub submit: String,
    pub lr: String,
    /// A results zip to look at, or to send in as it is.
    pub sample: String,
}

/// List the challenges
#[utoipa::path(get, path = "/challenges", tag = "challenges",
    responses((status = 200, description = "Newest first", body = Vec<ChallengeSummary>)))]
pub async fn list(State(app): State<App>) -> Result<Json<Vec<ChallengeSummary>>, Error> {
    let all = challenge::list(&mut *app.db().await?).await?;
    Ok(Json(all.into_iter().map(|c| ChallengeSummary { slug: c.slug, title: c.title }).collect()))
}

/// Read a challenge: phases, protocol, baseline, and the quota of your team
#[utoipa::path(get, path = "/challenges/{slug}", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge, as `aim2020-esr`")),
    responses(
        (status = 200, description = "The challenge", body = ChallengeDetail),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is no such challenge", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    Path(slug): Path<String>,
) -> Result<Json<ChallengeDetail>, Error> {
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    drop(conn);
    let team = viewer.team(&app, &challenge).await?;
    let mut conn = app.db().await?;
    let rows = phase::of_challenge(&mut conn, challenge.id).await?;
    let protocol = super::super::pages::current(&rows).map(|p| p.protocol.name.clone());
    let mut phases = Vec::with_capacity(rows.len());
    for row in rows {
        phases.push(detail(&app, &mut conn, row, team.as_ref()).await?);
    }
    Ok(Json(ChallengeDetail {
        slug: challenge.slug,
        title: challenge.title,
        description: challenge.description,
        protocol,
        team: team.map(|t| t.name),
        phases,
        fact_sheet: fact_sheet::fields(&mut conn, challenge.id).await?,
    }))
}

async fn detail(app: &App, conn: &mut PgConnection, phase: Phase, team: Option<&Team>) -> Result<PhaseDetail, Error> {
    let dataset = dataset::get(conn, phase.dataset).await?;
    let limits = Limits::of(&dataset, &app.settings);
    let quota = match team {
        Some(team) => Some(quota::usage(conn, phase.id, team.id, phase.limits).await?),
        None => None,
    };
    let (challenge, slug) = (&phase.challenge_slug, &phase.slug);
    Ok(PhaseDetail {
        gate: leaderboard::gate_view(conn, &phase).await?,
        links: PhaseLinks {
            leaderboard: format!("/api/v1/challenges/{challenge}/phases/{slug}/leaderboard"),
            submit: format!("/api/v1/challenges/{challenge}/phases/{slug}/submissions"),
            lr: format!("/challenges/{challenge}/{slug}/lr.zip"),
            sample: format!("/challenges/{challenge}/{slug}/sample.zip"),
        },
        definitions: metrics::definitions(&phase.protocol.rules),
        baseline: BaselineName { name: phase.baseline.name.clone() },
        public: is_public(&phase),
        stands_still_since: phase.as_of,
        scale: dataset.scale,
        images: dataset.public(),
        limits: UploadLimits { results: limits.results, model: limits.model },
        quota,
        state: phase.state,
        opens_at: phase.opens_at,
        closes_at: phase.closes_at,
        protocol: phase.protocol.name,
        rules: phase.protocol.rules,
        slug: phase.slug,
        title: phase.title,
    })
}
