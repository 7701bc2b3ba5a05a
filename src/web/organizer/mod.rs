//! `/organizer`: a challenge from its announcement to the paper's table, to those who run it. To everybody else these
//! addresses do not exist.
//!
//! `/organizer/{slug}/…` is about one challenge. What stands beside `{slug}` (`workers`, `reset`, `new`, …) is reserved:
//! no challenge has such a slug (`challenge_slug_reserved`).

mod announcements;
pub mod audit;
pub mod datasets;
mod editor;
mod entry;
pub mod exports;
mod frame;
mod home;
mod import;
mod overview;
mod participants;
mod pictures;
mod protocol;
mod reruns;
mod review;
mod settings;
mod workers;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

pub use frame::{Frame, Tab};

use super::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/organizer", get(home::show))
        .route("/organizer/reset", post(home::reset_link))
        .route("/organizer/new", get(settings::show_new))
        .route("/organizer/import", get(import::show))
        .route("/organizer/import/file", post(import::zip))
        .route("/organizer/workers", get(workers::show))
        .route("/organizer/datasets", get(datasets::show))
        .route("/organizer/datasets/builds/{id}", get(datasets::build))
        .route("/organizer/audit", get(audit::show_all))
        .route("/organizer/audit.csv", get(audit::csv_all))
        .route("/organizer/audit.json", get(audit::json_all))
        .route("/organizer/{slug}", get(overview::show))
        .route("/organizer/{slug}/settings", get(settings::show))
        .route("/organizer/{slug}/challenge.toml", get(settings::text))
        .route("/organizer/{slug}/settings.zip", get(settings::zip))
        .route("/organizer/{slug}/{phase}/publish", post(overview::publish))
        .route("/organizer/{slug}/carry", post(overview::carry))
        .route("/organizer/{slug}/audit", get(audit::show))
        .route("/organizer/{slug}/audit.csv", get(audit::csv))
        .route("/organizer/{slug}/audit.json", get(audit::json))
        .route("/organizer/{slug}/exports", get(exports::show))
        .route("/organizer/{slug}/export.zip", get(exports::zip))
        .route("/organizer/{slug}/participants", get(participants::show))
        .route("/organizer/{slug}/participants/{account}/decide", post(participants::decide))
        .route("/organizer/{slug}/participants/{account}/remove", post(participants::remove))
        .route("/organizer/{slug}/participants/{account}/ban", post(participants::ban))
        .route("/organizer/{slug}/participants/{account}/unban", post(participants::unban))
        .route("/organizer/{slug}/{phase}/protocol", get(protocol::show).post(protocol::act))
        .route("/organizer/{slug}/announcements", get(announcements::show).post(announcements::announce))
        .route("/organizer/{slug}/announcements/{id}/withdraw", post(announcements::withdraw))
        .route("/organizer/{slug}/webhook", post(announcements::set_webhook))
        .route("/organizer/{slug}/webhook/remove", post(announcements::remove_webhook))
        .route("/organizer/{slug}/webhook/ping", post(announcements::ping))
        .route("/organizer/{slug}/review", get(review::show))
        .route("/organizer/{slug}/review/{submission}", get(entry::show))
        .route("/organizer/{slug}/review/{submission}/mark", post(entry::mark))
        .route("/organizer/{slug}/review/{submission}/objections/{objection}", post(entry::answer))
        .route("/organizer/{slug}/review/{submission}/images/{image}/{file}", get(pictures::show))
        .route("/organizer/{slug}/{phase}/reruns", post(reruns::start))
        .route("/organizer/{slug}/{phase}/reruns/{batch}", get(reruns::show).post(reruns::decide))
        .route("/organizer/{slug}/organizers", post(participants::add_organizer))
        .route("/organizer/{slug}/organizers/{account}/remove", post(participants::remove_organizer))
}

/// What takes files: each has a deadline and limits of its own.
pub fn uploads() -> Router<App> {
    Router::new()
        .route("/organizer/new", post(settings::create))
        .route("/organizer/import", post(import::read))
        .route("/organizer/{slug}/settings", post(settings::apply))
        .layer(DefaultBodyLimit::disable())
}
