//! The static files, inside the binary: nothing to install, nothing to get out of step with.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{
    extract::{Path, Query},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::Error;
use crate::storage::BlobHash;

struct Asset {
    kind: &'static str,
    bytes: &'static [u8],
    /// The first digits of its SHA-256: in its address, so that a browser may keep it for ever, and as its ETag.
    version: String,
}

macro_rules! assets {
    ($($name:literal $kind:literal)*) => {
        LazyLock::new(|| BTreeMap::from([$(
            ($name, Asset::new($kind, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/", $name)))),
        )*]))
    };
}

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = assets! {
    "app.css" "text/css; charset=utf-8"
    "app.js" "text/javascript; charset=utf-8"
    "board.js" "text/javascript; charset=utf-8"
    "d3-zoom.min.js" "text/javascript; charset=utf-8"
    "live.js" "text/javascript; charset=utf-8"
    "plot.js" "text/javascript; charset=utf-8"
    "tus.min.js" "text/javascript; charset=utf-8"
    "upload.js" "text/javascript; charset=utf-8"
    "viewer.js" "text/javascript; charset=utf-8"
    "send.js" "text/javascript; charset=utf-8"
    "zoom.js" "text/javascript; charset=utf-8"
    "favicon.svg" "image/svg+xml"
};

impl Asset {
    fn new(kind: &'static str, bytes: &'static [u8]) -> Asset {
        Asset { kind, bytes, version: BlobHash::of(bytes).as_str()[..12].to_owned() }
    }
}

/// The address of a static file, for templates.
pub fn url(name: &str) -> String {
    let version = ASSETS.get(name).map_or("", |a| &a.version);
    format!("/static/{name}?v={version}")
}

#[derive(Deserialize)]
pub struct Version {
    v: Option<String>,
}

pub async fn serve(
    Path(name): Path<String>,
    Query(Version { v }): Query<Version>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let asset = ASSETS.get(name.as_str()).ok_or(Error::PageNotFound)?;
    let etag = format!("\"{}\"", asset.version);
    // An address with another version, or none, may be asked again at any time.
    let lasting = v.as_deref() == Some(&asset.version);
    let cache = if lasting { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes());
    let head = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, cache), (header::ETAG, &etag)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    Ok((head, asset.bytes).into_response())
}
