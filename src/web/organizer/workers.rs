//! `/organizer/workers`: who measures, what waits, and whether anybody is there to do it.

use askama::Template;
use axum::{extract::State, response::Response};

use super::super::{
    App, Error,
    error::render,
    extract::{Organizer, Viewer},
    metrics,
    view::{Page, When, span},
};
use crate::{
    challenge::protocol::DeviceClass,
    queue::step_word,
    worker::presence::{self, Presence},
};

#[derive(Template)]
#[template(path = "organizer_workers.html")]
struct Workers {
    page: Page,
    /// Kinds of device that nobody serves, in words.
    lacking: Vec<String>,
    queues: Vec<Queue>,
    there: Vec<Line>,
    gone: Vec<Line>,
}

struct Queue {
    device: String,
    queued: i64,
    oldest: Option<String>,
    running: i64,
    workers: i64,
    phases: i64,
}

struct Line {
    name: String,
    device: String,
    version: String,
    since: When,
    seen: When,
    stopped: bool,
    load: Option<String>,
    jobs: i64,
    job: Option<Job>,
}

struct Job {
    /// Of a challenge that the viewer runs; of another one no more is shown than that there is one.
    entry: Option<(String, String)>,
    since: When,
    step: Option<String>,
}

pub async fn show(State(app): State<App>, Organizer(signed): Organizer) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let queues = presence::queues(&mut conn).await?;
    let lacking = queues.iter().filter(|q| q.lacks_workers()).map(|q| {
        let entries = match q.queued {
            1 => "one entry waits".to_owned(),
            n => format!("{n} entries wait"),
        };
        format!("No worker for {} is there: {entries}.", metrics::device_words(q.class, q.device_name.as_deref()))
    });
    let lacking = lacking.collect();
    let line = |w: Presence| {
        let job = w.job.map(|job| Job {
            since: When::new(job.since),
            step: job.progress.map(|p| match p.total {
                0 => step_word(p.step).to_owned(),
                total => format!("{} {}/{total}", step_word(p.step), p.done),
            }),
            entry: signed
                .account
                .organizes(job.challenge_id)
                .then(|| (format!("/submissions/{}", job.submission), format!("{} / {}", job.challenge, job.phase))),
        });
        Line {
            device: format!("{} ({})", w.device, w.device_name),
            name: w.name,
            version: w.version,
            since: When::new(w.started_at),
            seen: When::new(w.seen_at),
            stopped: w.stopped_at.is_some(),
            load: w.load.map(|load| format!("{load:.1} of {}", w.cores)),
            jobs: w.jobs,
            job,
        }
    };
    let (there, gone): (Vec<_>, Vec<_>) = presence::list(&mut conn).await?.into_iter().partition(|w| w.alive);
    let queues = queues.into_iter().map(|q| Queue {
        device: q.device_name.unwrap_or_else(|| format!("any {}", class_name(q.class))),
        queued: q.queued,
        oldest: (q.queued > 0).then(|| span(q.oldest_s.unsigned_abs())),
        running: q.running,
        workers: q.workers,
        phases: q.phases,
    });
    Ok(render(&Workers {
        queues: queues.collect(),
        lacking,
        there: there.into_iter().map(line).collect(),
        gone: gone.into_iter().map(line).collect(),
        page: Page::of("Workers", &Viewer(Some(signed.clone()))),
    }))
}

fn class_name(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Cpu => "CPU",
        DeviceClass::Cuda => "GPU",
    }
}
