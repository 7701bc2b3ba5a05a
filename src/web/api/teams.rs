//! Joining a challenge, and one's teams.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    body::{Document, Stated},
    error::Errors,
    extract::{Holder, OrganizerAt, Reader, TeamAt, Viewer},
};
use crate::{
    challenge::{
        self,
        joining::{self, JoinPolicy},
    },
    ids::{AccountId, InvitationId, TeamId},
    team::{
        self, Member, Role, TeamError,
        invitation::{self, Invitation},
        participant::{self, Joined, State as ParticipantState, Waiting},
    },
};

/// How a challenge is joined, and where the asker stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct JoinRules {
    pub policy: JoinPolicy,
    /// Markdown; empty: there are none.
    pub terms: String,
    /// Send it as `terms` to accept them.
    pub terms_sha256: Option<String>,
    /// People in a team at most.
    pub max_members: Option<u32>,
    /// `null`: you have not asked, or an organizer put you into a team.
    pub state: Option<ParticipantState>,
}

/// Read the terms of a challenge and how it is joined
#[utoipa::path(get, path = "/challenges/{slug}/join", tag = "teams",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "The rules of joining", body = JoinRules),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is no such challenge", body = Errors)),
    security((), ("token" = [])))]
pub async fn join_rules(
    State(app): State<App>,
    viewer: Viewer,
    Path(slug): Path<String>,
) -> Result<Json<JoinRules>, Error> {
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    let rules = joining::get(&mut conn, challenge.id).await?;
    let state = match &viewer.0 {
        Some(signed) => participant::state(&mut conn, challenge.id, signed.account.id).await?,
        None => None,
    };
    Ok(Json(JoinRules {
        policy: rules.policy,
        terms_sha256: rules.terms_sha256(),
        terms: rules.terms,
        max_members: rules.max_members,
        state,
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Of the team that is made; left out: your account's name.
    pub name: Option<String>,
    /// `terms_sha256` of the terms that you accept.
    pub terms: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct JoinReceipt {
    /// `waiting`: for an organizer's word.
    pub state: ParticipantState,
    pub team: Option<TeamId>,
}

impl JoinReceipt {
    fn answer(joined: Joined) -> (StatusCode, Json<JoinReceipt>) {
        match joined {
            Joined::In(team) => {
                (StatusCode::CREATED, Json(JoinReceipt { state: ParticipantState::Joined, team: Some(team) }))
            }
            Joined::Waiting => {
                (StatusCode::ACCEPTED, Json(JoinReceipt { state: ParticipantState::Waiting, team: None }))
            }
        }
    }
}

/// Join a challenge, with a team of your own
#[utoipa::path(post, path = "/challenges/{slug}/join", tag = "teams",
    params(("slug" = String, Path, description = "The challenge")),
    request_body = Join,
    responses(
        (status = 201, description = "You are in", body = JoinReceipt),
        (status = 202, description = "An organizer has to let you in", body = JoinReceipt),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`, or the organizers declined", body = Errors),
        (status = 404, description = "There is no such challenge", body = Errors),
        (status = 409, description = "You are in a team, bound to one, the name is taken, or the terms changed", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "The terms are not accepted, or a field is unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn join(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(slug): Path<String>,
    Document(Join { name, terms }): Document<Join>,
) -> Result<(StatusCode, Json<JoinReceipt>), Error> {
    let challenge = challenge::by_slug(&mut *app.db().await?, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    let name = name.unwrap_or_else(|| signed.account.name.clone());
    let joined = participant::join(&app.pool, challenge.id, &signed.account, &name, terms.as_deref()).await?;
    Ok(JoinReceipt::answer(joined))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// What stands behind `key=` in the link.
    pub key: String,
    /// `terms_sha256` of the terms that you accept.
    pub terms: Option<String>,
}

/// Join a team by its invitation
#[utoipa::path(post, path = "/invitations/accept", tag = "teams",
    request_body = Accept,
    responses(
        (status = 201, description = "You are in", body = JoinReceipt),
        (status = 202, description = "An organizer has to let you in", body = JoinReceipt),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`, or the organizers declined", body = Errors),
        (status = 404, description = "The link is unknown, used, revoked or too old", body = Errors),
        (status = 409, description = "You are in a team, bound to another, the team is full, or the terms changed", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "The terms are not accepted, or a field is unknown", body = Errors)),
    security(("token" = [])))]
pub async fn accept(
    State(app): State<App>,
    Holder(signed): Holder,
    Document(Accept { key, terms }): Document<Accept>,
) -> Result<(StatusCode, Json<JoinReceipt>), Error> {
    let joined = participant::accept(&app.pool, &key, &signed.account, terms.as_deref()).await?;
    Ok(JoinReceipt::answer(joined))
}

/// A team, to those who are in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamDetail {
    pub id: TeamId,
    pub name: String,
    /// The challenge's slug.
    pub challenge: String,
    pub created_at: DateTime<Utc>,
    /// What you are in it; `null`: an organizer from outside.
    pub role: Option<Role>,
    /// In the order they joined.
    pub members: Vec<Member>,
    /// Those that still work; for the owner.
    pub invitations: Vec<Invitation>,
}

async fn detail(app: &App, at: &TeamAt) -> Result<TeamDetail, Error> {
    let mut conn = app.db().await?;
    let team = team::get(&mut conn, at.team.id).await?.ok_or(Error::TeamNotFound)?;
    let challenge = challenge::get(&mut conn, team.challenge).await?.ok_or(Error::ChallengeNotFound)?;
    let invitations = match at.may_manage() {
        true => invitation::list(&mut conn, team.id).await?,
        false => Vec::new(),
    };
    Ok(TeamDetail {
        members: team::members(&mut conn, team.id).await?,
        role: team::role(&mut conn, team.id, at.signed.account.id).await?,
        id: team.id,
        name: team.name,
        challenge: challenge.slug,
        created_at: team.created_at,
        invitations,
    })
}

/// List your teams
#[utoipa::path(get, path = "/teams", tag = "teams",
    responses(
        (status = 200, description = "Newest first", body = Vec<TeamDetail>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors)),
    security(("token" = [])))]
pub async fn list(State(app): State<App>, Reader(signed): Reader) -> Result<Json<Vec<TeamDetail>>, Error> {
    let teams = team::all_of_account(&mut *app.db().await?, signed.account.id).await?;
    let mut details = Vec::with_capacity(teams.len());
    for team in teams {
        let role = team::role(&mut *app.db().await?, team.id, signed.account.id).await?;
        details.push(detail(&app, &TeamAt { team, signed: signed.clone(), role }).await?);
    }
    Ok(Json(details))
}

/// Read a team of yours
#[utoipa::path(get, path = "/teams/{id}", tag = "teams",
    params(("id" = TeamId, Path, description = "The team")),
    responses(
        (status = 200, description = "The team", body = TeamDetail),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or you are not in it", body = Errors)),
    security(("token" = [])))]
pub async fn show(State(app): State<App>, at: TeamAt) -> Result<Json<TeamDetail>, Error> {
    Ok(Json(detail(&app, &at).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTeam {
    /// 1 to 100 characters.
    pub name: Option<String>,
    /// A member who becomes its owner.
    pub owner: Option<AccountId>,
    /// From an organizer who does not own the team: why. 1 to 2000 characters.
    #[serde(default)]
    pub reason: String,
}

/// Rename a team, or hand it over
#[utoipa::path(patch, path = "/teams/{id}", tag = "teams",
    params(("id" = TeamId, Path, description = "The team")),
    request_body = ChangeTeam,
    responses(
        (status = 200, description = "As it is now", body = TeamDetail),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "You are not its owner, or the token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, you are not in it, or the new owner is not", body = Errors),
        (status = 409, description = "The name is taken", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn change(
    State(app): State<App>,
    at: TeamAt,
    Document(ChangeTeam { name, owner, reason }): Document<ChangeTeam>,
) -> Result<Json<TeamDetail>, Error> {
    let right = at.manage(&reason)?;
    team::change(&app.pool, at.team.id, name.as_deref(), owner, &right).await?;
    Ok(Json(detail(&app, &at).await?))
}

/// Remove a member; or leave, where it is yourself
#[utoipa::path(delete, path = "/teams/{id}/members/{account}", tag = "teams",
    params(
        ("id" = TeamId, Path, description = "The team"),
        ("account" = AccountId, Path, description = "The member")),
    request_body = Option<Stated>,
    responses(
        (status = 204, description = "No longer a member"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "You are not its owner, or the token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such team or member, or you are not in it", body = Errors),
        (status = 409, description = "The owner or the last member cannot go", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn remove(
    State(app): State<App>,
    at: TeamAt,
    Path((_team, account)): Path<(String, String)>,
    Stated { reason }: Stated,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NoSuchMember))?;
    if account == at.signed.account.id {
        at.leave()?;
        team::leave(&app.pool, at.team.id, account).await?;
    } else {
        let right = at.manage(&reason)?;
        team::remove(&app.pool, at.team.id, account, &right).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// People who may use it; left out: any number.
    pub uses: Option<u16>,
    /// 1 to 90 until it ends.
    #[schema(minimum = 1, maximum = 90)]
    pub days: u16,
    /// From an organizer who does not own the team: why. 1 to 2000 characters.
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MadeInvitation {
    pub id: InvitationId,
    /// The only time that it is shown.
    pub link: String,
}

/// Make an invitation link into a team
#[utoipa::path(post, path = "/teams/{id}/invitations", tag = "teams",
    params(("id" = TeamId, Path, description = "The team")),
    request_body = Invite,
    responses(
        (status = 201, description = "Made", body = MadeInvitation),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "You are not its owner, or the token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, or you are not in it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn invite(
    State(app): State<App>,
    at: TeamAt,
    headers: HeaderMap,
    Document(Invite { uses, days, reason }): Document<Invite>,
) -> Result<(StatusCode, Json<MadeInvitation>), Error> {
    let right = at.manage(&reason)?;
    if uses == Some(0) || !(1..=90).contains(&days) {
        let words = "an invitation is for at least one person and 1 to 90 days";
        return Err(Error::BadBody(StatusCode::UNPROCESSABLE_ENTITY, words.into()));
    }
    let lifetime = Duration::from_secs(u64::from(days) * 24 * 3600);
    let by = at.signed.account.id;
    let (id, secret) = invitation::create(&mut *app.db().await?, at.team.id, by, uses, lifetime, &right).await?;
    let link = format!("{}/invitation?key={}", app.url(&headers), secret.expose());
    Ok((StatusCode::CREATED, Json(MadeInvitation { id, link })))
}

/// Revoke an invitation, at once
#[utoipa::path(delete, path = "/teams/{id}/invitations/{invitation}", tag = "teams",
    params(
        ("id" = TeamId, Path, description = "The team"),
        ("invitation" = InvitationId, Path, description = "The invitation")),
    request_body = Option<Stated>,
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "You are not its owner, or the token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such team or invitation, or you are not in it", body = Errors),
        (status = 422, description = "An organizer does not say why", body = Errors)),
    security(("token" = [])))]
pub async fn revoke_invitation(
    State(app): State<App>,
    at: TeamAt,
    Path((_team, invitation)): Path<(String, String)>,
    Stated { reason }: Stated,
) -> Result<StatusCode, Error> {
    let right = at.manage(&reason)?;
    let id = invitation.parse::<InvitationId>().map_err(|_| Error::LinkNotFound)?;
    match invitation::revoke(&mut *app.db().await?, at.team.id, id, &right).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::LinkNotFound),
    }
}

/// List who waits to be let into a challenge (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/requests", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "Longest waiting first", body = Vec<Waiting>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you are no organizer", body = Errors)),
    security(("token" = [])))]
pub async fn requests(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
) -> Result<Json<Vec<Waiting>>, Error> {
    Ok(Json(participant::waiting(&mut *app.db().await?, Some(&[challenge.id])).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `false` declines.
    pub let_in: bool,
    /// For the audit log; needed to decline. 1 to 2000 characters.
    #[serde(default)]
    pub reason: String,
}

/// Let somebody into a challenge, or decline (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/requests/{account}", tag = "organizers",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("account" = AccountId, Path, description = "Who asked")),
    request_body = Decision,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you are no organizer", body = Errors),
        (status = 409, description = "The account does not wait, is in a team, or its team is full", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown, or there is no reason to decline", body = Errors)),
    security(("token" = [])))]
pub async fn decide(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, account)): Path<(String, String)>,
    Document(Decision { let_in, reason }): Document<Decision>,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotWaiting))?;
    participant::decide(&app.pool, challenge.id, account, let_in, &reason, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
