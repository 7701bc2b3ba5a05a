//! An upload, part by part: bytes stream to the storage, never whole in memory, with a limit on each part, on the whole,
//! and on what stands between parts. A part may also name a file that came in by a resumable upload.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Error, Settings, disposition::Disposition};
use crate::{
    challenge::dataset::Dataset,
    evaluation::model::MAX_MODEL_BYTES,
    ids::UploadId,
    problem::Problem,
    storage::{Storage, TempBlob},
    submission::{FactSheet, Rejection, uploads::Part},
};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Multipart, Request, multipart::Field},
    http::header,
};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};

/// Two files, or their uploads' names, and a fact sheet.
const MAX_PARTS: usize = 32;
/// A model is one file, or a graph and its data file.
const MODEL_FILES: usize = 2;
/// Bytes of a text field.
const MAX_TEXT: u64 = 64 << 10;
/// Bytes that may stand between two parts: a boundary and the head of the next part.
const MAX_PART_HEAD: u64 = 16 << 10;
/// Bytes of a refused upload that are read and dropped, so that a browser gets to read the answer.
const DRAIN: u64 = 8 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Bytes that a challenge's files may have; shown on its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub results: u64,
    pub model: u64,
}

impl Limits {
    /// A PNG is at most a little larger than its samples; the rest is room for a readme and the archive itself.
    pub fn of(dataset: &Dataset, settings: &Settings) -> Limits {
        let samples: u64 = dataset.images.iter().map(|i| u64::from(i.hr_size[0]) * u64::from(i.hr_size[1]) * 3).sum();
        let results = samples + samples / 10 + (16 << 20);
        Limits { results: results.min(settings.results_bytes), model: settings.model_bytes.min(MAX_MODEL_BYTES) }
    }

    /// Bytes of one part.
    pub fn of_part(self, part: Part) -> u64 {
        match part {
            Part::Results => self.results,
            Part::Model => self.model,
            Part::Bundle => self.results + self.model,
        }
    }

    fn whole(self) -> u64 {
        self.results + self.model + MAX_PARTS as u64 * (MAX_TEXT + MAX_PART_HEAD)
    }
}

/// What arrived.
#[derive(Debug, Default)]
pub struct Files {
    pub results: Option<TempBlob>,
    /// With the names that the client gave them.
    pub model: Vec<(String, TempBlob)>,
    /// Resumable uploads that stand for files.
    pub uploads: Vec<(Part, UploadId)>,
    pub fact_sheet: FactSheet,
}

/// A form that arrived, by the fields' names.
#[derive(Debug, Default)]
pub struct Form {
    pub texts: BTreeMap<String, String>,
    pub files: BTreeMap<&'static str, TempBlob>,
}

/// An upload that is coming in.
pub struct Incoming {
    multipart: Multipart,
    gauge: Arc<Gauge>,
    parts: usize,
    limits: Limits,
}

/// What the watched body and its reader tell each other.
#[derive(Default)]
pub(super) struct Gauge {
    /// Whether a part's bytes are being read, or what stands between parts.
    in_part: AtomicBool,
    between: AtomicU64,
    too_large: AtomicBool,
}

impl Incoming {
    pub async fn open(request: Request, limits: Limits) -> Result<Incoming, Error> {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|n| n > limits.whole()) {
            return Err(Rejection::TooLarge { limit: limits.whole() }.into());
        }
        let gauge = Arc::<Gauge>::default();
        let (parts, body) = request.into_parts();
        let watched = Body::from_stream(watch(body, gauge.clone(), limits.whole()));
        let multipart = Multipart::from_request(Request::from_parts(parts, watched), &()).await.map_err(|_| {
            let problem = Problem::new("not_multipart", "The upload is not a multipart form.");
            Error::BadUpload(problem.hint("Send `multipart/form-data` with the files `results` and `model`."))
        })?;
        Ok(Incoming { multipart, gauge, parts: 0, limits })
    }

    /// The text of the first part, which must be called `name`: a form puts its token before its files.
    pub async fn first_text(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some((called, mut field)) = next(&mut self.multipart, &self.gauge, &mut self.parts).await? else {
            return Ok(None);
        };
        if called.name != name {
            return Ok(None);
        }
        text(&called.name, &mut field, &self.gauge).await.map(Some)
    }

    /// Streams the files to the storage. A part `skip` is left out.
    pub async fn files(&mut self, storage: &Storage, skip: &str) -> Result<Files, Error> {
        let mut files = Files::default();
        while let Some((called, mut field)) = next(&mut self.multipart, &self.gauge, &mut self.parts).await? {
            let Disposition { name, file_name } = called;
            if file_name.is_none() && !matches!(name.as_str(), "results" | "model") {
                let words = text(&name, &mut field, &self.gauge).await?;
                match name.as_str() {
                    // A field that was left empty says nothing.
                    _ if name == skip || words.trim().is_empty() => {}
                    "results_upload" => files.uploads.push((Part::Results, upload_id(&name, &words)?)),
                    "model_upload" => files.uploads.push((Part::Model, upload_id(&name, &words)?)),
                    _ => drop(files.fact_sheet.insert(name, words)),
                }
                continue;
            }
            let limit = match name.as_str() {
                "results" => self.limits.results,
                "model" => self.limits.model,
                _ => return Err(unexpected(&name)),
            };
            let file_name = file_name.filter(|name| !name.is_empty());
            let file = file(&mut field, &self.gauge, storage, limit).await?;
            match name.as_str() {
                // A browser sends a file that was not chosen as one without a name and without a byte.
                _ if file.bytes == 0 && file_name.is_none() => {}
                "results" if files.results.is_none() => files.results = Some(file),
                "model" if files.model.len() < MODEL_FILES => {
                    files.model.push((file_name.unwrap_or_else(|| "model.onnx".into()), file));
                }
                _ => return Err(duplicate(&name)),
            }
        }
        for (part, most) in [(Part::Results, 1), (Part::Model, MODEL_FILES)] {
            let sent = if part == Part::Results { files.results.iter().count() } else { files.model.len() };
            if sent + files.uploads.iter().filter(|(p, _)| *p == part).count() > most {
                return Err(duplicate(if part == Part::Results { "results" } else { "model" }));
            }
        }
        Ok(files)
    }

    /// A form with files and texts by name: each file streams to the storage, at most once and as long as `limits` says of it;
    /// what was left empty is left out.
    pub async fn form(&mut self, storage: &Storage, limits: &[(&'static str, u64)]) -> Result<Form, Error> {
        let mut form = Form::default();
        while let Some((called, mut field)) = next(&mut self.multipart, &self.gauge, &mut self.parts).await? {
            let Disposition { name, file_name } = called;
            let Some(file_name) = file_name else {
                let words = text(&name, &mut field, &self.gauge).await?.trim().to_owned();
                if !words.is_empty() && form.texts.insert(name.clone(), words).is_some() {
                    return Err(twice(&name));
                }
                continue;
            };
            let Some(&(known, limit)) = limits.iter().find(|(known, _)| *known == name) else {
                let problem = Problem::new("unexpected_file", "The upload has a file that is not asked for.");
                return Err(Error::BadUpload(problem.at(name).hint("Send only the files that the form asks for.")));
            };
            let file = file(&mut field, &self.gauge, storage, limit).await?;
            if file.bytes == 0 && file_name.is_empty() {
                continue;
            }
            if form.files.insert(known, file).is_some() {
                return Err(twice(known));
            }
        }
        Ok(form)
    }

    /// Reads on for a moment after a refusal: a browser that is still sending would see a lost connection instead of the
    /// answer.
    pub async fn drain(mut self) {
        let reading = async {
            let mut left = DRAIN;
            while let Ok(Some(mut field)) = self.gauge.next(&mut self.multipart).await {
                self.parts += 1;
                if self.parts > MAX_PARTS {
                    return;
                }
                while let Ok(Some(chunk)) = field.chunk().await {
                    left = left.saturating_sub(chunk.len() as u64);
                    if left == 0 {
                        return;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    }
}

/// The next part, and what it is called.
async fn next<'a>(
    multipart: &'a mut Multipart,
    gauge: &Gauge,
    parts: &mut usize,
) -> Result<Option<(Disposition, Field<'a>)>, Error> {
    let Some(field) = gauge.next(multipart).await? else { return Ok(None) };
    *parts += 1;
    if *parts > MAX_PARTS {
        return Err(Error::TooManyParts);
    }
    Ok(Some((Disposition::of(&field)?, field)))
}

async fn text(name: &str, field: &mut Field<'_>, gauge: &Gauge) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| gauge.error())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_TEXT {
            return Err(Rejection::FactSheetTooLarge.into());
        }
    }
    // Postgres stores no NUL.
    String::from_utf8(bytes).ok().filter(|t| !t.contains('\0')).ok_or_else(|| {
        let problem = Problem::new("bad_text", "A text field is not UTF-8 text.");
        Error::BadUpload(problem.at(name))
    })
}

pub(super) async fn file(
    field: &mut Field<'_>,
    gauge: &Gauge,
    storage: &Storage,
    limit: u64,
) -> Result<TempBlob, Error> {
    let mut writer = storage.writer(limit).await?;
    while let Some(chunk) = field.chunk().await.map_err(|_| gauge.error())? {
        writer.write(&chunk).await?;
    }
    Ok(writer.finish().await?)
}

fn duplicate(name: &str) -> Error {
    let hint = "Send one `results` file, and one `model` or the two files that it consists of.";
    Error::BadUpload(Problem::new("duplicate_part", "The upload has this part too often.").at(name).hint(hint))
}

fn twice(name: &str) -> Error {
    Error::BadUpload(Problem::new("duplicate_part", "The upload has this part too often.").at(name))
}

fn upload_id(name: &str, words: &str) -> Result<UploadId, Error> {
    words.trim().parse().map_err(|_| {
        let problem = Problem::new("bad_upload_id", "This is not the id of an upload.").at(name);
        Error::BadUpload(problem.hint("It is the last part of the address that the upload was given."))
    })
}

fn unexpected(name: &str) -> Error {
    let problem = Problem::new("unexpected_file", "The upload has a file that is not asked for.").at(name);
    Error::BadUpload(problem.hint("Send the files `results` and `model`."))
}

impl Gauge {
    /// The next part.
    pub(super) async fn next<'a>(&self, multipart: &'a mut Multipart) -> Result<Option<Field<'a>>, Error> {
        self.in_part.store(false, Ordering::Relaxed);
        self.between.store(0, Ordering::Relaxed);
        let field = multipart.next_field().await.map_err(|_| self.error())?;
        self.in_part.store(true, Ordering::Relaxed);
        Ok(field)
    }

    /// Why reading failed; the multipart reader's own error does not say.
    pub(super) fn error(&self) -> Error {
        if self.too_large.load(Ordering::Relaxed) {
            return Rejection::TooLarge { limit: MAX_PART_HEAD }.into();
        }
        let problem = Problem::new("upload_broken", "The upload ended early or is not a well-formed multipart form.");
        Error::BadUpload(problem.hint("Send it again; nothing was stored."))
    }
}

/// One piece of a resumable upload: a body of at most `most` bytes, watched like a whole upload.
pub struct Piece {
    body: BoxStream<'static, Result<Bytes, axum::BoxError>>,
    gauge: Arc<Gauge>,
    most: u64,
}

impl Piece {
    pub fn open(body: Body, most: u64) -> Piece {
        let gauge = Arc::new(Gauge { in_part: true.into(), ..Gauge::default() });
        let body = watch(body, gauge.clone(), most).boxed();
        Piece { body, gauge, most }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.body.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(_)) if self.gauge.too_large.load(Ordering::Relaxed) => {
                Err(Rejection::TooLarge { limit: self.most }.into())
            }
            Some(Err(_)) => Err(self.gauge.error()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the upload was cut off")]
struct CutOff;

/// The body, cut off where it is too long or has too much between its parts. How slow it may be is `pace`'s.
pub(super) fn watch(
    body: Body,
    gauge: Arc<Gauge>,
    whole: u64,
) -> impl Stream<Item = Result<Bytes, axum::BoxError>> + Send + use<> {
    stream::try_unfold((body.into_data_stream(), 0u64), move |(mut body, total)| {
        let gauge = gauge.clone();
        async move {
            let Some(chunk) = body.next().await.transpose()? else { return Ok(None) };
            let n = chunk.len() as u64;
            let total = total + n;
            // The chunk that ends a head may hold much of what follows, so a chunk's worth is let pass.
            let between =
                !gauge.in_part.load(Ordering::Relaxed) && gauge.between.fetch_add(n, Ordering::Relaxed) > MAX_PART_HEAD;
            if between || total > whole {
                gauge.too_large.store(true, Ordering::Relaxed);
                return Err(CutOff.into());
            }
            Ok(Some((chunk, (body, total))))
        }
    })
}

/// Runs `work` on an upload; a refusal is answered only after a moment of reading on.
pub async fn answering<T>(
    request: Request,
    limits: Limits,
    work: impl AsyncFnOnce(&mut Incoming) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut incoming = Incoming::open(request, limits).await?;
    let outcome = work(&mut incoming).await;
    if outcome.is_err() {
        incoming.drain().await;
    }
    outcome
}
