//! `/organizer/{slug}/exports`: everything of a challenge to take along, in one zip or one by one.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    super::{
        App, Error,
        doors::Download,
        error::render,
        extract::{OrganizerAt, Viewer},
        pages::{format_name, stream},
        view::Page,
    },
    Frame, Tab,
};
use crate::{challenge::Challenge, export};

#[derive(Template)]
#[template(path = "organizer_exports.html")]
struct Exports {
    page: Page,
    frame: Frame,
    /// Ending and name.
    formats: Vec<(&'static str, &'static str)>,
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    let formats = ["json", "csv", "md", "tex"].map(|format| (format, format_name(format)));
    Ok(render(&Exports {
        frame: Frame::load(&mut *app.db().await?, &challenge, Tab::Exports).await?,
        page: Page::of(format!("{}: exports", challenge.title), &Viewer(Some(signed))),
        formats: formats.to_vec(),
    }))
}

#[derive(Debug, Deserialize)]
pub struct What {
    /// The teams' results zips and models too.
    #[serde(default)]
    files: bool,
}

pub async fn zip(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
    leave: Download,
    Query(What { files }): Query<What>,
) -> Response {
    download(&app, challenge, files, leave)
}

/// The zip, written while it is sent.
pub fn download(app: &App, challenge: Challenge, files: bool, leave: Download) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.zip\"", challenge.slug)),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    let (pool, storage, runtime) = (app.pool.clone(), app.storage.clone(), Handle::current());
    let body = stream(move |pipe| {
        export::write(&pool, &storage, &runtime, &challenge, files, pipe).map_err(std::io::Error::other)
    });
    leave.of((head, body).into_response())
}
