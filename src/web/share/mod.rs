//! What other sites show of a board: a badge, the board in a frame, a picture beside links, a feed. They are made for everybody
//! alike: they ask for no cookie, show what is public and nothing else, and may be kept for a minute.

mod badge;
mod embed;
mod feed;
mod preview;

use std::sync::Arc;

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, Error, sight::is_public};
use crate::{challenge::phase::Phase, leaderboard::Board};

/// With their descriptions, for the OpenAPI document.
pub fn described() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(embed::show))
        .routes(routes!(feed::show))
        .routes(routes!(preview::show))
        .routes(routes!(badge::show))
}

/// Any site may show this answer in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Framable;

/// `None`: its figures are not public, whoever asks.
async fn board(app: &App, phase: &Phase) -> Result<Option<Arc<Board>>, Error> {
    if !is_public(phase) {
        return Ok(None);
    }
    Ok(Some(app.boards.of(&app.pool, phase).await?))
}

/// An answer that is the same for everybody, and that pages of other sites may hold.
fn public(kind: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let mut set = |name: HeaderName, value| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, kind);
    set(header::CACHE_CONTROL, "public, max-age=60");
    set(header::VARY, "accept-encoding");
    set(HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
    response
}

/// Words without the characters that no XML may hold.
fn xml(text: &str) -> String {
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(allowed).collect()
}

/// At most so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return xml(text);
    }
    let cut: String = text.chars().take(most.saturating_sub(1)).collect();
    xml(&format!("{}…", cut.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(short("NJU_MCG", 7), "NJU_MCG");
        assert_eq!(short("a very long name", 7), "a very…");
        assert_eq!(xml("a\u{0}b\u{1b}c\u{ffff}智"), "abc智");
    }
}
