//! Signing a browser in with a token, and out.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use serde::Deserialize;

use super::super::{
    App, Error,
    error::render,
    extract::{Signed, Viewer, no_cookie, token_cookie},
    view::Page,
};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    page: Page,
    problems: Vec<Problem>,
    next: String,
}

#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct SignIn {
    token: String,
    #[serde(default)]
    next: String,
}

pub async fn show(viewer: Viewer, Query(Next { next }): Query<Next>) -> Response {
    render(&SignInPage { page: Page::of("Sign in", &viewer), problems: Vec::new(), next: here(&next) })
}

pub async fn sign_in(State(app): State<App>, jar: CookieJar, Form(form): Form<SignIn>) -> Result<Response, Error> {
    match Signed::of_token(&app, &form.token).await {
        Ok(_) => Ok((jar.add(token_cookie(&app, &form.token)), Redirect::to(&here(&form.next))).into_response()),
        Err(refused @ Error::TokenRefused) => {
            let page = Page::plain("Sign in", false);
            let problems = refused.fault().problems;
            let shown = render(&SignInPage { page, problems, next: here(&form.next) });
            Ok((StatusCode::UNAUTHORIZED, shown).into_response())
        }
        Err(error) => Err(error),
    }
}

pub async fn sign_out(State(app): State<App>, jar: CookieJar) -> Response {
    (jar.add(no_cookie(&app)), Redirect::to("/")).into_response()
}

/// A path on this site, or the home page: what follows a sign-in must not lead elsewhere.
fn here(next: &str) -> String {
    let local = next.starts_with('/') && !next.starts_with("//");
    if local && !next.contains('\\') && !next.chars().any(char::is_control) { next.to_owned() } else { "/".to_owned() }
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
