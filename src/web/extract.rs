//! Checked values for handlers: who asks and from where, which phase, which submission.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
};
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};

use super::{
    App, Error,
    sight::{Sight, seen_by},
};
use crate::{
    audit::{self, Actor, Power},
    challenge::{
        self, Challenge,
        phase::{self, Phase},
    },
    ids::{ChallengeId, SessionId, SubmissionId, TeamId, TokenId},
    submission::{self, Submission},
    team::{
        self, Right, Role, Team, TeamError,
        account::Account,
        session,
        token::{self, Scope},
    },
};

/// Who asks; everybody may.
#[derive(Debug, Clone)]
pub struct Viewer(pub Option<Signed>);

/// Somebody with a session or a token.
#[derive(Debug, Clone)]
pub struct Signed {
    pub account: Account,
    pub scope: Scope,
    /// Of a browser.
    pub session: Option<SessionId>,
}

/// Anybody who is signed in, if only to read.
pub struct Reader(pub Signed);

/// Somebody who may submit.
pub struct Submitter(pub Signed);

/// Somebody who may do all that the account may: signed in with a password, or with a token of the scope `admin`.
pub struct Holder(pub Signed);

/// Who runs every challenge. To other accounts, what they ask for does not exist.
pub struct Administrator(pub Signed);

/// Who runs at least one challenge.
pub struct Organizer(pub Signed);

/// The challenge of the address (`slug`), to those who run it. To other accounts it does not exist.
pub struct OrganizerAt {
    pub challenge: Challenge,
    pub signed: Signed,
}

/// A challenge and one of its phases (`slug`, `phase`), to those who run it.
pub struct OrganizerPhaseAt {
    pub challenge: Challenge,
    pub phase: Phase,
    pub signed: Signed,
}

/// A submission, to those who run its challenge: of the address `/organizer/{slug}/…/{submission}`, or of the API's
/// `/submissions/{id}/…`. To others it does not exist.
pub struct ReviewAt {
    pub challenge: Challenge,
    pub signed: Signed,
    pub at: SubmissionAt,
}

/// The team of the address, to those who are in it and to organizers.
pub struct TeamAt {
    pub team: Team,
    pub signed: Signed,
    /// What the asker is in it; `None`: an organizer from outside.
    pub role: Option<Role>,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

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
    /// The asker is in its team, whatever else they are.
    pub is_member: bool,
    pub viewer: Viewer,
}

impl Viewer {
    /// Whether they run any challenge.
    pub fn is_organizer(&self) -> bool {
        self.0.as_ref().is_some_and(|s| s.is_organizer())
    }

    /// Whether they run this challenge, and came with all that their account may.
    pub fn organizes(&self, challenge: ChallengeId) -> bool {
        self.0.as_ref().is_some_and(|s| s.organizes(challenge))
    }

    /// What to answer where only those who run this challenge would find something: an account that does is told that its token
    /// may not, to others there is nothing.
    pub fn or_scope(&self, challenge: ChallengeId, nothing: Error) -> Error {
        match &self.0 {
            Some(signed) if signed.account.organizes(challenge) && !signed.organizes(challenge) => Error::ScopeNotAdmin,
            _ => nothing,
        }
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
        Ok(Signed::of_known_token(app, secret).await?.1)
    }

    async fn of_known_token(app: &App, secret: &str) -> Result<(TokenId, Signed), Error> {
        let found = token::authenticate(&mut *app.db().await?, secret.trim()).await?;
        let (id, account, scope) = found.ok_or(Error::TokenRefused)?;
        Ok((id, Signed { account, scope, session: None }))
    }

    /// Whether they run any challenge.
    pub fn is_organizer(&self) -> bool {
        self.account.is_organizer || !self.account.organizes.is_empty()
    }

    /// Whether they run this challenge and may use that here: a token of a smaller scope makes nobody an organizer.
    pub fn organizes(&self, challenge: ChallengeId) -> bool {
        self.scope == Scope::Admin && self.account.organizes(challenge)
    }

    /// For the audit log.
    pub fn actor(&self) -> Actor {
        Actor::Account { id: self.account.id, name: self.account.name.clone() }
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
        let Some(secret) = cookie_secret(&parts.headers, app) else { return Ok(Viewer(None)) };
        let found = session::authenticate(&mut *app.db().await?, &secret).await?;
        Ok(Viewer(found.map(|s| Signed { account: s.account, scope: s.scope, session: Some(s.id) })))
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Viewer::from_request_parts(parts, app).await?.0.map(Reader).ok_or(Error::TokenNeeded)
    }
}

impl FromRequestParts<App> for Submitter {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Reader::from_request_parts(parts, app).await?.0.may_submit()
    }
}

impl FromRequestParts<App> for Holder {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Reader(signed) = Reader::from_request_parts(parts, app).await?;
        if signed.scope == Scope::Admin { Ok(Holder(signed)) } else { Err(Error::ScopeNotAdmin) }
    }
}

impl FromRequestParts<App> for Organizer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Holder(signed) = Holder::from_request_parts(parts, app).await?;
        if signed.is_organizer() { Ok(Organizer(signed)) } else { Err(Error::PageNotFound) }
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Holder(signed) = Holder::from_request_parts(parts, app).await?;
        if signed.account.is_organizer { Ok(Administrator(signed)) } else { Err(Error::PageNotFound) }
    }
}

impl FromRequestParts<App> for OrganizerAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Organizer(signed) = Organizer::from_request_parts(parts, app).await?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(|_| Error::ChallengeNotFound)?;
        let slug = path.get("slug").ok_or(Error::ChallengeNotFound)?;
        let challenge = challenge::by_slug(&mut *app.db().await?, slug).await?;
        match challenge.filter(|challenge| signed.account.organizes(challenge.id)) {
            Some(challenge) => Ok(OrganizerAt { challenge, signed }),
            None => Err(Error::ChallengeNotFound),
        }
    }
}

impl FromRequestParts<App> for OrganizerPhaseAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let OrganizerAt { challenge, signed } = OrganizerAt::from_request_parts(parts, app).await?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(|_| Error::PhaseNotFound)?;
        let slug = path.get("phase").ok_or(Error::PhaseNotFound)?;
        let phase = phase::by_slug(&mut *app.db().await?, &challenge.slug, slug).await?.ok_or(Error::PhaseNotFound)?;
        Ok(OrganizerPhaseAt { challenge, phase: phase.whole(), signed })
    }
}

impl FromRequestParts<App> for ReviewAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Holder(signed) = Holder::from_request_parts(parts, app).await?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(|_| Error::SubmissionNotFound)?;
        let id = path.get("submission").or_else(|| path.get("id"));
        let id: SubmissionId = id.and_then(|id| id.parse().ok()).ok_or(Error::SubmissionNotFound)?;
        let mut conn = app.db().await?;
        let submission = submission::get(&mut conn, id).await?.ok_or(Error::SubmissionNotFound)?;
        let phase = phase::get(&mut conn, submission.phase).await?.ok_or(Error::SubmissionNotFound)?.whole();
        let elsewhere = path.get("slug").is_some_and(|slug| *slug != submission.challenge_slug);
        if elsewhere || !signed.account.organizes(phase.challenge) {
            return Err(Error::SubmissionNotFound);
        }
        let challenge = challenge::by_slug(&mut conn, &submission.challenge_slug).await?;
        let challenge = challenge.ok_or(Error::SubmissionNotFound)?;
        let is_member = team::is_member(&mut conn, submission.team, signed.account.id).await?;
        let viewer = Viewer(Some(signed.clone()));
        let at = SubmissionAt { submission, phase, sight: Sight::Organizer, is_member, viewer };
        Ok(ReviewAt { challenge, signed, at })
    }
}

impl TeamAt {
    /// Whether the asker may change the team: its owner, or an organizer.
    pub fn may_manage(&self) -> bool {
        self.signed.scope == Scope::Admin
            && (self.role == Some(Role::Owner) || self.signed.organizes(self.team.challenge))
    }

    /// Whether the asker may leave: a token that may only submit may not.
    pub fn leave(&self) -> Result<(), Error> {
        if self.signed.scope == Scope::Admin { Ok(()) } else { Err(Error::ScopeNotAdmin) }
    }

    /// By what right the asker changes the team: its owner by their own, an organizer for a reason.
    pub fn manage(&self, reason: &str) -> Result<Right, Error> {
        match self.signed.scope {
            Scope::Admin if self.role == Some(Role::Owner) => Ok(Right::Owner(self.signed.account.id)),
            Scope::Admin if self.may_manage() => {
                let reason = audit::reason(reason).ok_or_else(Error::bad_reason)?.to_owned();
                Ok(Right::Organizer(Power { actor: self.signed.actor(), reason }))
            }
            Scope::Admin => Err(TeamError::OwnersOnly.into()),
            _ => Err(Error::ScopeNotAdmin),
        }
    }
}

impl FromRequestParts<App> for TeamAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Reader(signed) = Reader::from_request_parts(parts, app).await?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let id = path.ok().and_then(|path| path.get("id")?.parse::<TeamId>().ok()).ok_or(Error::TeamNotFound)?;
        let mut conn = app.db().await?;
        let team = team::get(&mut conn, id).await?.ok_or(Error::TeamNotFound)?;
        let role = team::role(&mut conn, id, signed.account.id).await?;
        if role.is_none() && !signed.organizes(team.challenge) {
            return Err(Viewer(Some(signed)).or_scope(team.challenge, Error::TeamNotFound));
        }
        Ok(TeamAt { team, signed, role })
    }
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        // A router without a server has no peer.
        let peer =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |p| p.0.ip());
        Ok(ClientAddress(client(peer, &parts.headers, &app.settings.trusted_proxies)))
    }
}

/// Whether an address is that of a proxy of ours.
pub fn is_ours(address: &IpAddr, proxies: &[ipnet::IpNet]) -> bool {
    proxies.iter().any(|net| net.contains(&address.to_canonical()))
}

/// The last address of `X-Forwarded-For` that no proxy of ours wrote about another of ours; the header of anybody else is
/// ignored, as it holds what its sender likes.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[ipnet::IpNet]) -> IpAddr {
    let hops = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut address = peer;
    for hop in hops.collect::<Vec<_>>().into_iter().rev() {
        if !is_ours(&address, proxies) {
            break;
        }
        // Behind words that cannot be read nobody is known: the proxy itself counts.
        let Ok(before) = hop.trim().parse() else { break };
        address = before;
    }
    address
}

impl FromRequestParts<App> for PhaseAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        // By name: an address may have more parts.
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let Path(path) = path.map_err(|_| Error::PhaseNotFound)?;
        let (slug, phase) = path.get("slug").zip(path.get("phase")).ok_or(Error::PhaseNotFound)?;
        let mut conn = app.db().await?;
        let challenge = challenge::by_slug(&mut conn, slug).await?.ok_or(Error::ChallengeNotFound)?;
        let phase = phase::by_slug(&mut conn, &challenge.slug, phase).await?.ok_or(Error::PhaseNotFound)?;
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
        SubmissionAt::load(app, viewer, id).await
    }
}

impl SubmissionAt {
    /// As much of an entry as the viewer may see; what they may not see is not there.
    pub async fn load(app: &App, viewer: Viewer, id: SubmissionId) -> Result<SubmissionAt, Error> {
        let mut conn = app.db().await?;
        let submission = submission::get(&mut conn, id).await?.ok_or(Error::SubmissionNotFound)?;
        let phase = phase::get(&mut conn, submission.phase).await?.ok_or(Error::SubmissionNotFound)?;
        let is_member = match &viewer.0 {
            Some(signed) => team::is_member(&mut conn, submission.team, signed.account.id).await?,
            None => false,
        };
        // Whether it stands is for the board to say, which may have to be ranked.
        drop(conn);
        let phase = seen_by(&viewer, phase);
        let sight = Sight::of(&app.boards, &app.pool, &viewer, is_member, &submission, &phase).await?;
        let sight = sight.ok_or_else(|| viewer.or_scope(phase.challenge, Error::SubmissionNotFound))?;
        let submission = match sight {
            Sight::Public => submission::seen_by_all(&mut *app.db().await?, submission, sight.until(&phase)).await?,
            _ => submission,
        };
        Ok(SubmissionAt { submission, phase, sight, is_member, viewer })
    }
}

/// The secret of a browser's session.
pub fn cookie_secret(headers: &HeaderMap, app: &App) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(cookie_name(app)).map(|c| c.value().to_owned()).filter(|v| !v.is_empty())
}

/// Signs a browser in, with a secret that nobody knew before; the session that it had ends.
pub async fn begin(app: &App, headers: &HeaderMap, account: &Account) -> Result<Cookie<'static>, Error> {
    begin_with(app, headers, account, None).await
}

/// Signs a browser in with a token: the session can do no more than it, and ends with it.
pub async fn begin_by_token(app: &App, headers: &HeaderMap, secret: &str) -> Result<(Signed, Cookie<'static>), Error> {
    let (token, signed) = Signed::of_known_token(app, secret).await?;
    let cookie = begin_with(app, headers, &signed.account, Some(token)).await?;
    Ok((signed, cookie))
}

async fn begin_with(
    app: &App,
    headers: &HeaderMap,
    account: &Account,
    token: Option<TokenId>,
) -> Result<Cookie<'static>, Error> {
    end(app, headers).await?;
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let (_, secret) = session::create(&mut *app.db().await?, account.id, token, agent).await?;
    Ok(cookie(app, secret.expose()))
}

/// Ends the session of a browser at once.
pub async fn end(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    let Some(secret) = cookie_secret(headers, app) else { return Ok(()) };
    let mut conn = app.db().await?;
    if let Some(known) = session::authenticate(&mut conn, &secret).await? {
        session::end(&mut conn, known.account.id, known.id).await?;
    }
    Ok(())
}

fn cookie(app: &App, secret: &str) -> Cookie<'static> {
    Cookie::build((cookie_name(app), secret.to_owned()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(app.settings.secure())
        .max_age(time::Duration::try_from(session::LIFETIME).unwrap_or(time::Duration::MAX))
        .build()
}

/// Signs it out.
pub fn no_cookie(app: &App) -> Cookie<'static> {
    let mut cookie = cookie(app, "");
    cookie.make_removal();
    cookie
}

/// The prefix makes browsers refuse one that a neighbouring subdomain or plain HTTP set.
fn cookie_name(app: &App) -> &'static str {
    if app.settings.secure() { "__Host-upscore" } else { "upscore" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_proxies_are_believed() {
        let net = |text: &str| text.parse().expect("a network");
        let ours = [net("10.0.0.0/8"), net("::1/128")];
        let of = |peer: &str, hops: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for hop in hops {
                headers.append("x-forwarded-for", axum::http::HeaderValue::from_static(hop));
            }
            client(peer.parse().expect("an address"), &headers, &ours).to_string()
        };
        assert_eq!(of("192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "anybody may send it");
        assert_eq!(of("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["198.51.100.1, 203.0.113.9"]), "203.0.113.9", "what the client wrote is ignored");
        assert_eq!(
            of("10.0.0.1", &["198.51.100.1", "203.0.113.9, 10.1.1.1"]),
            "203.0.113.9",
            "two proxies, two headers"
        );
        assert_eq!(of("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, junk"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }
}
