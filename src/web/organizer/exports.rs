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
use crate::{
    audit::{self, Act},
    export,
};

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
    at: OrganizerAt,
    leave: Download,
    Query(What { files }): Query<What>,
) -> Result<Response, Error> {
    download(&app, at, files, leave).await
}

/// The zip, written while it is sent; noted, as it holds what every team sent in.
pub async fn download(
    app: &App,
    OrganizerAt { challenge, signed }: OrganizerAt,
    files: bool,
    leave: Download,
) -> Result<Response, Error> {
    let act = Act::of(challenge.id, "challenge.export", &challenge.slug).with(serde_json::json!({ "files": files }));
    audit::note(&mut *app.db().await?, &signed.actor(), act).await?;
    let head = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.zip\"", challenge.slug)),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    let (pool, storage, runtime) = (app.pool.clone(), app.storage.clone(), Handle::current());
    let body = stream(move |pipe| {
        export::write(&pool, &storage, &runtime, &challenge, files, pipe).map_err(std::io::Error::other)
    });
    Ok(leave.of((head, body).into_response()))
}
