//! Bundles of other platforms, as the file that would make the challenge here.

use std::path::PathBuf;

use axum::{
    Json,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    App, Error,
    bundles::{self, said},
    error::Errors,
    extract::Organizer,
    filing,
};
use crate::challenge::bundle::Report;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// The challenge's slug; from its title where it is not given.
    slug: Option<String>,
    /// Dataset, as `div2k-valid`, of those phases for which the bundle has no images.
    dataset: Option<String>,
    /// In what form the answer is; `json` where it is not given.
    #[param(inline)]
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The file with its texts inside, and the report.
    #[default]
    Json,
    /// `challenge.toml`, texts, images and `report.md`.
    Zip,
}

/// What a bundle became.
#[derive(Debug, Serialize, ToSchema)]
pub struct Became {
    /// The slug of the challenge that the file makes.
    pub challenge: String,
    pub title: String,
    /// `challenge.toml` with its texts inside. Images that the bundle has, it names as files of the zip.
    pub file: String,
    /// Names of the files in the zip.
    #[schema(value_type = Vec<String>)]
    pub files: Vec<PathBuf>,
    pub report: Report,
    /// What stands in the way of applying the file, a sentence each.
    pub left: Vec<String>,
}

/// Turn a competition bundle of Codabench or CodaLab into a challenge's file (organizers)
///
/// The body is the bundle: a zip with `competition.yaml` of version 2 or 1.5. The report says of each field whether it was
/// imported, changed or ignored. Nothing in the bundle is run and nothing is made: send the file, or the zip, to
/// `POST /api/v1/challenges` for that.
#[utoipa::path(post, path = "/bundles", tag = "organizers", params(Asked),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses(
        (status = 200, description = "What it became; with `format=zip` its files", content(
            (Became = "application/json"),
            (Vec<u8> = "application/zip"))),
        (status = 400, description = "A parameter is unknown", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You run no challenge", body = Errors),
        (status = 408, description = "The upload was too slow", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 422, description = "This is no bundle that can be read", body = Errors)),
    security(("token" = [])))]
pub async fn import(
    State(app): State<App>,
    _organizer: Organizer,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Error> {
    let Query(Asked { slug, dataset, format }) = asked.map_err(|error| Error::BadQuery(error.body_text()))?;
    let sent = filing::take(&app, request.into_body()).await?;
    let (imported, zip) = bundles::import(&app, sent, said(slug), said(dataset)).await?;
    Ok(match format {
        Format::Json => Json(Became {
            challenge: imported.file.slug.clone(),
            title: imported.file.title.clone(),
            file: imported.alone()?,
            files: imported.files,
            report: imported.report,
            left: imported.left,
        })
        .into_response(),
        Format::Zip => {
            let file = tokio::fs::File::open(zip.path()).await.map_err(anyhow::Error::from)?;
            let name = format!("attachment; filename=\"{}.zip\"", imported.file.slug);
            let head = [(header::CONTENT_TYPE, "application/zip".to_owned()), (header::CONTENT_DISPOSITION, name)];
            // The open file outlives its name.
            (head, Body::from_stream(ReaderStream::new(file))).into_response()
        }
    })
}
