//! A form with as many fields as it needs and a few files: as browsers send it with files, or as plain fields.

use std::sync::Arc;

use axum::{
    Form, RequestExt,
    body::{Body, to_bytes},
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};

use super::{
    App, Error,
    disposition::Disposition,
    upload::{Gauge, file, watch},
};
use crate::{problem::Problem, storage::TempBlob, submission::Rejection};

/// Parts at most: what a challenge of 50 phases and 50 pages has.
const MAX_PARTS: usize = 2000;
/// Bytes of all fields together.
const MAX_WORDS: u64 = 16 << 20;

/// What was posted, in its order.
#[derive(Debug, Default)]
pub struct Posted {
    pub fields: Vec<(String, String)>,
    /// By the name of their field; those that were not chosen are left out.
    pub files: Vec<(String, TempBlob)>,
}

/// Reads a form; its files have at most so many bytes each, and in all.
pub async fn read(app: &App, request: Request, most: u64) -> Result<Posted, Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if kind.starts_with("multipart/form-data") {
        return with_files(app, request, most).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_WORDS as usize).await.map_err(|_| Rejection::TooLarge { limit: MAX_WORDS })?;
    let request = Request::from_parts(parts, Body::from(bytes));
    match request.extract::<Form<Vec<(String, String)>>, _>().await {
        Ok(Form(fields)) if fields.iter().any(|(name, words)| name.contains('\0') || words.contains('\0')) => {
            Err(Error::no_nul())
        }
        Ok(Form(fields)) => Ok(Posted { fields, files: Vec::new() }),
        Err(refused) => Err(Error::BadBody(refused.status(), refused.body_text())),
    }
}

async fn with_files(app: &App, request: Request, most: u64) -> Result<Posted, Error> {
    let gauge = Arc::<Gauge>::default();
    let (parts, body) = request.into_parts();
    let watched = Body::from_stream(watch(body, gauge.clone(), most + 2 * MAX_WORDS));
    let multipart = Multipart::from_request(Request::from_parts(parts, watched), &()).await;
    let mut multipart = multipart
        .map_err(|_| Error::BadUpload(Problem::new("not_multipart", "The upload is not a multipart form.")))?;
    let (mut posted, mut words) = (Posted::default(), 0);
    while let Some(mut field) = gauge.next(&mut multipart).await? {
        if posted.fields.len() + posted.files.len() >= MAX_PARTS {
            return Err(Error::TooManyParts);
        }
        let Disposition { name, file_name } = Disposition::of(&field)?;
        if let Some(called) = file_name {
            // A browser sends a file that was not chosen as one without a name and without a byte.
            let chosen = !called.is_empty();
            let file = file(&mut field, &gauge, &app.storage, most).await?;
            if chosen || file.bytes > 0 {
                posted.files.push((name, file));
            }
            continue;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(|_| gauge.error())? {
            words += chunk.len() as u64;
            if words > MAX_WORDS {
                return Err(Rejection::TooLarge { limit: MAX_WORDS }.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::BadBody(StatusCode::UNPROCESSABLE_ENTITY, format!("The field {name} is not UTF-8 text."))
        })?;
        if text.contains('\0') {
            return Err(Error::no_nul());
        }
        posted.fields.push((name, text));
    }
    Ok(posted)
}
