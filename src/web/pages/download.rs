//! The LR images of a phase as one zip, streamed, and the sample submission made of them. LR only: the HR has no route.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tower::ServiceExt;
use tower_http::services::ServeFile;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::super::{App, Error, error::Errors, extract::PhaseAt};
use crate::{
    challenge::dataset::{self, Dataset},
    storage::Storage,
};

/// How long a request waits for a sample that is being made; a proxy may give up after half a minute.
const PATIENCE: Duration = Duration::from_secs(20);

/// Download the LR images of a phase
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/lr.zip", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "What the model gets, as `0901x4.png`", content_type = "application/zip", body = Vec<u8>),
        (status = 404, description = "There is no such challenge or phase", body = Errors)))]
pub async fn lr(State(app): State<App>, PhaseAt { challenge, phase }: PhaseAt) -> Result<Response, Error> {
    let dataset = dataset::get(&mut *app.db().await?, phase.dataset).await?;
    let name = format!("attachment; filename=\"{}-{}-lr-x{}.zip\"", challenge.slug, phase.slug, dataset.scale);
    let storage = app.storage.clone();
    let body = stream(move |pipe| write(&storage, &dataset, pipe));
    let head = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "public, max-age=300".to_owned()),
    ];
    Ok((head, body).into_response())
}

/// Download a sample submission: bicubic images under the names that are asked for, and a `readme.txt` to fill in
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/sample.zip", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "A results zip that is accepted as it is", content_type = "application/zip", body = Vec<u8>),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 503, description = "It is being made: try again in a minute", body = Errors)))]
pub async fn sample(
    State(app): State<App>,
    PhaseAt { challenge, phase }: PhaseAt,
    request: Request,
) -> Result<Response, Error> {
    let making = app.samples.of(&app.pool, &app.storage, phase.dataset);
    let hash = tokio::time::timeout(PATIENCE, making).await.map_err(|_| Error::SampleInMaking)??;
    let kind = "application/zip".parse().map_err(anyhow::Error::from)?;
    let served = ServeFile::new_with_mime(app.storage.path(&hash), &kind).oneshot(request).await;
    let mut response = served.map_err(anyhow::Error::from)?.map(Body::new);
    let name = format!("attachment; filename=\"{}-{}-sample.zip\"", challenge.slug, phase.slug);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(name).map_err(anyhow::Error::from)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}

/// An answer's body out of what a thread writes, a few pieces ahead of the client.
pub fn stream(write: impl FnOnce(Pipe) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        // A client that goes away closes the channel, which ends the writing.
        if let Err(error) = write(Pipe(sender.clone())) {
            tracing::debug!(%error, "a download ended early");
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::from_stream(ReceiverStream::new(receiver).map(|chunk| chunk))
}

fn write(storage: &Storage, dataset: &Dataset, pipe: Pipe) -> io::Result<()> {
    // PNGs do not shrink further.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new_stream(io::BufWriter::with_capacity(64 << 10, pipe));
    for image in &dataset.images {
        zip.start_file(format!("{}x{}.png", image.name, dataset.scale), options)?;
        io::copy(&mut std::fs::File::open(storage.path(&image.lr))?, &mut zip)?;
    }
    let mut rest = zip.finish()?.into_inner();
    rest.flush()
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
