//! `/organizer/datasets`: the images that phases are made of, and making more. No route shows them.

use askama::Template;
use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::super::{
    App, Error,
    api::datasets::{find, run_by, start, usable},
    error::render,
    extract::{Organizer, Signed, Viewer},
    view::{Page, When, bytes},
};
use crate::{
    challenge::build::{self, Build, BuildState},
    problem::Problem,
};

#[derive(Template)]
#[template(path = "organizer_datasets.html")]
struct Datasets {
    page: Page,
    problems: Vec<Problem>,
    datasets: Vec<Line>,
    builds: Vec<BuildLine>,
    /// Slug and title of those that the viewer runs.
    challenges: Vec<(String, String)>,
    /// Whether the viewer runs the whole server.
    all: bool,
    /// What lies in the server's folder of datasets, for who may use it.
    folders: Option<Vec<String>>,
    most: String,
}

struct Line {
    name: String,
    images: i64,
    scale: u32,
    sha256: String,
    /// Its first digits.
    short: String,
    /// `challenge/phase`, and the challenge's and the phase's slug.
    used_by: Vec<(String, String)>,
    challenge: Option<String>,
    when: When,
}

struct BuildLine {
    id: String,
    name: String,
    scale: i32,
    state: BuildState,
    done: i32,
    total: i32,
    problems: Vec<Problem>,
    dataset: Option<String>,
    by: String,
    when: When,
}

impl BuildLine {
    fn of(build: Build) -> BuildLine {
        BuildLine {
            id: build.id.to_string(),
            name: build.name,
            scale: build.scale,
            state: build.state,
            done: build.done,
            total: build.total,
            problems: build.problems.0,
            dataset: build.dataset,
            by: build.asked_by,
            when: When::new(build.created_at),
        }
    }

    fn is_working(&self) -> bool {
        self.state == BuildState::Working
    }
}

pub async fn show(State(app): State<App>, Organizer(signed): Organizer) -> Result<Response, Error> {
    Ok(render(&page(&app, signed, Vec::new()).await?))
}

async fn page(app: &App, signed: Signed, problems: Vec<Problem>) -> Result<Datasets, Error> {
    let account = &signed.account;
    let mut conn = app.db().await?;
    let datasets = usable(&mut conn, account).await?.into_iter().map(|d| Line {
        name: d.full_name(),
        images: d.images,
        scale: d.scale,
        short: d.sha256.chars().take(12).collect(),
        sha256: d.sha256,
        used_by: d.used_by.iter().filter_map(|p| p.split_once('/')).map(|(c, p)| (c.into(), p.into())).collect(),
        challenge: d.challenge,
        when: When::new(d.created_at),
    });
    let builds = build::list(&mut conn).await?.into_iter().filter(|build| build.is_for(account));
    let all = account.is_organizer;
    Ok(Datasets {
        problems,
        datasets: datasets.collect(),
        builds: builds.filter(|build| build.state != BuildState::Made).map(BuildLine::of).collect(),
        challenges: run_by(&mut conn, account).await?.into_iter().map(|c| (c.slug, c.title)).collect(),
        all,
        folders: app.settings.datasets_dir.as_deref().filter(|_| all).map(folders),
        most: bytes(app.settings.dataset_bytes),
        page: Page::of("Datasets", &Viewer(Some(signed))),
    })
}

/// What lies in a folder, by name; where it cannot be read there is nothing.
fn folders(of: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let fits =
        |path: &std::path::Path| path.is_dir() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
    let named = entries.filter(|entry| fits(&entry.path())).filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = named.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

pub async fn create(State(app): State<App>, Organizer(signed): Organizer, request: Request) -> Result<Response, Error> {
    match start(&app, &signed, request).await {
        Ok(id) => Ok(Redirect::to(&format!("/organizer/datasets/builds/{id}")).into_response()),
        Err(error) => {
            let fault = error.fault();
            if fault.status.is_server_error() && fault.status != StatusCode::INSUFFICIENT_STORAGE {
                return Err(error);
            }
            let page = page(&app, signed, fault.problems).await?;
            Ok((fault.status, render(&page)).into_response())
        }
    }
}

#[derive(Template)]
#[template(path = "organizer_build.html")]
struct BuildPage {
    page: Page,
    build: BuildLine,
}

pub async fn build(
    State(app): State<App>,
    Organizer(signed): Organizer,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let build = BuildLine::of(find(&app, &signed.account, &id).await?);
    let page = Page::of(format!("Dataset {}", build.name), &Viewer(Some(signed)));
    Ok(render(&BuildPage { page, build }))
}
