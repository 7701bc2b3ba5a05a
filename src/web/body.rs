//! Bodies of requests, read strictly: a field that nobody asked for is refused, not ignored.

use axum::{
    Form, Json, RequestExt,
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{App, Error};
use crate::problem::printable;

/// The fields of a form. `T` denies unknown fields.
pub struct Fields<T>(pub T);

/// A JSON document. `T` denies unknown fields.
pub struct Document<T>(pub T);

/// No fields.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Why an organizer acts on something of somebody else's; whoever acts on their own needs none.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// For the audit log, and shown to the team; 1 to 2000 characters.
    #[serde(default)]
    pub reason: String,
}

/// [`Stated`], as JSON, as a form, or with no body at all.
impl FromRequest<App> for Stated {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            let empty = request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
            return if empty { Ok(Stated::default()) } else { Ok(Document::from_request(request, app).await?.0) };
        }
        if kind.starts_with("application/x-www-form-urlencoded") {
            return Ok(Fields::from_request(request, app).await?.0);
        }
        Ok(Stated::default())
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for Fields<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &App) -> Result<Self, Error> {
        let request =
            readable(request, |body| body.contains(&0) || String::from_utf8_lossy(body).contains("%00")).await?;
        match request.extract::<Form<T>, _>().await {
            Ok(Form(fields)) => Ok(Fields(fields)),
            Err(refused) => Err(bad(refused.status(), refused.body_text())),
        }
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for Document<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &App) -> Result<Self, Error> {
        match readable(request, holds_nul).await?.extract::<Json<T>, _>().await {
            Ok(Json(document)) => Ok(Document(document)),
            Err(refused) => Err(bad(refused.status(), refused.body_text())),
        }
    }
}

/// The request with its body read, once it is sure that no text of it holds a NUL: Postgres stores none, and a path ends there.
async fn readable(request: Request, has_nul: impl Fn(&[u8]) -> bool) -> Result<Request, Error> {
    let (parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await;
    let body = body.map_err(|refused| bad(refused.status(), refused.body_text()))?;
    if has_nul(&body) {
        return Err(Error::no_nul());
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Whether a text of a JSON document holds a NUL, which can stand there only as an escape.
fn holds_nul(body: &[u8]) -> bool {
    fn in_value(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(values) => values.iter().any(in_value),
            Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || in_value(value)),
            _ => false,
        }
    }
    // Read twice only where the escape stands somewhere, if perhaps behind a backslash.
    let escaped = std::str::from_utf8(body).is_ok_and(|text| text.contains(r"\u0000"));
    escaped && serde_json::from_slice(body).is_ok_and(|value| in_value(&value))
}

/// The reader's own words name the field; what comes before them names only our types.
fn bad(status: StatusCode, words: String) -> Error {
    let words = words.rsplit_once("body: ").map_or(words.as_str(), |(_, said)| said);
    Error::BadBody(status, printable(words))
}
