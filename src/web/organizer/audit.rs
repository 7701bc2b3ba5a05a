//! `/organizer/{slug}/audit` and, for administrators, `/organizer/audit`: who did what, when and why.

use askama::Template;
use axum::{
    body::{Body, Bytes},
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures::{Stream, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    super::{
        App, Error,
        error::render,
        extract::{Administrator, OrganizerAt, Viewer},
        view::{Page, When},
    },
    Frame, Tab,
};
use crate::{
    audit::{self, Filter},
    ids::ChallengeId,
};

/// Acts on a page, and in memory at once.
const SHOWN: u32 = 50;

#[derive(Template)]
#[template(path = "organizer_audit.html")]
struct OfChallenge {
    page: Page,
    frame: Frame,
    log: Log,
}

#[derive(Template)]
#[template(path = "organizer_audit_all.html")]
struct OfServer {
    page: Page,
    log: Log,
}

/// The table and what is chosen of it.
struct Log {
    acts: Vec<Act>,
    actions: Vec<String>,
    filter: Filter,
    /// The query of the next page.
    more: Option<String>,
    /// Where the exports are.
    exports: String,
    /// The same choice, as the query of an export.
    chosen: String,
}

struct Act {
    when: When,
    actor: String,
    action: String,
    object: String,
    reason: String,
    /// What changed, a line each.
    changes: Vec<(String, String)>,
}

impl From<audit::Entry> for Act {
    fn from(entry: audit::Entry) -> Act {
        let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let changes = entry.details.as_object().into_iter().flatten().map(|(field, value)| {
            let words = match value.as_array().map(Vec::as_slice) {
                Some([before, after]) => format!("{} → {}", shown(before), shown(after)),
                _ => shown(value),
            };
            (field.clone(), words)
        });
        Act {
            changes: changes.collect(),
            when: When::new(entry.at),
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            reason: entry.reason,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    action: String,
    #[serde(default)]
    actor: String,
    /// Acts before this one.
    before: Option<Uuid>,
}

impl Asked {
    fn filter(&self) -> Filter {
        Filter { action: self.action.trim().to_owned(), actor: self.actor.trim().to_owned() }
    }
}

async fn log(app: &App, challenge: Option<ChallengeId>, asked: &Asked, exports: String) -> Result<Log, Error> {
    let mut conn = app.db().await?;
    let filter = asked.filter();
    let acts = audit::find(&mut conn, challenge, &filter, asked.before, SHOWN).await?;
    let encoded = |words: &str| utf8_percent_encode(words, NON_ALPHANUMERIC).to_string();
    let chosen = format!("?action={}&actor={}", encoded(&filter.action), encoded(&filter.actor));
    let last = acts.last().filter(|_| acts.len() == SHOWN as usize);
    Ok(Log {
        more: last.map(|last| format!("{chosen}&before={}", last.id)),
        acts: acts.into_iter().map(Act::from).collect(),
        actions: audit::actions(&mut conn, challenge).await?,
        filter,
        exports,
        chosen,
    })
}

pub async fn show(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Query(asked): Query<Asked>,
) -> Result<Response, Error> {
    let log = log(&app, Some(challenge.id), &asked, format!("/organizer/{}/audit", challenge.slug)).await?;
    let frame = Frame::load(&mut *app.db().await?, &challenge, Tab::Audit).await?;
    let page = Page::of(format!("{}: audit log", challenge.title), &Viewer(Some(signed)));
    Ok(render(&OfChallenge { page, frame, log }))
}

pub async fn show_all(
    State(app): State<App>,
    Administrator(signed): Administrator,
    Query(asked): Query<Asked>,
) -> Result<Response, Error> {
    let log = log(&app, None, &asked, "/organizer/audit".into()).await?;
    Ok(render(&OfServer { page: Page::of("Audit log", &Viewer(Some(signed))), log }))
}

pub async fn csv(State(app): State<App>, at: OrganizerAt, Query(asked): Query<Asked>) -> Response {
    let name = format!("{}-audit", at.challenge.slug);
    export(&app, Some(at.challenge.id), asked.filter(), Form::Csv, &name)
}

pub async fn json(State(app): State<App>, at: OrganizerAt, Query(asked): Query<Asked>) -> Response {
    let name = format!("{}-audit", at.challenge.slug);
    export(&app, Some(at.challenge.id), asked.filter(), Form::Json, &name)
}

pub async fn csv_all(State(app): State<App>, _: Administrator, Query(asked): Query<Asked>) -> Response {
    export(&app, None, asked.filter(), Form::Csv, "audit")
}

pub async fn json_all(State(app): State<App>, _: Administrator, Query(asked): Query<Asked>) -> Response {
    export(&app, None, asked.filter(), Form::Json, "audit")
}

/// What a log is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Csv,
    /// One array.
    Json,
}

/// The whole log, newest first, streamed page by page.
pub fn export(app: &App, challenge: Option<ChallengeId>, filter: Filter, form: Form, name: &str) -> Response {
    let (kind, ending) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "csv"),
        Form::Json => ("application/json", "json"),
    };
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{ending}\"")),
    ];
    (head, Body::from_stream(pieces(app.clone(), challenge, filter, form))).into_response()
}

/// Where a stream of the log is.
enum At {
    Start,
    Before(Uuid),
    End,
}

fn pieces(
    app: App,
    challenge: Option<ChallengeId>,
    filter: Filter,
    form: Form,
) -> impl Stream<Item = anyhow::Result<Bytes>> {
    stream::try_unfold((app, filter, At::Start), move |(app, filter, at)| async move {
        let (mut text, before) = match (at, form) {
            (At::End, _) => return Ok(None),
            (At::Start, Form::Csv) => (audit::CSV.to_owned(), None),
            (At::Start, Form::Json) => ("[".to_owned(), None),
            (At::Before(id), _) => (String::new(), Some(id)),
        };
        let acts = audit::find(&mut *app.pool.acquire().await?, challenge, &filter, before, SHOWN).await?;
        for (n, act) in acts.iter().enumerate() {
            match form {
                Form::Csv => text += &act.to_csv(),
                Form::Json => {
                    text += if n == 0 && before.is_none() { "\n" } else { ",\n" };
                    text += &serde_json::to_string(act)?;
                }
            }
        }
        let next = match acts.last() {
            Some(last) if acts.len() == SHOWN as usize => At::Before(last.id),
            _ => {
                text += if form == Form::Json { "\n]\n" } else { "" };
                At::End
            }
        };
        Ok(Some((Bytes::from(text), (app, filter, next))))
    })
}
