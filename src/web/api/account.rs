//! One's account, sessions and tokens.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use axum_extra::extract::CookieJar;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    body::Document,
    error::Errors,
    extract::{Administrator, ClientAddress, Holder, Reader, Signed, begin, end, no_cookie},
};
use crate::{
    audit::{self, Act},
    ids::{SessionId, TokenId},
    team::{
        account::{self, Account, NewAccount},
        reset::{self, Maker},
        session, sign_in,
        token::{self, Scope, Token},
    },
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// 1 to 64 letters, digits and single spaces or `_ . -` between them.
    pub name: String,
    pub email: Option<String>,
    /// 8 to 256 characters.
    pub password: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Or mail address.
    pub name: String,
    pub password: String,
}

/// Sign up, and sign in with a session cookie
#[utoipa::path(post, path = "/account", tag = "account",
    request_body = SignUp,
    responses(
        (status = 201, description = "Made; `Set-Cookie` holds a session", body = Account),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 409, description = "The name is taken", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors),
        (status = 429, description = "Too many from this address; `Retry-After` says for how long", body = Errors)))]
pub async fn sign_up(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    jar: CookieJar,
    headers: HeaderMap,
    Document(SignUp { name, email, password }): Document<SignUp>,
) -> Result<impl IntoResponse, Error> {
    let new = NewAccount { name: name.trim().to_owned(), email, password: Some(password), is_organizer: false };
    let id = sign_in::sign_up(&app.pool, new, from).await??;
    let account = account::get(&mut *app.db().await?, id).await?.ok_or(Error::TokenNeeded)?;
    let cookie = begin(&app, &headers, &account).await?;
    Ok((StatusCode::CREATED, jar.add(cookie), Json(account)))
}

/// Sign in with a session cookie
#[utoipa::path(post, path = "/session", tag = "account",
    request_body = SignIn,
    responses(
        (status = 201, description = "`Set-Cookie` holds a session", body = Account),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "There is no account with this name and password", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown", body = Errors),
        (status = 429, description = "Too many tries; `Retry-After` says for how long", body = Errors)))]
pub async fn sign_in(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    jar: CookieJar,
    headers: HeaderMap,
    Document(SignIn { name, password }): Document<SignIn>,
) -> Result<impl IntoResponse, Error> {
    let tried = sign_in::with_password(&app.pool, &name, &password, from).await??;
    let account = tried.account.ok_or(Error::SignInRefused)?;
    let cookie = begin(&app, &headers, &account).await?;
    Ok((StatusCode::CREATED, jar.add(cookie), Json(account)))
}

/// Sign out: ends the session of the cookie
#[utoipa::path(delete, path = "/session", tag = "account",
    responses((status = 204, description = "Ended")))]
pub async fn sign_out(State(app): State<App>, jar: CookieJar, headers: HeaderMap) -> Result<impl IntoResponse, Error> {
    end(&app, &headers).await?;
    Ok((StatusCode::NO_CONTENT, jar.add(no_cookie(&app))))
}

/// Read your account
#[utoipa::path(get, path = "/account", tag = "account",
    responses(
        (status = 200, description = "Yours", body = Account),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors)),
    security(("token" = [])))]
pub async fn show(Reader(signed): Reader) -> Json<Account> {
    Json(signed.account)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAccount {
    /// `null` takes it away.
    pub email: Option<String>,
}

/// Change your mail address
#[utoipa::path(patch, path = "/account", tag = "account",
    request_body = ChangeAccount,
    responses(
        (status = 200, description = "As it is now", body = Account),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn change(
    State(app): State<App>,
    Holder(signed): Holder,
    Document(ChangeAccount { email }): Document<ChangeAccount>,
) -> Result<Json<Account>, Error> {
    let mut conn = app.db().await?;
    account::set_email(&mut conn, signed.account.id, email.as_deref()).await?;
    account::get(&mut conn, signed.account.id).await?.map(Json).ok_or(Error::TokenNeeded)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present one; left out where the account has none.
    pub current: Option<String>,
    /// 8 to 256 characters.
    pub password: String,
}

/// Change your password: every other session ends, tokens go on
#[utoipa::path(put, path = "/account/password", tag = "account",
    request_body = ChangePassword,
    responses(
        (status = 204, description = "Changed"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "The present password is wrong, or the new one not allowed", body = Errors),
        (status = 429, description = "Too many tries; `Retry-After` says for how long", body = Errors)),
    security(("token" = [])))]
pub async fn change_password(
    State(app): State<App>,
    Holder(signed): Holder,
    ClientAddress(from): ClientAddress,
    Document(ChangePassword { current, password }): Document<ChangePassword>,
) -> Result<StatusCode, Error> {
    let current = current.unwrap_or_default();
    sign_in::change_password(&app.pool, &signed.account, &current, password, from, signed.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List your sessions
#[utoipa::path(get, path = "/account/sessions", tag = "account",
    responses(
        (status = 200, description = "The live ones, last used first", body = Vec<session::Listed>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors)),
    security(("token" = [])))]
pub async fn sessions(State(app): State<App>, Holder(signed): Holder) -> Result<Json<Vec<session::Listed>>, Error> {
    Ok(Json(session::list(&mut *app.db().await?, signed.account.id).await?))
}

/// End one of your sessions
#[utoipa::path(delete, path = "/account/sessions/{id}", tag = "account",
    params(("id" = SessionId, Path, description = "The session")),
    responses(
        (status = 204, description = "Ended"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You have no such session", body = Errors)),
    security(("token" = [])))]
pub async fn end_session(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = id.parse::<SessionId>().map_err(|_| Error::SessionNotFound)?;
    match session::end(&mut *app.db().await?, signed.account.id, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::SessionNotFound),
    }
}

/// List your tokens, ended ones included
#[utoipa::path(get, path = "/tokens", tag = "account",
    responses(
        (status = 200, description = "Newest first", body = Vec<Token>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors)),
    security(("token" = [])))]
pub async fn tokens(State(app): State<App>, Holder(signed): Holder) -> Result<Json<Vec<Token>>, Error> {
    Ok(Json(token::list(&mut *app.db().await?, signed.account.id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeToken {
    /// Your word for it.
    pub name: String,
    pub scope: Scope,
    /// 1 to 3650 until it expires; left out: never.
    pub days: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MadeToken {
    pub id: TokenId,
    /// The only time that it is shown.
    pub token: String,
}

/// Make a token
#[utoipa::path(post, path = "/tokens", tag = "account",
    request_body = MakeToken,
    responses(
        (status = 201, description = "Made", body = MadeToken),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 409, description = "You have too many live tokens", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn make_token(
    State(app): State<App>,
    Holder(signed): Holder,
    Document(MakeToken { name, scope, days }): Document<MakeToken>,
) -> Result<(StatusCode, Json<MadeToken>), Error> {
    let (id, secret) = token::make(&mut *app.db().await?, signed.account.id, &name, scope, days).await?;
    Ok((StatusCode::CREATED, Json(MadeToken { id, token: secret.expose().to_owned() })))
}

/// Revoke one of your tokens, at once
#[utoipa::path(delete, path = "/tokens/{id}", tag = "account",
    params(("id" = TokenId, Path, description = "The token")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You have no such token", body = Errors)),
    security(("token" = [])))]
pub async fn revoke_token(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = id.parse::<TokenId>().map_err(|_| Error::TokenNotFound)?;
    match token::revoke(&mut *app.db().await?, signed.account.id, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::TokenNotFound),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhoForgot {
    /// The account's.
    pub name: String,
    /// For the audit log; 1 to 2000 characters.
    pub reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ResetLink {
    /// Sets a new password, once; the only time that it is shown.
    pub link: String,
    pub expires_at: DateTime<Utc>,
}

/// Make a link that sets a new password of an account (organizers)
#[utoipa::path(post, path = "/reset-links", tag = "organizers",
    request_body = WhoForgot,
    responses(
        (status = 201, description = "Made; hand it over by a way that reaches only them", body = ResetLink),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such account, or you are no organizer", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown", body = Errors)),
    security(("token" = [])))]
pub async fn reset_link(
    State(app): State<App>,
    Administrator(signed): Administrator,
    headers: HeaderMap,
    Document(WhoForgot { name, reason }): Document<WhoForgot>,
) -> Result<(StatusCode, Json<ResetLink>), Error> {
    let (_, link) = hand_link(&app, &signed, &headers, &name, &reason).await?;
    Ok((StatusCode::CREATED, Json(ResetLink { link, expires_at: Utc::now() + reset::HANDED })))
}

/// What page and API do: makes a link, notes it, and gives the account's name and the link.
pub async fn hand_link(
    app: &App,
    signed: &Signed,
    headers: &HeaderMap,
    name: &str,
    reason: &str,
) -> Result<(String, String), Error> {
    let reason = audit::reason(reason).ok_or_else(Error::bad_reason)?;
    let mut tx = app.pool.begin().await?;
    let account = account::by_name(&mut tx, name.trim()).await?.ok_or(Error::AccountNotFound)?;
    let secret = reset::create(&mut tx, account.id, Maker::Organizer(signed.account.id)).await?;
    let act = Act::of_server("account.reset_link", &account.name).because(reason);
    audit::note(&mut tx, &signed.actor(), act).await?;
    tx.commit().await?;
    Ok((account.name, format!("{}/reset?key={}", app.url(headers), secret.expose())))
}
