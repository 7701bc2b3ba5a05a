//! The LR images of a phase as one zip, streamed. LR only: the HR has no route.

use std::io::{self, Write};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::super::{App, Error, extract::PhaseAt};
use crate::{
    challenge::dataset::{self, Dataset},
    storage::Storage,
};

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
