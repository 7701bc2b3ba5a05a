//! Pages: rows in, a view, a template out. Whole without script.

mod account;
mod board;
pub mod challenge;
mod compare;
mod docs;
pub mod download;
mod home;
mod phase;
mod standing;
mod study;
pub mod submission;
mod submit;
mod team;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use tower_http::timeout::TimeoutLayer;

use super::{App, organizer, share};
pub use account::again;
pub use download::stream;
pub use phase::{current, gate_words, until};

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
        .route("/challenges/{slug}/{phase}/compare", get(compare::show))
        .route("/challenges/{slug}/{phase}/lr.zip", get(download::lr))
        .route("/challenges/{slug}/{phase}/sample.zip", get(download::sample))
        .route("/challenges/{slug}/{phase}/study", get(study::show))
        .route("/challenges/{slug}/{phase}/submit", get(submit::show))
        .route("/submissions/{id}", get(submission::show))
        .route("/submissions/{id}/model", get(standing::of_model))
        .route("/submissions/{id}/cancel", post(submission::cancel))
        .route("/submissions/{id}/withdraw", post(submission::withdraw))
        .route("/submissions/{id}/choose", post(submission::choose))
        .route("/submissions/{id}/fact-sheet", post(submission::amend))
        .route("/submissions/{id}/objections", post(submission::object))
        .route("/signup", get(account::show_sign_up).post(account::sign_up))
        .route("/signin", get(account::show_sign_in).post(account::sign_in))
        .route("/signin/token", post(account::sign_in_by_token))
        .route("/signout", post(account::sign_out))
        .route("/forgotten", get(account::show_forgotten).post(account::ask_for_reset))
        .route("/reset", get(account::show_reset).post(account::reset))
        .route("/account", get(account::show))
        .route("/account/password", post(account::change_password))
        .route("/account/email", post(account::change_email))
        .route("/account/mails", post(account::change_mails))
        .route("/unsubscribe", get(account::show_unsubscribe).post(account::unsubscribe))
        .route("/account/sessions/end", post(account::end_other_sessions))
        .route("/account/sessions/{id}/end", post(account::end_session))
        .route("/tokens", post(team::make_token))
        .route("/tokens/{id}/revoke", post(team::revoke_token))
        .route("/team", get(team::show))
        .route("/teams/{id}", get(standing::of_team))
        .route("/teams/{id}/rename", post(team::rename))
        .route("/teams/{id}/leave", post(team::leave))
        .route("/teams/{id}/invitations", post(team::invite))
        .route("/teams/{id}/invitations/{invitation}/revoke", post(team::revoke_invitation))
        .route("/teams/{id}/members/{account}/remove", post(team::remove))
        .route("/teams/{id}/members/{account}/owner", post(team::hand_over))
        .route("/invitation", get(team::show_invitation).post(team::accept_invitation))
        .route("/join/{slug}", get(team::show_join).post(team::join))
        .route("/api/docs", get(docs::show))
        .merge(share::described().split_for_parts().0)
        .merge(organizer::router())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.settings.request_timeout));
    // An upload has a deadline and a limit of its own.
    let uploads = Router::new()
        .route("/challenges/{slug}/{phase}/submit", post(submit::accept))
        .route("/organizer/datasets", post(organizer::datasets::create))
        .layer(DefaultBodyLimit::disable());
    quick.merge(uploads).merge(organizer::uploads())
}
