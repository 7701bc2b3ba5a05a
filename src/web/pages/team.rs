//! `/team`: one's teams over all challenges, their people and invitations, and one's API tokens; joining, by oneself or by
//! an invitation.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        body::{Fields, Nothing, Stated},
        error::render,
        extract::{Holder, Reader, Signed, TeamAt, Viewer},
        lang::{say, t},
        view::{Page, When, markdown},
    },
    account::again,
};
use crate::{
    challenge::{
        self, Challenge,
        joining::{self, JoinPolicy, Joining},
    },
    ids::{AccountId, InvitationId, SubmissionId, TeamId, TokenId},
    problem::Problem,
    submission,
    team::{
        self, Role, Team, invitation,
        participant::{self, Joined},
        token::{self, Scope},
    },
};

/// Entries of each team that are listed.
const RECENT: i64 = 5;
const DAY: u64 = 24 * 3600;

#[derive(Template)]
#[template(path = "team.html")]
struct TeamPage {
    page: Page,
    problems: Vec<Problem>,
    /// Whether the asker may do all that the account may.
    may_change: bool,
    /// A new invitation: the team and the link, shown once.
    link: Option<(String, String)>,
    /// A new token: its name and itself, shown once.
    token: Option<(String, String)>,
    teams: Vec<TeamView>,
    /// Titles of challenges that an organizer has not let the account into yet.
    waiting: Vec<String>,
    /// Title and reason of the challenges that the viewer is banned from.
    bans: Vec<(String, String)>,
    tokens: Vec<TokenView>,
    url: String,
}

struct TeamView {
    id: TeamId,
    name: String,
    challenge: String,
    slug: String,
    owner: bool,
    members: Vec<MemberView>,
    /// `at most 5`.
    limit: Option<String>,
    invitations: Vec<InvitationView>,
    entries: Vec<EntryView>,
}

struct MemberView {
    id: AccountId,
    name: String,
    owner: bool,
    /// The one that asks.
    me: bool,
    since: When,
}

struct InvitationView {
    id: InvitationId,
    by: Option<String>,
    expires: When,
    uses: String,
}

struct EntryView {
    id: SubmissionId,
    phase: String,
    state: &'static str,
    when: When,
}

struct TokenView {
    id: TokenId,
    name: String,
    prefix: String,
    scope: &'static str,
    made: When,
    used: Option<When>,
    expires: Option<When>,
    /// `revoked`, `expired`.
    ended: Option<&'static str>,
}

/// What a page says once, after something was made.
#[derive(Default)]
struct Made {
    problems: Vec<Problem>,
    link: Option<(String, String)>,
    token: Option<(String, String)>,
}

pub async fn show(State(app): State<App>, Reader(signed): Reader, headers: HeaderMap) -> Result<Response, Error> {
    Ok(render(&page(&app, signed, &headers, Made::default()).await?))
}

async fn page(app: &App, signed: Signed, headers: &HeaderMap, made: Made) -> Result<TeamPage, Error> {
    let mut conn = app.db().await?;
    let may_change = signed.scope == Scope::Admin;
    let account = signed.account.id;
    let mut teams = Vec::new();
    for team in team::all_of_account(&mut conn, account).await? {
        teams.push(team_view(&mut conn, team, account, may_change).await?);
    }
    let waiting = participant::waiting_of(&mut conn, account).await?;
    let bans = participant::bans_of(&mut conn, account).await?;
    let tokens = if may_change { token::list(&mut conn, account).await? } else { Vec::new() };
    Ok(TeamPage {
        page: Page::of(t("Team"), &Viewer(Some(signed))),
        problems: made.problems,
        may_change,
        link: made.link,
        token: made.token,
        teams,
        waiting,
        bans,
        tokens: tokens.into_iter().map(TokenView::new).collect(),
        url: app.url(headers),
    })
}

async fn team_view(conn: &mut PgConnection, team: Team, asker: AccountId, may_change: bool) -> Result<TeamView, Error> {
    let challenge = challenge::get(conn, team.challenge).await?.ok_or(Error::ChallengeNotFound)?;
    let limit = joining::get(conn, team.challenge).await?.max_members;
    let limit = limit.map(|n| say("at most %{n}").with("n", n).into());
    let members = team::members(conn, team.id).await?.into_iter().map(|m| MemberView {
        id: m.account,
        owner: m.role == Role::Owner,
        me: m.account == asker,
        since: When::new(m.joined_at),
        name: m.name,
    });
    let members: Vec<_> = members.collect();
    let owner = may_change && members.iter().any(|m| m.me && m.owner);
    let invitations = match owner {
        true => invitation::list(conn, team.id).await?,
        false => Vec::new(),
    };
    let entries = submission::of_team(conn, team.id, None, RECENT).await?.into_iter().map(|s| EntryView {
        id: s.id,
        phase: s.phase_slug,
        state: s.state.as_str(),
        when: When::new(s.created_at),
    });
    Ok(TeamView {
        id: team.id,
        name: team.name,
        challenge: challenge.title,
        slug: challenge.slug,
        owner,
        members,
        limit,
        invitations: invitations.into_iter().map(InvitationView::new).collect(),
        entries: entries.collect(),
    })
}

impl InvitationView {
    fn new(invitation: invitation::Invitation) -> InvitationView {
        let uses = match invitation.uses_left {
            Some(left) => say("for %{left} more, used by %{n}").with("left", left),
            None => say("for any number, used by %{n}"),
        };
        InvitationView {
            id: invitation.id,
            by: invitation.made_by,
            expires: When::new(invitation.expires_at),
            uses: uses.with("n", invitation.uses).into(),
        }
    }
}

impl TokenView {
    fn new(token: token::Token) -> TokenView {
        let ended = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => Some(t("revoked")),
            (None, Some(at)) if at <= chrono::Utc::now() => Some(t("expired")),
            _ => None,
        };
        TokenView {
            id: token.id,
            scope: match token.scope {
                Scope::Read => t("read"),
                Scope::Submit => t("submit"),
                Scope::Admin => t("admin"),
            },
            made: When::new(token.created_at),
            used: token.last_used_at.map(When::new),
            expires: token.expires_at.map(When::new),
            ended,
            name: token.name,
            prefix: token.prefix,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeToken {
    name: String,
    scope: Scope,
    /// Until it expires; empty: never.
    #[serde(default)]
    days: String,
}

/// Shows the new token: the only time.
pub async fn make_token(
    State(app): State<App>,
    Holder(signed): Holder,
    headers: HeaderMap,
    Fields(form): Fields<MakeToken>,
) -> Result<Response, Error> {
    let made = async {
        let days = match form.days.trim() {
            "" => None,
            days => Some(days.parse().map_err(|_| Error::from(token::TokenError::BadLifetime))?),
        };
        Ok(token::make(&mut *app.db().await?, signed.account.id, &form.name, form.scope, days).await?)
    };
    match made.await {
        Ok((_, secret)) => {
            let token = Some((form.name, secret.expose().to_owned()));
            Ok(render(&page(&app, signed, &headers, Made { token, ..Made::default() }).await?))
        }
        Err(error) => refused(&app, signed, &headers, error).await,
    }
}

/// The page with what was wrong.
async fn refused(app: &App, signed: Signed, headers: &HeaderMap, error: Error) -> Result<Response, Error> {
    let page = page(app, signed, headers, Made::default()).await?;
    Ok(again(error, |problems| TeamPage { problems, ..page }))
}

pub async fn revoke_token(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(id): Path<String>,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let id = id.parse::<TokenId>().map_err(|_| Error::TokenNotFound)?;
    match token::revoke(&mut *app.db().await?, signed.account.id, id).await? {
        true => Ok(Redirect::to("/team#tokens").into_response()),
        false => Err(Error::TokenNotFound),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    name: String,
    /// From an organizer who does not own the team; so in the other forms.
    #[serde(default)]
    reason: String,
}

pub async fn rename(
    State(app): State<App>,
    at: TeamAt,
    headers: HeaderMap,
    Fields(Rename { name, reason }): Fields<Rename>,
) -> Result<Response, Error> {
    let right = at.manage(&reason)?;
    match team::change(&app.pool, at.team.id, Some(&name), None, &right).await {
        Ok(()) => Ok(back()),
        Err(error) => refused(&app, at.signed, &headers, error.into()).await,
    }
}

fn back() -> Response {
    Redirect::to("/team").into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    uses: Uses,
    days: u16,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uses {
    One,
    Many,
}

/// Shows the new link: the only time.
pub async fn invite(
    State(app): State<App>,
    at: TeamAt,
    headers: HeaderMap,
    Fields(Invite { uses, days, reason }): Fields<Invite>,
) -> Result<Response, Error> {
    let right = at.manage(&reason)?;
    let uses = match uses {
        Uses::One => Some(1),
        Uses::Many => None,
    };
    let lifetime = Duration::from_secs(u64::from(days.clamp(1, 90)) * DAY);
    let by = at.signed.account.id;
    let (_, secret) = invitation::create(&mut *app.db().await?, at.team.id, by, uses, lifetime, &right).await?;
    let link = format!("{}/invitation?key={}", app.url(&headers), secret.expose());
    let made = Made { link: Some((at.team.name, link)), ..Made::default() };
    Ok(render(&page(&app, at.signed, &headers, made).await?))
}

pub async fn revoke_invitation(
    State(app): State<App>,
    at: TeamAt,
    Path((_, invitation)): Path<(String, String)>,
    Stated { reason }: Stated,
) -> Result<Response, Error> {
    let right = at.manage(&reason)?;
    let id = invitation.parse::<InvitationId>().map_err(|_| Error::LinkNotFound)?;
    match invitation::revoke(&mut *app.db().await?, at.team.id, id, &right).await? {
        true => Ok(back()),
        false => Err(Error::LinkNotFound),
    }
}

fn member(text: &str) -> Result<AccountId, Error> {
    text.parse().map_err(|_| Error::Team(team::TeamError::NoSuchMember))
}

pub async fn remove(
    State(app): State<App>,
    at: TeamAt,
    Path((_, account)): Path<(String, String)>,
    Stated { reason }: Stated,
) -> Result<Response, Error> {
    let right = at.manage(&reason)?;
    team::remove(&app.pool, at.team.id, member(&account)?, &right).await?;
    Ok(back())
}

pub async fn hand_over(
    State(app): State<App>,
    at: TeamAt,
    Path((_, account)): Path<(String, String)>,
    Stated { reason }: Stated,
) -> Result<Response, Error> {
    let right = at.manage(&reason)?;
    team::hand_over(&app.pool, at.team.id, member(&account)?, &right).await?;
    Ok(back())
}

pub async fn leave(
    State(app): State<App>,
    at: TeamAt,
    headers: HeaderMap,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    at.leave()?;
    match team::leave(&app.pool, at.team.id, at.signed.account.id).await {
        Ok(()) => Ok(back()),
        Err(error) => refused(&app, at.signed, &headers, error.into()).await,
    }
}

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    page: Page,
    problems: Vec<Problem>,
    challenge: Challenge,
    /// The team that invites; `None`: a team of one's own is made.
    into: Option<String>,
    /// Of the invitation.
    key: Option<String>,
    /// For the team of one's own.
    name: String,
    terms: String,
    terms_sha256: Option<String>,
    approval: bool,
    max_members: Option<u32>,
    /// Nobody is signed in: where to come back to.
    sign_in: Option<String>,
}

impl JoinPage {
    fn new(viewer: &Viewer, challenge: Challenge, rules: &Joining, here: &str) -> JoinPage {
        JoinPage {
            page: Page::of(format!("{} · {}", t("Join"), challenge.title), viewer),
            problems: Vec::new(),
            challenge,
            into: None,
            key: None,
            name: viewer.name().unwrap_or_default(),
            terms: markdown(&rules.terms),
            terms_sha256: rules.terms_sha256(),
            approval: rules.policy == JoinPolicy::Approval,
            max_members: rules.max_members,
            sign_in: viewer.0.is_none().then(|| here.to_owned()),
        }
    }
}

pub async fn show_join(State(app): State<App>, viewer: Viewer, Path(slug): Path<String>) -> Result<Response, Error> {
    Ok(render(&join_page(&app, &viewer, &slug).await?))
}

async fn join_page(app: &App, viewer: &Viewer, slug: &str) -> Result<JoinPage, Error> {
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, slug).await?.ok_or(Error::ChallengeNotFound)?;
    let rules = joining::get(&mut conn, challenge.id).await?;
    let here = format!("/join/{}", challenge.slug);
    Ok(JoinPage::new(viewer, challenge, &rules, &here))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Of the team; empty: the account's.
    #[serde(default)]
    name: String,
    /// The hash of the terms that were accepted.
    terms: Option<String>,
}

pub async fn join(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(slug): Path<String>,
    Fields(Join { name, terms }): Fields<Join>,
) -> Result<Response, Error> {
    let viewer = Viewer(Some(signed.clone()));
    let page = join_page(&app, &viewer, &slug).await?;
    let name = if name.trim().is_empty() { signed.account.name.clone() } else { name };
    match participant::join(&app.pool, page.challenge.id, &signed.account, &name, terms.as_deref()).await {
        Ok(joined) => Ok(welcome(joined)),
        Err(error) => Ok(again(error.into(), |problems| JoinPage { problems, name, ..page })),
    }
}

fn welcome(joined: Joined) -> Response {
    match joined {
        Joined::In(team) => Redirect::to(&format!("/team#team-{team}")).into_response(),
        Joined::Waiting => back(),
    }
}

#[derive(Deserialize)]
pub struct Key {
    #[serde(default)]
    key: String,
}

pub async fn show_invitation(
    State(app): State<App>,
    viewer: Viewer,
    Query(Key { key }): Query<Key>,
) -> Result<Response, Error> {
    Ok(render(&invitation_page(&app, &viewer, key).await?))
}

async fn invitation_page(app: &App, viewer: &Viewer, key: String) -> Result<JoinPage, Error> {
    let mut conn = app.db().await?;
    let target = invitation::find(&mut conn, &key).await?.ok_or(Error::LinkNotFound)?;
    let rules = joining::get(&mut conn, target.challenge).await?;
    let challenge = challenge::get(&mut conn, target.challenge).await?.ok_or(Error::LinkNotFound)?;
    let page = JoinPage::new(viewer, challenge, &rules, &format!("/invitation?key={key}"));
    Ok(JoinPage { into: Some(target.team_name), key: Some(key), ..page })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    key: String,
    terms: Option<String>,
}

pub async fn accept_invitation(
    State(app): State<App>,
    Holder(signed): Holder,
    Fields(Accept { key, terms }): Fields<Accept>,
) -> Result<Response, Error> {
    let viewer = Viewer(Some(signed.clone()));
    match participant::accept(&app.pool, &key, &signed.account, terms.as_deref()).await {
        Ok(joined) => Ok(welcome(joined)),
        Err(error) => {
            let page = invitation_page(&app, &viewer, key).await?;
            Ok(again(error.into(), |problems| JoinPage { problems, ..page }))
        }
    }
}
