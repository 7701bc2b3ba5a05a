//! Resumable uploads by tus 1.0 (<https://tus.io/protocols/resumable-upload>): creation, expiration, termination.
//!
//! A client announces a file, sends it in pieces of any size, asks after a lost connection how much has arrived, and goes on
//! from there. A submission then names the upload instead of carrying the file.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    error::{Errors, TUS_RESUMABLE},
    extract::{Signed, Submitter},
    turns::Turn,
    upload::{Limits, Piece},
};
use crate::{
    challenge::{self, dataset, phase},
    ids::UploadId,
    problem::Problem,
    storage::{BlobHash, Growing},
    submission::{
        Rejection,
        uploads::{self, NewUpload, Part, ResumableUpload},
    },
    team,
};

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// What `Upload-Metadata` says to us.
const KEYS: [&str; 5] = ["challenge", "phase", "part", "filename", "sha256"];
/// Characters of a file's name.
const MAX_FILENAME: usize = 255;

/// Marks an answer, a refusal too, as one of our version.
pub async fn versioned(mut response: Response) -> Response {
    response.headers_mut().insert(TUS_RESUMABLE, VERSION);
    response
}

/// The client speaks our version.
pub struct Tus;

impl FromRequestParts<App> for Tus {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Error> {
        if parts.headers.get(TUS_RESUMABLE) == Some(&VERSION) { Ok(Tus) } else { Err(Error::TusVersion) }
    }
}

/// The upload of the address, which is the asker's own.
pub struct UploadAt(ResumableUpload);

impl FromRequestParts<App> for UploadAt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Submitter(signed) = Submitter::from_request_parts(parts, app).await?;
        let path = Path::<String>::from_request_parts(parts, app).await;
        let Path(id) = path.map_err(|_| Error::UploadNotFound)?;
        let id: UploadId = id.parse().map_err(|_| Error::UploadNotFound)?;
        let found = uploads::get(&mut *app.db().await?, signed.account.id, id).await?;
        found.map(UploadAt).ok_or(Error::UploadNotFound)
    }
}

/// An upload as its owner's list shows it.
#[derive(Serialize, ToSchema)]
pub struct UploadView {
    pub id: UploadId,
    pub url: String,
    pub challenge: String,
    pub phase: String,
    pub part: Part,
    pub filename: String,
    /// Bytes that are here.
    pub offset: u64,
    /// Bytes of the whole.
    pub length: u64,
    /// As announced.
    pub sha256: Option<BlobHash>,
    pub created_at: DateTime<Utc>,
    /// Moved on by every piece.
    pub expires_at: DateTime<Utc>,
}

/// Learn what this server speaks of tus
#[utoipa::path(options, path = "/uploads", tag = "uploads",
    responses((status = 204, description = "Versions and extensions, in the headers")))]
pub async fn options(State(app): State<App>) -> impl IntoResponse {
    let head = [
        (TUS_VERSION, VERSION),
        (TUS_EXTENSION, HeaderValue::from_static("creation,expiration,termination")),
        (TUS_MAX_SIZE, app.settings.results_bytes.max(app.settings.model_bytes).into()),
    ];
    (StatusCode::NO_CONTENT, head)
}

/// List your open uploads, newest first
#[utoipa::path(get, path = "/uploads", tag = "uploads",
    responses(
        (status = 200, description = "Those that are not expired and not used", body = Vec<UploadView>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors)),
    security(("token" = [])))]
pub async fn list(State(app): State<App>, Submitter(signed): Submitter) -> Result<Json<Vec<UploadView>>, Error> {
    let mut views = Vec::new();
    let all = uploads::of_account(&mut *app.db().await?, signed.account.id).await?;
    for upload in all {
        let offset = app.storage.grown(upload.id.0).await.map_err(anyhow::Error::from)?.unwrap_or(0);
        views.push(UploadView {
            url: url(upload.id),
            id: upload.id,
            challenge: upload.challenge_slug,
            phase: upload.phase_slug,
            part: upload.part,
            filename: upload.filename,
            offset,
            length: upload.length,
            sha256: upload.sha256,
            created_at: upload.created_at,
            expires_at: upload.expires_at,
        });
    }
    Ok(Json(views))
}

/// Begin an upload
///
/// `Upload-Metadata` says what the file is for: `challenge` and `phase` (slugs), `part` (`results` or `model`), and may say
/// `filename` and `sha256` (64 hexadecimal digits, checked when a submission names the upload). Values are base64.
#[utoipa::path(post, path = "/uploads", tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = u64, Header, description = "Bytes of the whole file"),
        ("Upload-Metadata" = String, Header, description = "`challenge …,phase …,part …`, values in base64")),
    responses(
        (status = 201, description = "Begun; `Location` is its address, `Upload-Expires` when it is dropped"),
        (status = 400, description = "A header is missing or malformed", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit, or you are in no team", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 412, description = "Another version of tus", body = Errors),
        (status = 413, description = "The file is larger than the phase allows", body = Errors),
        (status = 429, description = "You have too many open uploads", body = Errors),
        (status = 503, description = "Try again in seconds", body = Errors),
        (status = 507, description = "The server's storage is nearly full", body = Errors)),
    security(("token" = [])))]
pub async fn create(
    State(app): State<App>,
    Submitter(signed): Submitter,
    _: Tus,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let length = number(&headers, &UPLOAD_LENGTH)?;
    let new = announced(&app, &signed, length, &headers).await?;
    let id = uploads::begin(&app.pool, &app.storage, &new, app.settings.uploads).await?;
    let made = uploads::get(&mut *app.db().await?, signed.account.id, id).await?.ok_or(Error::UploadNotFound)?;
    let head = [(header::LOCATION, text(url(id))), (UPLOAD_EXPIRES, date(made.expires_at))];
    Ok((StatusCode::CREATED, head).into_response())
}

/// What the client says that it will send, held against the phase's limits.
async fn announced(app: &App, signed: &Signed, length: u64, headers: &HeaderMap) -> Result<NewUpload, Error> {
    let (as_sent, metadata) = metadata(headers)?;
    let said = |key: &str| {
        metadata.get(key).map(String::as_str).filter(|v| !v.is_empty()).ok_or_else(|| {
            let problem = Problem::new("bad_metadata", format!("`Upload-Metadata` does not say `{key}`."));
            Error::BadUpload(problem.hint("It needs `challenge`, `phase` and `part` (results or model), in base64."))
        })
    };
    let part = match said("part")? {
        "results" => Part::Results,
        "model" => Part::Model,
        other => {
            let problem = Problem::new("bad_metadata", "`part` is `results` or `model`.");
            return Err(Error::BadUpload(problem.at(other)));
        }
    };
    let sha256 = metadata.get("sha256").map(|digits| digits.parse::<BlobHash>()).transpose();
    let sha256 = sha256.map_err(|_| {
        Error::BadUpload(Problem::new("bad_metadata", "`sha256` is not 64 lower-case hexadecimal digits."))
    })?;
    let filename = match metadata.get("filename") {
        Some(name) if !name.is_empty() => name.chars().take(MAX_FILENAME).collect(),
        _ => if part == Part::Results { "results.zip" } else { "model.onnx" }.to_owned(),
    };
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, said("challenge")?).await?.ok_or(Error::ChallengeNotFound)?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, said("phase")?).await?.ok_or(Error::PhaseNotFound)?;
    // Before the bytes: without a team they could become nothing.
    team::of_account(&mut conn, challenge.id, signed.account.id).await?.ok_or(Error::NoTeam)?;
    let limit = Limits::of(&dataset::get(&mut conn, phase.dataset).await?, &app.settings).of_part(part);
    if length > limit {
        return Err(Rejection::TooLarge { limit }.into());
    }
    if length == 0 {
        return Err(Error::BadUpload(Problem::new("empty_file", "The file is empty.")));
    }
    Ok(NewUpload {
        id: UploadId::new(),
        account: signed.account.id,
        phase: phase.id,
        part,
        filename,
        length,
        sha256,
        metadata: as_sent,
    })
}

/// Ask how much of an upload has arrived
#[utoipa::path(head, path = "/uploads/{id}", tag = "uploads",
    params(
        ("id" = UploadId, Path, description = "The upload"),
        ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 200, description = "`Upload-Offset` of `Upload-Length` bytes are here; `Upload-Metadata` as it was sent"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked"),
        (status = 403, description = "The token may not submit"),
        (status = 404, description = "There is none, or it is not yours"),
        (status = 412, description = "Another version of tus"),
        (status = 423, description = "Another request is writing it")),
    security(("token" = [])))]
pub async fn offset(State(app): State<App>, UploadAt(upload): UploadAt, _: Tus) -> Result<Response, Error> {
    let (_turn, file) = hold(&app, upload.id).await?;
    let bytes = file.bytes();
    file.release().await;
    let head = [
        (UPLOAD_OFFSET, bytes.into()),
        (UPLOAD_LENGTH, upload.length.into()),
        (UPLOAD_EXPIRES, date(upload.expires_at)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (StatusCode::OK, head).into_response();
    // All that was said when it began, or nothing where nothing was.
    if !upload.metadata.is_empty() {
        response.headers_mut().insert(UPLOAD_METADATA, text(upload.metadata));
    }
    Ok(response)
}

/// Send the next piece
///
/// What arrives before a connection is lost stays. The answer comes when the bytes are on disk.
#[utoipa::path(patch, path = "/uploads/{id}", tag = "uploads",
    params(
        ("id" = UploadId, Path, description = "The upload"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "Where the piece begins: how many bytes are here")),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "On disk; `Upload-Offset` says how many bytes are here now"),
        (status = 400, description = "A header is malformed, or the piece ended early", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 408, description = "The piece came too slowly; what arrived is kept", body = Errors),
        (status = 409, description = "The piece does not begin where the upload ends", body = Errors),
        (status = 412, description = "Another version of tus", body = Errors),
        (status = 413, description = "The piece is longer than what is missing", body = Errors),
        (status = 415, description = "Not `application/offset+octet-stream`", body = Errors),
        (status = 423, description = "Another request writes it", body = Errors),
        (status = 503, description = "Try again in seconds", body = Errors),
        (status = 507, description = "The server's storage is nearly full; what arrived is kept", body = Errors)),
    security(("token" = [])))]
pub async fn append(
    State(app): State<App>,
    UploadAt(upload): UploadAt,
    _: Tus,
    request: Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind != Some(b"application/offset+octet-stream") {
        return Err(Error::NotOctets);
    }
    let offset = number(&parts.headers, &UPLOAD_OFFSET)?;
    let (turn, mut file) = hold(&app, upload.id).await?;
    if file.bytes() != offset {
        return Err(Error::UploadOffset(file.bytes()));
    }
    let most = upload.length.saturating_sub(offset);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > most) {
        return Err(Rejection::TooLarge { limit: most }.into());
    }
    let written = write(&turn, &mut file, Piece::open(body, most)).await;
    if let Err(Error::Rejected(Rejection::TooLarge { .. })) = &written {
        // It announced no length and sent too much: none of it is what it should be.
        file.cut(offset).await?;
    }
    // Also of a piece that broke off: what is here is told to the next HEAD, and must be here still.
    file.sync().await?;
    let bytes = file.bytes();
    // Before the answer, and before anything is waited for: a client that has it may name the upload at once.
    file.release().await;
    written?;
    let expires_at = uploads::touch(&mut *app.db().await?, upload.id).await?.unwrap_or(upload.expires_at);
    let head = [(UPLOAD_OFFSET, bytes.into()), (UPLOAD_EXPIRES, date(expires_at))];
    Ok((StatusCode::NO_CONTENT, head).into_response())
}

pub async fn write(turn: &Turn, file: &mut Growing, mut piece: Piece) -> Result<(), Error> {
    loop {
        let chunk = tokio::select! {
            () = turn.over.cancelled() => return Err(Error::UploadBusy),
            chunk = piece.next() => chunk?,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        file.write(&chunk).await?;
    }
}

/// Say the method in a header
///
/// For clients, and proxies before them, that know no PATCH and DELETE: `X-HTTP-Method-Override` names the method that is
/// meant, and the rest is as for that one.
#[utoipa::path(post, path = "/uploads/{id}", tag = "uploads",
    params(
        ("id" = UploadId, Path, description = "The upload"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("X-HTTP-Method-Override" = String, Header, description = "PATCH, HEAD or DELETE")),
    responses(
        (status = 204, description = "As of PATCH and DELETE"),
        (status = 200, description = "As of HEAD"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 405, description = "The header is missing or names another method", body = Errors)),
    security(("token" = [])))]
pub async fn overridden(
    State(app): State<App>,
    UploadAt(upload): UploadAt,
    tus: Tus,
    request: Request,
) -> Result<Response, Error> {
    let meant = request.headers().get(METHOD_OVERRIDE).map(|v| v.as_bytes().to_ascii_uppercase());
    let at = UploadAt(upload);
    match meant.as_deref() {
        Some(b"PATCH") => append(State(app), at, tus, request).await,
        Some(b"DELETE") => terminate(State(app), at, tus).await,
        Some(b"HEAD") => offset(State(app), at, tus).await,
        _ => Err(Error::MethodNotAllowed),
    }
}

/// Drop an upload
#[utoipa::path(delete, path = "/uploads/{id}", tag = "uploads",
    params(
        ("id" = UploadId, Path, description = "The upload"),
        ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses(
        (status = 204, description = "Gone"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token may not submit", body = Errors),
        (status = 404, description = "There is none, or it is not yours", body = Errors),
        (status = 412, description = "Another version of tus", body = Errors),
        (status = 423, description = "Another request is writing it", body = Errors)),
    security(("token" = [])))]
pub async fn terminate(State(app): State<App>, UploadAt(upload): UploadAt, _: Tus) -> Result<Response, Error> {
    let held = hold(&app, upload.id).await?;
    uploads::end(&mut *app.db().await?, &app.storage, &[upload.id]).await?;
    drop(held);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The upload's file, from whoever has it now.
pub async fn hold(app: &App, id: UploadId) -> Result<(Turn, Growing), Error> {
    let turn = app.turns.take(id);
    let deadline = Instant::now() + uploads::HAND_OVER;
    loop {
        match app.storage.grow(id.0).await {
            Ok(Some(file)) => return Ok((turn, file)),
            Ok(None) if turn.over.is_cancelled() || Instant::now() >= deadline => return Err(Error::UploadBusy),
            Ok(None) => sleep(Duration::from_millis(20)).await,
            Err(crate::storage::StorageError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::UploadNotFound);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn url(id: UploadId) -> String {
    format!("/api/v1/uploads/{id}")
}

/// In HTTP's format.
fn date(at: DateTime<Utc>) -> HeaderValue {
    text(at.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Of words that we made.
fn text(words: String) -> HeaderValue {
    HeaderValue::try_from(words).unwrap_or(HeaderValue::from_static(""))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Error> {
    let value = headers.get(name).and_then(|v| v.to_str().ok());
    // Digits only: `parse` alone takes a sign.
    let value = value.filter(|v| v.bytes().all(|b| b.is_ascii_digit())).and_then(|v| v.parse::<u64>().ok());
    value.filter(|n| i64::try_from(*n).is_ok()).ok_or_else(|| {
        Error::BadUpload(Problem::new("bad_header", "This header is missing or is no number.").at(name.as_str()))
    })
}

/// `key base64,key base64`, as it was sent and read. The values of keys that mean nothing to us may be any bytes.
fn metadata(headers: &HeaderMap) -> Result<(String, BTreeMap<String, String>), Error> {
    let words = headers.get(UPLOAD_METADATA).map_or("", |v| v.to_str().unwrap_or("?"));
    let read = || {
        let mut pairs = BTreeMap::new();
        for pair in words.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let bytes = BASE64_STANDARD.decode(value.trim()).ok()?;
            let value = match KEYS.contains(&key) {
                true => String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?,
                false => String::new(),
            };
            if pairs.insert(key.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(pairs)
    };
    read().map(|pairs| (words.to_owned(), pairs)).ok_or_else(|| {
        let problem = Problem::new("bad_metadata", "`Upload-Metadata` is not pairs of a key and base64 text.");
        Error::BadUpload(problem.hint("For instance `challenge ZGVtbw==,phase dmFsaWRhdGlvbg==,part bW9kZWw=`."))
    })
}
