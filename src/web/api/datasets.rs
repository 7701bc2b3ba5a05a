//! Datasets: what there is, and making more.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::super::{
    App, Error,
    error::Errors,
    extract::{Organizer, Signed},
    upload::{self, Form, Limits},
};
use crate::{
    challenge::{
        Challenge,
        build::{self, Build, Input, NewBuild},
        dataset::{self, Summary},
        file::Source,
        overview,
    },
    ids::BuildId,
    problem::Problem,
    submission::Rejection,
    team::account::Account,
};

/// A form for a dataset: HR as a zip or a folder of the server, LR likewise or not at all.
#[derive(ToSchema)]
#[allow(dead_code)] // Described only: it is read part by part.
pub struct DatasetForm {
    /// Of the dataset, without its version: `div2k-valid`. A new name makes version 1, a known one the next version.
    name: String,
    /// HR size over LR size, 1 to 16; 4 where not given.
    scale: Option<u32>,
    /// Slug of a challenge that you run: its organizers may use the dataset. Only who runs the whole server may leave it out.
    challenge: Option<String>,
    /// Zip of the hidden HR PNGs.
    #[schema(value_type = Option<String>, format = Binary)]
    hr: Option<Vec<u8>>,
    /// Zip of the LR PNGs, as `0901x4.png` or `0901.png`; made by MATLAB-style bicubic where there is none.
    #[schema(value_type = Option<String>, format = Binary)]
    lr: Option<Vec<u8>>,
    /// Instead of `hr`, for who runs the whole server: a folder or zip below its folder of datasets.
    hr_folder: Option<String>,
    /// Instead of `lr`.
    lr_folder: Option<String>,
}

/// A dataset that is being made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Started {
    pub id: BuildId,
    /// Its page.
    pub url: String,
}

/// The challenges that an account runs.
pub async fn run_by(conn: &mut PgConnection, account: &Account) -> Result<Vec<Challenge>, Error> {
    let own = (!account.is_organizer).then_some(account.organizes.as_slice());
    Ok(overview::challenges(conn, own).await?)
}

/// The datasets that an account may use, by name, newest version first.
pub async fn usable(conn: &mut PgConnection, account: &Account) -> Result<Vec<Summary>, Error> {
    let mut all = dataset::list(conn).await?;
    if !account.is_organizer {
        let own = run_by(conn, account).await?;
        all.retain(|dataset| own.iter().any(|challenge| dataset.is_of(&challenge.slug)));
    }
    Ok(all)
}

/// List the datasets that you may use (organizers)
#[utoipa::path(get, path = "/datasets", tag = "organizers",
    responses(
        (status = 200, description = "By name, newest version first", body = Vec<Summary>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You are no organizer", body = Errors)),
    security(("token" = [])))]
pub async fn list(State(app): State<App>, Organizer(signed): Organizer) -> Result<Json<Vec<Summary>>, Error> {
    Ok(Json(usable(&mut *app.db().await?, &signed.account).await?))
}

/// Make a dataset, or a new version of one (organizers)
///
/// The images are read and checked after the answer: its page, and `GET /datasets/builds/{id}`, say how far that is, and all
/// that is wrong with them. The same images make the same version again.
#[utoipa::path(post, path = "/datasets", tag = "organizers",
    request_body(content = DatasetForm, content_type = "multipart/form-data"),
    responses(
        (status = 202, description = "The files are here; the dataset is being made", body = Started),
        (status = 400, description = "The body is not the form that is asked for", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You are no organizer", body = Errors),
        (status = 408, description = "The upload was too slow", body = Errors),
        (status = 413, description = "A file is too large", body = Errors),
        (status = 422, description = "What is asked for is not possible; every reason at once", body = Errors),
        (status = 507, description = "The server's storage is nearly full", body = Errors)),
    security(("token" = [])))]
pub async fn create(
    State(app): State<App>,
    Organizer(signed): Organizer,
    request: Request,
) -> Result<(StatusCode, Json<Started>), Error> {
    let id = start(&app, &signed, request).await?;
    Ok((StatusCode::ACCEPTED, Json(Started { id, url: format!("/organizer/datasets/builds/{id}") })))
}

/// What page and API do.
pub async fn start(app: &App, signed: &Signed, request: Request) -> Result<BuildId, Error> {
    let most = app.settings.dataset_bytes;
    let limits = Limits { results: most, model: most };
    upload::answering(request, limits, async |incoming| {
        let form = incoming.form(&app.storage, &[("hr", most), ("lr", most)]).await?;
        let (new, hr, lr) = asked(app, &signed.account, form).await?;
        Ok(app.builds.start(&app.pool, &app.storage, &signed.account, new, (hr, lr)).await?)
    })
    .await
}

/// What a form asks for, or all that is wrong with it but for the images.
async fn asked(app: &App, account: &Account, form: Form) -> Result<(NewBuild, Input, Option<Input>), Error> {
    let Form { mut texts, mut files } = form;
    let mut problems = Vec::new();
    let mut conn = app.db().await?;
    let own = run_by(&mut conn, account).await?;

    let challenge = texts.remove("challenge");
    let found = challenge.as_ref().and_then(|slug| own.iter().find(|challenge| challenge.slug == *slug));
    if found.is_none() && (challenge.is_some() || !account.is_organizer) {
        let problem = Problem::new("challenge_not_found", "Say for which of the challenges that you run it is.");
        problems.push(problem.at("challenge"));
    }
    let name = texts.remove("name").unwrap_or_default();
    if let Err(problem) = dataset::vet_name(&name) {
        problems.push(problem);
    } else if let Some(newest) = dataset::by_name(&mut conn, &name).await?
        && !account.is_organizer
        && !own.iter().any(|challenge| newest.is_of(&challenge.slug))
    {
        // By a version of theirs, their images would become the newest of others.
        let problem = Problem::new("dataset_taken", "Another challenge has a dataset of this name.");
        problems.push(problem.at(&name));
    }
    let scale = texts.remove("scale").map_or(Some(4), |words| words.parse::<u32>().ok());
    let scale = scale.filter(|scale| (1..=16).contains(scale)).unwrap_or_else(|| {
        problems.push(Problem::new("bad_scale", "A scale is 1 to 16.").at("scale"));
        4
    });
    let mut input = |file: &'static str, folder: &'static str| match (files.remove(file), texts.remove(folder)) {
        (None, None) => None,
        (Some(upload), None) => Some(Input::Upload(upload)),
        (None, Some(path)) => match on_server(app, account, &path) {
            Ok(input) => Some(input),
            Err(problem) => {
                problems.push(problem);
                None
            }
        },
        (Some(_), Some(_)) => {
            problems.push(Problem::new("two_sources", "A zip was sent and a folder named: one of the two.").at(file));
            None
        }
    };
    let (hr, lr) = (input("hr", "hr_folder"), input("lr", "lr_folder"));
    if hr.is_none() && problems.is_empty() {
        problems.push(Problem::new("hr_missing", "There are no HR images: choose their zip.").at("hr"));
    }
    problems.extend(texts.keys().map(|field| Problem::new("bad_form", "This field is not asked for.").at(field)));
    match hr {
        Some(hr) if problems.is_empty() => {
            Ok((NewBuild { challenge: found.map(|challenge| challenge.id), name, scale }, hr, lr))
        }
        _ => Err(Rejection::Vetting(problems).into()),
    }
}

/// A folder or zip below the server's folder of datasets. It may hold hidden images of every challenge.
fn on_server(app: &App, account: &Account, path: &str) -> Result<Input, Problem> {
    match &app.settings.datasets_dir {
        Some(folder) if account.is_organizer => {
            Source::confined([folder.clone()]).find(std::path::Path::new(path)).map(Input::Server)
        }
        Some(_) => {
            Err(Problem::new("folder_not_allowed", "Only who runs the whole server may name its folders.").at(path))
        }
        None => {
            let problem = Problem::new("folder_not_allowed", "This server has no folder of datasets.").at(path);
            Err(problem.hint("Set UPSCORE_DATASETS_DIR where it is started, or upload a zip."))
        }
    }
}

/// Ask how far a dataset is (organizers)
#[utoipa::path(get, path = "/datasets/builds/{id}", tag = "organizers",
    params(("id" = BuildId, Path, description = "As `POST /datasets` gave it")),
    responses(
        (status = 200, description = "How far it is, what it made, or all that is wrong with its images", body = Build),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is none, or it is for a challenge that you do not run", body = Errors)),
    security(("token" = [])))]
pub async fn build(
    State(app): State<App>,
    Organizer(signed): Organizer,
    Path(id): Path<String>,
) -> Result<Json<Build>, Error> {
    find(&app, &signed.account, &id).await.map(Json)
}

/// A build that the account may look at.
pub async fn find(app: &App, account: &Account, id: &str) -> Result<Build, Error> {
    let id = id.parse::<BuildId>().map_err(|_| Error::PageNotFound)?;
    let found = build::get(&mut *app.db().await?, id).await?;
    found.filter(|build| build.is_for(account)).ok_or(Error::PageNotFound)
}
