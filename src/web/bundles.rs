//! Competition bundles that somebody sends, by REST or by a form: turned into a challenge's file the same way for both.

use std::io::BufWriter;

use axum::http::StatusCode;

use super::{App, Error};
use crate::{
    challenge::bundle::{self, Imported, Wish},
    storage::{StorageError, TempBlob},
};

/// What a bundle became, and its files as a zip.
pub async fn import(
    app: &App,
    sent: TempBlob,
    slug: Option<String>,
    dataset: Option<String>,
) -> Result<(Imported, TempBlob), Error> {
    let out = app.storage.scratch().map_err(StorageError::from)?;
    let folder = out.path().to_owned();
    let work = move || {
        let wish = Wish { slug: slug.as_deref(), dataset: dataset.as_deref() };
        bundle::import(sent.path(), &folder, wish)
    };
    let imported = tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)??;
    let imported = imported.map_err(|problem| Error::Problems(StatusCode::UNPROCESSABLE_ENTITY, vec![problem]))?;
    let zipped = imported.clone();
    // The folder goes with the work, which may outlive a request that was given up.
    let zip = app.storage.stage_with(move |file| zipped.zip(out.path(), BufWriter::new(file))).await?;
    Ok((imported, zip))
}

/// What was left empty says nothing.
pub fn said(words: Option<String>) -> Option<String> {
    words.map(|words| words.trim().to_owned()).filter(|words| !words.is_empty())
}
