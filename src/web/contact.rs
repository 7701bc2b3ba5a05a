//! `/.well-known/security.txt` (RFC 9116): whom to tell of a hole in this server.

use std::str::FromStr;

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{Days, Utc};

use super::{App, Error};

/// How long what is said holds: shorter than the year that the RFC advises at most.
const HOLDS: Days = Days::new(180);

/// Where whoever runs the server takes such news: a `mailto:`, `https:` or `tel:` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact(String);

impl FromStr for Contact {
    type Err = String;

    /// An address of e-mail may stand alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = !text.is_empty() && text.len() <= 300 && text.bytes().all(|b| b.is_ascii_graphic());
        let known = ["mailto:", "https:", "tel:"].iter().any(|scheme| text.starts_with(scheme));
        match plain {
            true if known => Ok(Contact(text.to_owned())),
            true if text.contains('@') && !text.contains(':') => Ok(Contact(format!("mailto:{text}"))),
            _ => Err("neither an address of e-mail nor one that begins with mailto:, https: or tel:".into()),
        }
    }
}

pub fn router() -> Router<App> {
    Router::new().route("/.well-known/security.txt", get(show))
}

async fn show(State(app): State<App>) -> Result<Response, Error> {
    let Contact(contact) = app.settings.security_contact.as_ref().ok_or(Error::PageNotFound)?;
    let expires = (Utc::now() + HOLDS).format("%Y-%m-%dT00:00:00Z");
    let mut text = format!("Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en, zh\n");
    if let Some(url) = &app.settings.public_url {
        text += &format!("Canonical: {url}/.well-known/security.txt\n");
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
