//! What every request passes: id, trace, metrics, headers, CSRF, compression, panics. And the three routes for whoever
//! runs the server.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use percent_encoding::percent_decode_str;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, DefaultPredicate, Predicate, predicate::NotForContentType},
    csrf::CsrfLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultOnFailure, TraceLayer},
};
use tracing::Level;

use super::{App, Error, error::AsItIs, share::Framable};
use crate::{db, queue, submission::vetting};

/// No inline script or style, nothing from elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'self'";

pub fn apply(router: Router<App>, app: &App) -> Router<App> {
    let not_zip = NotForContentType::const_new("application/zip");
    // A model's weights do not shrink.
    let not_model = NotForContentType::const_new("application/octet-stream");
    router.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
            .layer(
                TraceLayer::new_for_http().make_span_with(span).on_failure(DefaultOnFailure::new().level(Level::DEBUG)),
            )
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(middleware::from_fn(track))
            .layer(middleware::from_fn_with_state(app.clone(), secure))
            .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(not_zip).and(not_model)))
            .layer(middleware::from_fn(super::etag::tag))
            .layer(middleware::from_fn_with_state(app.clone(), super::lang::choose))
            .layer(middleware::from_fn_with_state(app.clone(), super::error::present))
            .layer(middleware::from_fn_with_state(app.clone(), super::doors::guard))
            .layer(middleware::from_fn_with_state(app.clone(), super::pace::bodies))
            .layer(middleware::from_fn(without_nul))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(CsrfLayer::new()),
    )
}

/// A path with a NUL names nothing: Postgres stores none, and a file's path ends there. Bodies are looked at where they are read;
/// of a query that means nothing a page shows what it can, and what gets as far as Postgres is told there ([`db::is_bad_text`]).
async fn without_nul(request: Request, next: Next) -> Response {
    match percent_decode_str(request.uri().path()).any(|byte| byte == 0) {
        true => Error::PageNotFound.into_response(),
        false => next.run(request).await,
    }
}

/// One line an event; the address without its query, which may hold anything.
fn span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or("");
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

/// A panic costs its own request only. The panic hook has logged it.
fn panicked(_: Box<dyn std::any::Any + Send>) -> HttpResponse<axum::body::Body> {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn secure(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let framable = response.extensions_mut().remove::<Framable>().is_some();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if !framable {
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    // A page differs by who asks.
    set(header::CACHE_CONTROL, "private, no-cache");
    if app.settings.secure() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    // Beside the compression's own.
    headers.append(header::VARY, HeaderValue::from_static("cookie, authorization, accept, accept-language"));
    response
}

/// Counts and times requests by the route they matched, not by their address, which anybody may make up.
async fn track(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "DELETE" | "PUT" | "PATCH" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = [("method", method), ("path", path), ("status", response.status().as_u16().to_string())];
    metrics::counter!("upscore_http_requests_total", &labels).increment(1);
    metrics::histogram!("upscore_http_request_seconds", &labels).record(started.elapsed().as_secs_f64());
    response
}

/// The process has one recorder, however many apps a test makes.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
        let matcher = Matcher::Full("upscore_http_request_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(matcher, &buckets);
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        // Another recorder stays if somebody installed one; ours then shows nothing, which harms nobody.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

pub fn health() -> Router<App> {
    recorder();
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
}

/// How long a page may wait for what it needs before the server is not ready.
const PROBE: Duration = Duration::from_secs(2);

/// Ready: what a page needs is there in time. A connection out of the pages' own pool, to a database with this version's schema;
/// one of the threads that read files and check passwords; the data folder.
async fn ready(State(app): State<App>) -> Response {
    match tokio::time::timeout(PROBE, db::is_migrated(&app.pool)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return not_ready("the database's schema is not up to date\n"),
        Ok(Err(_)) | Err(_) => return not_ready("the database does not answer\n"),
    }
    let storage = app.storage.clone();
    let looked = tokio::task::spawn_blocking(move || storage.is_there());
    match tokio::time::timeout(PROBE, looked).await {
        Ok(Ok(true)) => "ready\n".into_response(),
        Ok(Ok(false) | Err(_)) => not_ready("the data folder cannot be read\n"),
        Err(_) => not_ready("no thread is free to read a file\n"),
    }
}

fn not_ready(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Extension(AsItIs), why).into_response()
}

async fn prometheus(State(app): State<App>) -> Result<Response, Error> {
    let depth = queue::depth(&mut *app.db().await?).await?;
    metrics::gauge!("upscore_queue_jobs", "state" => "queued").set(depth.queued as f64);
    metrics::gauge!("upscore_queue_jobs", "state" => "running").set(depth.running as f64);
    metrics::gauge!("upscore_queue_oldest_seconds").set(depth.oldest_s as f64);
    metrics::gauge!("upscore_database_connections", "state" => "open").set(f64::from(app.pool.size()));
    metrics::gauge!("upscore_database_connections", "state" => "idle").set(app.pool.num_idle() as f64);
    for (kind, count) in app.doors.counts() {
        metrics::gauge!("upscore_at_once", "kind" => kind).set(count as f64);
    }
    metrics::gauge!("upscore_vetting_bytes").set(vetting::in_flight() as f64);
    let handle = recorder();
    handle.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response())
}
