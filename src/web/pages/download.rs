//! The LR images of a phase as one zip, and the sample submission made of them: files that were made once, sent by the system's
//! reads, with no thread and no connection of the database for as long as a client takes. LR only: the HR has no route.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, header},
    response::Response,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::super::{App, Error, doors::Download, error::Errors, extract::PhaseAt};
use crate::challenge::sample::Kind;

/// How long a request waits for a zip that is being made; a proxy may give up after half a minute.
const PATIENCE: Duration = Duration::from_secs(20);

/// Archives that are written while they are sent, each by a thread: who asks for one more waits without a thread.
static WRITING: Semaphore = Semaphore::const_new(4);

/// Download the LR images of a phase
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/lr.zip", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "What the model gets, as `0901x4.png`", content_type = "application/zip", body = Vec<u8>),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 429, description = "Too many downloads at once", body = Errors),
        (status = 503, description = "It is being made: try again in a minute", body = Errors)))]
pub async fn lr(State(app): State<App>, at: PhaseAt, download: Download, request: Request) -> Result<Response, Error> {
    zip(&app, at, (Kind::Lr, download), request).await
}

/// Download a sample submission: bicubic images under the names that are asked for, and a `readme.txt` to fill in
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/sample.zip", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "A results zip that is accepted as it is", content_type = "application/zip", body = Vec<u8>),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 429, description = "Too many downloads at once", body = Errors),
        (status = 503, description = "It is being made: try again in a minute", body = Errors)))]
pub async fn sample(
    State(app): State<App>,
    at: PhaseAt,
    download: Download,
    request: Request,
) -> Result<Response, Error> {
    zip(&app, at, (Kind::Sample, download), request).await
}

async fn zip(
    app: &App,
    PhaseAt { challenge, phase }: PhaseAt,
    (kind, download): (Kind, Download),
    request: Request,
) -> Result<Response, Error> {
    let making = app.samples.of(&app.pool, &app.storage, phase.dataset, kind);
    let hash = tokio::time::timeout(PATIENCE, making).await.map_err(|_| Error::SampleInMaking)??;
    let mime = "application/zip".parse().map_err(anyhow::Error::from)?;
    let served = ServeFile::new_with_mime(app.storage.path(&hash), &mime).oneshot(request).await;
    let mut response = download.of(served.map_err(anyhow::Error::from)?.map(Body::new));
    let what = match kind {
        Kind::Lr => format!("lr-x{}", phase.protocol.rules.fidelity.scale),
        Kind::Sample => "sample".to_owned(),
    };
    let name = format!("attachment; filename=\"{}-{}-{what}.zip\"", challenge.slug, phase.slug);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(name).map_err(anyhow::Error::from)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}

/// An answer's body out of what a thread writes, a few pieces ahead of the client: for organizers' archives, which are made for
/// one download and may be larger than the disk has room for. `write` holds no connection while it writes.
pub fn stream(write: impl FnOnce(Pipe) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let turn = tokio::select! {
            Ok(turn) = WRITING.acquire() => turn,
            () = sender.closed() => return,
        };
        let writing = tokio::task::spawn_blocking(move || {
            // A client that goes away, or stops reading and is cut off, closes the channel, which ends the writing.
            if let Err(error) = write(Pipe(sender.clone())) {
                tracing::debug!(%error, "a download ended early");
                let _ = sender.blocking_send(Err(error));
            }
        });
        let _ = writing.await;
        drop(turn);
    });
    Body::from_stream(ReceiverStream::new(receiver).map(|chunk| chunk))
}

/// The blocking writer's end of the answer's body.
pub struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
