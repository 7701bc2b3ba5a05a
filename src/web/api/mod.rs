//! REST under `/api/v1`. Every route is registered with its OpenAPI description in one place, so that the document cannot
//! miss one; beside them it describes what other sites show (`share`).

pub mod account;
mod announcements;
mod bundles;
pub mod challenges;
pub mod compare;
pub mod datasets;
mod events;
mod file;
mod leaderboard;
mod organizer;
mod protocol;
pub mod publishing;
mod records;
pub mod review;
mod study;
pub mod submissions;
mod teams;
pub mod uploads;

use std::sync::LazyLock;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware::map_response,
    response::IntoResponse,
    routing::get,
};
use serde_json::Value;
use tower_http::timeout::TimeoutLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::Errors, pages::download, share};

/// Bytes of a JSON document: a long announcement, many times over. Reading one takes a core while it lasts.
pub const MAX_DOCUMENT: usize = 256 << 10;

#[derive(OpenApi)]
#[openapi(info(title = "Upscore"), components(schemas(Errors)), modifiers(&Bearer))]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document.info.description = Some(ABOUT.into());
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token of your account."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

const ABOUT: &str = "Everything public can be read by anybody; send `Authorization: Bearer TOKEN` for your own entries and \
to submit. Accounts, tokens and teams need a token with the scope `admin`, or a session cookie from `POST /session`.\n\nEvery error is `{\"error\": {\"code\", \"message\", \"where\", \"hint\"}, \"errors\": […]}`: the first problem, \
and all of them. Codes never change their meaning. Figures are in the units that `definitions` states; times are UTC.";

fn described() -> (OpenApiRouter<App>, OpenApiRouter<App>) {
    let quick = OpenApiRouter::new()
        .routes(routes!(challenges::list))
        .routes(routes!(challenges::show))
        .routes(routes!(file::show))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::build))
        .routes(routes!(download::lr))
        .routes(routes!(download::sample))
        .routes(routes!(leaderboard::show))
        .routes(routes!(protocol::preview))
        .routes(routes!(protocol::save))
        .routes(routes!(submissions::list))
        .routes(routes!(submissions::show, submissions::delete, submissions::amend))
        .routes(routes!(compare::show))
        .routes(routes!(study::show))
        .routes(routes!(submissions::cancel))
        .routes(routes!(submissions::withdraw))
        .routes(routes!(submissions::choose))
        .routes(routes!(submissions::results))
        .routes(routes!(submissions::model))
        .routes(routes!(review::list))
        .routes(routes!(review::show))
        .routes(routes!(review::act))
        .routes(routes!(review::object, review::words))
        .routes(routes!(review::answer))
        .routes(routes!(review::rerun, review::reruns))
        .routes(routes!(review::drift_report, review::decide))
        .routes(routes!(records::show))
        .routes(routes!(records::key))
        .routes(routes!(events::stream))
        .routes(routes!(account::sign_up, account::show, account::change))
        .routes(routes!(account::sign_in, account::sign_out))
        .routes(routes!(account::change_password))
        .routes(routes!(account::sessions))
        .routes(routes!(account::end_session))
        .routes(routes!(account::tokens, account::make_token))
        .routes(routes!(account::revoke_token))
        .routes(routes!(teams::join_rules, teams::join))
        .routes(routes!(teams::accept))
        .routes(routes!(teams::list))
        .routes(routes!(teams::show, teams::change))
        .routes(routes!(teams::remove))
        .routes(routes!(teams::invite))
        .routes(routes!(teams::revoke_invitation))
        .routes(routes!(teams::requests))
        .routes(routes!(teams::decide))
        .routes(routes!(announcements::list, announcements::announce))
        .routes(routes!(announcements::withdraw))
        .routes(routes!(announcements::webhook, announcements::set_webhook, announcements::remove_webhook))
        .routes(routes!(announcements::ping))
        .routes(routes!(announcements::mails, announcements::set_mails))
        .routes(routes!(publishing::publish))
        .routes(routes!(publishing::unpublish))
        .routes(routes!(publishing::carry))
        .routes(routes!(organizer::audit))
        .routes(routes!(organizer::workers))
        .routes(routes!(organizer::export))
        .routes(routes!(organizer::participants))
        .routes(routes!(organizer::remove))
        .routes(routes!(organizer::ban))
        .routes(routes!(organizer::unban))
        .routes(routes!(organizer::organizers, organizer::add_organizer))
        .routes(routes!(organizer::remove_organizer))
        .routes(routes!(account::reset_link));
    let quick_uploads = OpenApiRouter::new()
        .routes(routes!(uploads::list, uploads::create, uploads::options))
        .routes(routes!(uploads::offset, uploads::terminate))
        .layer(map_response(uploads::versioned));
    let slow_uploads = OpenApiRouter::new()
        .routes(routes!(uploads::append, uploads::overridden))
        .layer(map_response(uploads::versioned));
    let slow = OpenApiRouter::new()
        .routes(routes!(submissions::submit))
        .routes(routes!(bundles::import))
        .routes(routes!(file::create))
        .routes(routes!(file::apply))
        .routes(routes!(datasets::create));
    (quick.merge(quick_uploads), slow.merge(slow_uploads))
}

pub fn router(app: &App) -> Router<App> {
    let (quick, slow) = described();
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.settings.request_timeout);
    let quick = quick.layer(timeout).layer(DefaultBodyLimit::max(MAX_DOCUMENT));
    let all = quick.merge(slow.layer(DefaultBodyLimit::disable()));
    let (router, _) = OpenApiRouter::<App>::new().nest("/api/v1", all).split_for_parts();
    router.route("/api/v1/openapi.json", get(document))
}

/// The OpenAPI document.
pub fn openapi() -> &'static Value {
    static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
        let (quick, slow) = described();
        let document = OpenApiRouter::<App>::with_openapi(Document::openapi())
            .nest("/api/v1", quick.merge(slow))
            .merge(share::described());
        serde_json::to_value(document.into_openapi()).unwrap_or_default()
    });
    &OPENAPI
}

async fn document() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "public, max-age=60")], axum::Json(openapi()))
}
