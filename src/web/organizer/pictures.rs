//! The images of an entry beside HR, for a reviewer's eyes. The one place where HR leaves the server, and only to those who run
//! the challenge: no cache keeps it, and no page of another site can embed it.

use std::path::PathBuf;

use anyhow::Context;
use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;

use super::super::{App, Error, extract::ReviewAt};
use crate::{
    challenge::dataset::{self, Image},
    evaluation::{
        images::{Rgb8, encode_png, read_png},
        resize,
        results::{Depth, Expected, ResultsZip},
    },
    problem::Problem,
};

/// Pictures that are made at once: each holds a few decoded images.
static AT_ONCE: Semaphore = Semaphore::const_new(2);
/// A difference of one grey level is drawn as so many, so that it can be seen.
pub const AMPLIFIED: u8 = 8;

/// What can be looked at of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hr,
    /// As uploaded.
    Sr,
    /// The LR image, enlarged by bicubic interpolation to the size of the others.
    Lr,
    /// The absolute difference of SR and HR, amplified.
    Difference,
}

impl Kind {
    fn of(file: &str) -> Option<Kind> {
        Some(match file {
            "hr.png" => Kind::Hr,
            "sr.png" => Kind::Sr,
            "lr.png" => Kind::Lr,
            "diff.png" => Kind::Difference,
            _ => return None,
        })
    }
}

pub async fn show(
    State(app): State<App>,
    ReviewAt { at, .. }: ReviewAt,
    Path((_slug, _submission, name, file)): Path<(String, String, String, String)>,
) -> Result<Response, Error> {
    let missing = || {
        let problem = Problem::new("image_not_found", "There is no such image.");
        Error::Refused(StatusCode::NOT_FOUND, problem)
    };
    let kind = Kind::of(&file).ok_or_else(missing)?;
    let dataset = dataset::get(&mut *app.db().await?, at.phase.dataset).await?;
    let image = dataset.images.iter().find(|image| image.name == name).cloned().ok_or_else(missing)?;
    let sources = Sources {
        hr: app.storage.path(&image.hr),
        lr: app.storage.path(&image.lr),
        results: app.storage.path(&at.submission.results_sha256),
        expected: dataset.expected(),
        scale: dataset.scale,
        image,
    };
    let turn = AT_ONCE.acquire().await.map_err(anyhow::Error::from)?;
    let made = tokio::task::spawn_blocking(move || sources.make(kind)).await.map_err(anyhow::Error::from)?;
    drop(turn);
    let bytes = made.map_err(|error| {
        tracing::warn!(submission = %at.submission.id, error = format!("{error:#}"), "a picture cannot be made");
        let problem = Problem::new("image_unreadable", "The files of this image cannot be read.");
        Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem)
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    ];
    Ok((headers, bytes).into_response())
}

struct Sources {
    hr: PathBuf,
    lr: PathBuf,
    results: PathBuf,
    expected: Vec<Expected>,
    scale: u32,
    image: Image,
}

impl Sources {
    /// The picture as a PNG of ours, never as the file that somebody uploaded.
    fn make(&self, kind: Kind) -> anyhow::Result<Vec<u8>> {
        let picture = match kind {
            Kind::Hr => read_png(&self.hr)?,
            Kind::Sr => self.uploaded()?,
            Kind::Lr => resize::upscale(&read_png(&self.lr)?, self.scale),
            Kind::Difference => difference(&self.uploaded()?, &read_png(&self.hr)?)?,
        };
        encode_png(&picture)
    }

    fn uploaded(&self) -> anyhow::Result<Rgb8> {
        let zip = ResultsZip::vet(&self.results, &self.expected, self.scale, Depth::Headers)?;
        let zip = zip.map_err(|problems| anyhow::anyhow!("the results no longer pass: {problems:?}"))?;
        let index = zip.position(&self.image.name).context("an image that the zip was not vetted for")?;
        Ok(zip.decode(index)??)
    }
}

fn difference(a: &Rgb8, b: &Rgb8) -> anyhow::Result<Rgb8> {
    anyhow::ensure!((a.width, a.height) == (b.width, b.height), "SR and HR are of different sizes");
    let data = a.data.iter().zip(&b.data).map(|(a, b)| a.abs_diff(*b).saturating_mul(AMPLIFIED)).collect();
    Ok(Rgb8 { width: a.width, height: a.height, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_absolute_and_amplified() {
        let image = |data: [u8; 6]| Rgb8 { width: 2, height: 1, data: data.to_vec() };
        let made = difference(&image([0, 1, 255, 9, 9, 9]), &image([1, 0, 0, 9, 10, 41])).expect("made");
        assert_eq!(made.data, [8, 8, 255, 0, 8, 255]);
        assert!(difference(&image([0; 6]), &Rgb8 { width: 1, height: 2, data: vec![0; 6] }).is_err());
    }
}
