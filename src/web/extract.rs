//! Checked values for handlers: who asks, which phase, which submission.

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
};
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};

use super::{App, Error, sight::Sight};
use crate::{
    challenge::{
        self, Challenge,
        phase::{self, Phase},
    },
    ids::SubmissionId,
    submission::{self, Submission},
    team::{
        self, Team,
        account::Account,
        token::{self, Scope},
    },
};

/// Who asks; everybody may.
#[derive(Debug, Clone)]
pub struct Viewer(pub Option<Signed>);

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Signed {
    pub account: Account,
    pub scope: Scope,
}

/// Somebody whose token may submit.
pub struct Submitter(pub Signed);

/// The challenge and phase of the address.
pub struct PhaseAt {
    pub challenge: Challenge,
    pub phase: Phase,
}

/// The submission of the address, and how much of it the asker may see.
pub struct SubmissionAt {
    pub submission: Submission,
    pub phase: Phase,
    pub sight: Sight,
    pub viewer: Viewer,
}

impl Viewer {
    pub fn is_organizer(&self) -> bool {
        self.0.as_ref().is_some_and(|s| s.account.is_organizer)
    }

    /// For the page's head.
    pub fn name(&self) -> Option<String> {
        self.0.as_ref().map(|s| s.account.name.clone())
    }

    /// Their team in a challenge.
    pub async fn team(&self, app: &App, challenge: &Challenge) -> Result<Option<Team>, Error> {
        let Some(signed) = &self.0 else { return Ok(None) };
        Ok(team::of_account(&mut *app.db().await?, challenge.id, signed.account.id).await?)
    }
}

impl Signed {
    pub async fn of_token(app: &App, secret: &str) -> Result<Signed, Error> {
        let found = token::authenticate(&mut *app.db().await?, secret.trim()).await?;
        let (account, scope) = found.ok_or(Error::TokenRefused)?;
        Ok(Signed { account, scope })
    }

    pub fn may_submit(self) -> Result<Submitter, Error> {
        if self.scope >= Scope::Submit { Ok(Submitter(self)) } else { Err(Error::ScopeTooSmall) }
    }
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Error;

    /// A token that was sent and is wrong is an error; a cookie that has expired is nobody.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
            let words = value.to_str().unwrap_or("");
            let (scheme, secret) = words.split_once(' ').unwrap_or((words, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Error::TokenRefused);
            }
            return Ok(Viewer(Some(Signed::of_token(app, secret).await?)));
        }
        let Some(secret) = cookie_token(&parts.headers, app) else { return Ok(Viewer(None)) };
        match Signed::of_token(app, &secret).await {
            Ok(signed) => Ok(Viewer(Some(signed))),
            Err(Error::TokenRefused) => Ok(Viewer(None)),
            Err(error) => Err(error),
        }
    }
}

impl FromRequestParts<App> for Submitter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Viewer::from_request_parts(parts, app).await?.0.ok_or(Error::TokenNeeded)?.may_submit()
    }
}

impl FromRequestParts<App> for PhaseAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let Path((challenge, phase)) = path.map_err(|_| Error::PhaseNotFound)?;
        let mut conn = app.db().await?;
        let challenge = challenge::by_slug(&mut conn, &challenge).await?.ok_or(Error::ChallengeNotFound)?;
        let phase = phase::by_slug(&mut conn, &challenge.slug, &phase).await?.ok_or(Error::PhaseNotFound)?;
        Ok(PhaseAt { challenge, phase })
    }
}

impl FromRequestParts<App> for SubmissionAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let viewer = Viewer::from_request_parts(parts, app).await?;
        let path = Path::<String>::from_request_parts(parts, app).await;
        let Path(id) = path.map_err(|_| Error::SubmissionNotFound)?;
        let id: SubmissionId = id.parse().map_err(|_| Error::SubmissionNotFound)?;
        let mut conn = app.db().await?;
        let submission = submission::get(&mut conn, id).await?.ok_or(Error::SubmissionNotFound)?;
        let phase = phase::get(&mut conn, submission.phase).await?.ok_or(Error::SubmissionNotFound)?;
        let sight = Sight::of(&mut conn, &viewer, &submission, &phase).await?.ok_or(Error::SubmissionNotFound)?;
        Ok(SubmissionAt { submission, phase, sight, viewer })
    }
}

/// The token that a browser signed in with: the cookie holds the token itself, so that it can do no more than the token
/// and ends with it.
pub fn cookie_token(headers: &HeaderMap, app: &App) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(cookie_name(app)).map(|c| c.value().to_owned()).filter(|v| !v.is_empty())
}

/// Signs a browser in.
pub fn token_cookie(app: &App, secret: &str) -> Cookie<'static> {
    Cookie::build((cookie_name(app), secret.trim().to_owned()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(app.settings.secure())
        .build()
}

/// Signs it out.
pub fn no_cookie(app: &App) -> Cookie<'static> {
    let mut cookie = token_cookie(app, "");
    cookie.make_removal();
    cookie
}

/// The prefix makes browsers refuse one that a neighbouring subdomain or plain HTTP set.
fn cookie_name(app: &App) -> &'static str {
    if app.settings.secure() { "__Host-upscore" } else { "upscore" }
}
