//! Signing up, in and out, and an account of one's own: password, mail address, sessions.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use serde::Deserialize;
use sqlx::PgConnection;

use super::super::{
    App, Error,
    body::{Fields, Nothing},
    error::render,
    extract::{ClientAddress, Holder, Viewer, begin, begin_by_token, end, no_cookie},
    lang::t,
    view::{Page, When},
};
use crate::{
    ids::SessionId,
    problem::Problem,
    team::{
        account::{self, Account, NewAccount},
        reset, session,
        sign_in::{self, NotChanged},
    },
};

/// Where a sign-in leads.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// A path on this site, or the home page: what follows a sign-in must not lead elsewhere.
pub fn here(next: &str) -> String {
    let local = next.starts_with('/') && !next.starts_with("//");
    if local && !next.contains('\\') && !next.chars().any(char::is_control) { next.to_owned() } else { "/".to_owned() }
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    page: Page,
    problems: Vec<Problem>,
    name: String,
    next: String,
}

impl SignInPage {
    fn new(viewer: &Viewer, next: &str) -> SignInPage {
        SignInPage { page: Page::of(t("Sign in"), viewer), problems: Vec::new(), name: String::new(), next: here(next) }
    }
}

/// The page again with what was wrong; a fault of ours is shown as such.
pub fn again<T: Template>(error: Error, page: impl FnOnce(Vec<Problem>) -> T) -> Response {
    let fault = error.fault();
    if fault.status.is_server_error() {
        return error.into_response();
    }
    let mut headers = HeaderMap::new();
    if let Some(seconds) = fault.retry_after {
        headers.insert(axum::http::header::RETRY_AFTER, seconds.into());
    }
    (fault.status, headers, render(&page(fault.problems))).into_response()
}

pub async fn show_sign_in(viewer: Viewer, Query(Next { next }): Query<Next>) -> Response {
    render(&SignInPage::new(&viewer, &next))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Or mail address.
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub async fn sign_in(
    State(app): State<App>,
    viewer: Viewer,
    ClientAddress(from): ClientAddress,
    jar: CookieJar,
    headers: HeaderMap,
    Fields(form): Fields<SignIn>,
) -> Response {
    let signed = async {
        let tried = sign_in::with_password(&app.pool, &form.name, &form.password, from).await??;
        let account = tried.account.ok_or(Error::SignInRefused)?;
        begin(&app, &headers, &account).await
    };
    match signed.await {
        Ok(cookie) => (jar.add(cookie), Redirect::to(&here(&form.next))).into_response(),
        Err(error) => again(error, |problems| SignInPage {
            problems,
            name: form.name.clone(),
            ..SignInPage::new(&viewer, &form.next)
        }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInByToken {
    token: String,
    #[serde(default)]
    next: String,
}

pub async fn sign_in_by_token(
    State(app): State<App>,
    viewer: Viewer,
    jar: CookieJar,
    headers: HeaderMap,
    Fields(form): Fields<SignInByToken>,
) -> Response {
    match begin_by_token(&app, &headers, &form.token).await {
        Ok((_, cookie)) => (jar.add(cookie), Redirect::to(&here(&form.next))).into_response(),
        Err(error) => again(error, |problems| SignInPage { problems, ..SignInPage::new(&viewer, &form.next) }),
    }
}

pub async fn sign_out(
    State(app): State<App>,
    jar: CookieJar,
    headers: HeaderMap,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    end(&app, &headers).await?;
    Ok((jar.add(no_cookie(&app)), Redirect::to("/")).into_response())
}

#[derive(Template)]
#[template(path = "signup.html")]
struct SignUpPage {
    page: Page,
    problems: Vec<Problem>,
    name: String,
    email: String,
    next: String,
}

impl SignUpPage {
    fn new(viewer: &Viewer, next: &str) -> SignUpPage {
        let page = Page::of(t("Sign up"), viewer);
        SignUpPage { page, problems: Vec::new(), name: String::new(), email: String::new(), next: here(next) }
    }
}

pub async fn show_sign_up(viewer: Viewer, Query(Next { next }): Query<Next>) -> Response {
    render(&SignUpPage::new(&viewer, &next))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    name: String,
    #[serde(default)]
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub async fn sign_up(
    State(app): State<App>,
    viewer: Viewer,
    ClientAddress(from): ClientAddress,
    jar: CookieJar,
    headers: HeaderMap,
    Fields(form): Fields<SignUp>,
) -> Response {
    let SignUp { name, email, password, next } = form;
    let made = async {
        let new = NewAccount {
            name: name.trim().to_owned(),
            email: Some(email.clone()),
            password: Some(password),
            is_organizer: false,
        };
        let id = sign_in::sign_up(&app.pool, new, from).await??;
        let account = account::get(&mut *app.db().await?, id).await?.ok_or(Error::TokenNeeded)?;
        begin(&app, &headers, &account).await
    };
    match made.await {
        Ok(cookie) => (jar.add(cookie), Redirect::to(&here(&next))).into_response(),
        Err(error) => again(error, |problems| SignUpPage { problems, name, email, ..SignUpPage::new(&viewer, &next) }),
    }
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    page: Page,
    problems: Vec<Problem>,
    said: Option<&'static str>,
    account: Account,
    has_password: bool,
    /// Announcements come by mail too.
    mails: bool,
    sessions: Vec<SessionView>,
}

struct SessionView {
    id: SessionId,
    agent: String,
    began: When,
    seen: When,
    token: Option<String>,
    /// The one that asks.
    current: bool,
}

#[derive(Deserialize)]
pub struct Said {
    #[serde(default)]
    said: String,
}

pub async fn show(
    State(app): State<App>,
    Holder(signed): Holder,
    Query(Said { said }): Query<Said>,
) -> Result<Response, Error> {
    let said = match said.as_str() {
        "password" => Some(t("The password is changed; every other session was ended.")),
        "email" => Some(t("The mail address is stored.")),
        "mails" => Some(t("It is noted which mails you want.")),
        "sessions" => Some(t("The other sessions were ended.")),
        _ => None,
    };
    Ok(render(&account_page(&app, signed, Vec::new(), said).await?))
}

async fn account_page(
    app: &App,
    signed: super::super::extract::Signed,
    problems: Vec<Problem>,
    said: Option<&'static str>,
) -> Result<AccountPage, Error> {
    let has_password = sign_in::has_password(&app.pool, signed.account.id).await?;
    let mails = account::wants_mails(&mut *app.db().await?, signed.account.id).await?;
    let sessions = sessions(&mut *app.db().await?, &signed.account, signed.session).await?;
    let account = signed.account.clone();
    let page = Page::of(t("Account"), &Viewer(Some(signed)));
    Ok(AccountPage { page, problems, said, account, has_password, mails, sessions })
}

async fn sessions(
    conn: &mut PgConnection,
    account: &Account,
    current: Option<SessionId>,
) -> Result<Vec<SessionView>, Error> {
    let listed = session::list(conn, account.id).await?.into_iter().map(|s| SessionView {
        agent: s.user_agent.unwrap_or_else(|| t("unknown browser").to_owned()),
        began: When::new(s.created_at),
        seen: When::new(s.last_seen_at),
        token: s.token,
        current: current == Some(s.id),
        id: s.id,
    });
    Ok(listed.collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present one; an account that has none leaves it out.
    #[serde(default)]
    current: String,
    password: String,
}

pub async fn change_password(
    State(app): State<App>,
    Holder(signed): Holder,
    ClientAddress(from): ClientAddress,
    Fields(ChangePassword { current, password }): Fields<ChangePassword>,
) -> Result<Response, Error> {
    let changed = sign_in::change_password(&app.pool, &signed.account, &current, password, from, signed.session).await;
    match changed {
        Ok(()) => Ok(Redirect::to("/account?said=password").into_response()),
        Err(why) => refused(&app, signed, why.into()).await,
    }
}

/// The account's page with what was wrong.
async fn refused(app: &App, signed: super::super::extract::Signed, error: Error) -> Result<Response, Error> {
    let page = account_page(app, signed, Vec::new(), None).await?;
    Ok(again(error, |problems| AccountPage { problems, ..page }))
}

impl From<NotChanged> for Error {
    fn from(why: NotChanged) -> Self {
        match why {
            NotChanged::Wrong => Error::WrongPassword,
            NotChanged::TooMany(too_many) => too_many.into(),
            NotChanged::Account(error) => error.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeEmail {
    email: String,
}

pub async fn change_email(
    State(app): State<App>,
    Holder(signed): Holder,
    Fields(ChangeEmail { email }): Fields<ChangeEmail>,
) -> Result<Response, Error> {
    let changed = account::set_email(&mut *app.db().await?, signed.account.id, Some(&email)).await;
    match changed {
        Ok(()) => Ok(Redirect::to("/account?said=email").into_response()),
        Err(error) => refused(&app, signed, error.into()).await,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeMails {
    /// A ticked box is sent, another is not.
    announcements: Option<String>,
}

pub async fn change_mails(
    State(app): State<App>,
    Holder(signed): Holder,
    Fields(ChangeMails { announcements }): Fields<ChangeMails>,
) -> Result<Response, Error> {
    account::set_mails(&mut *app.db().await?, signed.account.id, announcements.is_some()).await?;
    Ok(Redirect::to("/account?said=mails").into_response())
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct UnsubscribePage {
    page: Page,
    key: String,
    done: bool,
}

/// A page with a button: programs that open the links of a mail beforehand stop nothing.
pub async fn show_unsubscribe(viewer: Viewer, Query(Key { key }): Query<Key>) -> Response {
    render(&UnsubscribePage { page: Page::of(t("No more announcements"), &viewer), key, done: false })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    key: String,
}

pub async fn unsubscribe(
    State(app): State<App>,
    viewer: Viewer,
    Fields(Unsubscribe { key }): Fields<Unsubscribe>,
) -> Result<Response, Error> {
    let known = key.parse().map_err(|_| Error::LinkNotFound)?;
    if !account::stop_mails(&mut *app.db().await?, known).await? {
        return Err(Error::LinkNotFound);
    }
    Ok(render(&UnsubscribePage { page: Page::of(t("No more announcements"), &viewer), key, done: true }))
}

pub async fn end_session(
    State(app): State<App>,
    Holder(signed): Holder,
    Path(id): Path<String>,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let id = id.parse::<SessionId>().map_err(|_| Error::PageNotFound)?;
    match session::end(&mut *app.db().await?, signed.account.id, id).await? {
        true => Ok(Redirect::to("/account").into_response()),
        false => Err(Error::PageNotFound),
    }
}

pub async fn end_other_sessions(
    State(app): State<App>,
    Holder(signed): Holder,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    session::end_others(&mut *app.db().await?, signed.account.id, signed.session).await?;
    Ok(Redirect::to("/account?said=sessions").into_response())
}

#[derive(Template)]
#[template(path = "forgotten.html")]
struct ForgottenPage {
    page: Page,
    problems: Vec<Problem>,
    /// This server sends mail.
    mails: bool,
    /// A mail was asked for.
    asked: bool,
}

pub async fn show_forgotten(State(app): State<App>, viewer: Viewer) -> Response {
    render(&forgotten_page(&app, &viewer))
}

fn forgotten_page(app: &App, viewer: &Viewer) -> ForgottenPage {
    let page = Page::of(t("Forgotten password"), viewer);
    ForgottenPage { page, problems: Vec::new(), mails: app.settings.mailer.is_some(), asked: false }
}

/// The same answer in the same time whether the address is known or not: what it is known for is done afterwards.
pub async fn ask_for_reset(
    State(app): State<App>,
    viewer: Viewer,
    ClientAddress(from): ClientAddress,
    Fields(ChangeEmail { email }): Fields<ChangeEmail>,
) -> Result<Response, Error> {
    let page = forgotten_page(&app, &viewer);
    if !page.mails {
        return Err(Error::PageNotFound);
    }
    match reset::admit(&app.pool, &email, from).await? {
        Ok(more) => {
            if more {
                tokio::spawn(async move {
                    if let Err(error) = mail_links(&app, &email).await {
                        tracing::warn!(error = format!("{error:#}"), "a reset link was not mailed");
                    }
                });
            }
            Ok(render(&ForgottenPage { asked: true, ..page }))
        }
        Err(too_many) => Ok(again(too_many.into(), |problems| ForgottenPage { problems, ..page })),
    }
}

async fn mail_links(app: &App, email: &str) -> anyhow::Result<()> {
    let (Some(mailer), Some(url)) = (&app.settings.mailer, &app.settings.public_url) else { return Ok(()) };
    let Some(found) = reset::for_email(&mut *app.pool.acquire().await?, email).await? else { return Ok(()) };
    let mut text = format!("Somebody, perhaps you, asked to set a new password at {url}.\n\n");
    for (name, secret) in &found.links {
        text += &format!("For the account {name}:\n{url}/reset?key={}\n\n", secret.expose());
    }
    text += "Each link works once, for an hour. If it was not you, do nothing: your password stays as it is.\n";
    mailer.send(&found.email, "Your new password", text).await
}

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage {
    page: Page,
    problems: Vec<Problem>,
    name: String,
    key: String,
}

#[derive(Deserialize)]
pub struct Key {
    #[serde(default)]
    key: String,
}

pub async fn show_reset(State(app): State<App>, Query(Key { key }): Query<Key>) -> Result<Response, Error> {
    let account = reset::find(&mut *app.db().await?, &key).await?.ok_or(Error::LinkNotFound)?;
    Ok(render(&reset_page(account.name, key, Vec::new())))
}

fn reset_page(name: String, key: String, problems: Vec<Problem>) -> ResetPage {
    ResetPage { page: Page::plain(t("New password"), false), problems, name, key }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    key: String,
    password: String,
}

/// Signs in with the new password at once.
pub async fn reset(
    State(app): State<App>,
    jar: CookieJar,
    headers: HeaderMap,
    Fields(NewPassword { key, password }): Fields<NewPassword>,
) -> Result<Response, Error> {
    match reset::redeem(&app.pool, &key, password).await {
        Ok(None) => Err(Error::LinkNotFound),
        Ok(Some(account)) => {
            let cookie = begin(&app, &headers, &account).await?;
            Ok((jar.add(cookie), Redirect::to("/account?said=password")).into_response())
        }
        Err(error) => {
            let account = reset::find(&mut *app.db().await?, &key).await?.ok_or(Error::LinkNotFound)?;
            Ok(again(error.into(), |problems| reset_page(account.name, key, problems)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::here;

    #[test]
    fn a_sign_in_leads_nowhere_else() {
        assert_eq!(here("/challenges/a/b"), "/challenges/a/b");
        for evil in ["", "//evil", "/\\evil", "https:evil", "/x\r\nSet-Cookie: a", "javascript:alert(1)"] {
            assert_eq!(here(evil), "/", "{evil:?}");
        }
    }
}
