//! Pages: rows in, a view, a template out. Whole without script.

mod account;
mod board;
mod challenge;
mod docs;
mod download;
mod home;
mod phase;
mod study;
mod submission;
mod submit;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use tower_http::timeout::TimeoutLayer;

use super::App;
pub use phase::current;

/// The name of an export in a link.
pub fn format_name(format: &str) -> &'static str {
    match format {
        "json" => "JSON",
        "csv" => "CSV",
        "md" => "Markdown",
        _ => "LaTeX",
    }
}

pub fn router(app: &App) -> Router<App> {
    let quick = Router::new()
        .route("/", get(home::show))
        .route("/challenges/{slug}", get(challenge::show))
        .route("/challenges/{slug}/{phase}", get(board::show))
        .route("/challenges/{slug}/{phase}/lr.zip", get(download::lr))
        .route("/challenges/{slug}/{phase}/study", get(study::show))
        .route("/challenges/{slug}/{phase}/submit", get(submit::show))
        .route("/submissions/{id}", get(submission::show))
        .route("/submissions/{id}/cancel", post(submission::cancel))
        .route("/submissions/{id}/withdraw", post(submission::withdraw))
        .route("/submissions/{id}/choose", post(submission::choose))
        .route("/submissions/{id}/fact-sheet", post(submission::amend))
        .route("/signin", get(account::show).post(account::sign_in))
        .route("/signout", post(account::sign_out))
        .route("/api/docs", get(docs::show))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.settings.request_timeout));
    // An upload has a deadline and a limit of its own.
    let uploads = Router::new()
        .route("/challenges/{slug}/{phase}/submit", post(submit::accept))
        .layer(DefaultBodyLimit::disable());
    quick.merge(uploads)
}
