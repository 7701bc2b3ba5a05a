//! `/organizer/new` and `/organizer/{slug}/settings`: a challenge made and changed by a form or by its file. Both write a
//! [`ChallengeFile`] and go the one way in; a preview does all of it, shows what comes out, and forgets it.

use askama::Template;
use axum::{
    extract::{Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use chrono::Utc;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        doors::Download,
        error::render,
        extract::{Administrator, OrganizerAt, Signed, Viewer},
        filing::{self, Wish},
        pages::{again, challenge::preview},
        posted::{self, Posted},
        view::{Page, bytes},
    },
    Frame, Tab,
    editor::{self, Form},
};
use crate::{
    challenge::{
        Challenge,
        dataset::{self, Summary},
        file::{self, Applied, ChallengeFile, Of, Parcel},
        phase,
        protocol::{PRESETS, Preset},
    },
    problem::Problem,
    storage::Storage,
};

#[derive(Template)]
#[template(path = "organizer_new.html")]
struct NewPage {
    page: Page,
    editor: Editor,
}

#[derive(Template)]
#[template(path = "organizer_settings.html")]
struct SettingsPage {
    page: Page,
    frame: Frame,
    editor: Editor,
}

/// What both pages have.
struct Editor {
    /// Where the form is sent.
    action: String,
    new: bool,
    form: Form,
    /// The preset that the form was filled from, or that a new phase begins with.
    preset: &'static Preset,
    presets: &'static [Preset],
    /// Those that the viewer may choose: name and words.
    datasets: Vec<(String, String)>,
    /// Of each phase that is there: its protocol's name, and whether somebody has sent something in.
    rules: Vec<(String, String)>,
    zones: Vec<&'static str>,
    file_limit: String,
    problems: Vec<Problem>,
    preview: Option<Preview>,
}

/// What a form or a file would do.
struct Preview {
    applied: Applied,
    /// The challenge's page, HTML.
    page: String,
    title: String,
    /// Of a file: what makes it come back.
    staged: Option<String>,
    measure_again: bool,
    reason: String,
}

impl Editor {
    fn is_from(&self, preset: &Preset) -> bool {
        self.preset.name == preset.name
    }

    /// The protocol of a phase that is there.
    fn protocol(&self, slug: &str) -> &str {
        self.rules.iter().find(|(phase, _)| phase == slug).map_or("", |(_, protocol)| protocol)
    }

    /// Whether a file is looked at, and not the form.
    fn by_file(&self) -> bool {
        self.preview.as_ref().is_some_and(|preview| preview.staged.is_some())
    }

    fn button(&self) -> &'static str {
        if self.new { "Create" } else { "Apply" }
    }
}

#[derive(Deserialize)]
pub struct Start {
    #[serde(default)]
    preset: String,
}

pub async fn show_new(
    State(app): State<App>,
    Administrator(signed): Administrator,
    Query(Start { preset }): Query<Start>,
) -> Result<Response, Error> {
    let preset = Preset::named(&preset).unwrap_or(&PRESETS[0]);
    let mut conn = app.db().await?;
    let datasets = dataset::list(&mut conn).await?;
    let form = Form::new(preset, Utc::now());
    let editor = Editor { preset, ..editor(&app, &mut conn, None, form, datasets).await? };
    Ok(render(&NewPage { page: Page::of("New challenge", &Viewer(Some(signed))), editor }))
}

pub async fn create(
    State(app): State<App>,
    Administrator(signed): Administrator,
    request: Request,
) -> Result<Response, Error> {
    let posted = posted::read(&app, request, filing::most(&app)).await?;
    let datasets = dataset::list(&mut *app.db().await?).await?;
    let (form, outcome) = act(&app, &signed, None, posted).await?;
    let to = |applied: &Applied| format!("/organizer/{}", applied.challenge);
    let editor = editor(&app, &mut *app.db().await?, None, form, datasets).await?;
    let page = Page::of("New challenge", &Viewer(Some(signed)));
    Ok(answer(outcome, to, editor, |editor| NewPage { page, editor }))
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let form = Form::of(&present(&mut conn, &challenge).await?);
    let datasets = choosable(&mut conn, &challenge, &signed).await?;
    let editor = editor(&app, &mut conn, Some(&challenge), form, datasets).await?;
    Ok(render(&settings(&mut conn, &challenge, signed).await?(editor)))
}

pub async fn apply(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    request: Request,
) -> Result<Response, Error> {
    let posted = posted::read(&app, request, filing::most(&app)).await?;
    let datasets = choosable(&mut *app.db().await?, &challenge, &signed).await?;
    let (form, outcome) = act(&app, &signed, Some(&challenge), posted).await?;
    let to = |applied: &Applied| format!("/organizer/{}/settings", applied.challenge);
    let mut conn = app.db().await?;
    let editor = editor(&app, &mut conn, Some(&challenge), form, datasets).await?;
    let page = settings(&mut conn, &challenge, signed).await?;
    Ok(answer(outcome, to, editor, page))
}

async fn settings(
    conn: &mut PgConnection,
    challenge: &Challenge,
    signed: Signed,
) -> Result<impl FnOnce(Editor) -> SettingsPage, Error> {
    let frame = Frame::load(conn, challenge, Tab::Settings).await?;
    let page = Page::of(format!("{}: settings", challenge.title), &Viewer(Some(signed)));
    Ok(|editor| SettingsPage { page, frame, editor })
}

/// The datasets that somebody may choose for a challenge: hidden images of others are none of an organizer's.
async fn choosable(conn: &mut PgConnection, challenge: &Challenge, signed: &Signed) -> Result<Vec<Summary>, Error> {
    let mut datasets = dataset::list(conn).await?;
    datasets.retain(|dataset| signed.account.is_organizer || dataset.is_of(&challenge.slug));
    Ok(datasets)
}

async fn present(conn: &mut PgConnection, challenge: &Challenge) -> Result<ChallengeFile, Error> {
    let exported = file::export(conn, challenge, false).await?;
    Ok(file::parse(&exported.toml).map_err(anyhow::Error::from)?)
}

async fn editor(
    app: &App,
    conn: &mut PgConnection,
    challenge: Option<&Challenge>,
    form: Form,
    datasets: Vec<Summary>,
) -> Result<Editor, Error> {
    let phases = match challenge {
        Some(challenge) => phase::of_challenge(conn, challenge.id).await?,
        None => Vec::new(),
    };
    let datasets = datasets.into_iter().map(|d| {
        let name = dataset::full_name(&d.name, d.version);
        let images = if d.images == 1 { "image" } else { "images" };
        (name.clone(), format!("{name} ({} {images}, ×{})", d.images, d.scale))
    });
    Ok(Editor {
        action: challenge.map_or("/organizer/new".into(), |c| format!("/organizer/{}/settings", c.slug)),
        new: challenge.is_none(),
        form,
        preset: &PRESETS[0],
        presets: &PRESETS,
        datasets: datasets.collect(),
        rules: phases.into_iter().map(|phase| (phase.slug, phase.protocol.name)).collect(),
        zones: chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect(),
        file_limit: bytes(filing::most(app)),
        problems: Vec::new(),
        preview: None,
    })
}

/// What a press of a button came to.
enum Outcome {
    /// The form with one more part.
    Form,
    Previewed(Box<Preview>),
    Done(Applied),
    Refused(Error),
}

/// Does what the pressed button says, with the form or with the file that was sent. Gives the form as it is then.
async fn act(
    app: &App,
    signed: &Signed,
    challenge: Option<&Challenge>,
    mut posted: Posted,
) -> Result<(Form, Outcome), Error> {
    let mut form = Form::read(&posted)?;
    let base = match challenge {
        Some(challenge) => Some(present(&mut *app.db().await?, challenge).await?),
        None => None,
    };
    for phase in &mut form.phases {
        phase.there = base.as_ref().is_some_and(|base| base.phases.iter().any(|p| p.slug == phase.slug));
    }
    let sent = posted.files.iter().position(|(name, _)| name == "file").map(|at| posted.files.remove(at).1);
    let by_file = sent.is_some() || !form.staged.is_empty();
    let outcome = async {
        if by_file {
            if let Some(sent) = sent {
                form.staged = editor::stage(app, signed.account.id, sent).await?;
            }
            let hash = editor::staged(app, signed.account.id, &form.staged).map_err(Error::BadUpload)?;
            let parcel = filing::open(app, &app.storage.path(&hash)).await?;
            return carry_out(app, signed, challenge, &parcel, &form, Some(form.staged.clone())).await;
        }
        editor::models(app, signed.account.id, &mut form, std::mem::take(&mut posted.files)).await?;
        match form.act.as_str() {
            "phase" => form.add_phase(&PRESETS[0]),
            "page" => form.pages.push(Default::default()),
            _ => {
                let parcel = editor::parcel(app, &form, base.as_ref())?;
                return carry_out(app, signed, challenge, &parcel, &form, None).await;
            }
        }
        Ok(Outcome::Form)
    };
    let outcome = outcome.await.unwrap_or_else(Outcome::Refused);
    if by_file {
        // The form says nothing of the file: it is as it was.
        form = match &base {
            Some(base) => Form::of(base),
            None => Form::new(&PRESETS[0], Utc::now()),
        };
    }
    Ok((form, outcome))
}

async fn carry_out(
    app: &App,
    signed: &Signed,
    challenge: Option<&Challenge>,
    parcel: &Parcel,
    form: &Form,
    staged: Option<String>,
) -> Result<Outcome, Error> {
    let of = challenge.map_or(Of::New, |challenge| Of::This(challenge.id));
    let (measure_again, reason) = (form.measure_again, form.reason.trim());
    let wish = Wish { of, dry_run: form.act != "save", measure_again, reason };
    if !wish.dry_run {
        return Ok(Outcome::Done(filing::apply(app, signed, parcel, wish).await?));
    }
    let look = async |conn: &mut PgConnection, made: &Challenge| preview(app, conn, made).await;
    let (applied, page) = filing::apply_and_look(app, signed, parcel, wish, look).await?;
    Ok(Outcome::Previewed(Box::new(Preview {
        applied,
        page: page?,
        title: parcel.file.title.clone(),
        staged,
        measure_again,
        reason: reason.to_owned(),
    })))
}

fn answer<T: Template>(
    outcome: Outcome,
    to: impl FnOnce(&Applied) -> String,
    editor: Editor,
    page: impl FnOnce(Editor) -> T,
) -> Response {
    match outcome {
        Outcome::Form => render(&page(editor)),
        Outcome::Previewed(preview) => render(&page(Editor { preview: Some(*preview), ..editor })),
        Outcome::Done(applied) => Redirect::to(&to(&applied)).into_response(),
        Outcome::Refused(error) => again(error, |problems| page(Editor { problems, ..editor })),
    }
}

/// The challenge's file alone.
pub async fn text(State(app): State<App>, OrganizerAt { challenge, .. }: OrganizerAt) -> Result<Response, Error> {
    let exported = file::export(&mut *app.db().await?, &challenge, false).await?;
    let head = [
        (header::CONTENT_TYPE, "application/toml".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.toml\"", challenge.slug)),
    ];
    Ok((head, exported.toml).into_response())
}

/// The file with its texts and models beside it.
pub async fn zip(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
    download: Download,
) -> Result<Response, Error> {
    let exported = file::export(&mut *app.db().await?, &challenge, true).await?;
    let head = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-settings.zip\"", challenge.slug)),
    ];
    let (storage, folder): (Storage, String) = (app.storage.clone(), challenge.slug);
    let body = super::super::pages::stream(move |pipe| exported.zip(&storage, &folder, pipe));
    Ok(download.of((StatusCode::OK, head, body).into_response()))
}
