//! `/organizer/import`: a competition bundle of Codabench or CodaLab turned into a challenge's file, with what became of each
//! field. The file may be taken along, or shown as the challenge that it would make.

use askama::Template;
use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::{
    super::{
        App, Error,
        body::Fields,
        bundles,
        error::render,
        extract::{Organizer, Signed, Viewer},
        filing,
        pages::again,
        posted,
        view::{Page, bytes},
    },
    editor,
};
use crate::{
    challenge::{
        bundle::{Imported, Report},
        dataset,
    },
    problem::Problem,
};

#[derive(Template)]
#[template(path = "organizer_import.html")]
struct Import {
    page: Page,
    problems: Vec<Problem>,
    /// Bytes that a bundle may have, in words.
    limit: String,
    /// Names and words of those that a phase may be measured on; administrators alone choose among all.
    datasets: Vec<(String, String)>,
    slug: String,
    dataset: String,
    /// Whether the viewer may make challenges.
    may_make: bool,
    done: Option<Done>,
}

struct Done {
    slug: String,
    title: String,
    report: Report,
    /// What stands in the way of applying it, a sentence each.
    left: Vec<String>,
    files: Vec<String>,
    /// Names the zip of the files, to whoever sent the bundle.
    staged: String,
}

pub async fn show(State(app): State<App>, Organizer(signed): Organizer) -> Result<Response, Error> {
    Ok(render(&page(&app, signed).await?))
}

async fn page(app: &App, signed: Signed) -> Result<Import, Error> {
    let may_make = signed.account.is_organizer;
    let all = if may_make { dataset::list(&mut *app.db().await?).await? } else { Vec::new() };
    let datasets = all.into_iter().map(|d| {
        let name = dataset::full_name(&d.name, d.version);
        let images = if d.images == 1 { "image" } else { "images" };
        (name.clone(), format!("{name} ({} {images}, ×{})", d.images, d.scale))
    });
    Ok(Import {
        page: Page::of("Import a bundle", &Viewer(Some(signed))),
        problems: Vec::new(),
        limit: bytes(filing::most(app)),
        datasets: datasets.collect(),
        slug: String::new(),
        dataset: String::new(),
        may_make,
        done: None,
    })
}

pub async fn read(State(app): State<App>, Organizer(signed): Organizer, request: Request) -> Result<Response, Error> {
    let posted = posted::read(&app, request, filing::most(&app)).await?;
    let mut page = page(&app, signed.clone()).await?;
    for (name, value) in posted.fields {
        match name.as_str() {
            "slug" => page.slug = value,
            "dataset" => page.dataset = value,
            _ => {
                return Err(Error::BadBody(
                    axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                    format!("unknown field `{name}`"),
                ));
            }
        }
    }
    let sent = posted.files.into_iter().find(|(name, _)| name == "bundle").map(|(_, file)| file);
    let outcome = async {
        let Some(sent) = sent else {
            return Err(Error::BadUpload(Problem::new("bad_bundle", "No bundle was chosen.").at("bundle")));
        };
        let (slug, dataset) = (bundles::said(Some(page.slug.clone())), bundles::said(Some(page.dataset.clone())));
        let (imported, zip) = bundles::import(&app, sent, slug, dataset).await?;
        let staged = editor::stage(&app, signed.account.id, zip).await?;
        Ok(done(imported, staged))
    };
    match outcome.await {
        Ok(done) => Ok(render(&Import { done: Some(done), ..page })),
        Err(error) => Ok(again(error, |problems| Import { problems, ..page })),
    }
}

fn done(imported: Imported, staged: String) -> Done {
    let Imported { file, files, report, left, .. } = imported;
    let files = files.iter().map(|path| path.display().to_string()).collect();
    Done { slug: file.slug, title: file.title, report, left, files, staged }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staged {
    staged: String,
}

/// The files that a bundle became, as a zip, to whoever sent it.
pub async fn zip(
    State(app): State<App>,
    Organizer(signed): Organizer,
    Fields(Staged { staged }): Fields<Staged>,
) -> Result<Response, Error> {
    let hash = editor::staged(&app, signed.account.id, &staged).map_err(Error::BadUpload)?;
    let file = app.storage.open(&hash).await.map_err(anyhow::Error::from)?;
    let head = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"challenge.zip\"".to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((head, axum::body::Body::from_stream(ReaderStream::new(file))).into_response())
}
