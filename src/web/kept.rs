//! Pages that everybody who is not signed in gets alike: made once and compressed once, until what they show moves.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};

use super::{App, Error, etag, extract::Viewer, lang::Lang};
use crate::{
    challenge::phase::{Phase, PhaseState},
    kept::Kept,
};

/// Pages that are kept, of some 200 kB each at most: whoever makes up addresses only pushes others out.
const PAGES: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// What the phase's version does not cover, as another phase's title, is this old at most.
const FRESH: Duration = Duration::from_secs(15);
/// A larger page is made for each visitor.
const MOST: usize = 4 << 20;

pub struct Pages(Kept<Key, Arc<Page>>);

/// A page at one version of what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: String,
    version: i64,
    state: PhaseState,
    /// A board that begins to stand still has the version that it had.
    as_of: Option<DateTime<Utc>>,
    lang: Lang,
}

#[derive(Debug)]
struct Page {
    made: Instant,
    gzip: Bytes,
    kind: Option<HeaderValue>,
    tag: HeaderValue,
}

impl Default for Pages {
    fn default() -> Pages {
        Pages(Kept::new(PAGES))
    }
}

/// Somebody who may be given a kept page: not signed in, with a browser that reads gzip.
pub struct Anybody {
    address: String,
    known: Option<HeaderValue>,
}

/// The visitor, if a kept page will do.
pub struct Asker(Option<Anybody>);

impl FromRequestParts<App> for Asker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Viewer(signed) = Viewer::from_request_parts(parts, app).await?;
        let will_do = signed.is_none() && reads_gzip(&parts.headers);
        Ok(Asker(will_do.then(|| Anybody {
            address: Uri::to_string(&parts.uri),
            known: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })))
    }
}

fn ours(error: impl Into<anyhow::Error>) -> Result<Response, Error> {
    Err(error.into().into())
}

fn reads_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| matches!(one.trim(), "gzip" | "*"))
}

impl Pages {
    /// The page of a phase as it is kept; or what `make` makes, which is then kept. Who asks meanwhile waits for it.
    pub async fn serve(
        &self,
        Asker(asker): Asker,
        phase: &Phase,
        make: impl Future<Output = Result<Response, Error>>,
    ) -> Result<Response, Error> {
        let Some(Anybody { address, known }) = asker else { return make.await };
        let key =
            Key { address, version: phase.board_version, state: phase.state, as_of: phase.as_of, lang: Lang::now() };
        let make = async {
            let (parts, body) = make.await.map_err(Err)?.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.map_err(ours)?;
            if parts.status != StatusCode::OK || bytes.len() > MOST {
                return Err(Ok(Response::from_parts(parts, Body::from(bytes))));
            }
            let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
            let page = tokio::task::spawn_blocking(move || Page::of(&bytes, kind)).await.map_err(ours)?;
            Ok(Arc::new(page.map_err(ours)?))
        };
        let page = match self.0.get(key, |page| page.made.elapsed() < FRESH, make).await {
            Ok(page) => page,
            // What is not kept is answered all the same.
            Err(outcome) => return outcome,
        };
        Ok(page.answer(known.as_ref()))
    }
}

impl Page {
    fn of(bytes: &[u8], kind: Option<HeaderValue>) -> anyhow::Result<Page> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, bytes)?;
        Ok(Page { made: Instant::now(), gzip: gzip.finish()?.into(), kind, tag: etag::tag_of(bytes) })
    }

    fn answer(&self, known: Option<&HeaderValue>) -> Response {
        let mut response = match known.is_some_and(|known| etag::matches(known, &self.tag)) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => {
                let encoding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                let mut response = ([encoding], self.gzip.clone()).into_response();
                match &self.kind {
                    Some(kind) => response.headers_mut().insert(header::CONTENT_TYPE, kind.clone()),
                    None => response.headers_mut().remove(header::CONTENT_TYPE),
                };
                response
            }
        };
        let set: [(HeaderName, HeaderValue); 2] =
            [(header::ETAG, self.tag.clone()), (header::VARY, HeaderValue::from_static("accept-encoding"))];
        response.headers_mut().extend(set);
        response
    }
}
