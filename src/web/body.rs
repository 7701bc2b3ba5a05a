//! Bodies of requests, read strictly: a field that nobody asked for is refused, not ignored.

use axum::{
    Form, Json, RequestExt,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::{Deserialize, de::DeserializeOwned};

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

impl<T: DeserializeOwned + 'static> FromRequest<App> for Fields<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &App) -> Result<Self, Error> {
        match request.extract::<Form<T>, _>().await {
            Ok(Form(fields)) => Ok(Fields(fields)),
            Err(refused) => Err(bad(refused.status(), refused.body_text())),
        }
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for Document<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &App) -> Result<Self, Error> {
        match request.extract::<Json<T>, _>().await {
            Ok(Json(document)) => Ok(Document(document)),
            Err(refused) => Err(bad(refused.status(), refused.body_text())),
        }
    }
}

/// The reader's own words name the field; what comes before them names only our types.
fn bad(status: StatusCode, words: String) -> Error {
    let words = words.rsplit_once("body: ").map_or(words.as_str(), |(_, said)| said);
    Error::BadBody(status, printable(words))
}
