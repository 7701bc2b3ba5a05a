//! What can go wrong at the edge, as situations. A handler returns an [`Error`]; [`present`] shows it, and every refusal of
//! the layers below, as a page or as JSON.

use askama::Template;
use axum::{
    Json,
    extract::{Request, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tower_http::request_id::RequestId;
use utoipa::ToSchema;

use super::{
    App,
    lang::{t, told},
    view::{Page, span},
};
use crate::{
    challenge::{announcement::AnnouncementError, organizers::OrganizersError},
    db,
    problem::Problem,
    queue::rerun::RerunError,
    review::{mark::MarkError, objection::ObjectionError},
    storage::StorageError,
    submission::{Rejection, carry::CarryError, quota::Bound},
    team::{TeamError, account::AccountError, attempt::TooMany, password::Busy, token::TokenError},
};

/// What tells a client which version of tus to speak.
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
/// Of every answer about an upload, refusals too.
pub const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");

/// What is allowed, what of it is left, and seconds until it is whole again.
const RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// The headers that tell a client how far it may go.
pub fn rate_limit(limit: u32, remaining: u32, reset: i64) -> [(HeaderName, HeaderValue); 3] {
    let [a, b, c] = RATE_LIMIT;
    [(a, limit.into()), (b, remaining.into()), (c, reset.max(0).into())]
}

#[derive(Debug)]
pub enum Error {
    PageNotFound,
    MethodNotAllowed,
    ChallengeNotFound,
    PhaseNotFound,
    /// Also where it exists and the asker may not see it: the two cannot be told apart.
    SubmissionNotFound,
    /// Nobody is signed in, and this is not for everybody.
    TokenNeeded,
    /// Unknown, expired or revoked.
    TokenRefused,
    /// The token may read, not submit.
    ScopeTooSmall,
    /// The token may not change accounts and teams.
    ScopeNotAdmin,
    /// Neither is told which of the two was wrong.
    SignInRefused,
    /// The present password, asked for again, was wrong.
    WrongPassword,
    /// Tried too often: wait so many seconds.
    TooManyTries(i64),
    /// This address, or all together, have as many of these under way as there may be.
    TooManyAtOnce,
    /// A link to a reset or into a team that is unknown, used, revoked or expired: the four cannot be told apart.
    LinkNotFound,
    /// A form or document that is not what was asked for.
    BadBody(StatusCode, String),
    Account(AccountError),
    Team(TeamError),
    /// Also where it exists and the asker is not in it.
    TeamNotFound,
    /// Also where it is another account's.
    SessionNotFound,
    /// To organizers.
    AccountNotFound,
    /// Also where it is another account's.
    TokenNotFound,
    Token(TokenError),
    NoTeam,
    Carry(CarryError),
    /// The sample submission takes longer to make than a request may wait.
    SampleInMaking,
    /// The phase's figures are not published.
    NotPublished,
    /// There is no result yet, or none any more.
    NotScored,
    /// It never ran, and its files are gone.
    FilesRemoved,
    /// Nothing is queued or running that could be cancelled.
    NotLive,
    /// The phase's rules let no team choose.
    NoChoice,
    /// An entry that is not scored, or is withdrawn, stands nowhere.
    NotChoosable,
    /// The body is no JSON of the form that is asked for.
    BadJson(JsonRejection),
    /// The body is not what was asked for.
    BadUpload(Problem),
    /// Rules that cannot hold.
    Rules(Problem),
    BadQuery(String),
    UploadTooSlow,
    TooManyParts,
    /// A resumable upload that is not there, expired, or somebody else's.
    UploadNotFound,
    /// Another request is writing it and does not let go.
    UploadBusy,
    /// The piece does not begin where the upload ends.
    UploadOffset(u64),
    /// The client speaks another version of tus.
    TusVersion,
    NotOctets,
    /// A situation that its own module describes.
    Refused(StatusCode, Problem),
    /// Several things that are wrong with what was sent.
    Problems(StatusCode, Vec<Problem>),
    Rejected(Rejection),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Error::Rejected(rejection)
    }
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        Error::BadJson(rejection)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Error::Rejected(error.into())
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Database(error) => error.into(),
            AccountError::Other(error) => error.into(),
            situation => Error::Account(situation),
        }
    }
}

impl From<TeamError> for Error {
    fn from(error: TeamError) -> Self {
        match error {
            TeamError::Database(error) => error.into(),
            TeamError::LinkNotFound => Error::LinkNotFound,
            situation => Error::Team(situation),
        }
    }
}

impl From<OrganizersError> for Error {
    fn from(error: OrganizersError) -> Self {
        let (code, message) = (error.code().unwrap_or("internal"), sentence(&error.to_string()));
        match error {
            OrganizersError::NoSuchAccount => Error::AccountNotFound,
            OrganizersError::NotAnOrganizer => Error::Refused(StatusCode::NOT_FOUND, Problem::new(code, message)),
            OrganizersError::Already | OrganizersError::Last => {
                Error::Refused(StatusCode::CONFLICT, Problem::new(code, message))
            }
            OrganizersError::Database(error) => error.into(),
        }
    }
}

impl From<AnnouncementError> for Error {
    fn from(error: AnnouncementError) -> Self {
        let problem = Problem::new(error.code().unwrap_or("internal"), sentence(&error.to_string()));
        match error {
            AnnouncementError::Database(error) => error.into(),
            AnnouncementError::NotFound => Error::Refused(StatusCode::NOT_FOUND, problem),
            situation => Error::Refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                situation.field().into_iter().fold(problem, Problem::at),
            ),
        }
    }
}

impl From<MarkError> for Error {
    fn from(error: MarkError) -> Self {
        let message = sentence(&error.to_string());
        match error {
            MarkError::BadReason => {
                Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, Problem::new("bad_reason", message).at("reason"))
            }
            MarkError::BadPublicReason => Error::Refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                Problem::new("bad_reason", message).at("public_reason"),
            ),
            MarkError::Changed(_) => Error::Refused(
                StatusCode::CONFLICT,
                Problem::new("mark_changed", message).hint("Look at it as it is now, and decide again."),
            ),
            MarkError::NotFound => Error::SubmissionNotFound,
            MarkError::Database(error) => error.into(),
        }
    }
}

impl From<ObjectionError> for Error {
    fn from(error: ObjectionError) -> Self {
        let message = sentence(&error.to_string());
        let refused = |status, code| Error::Refused(status, Problem::new(code, message));
        match error {
            ObjectionError::BadText => refused(StatusCode::UNPROCESSABLE_ENTITY, "bad_objection"),
            ObjectionError::Open => refused(StatusCode::CONFLICT, "objection_open"),
            ObjectionError::TooEarly => refused(StatusCode::CONFLICT, "objection_too_early"),
            ObjectionError::Answered => refused(StatusCode::CONFLICT, "objection_answered"),
            ObjectionError::NotFound => refused(StatusCode::NOT_FOUND, "objection_not_found"),
            ObjectionError::Database(error) => error.into(),
        }
    }
}

impl From<RerunError> for Error {
    fn from(error: RerunError) -> Self {
        let problem = Problem::new(error.code().unwrap_or("internal"), sentence(&error.to_string()));
        match error {
            RerunError::Database(error) => error.into(),
            RerunError::NotFound => Error::Refused(StatusCode::NOT_FOUND, problem),
            _ => Error::Refused(StatusCode::CONFLICT, problem),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Database(error) => error.into(),
            situation => Error::Token(situation),
        }
    }
}

impl From<TooMany> for Error {
    fn from(too_many: TooMany) -> Self {
        Error::TooManyTries(too_many.seconds)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Error::Rejected(Rejection::Ours(error))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Rejected(error.into())
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl Error {
    /// An organizer acts on something of somebody else's, and does not say why.
    pub fn bad_reason() -> Error {
        let problem = Problem::new("bad_reason", "A reason has 1 to 2000 characters.").at("reason");
        Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem)
    }

    /// A text with a NUL, which no name, reason or path holds.
    pub fn no_nul() -> Error {
        Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, Problem::new("bad_text", "A text holds no NUL character."))
    }

    /// To organizers.
    pub fn no_webhook() -> Error {
        let problem = Problem::new("webhook_not_found", "This challenge has no webhook.");
        Error::Refused(StatusCode::NOT_FOUND, problem)
    }

    /// What to show.
    pub fn fault(&self) -> Fault {
        let (status, problem) = match self {
            Error::PageNotFound => (404, Problem::new("not_found", "There is nothing at this address.")),
            Error::MethodNotAllowed => {
                (405, Problem::new("method_not_allowed", "This address does not take this kind of request."))
            }
            Error::ChallengeNotFound => (404, Problem::new("challenge_not_found", "There is no such challenge.")),
            Error::PhaseNotFound => (404, Problem::new("phase_not_found", "There is no such phase.")),
            Error::SubmissionNotFound => (
                404,
                Problem::new("submission_not_found", "There is no such submission, or it is not yours to see.")
                    .hint("Sign in with a token of the team that sent it in."),
            ),
            Error::TokenNeeded => (
                401,
                Problem::new("token_needed", "This is for those who are signed in.")
                    .hint("Sign in, or send a token as `Authorization: Bearer TOKEN`."),
            ),
            Error::TokenRefused => (
                401,
                Problem::new("token_refused", "This token is unknown, expired or revoked.")
                    .hint("Check that it was copied whole; it starts with `upscore_`."),
            ),
            Error::ScopeTooSmall => (
                403,
                Problem::new("scope_too_small", "This token may read but not submit.")
                    .hint("Make a token with the scope `submit`."),
            ),
            Error::ScopeNotAdmin => (
                403,
                Problem::new("scope_not_admin", "This token may not change accounts, tokens and teams.")
                    .hint("Sign in with your password, or use a token with the scope `admin`."),
            ),
            Error::SignInRefused => (
                401,
                Problem::new("sign_in_refused", "There is no account with this name and password.")
                    .hint("Check both. A forgotten password can be reset."),
            ),
            Error::WrongPassword => {
                (422, Problem::new("wrong_password", "This is not the present password.").at("current"))
            }
            Error::TooManyTries(seconds) => {
                let problem = Problem::new("too_many_tries", "There were too many tries from here or for this name.")
                    .hint(format!("Try again in {}; the right password works then.", span(seconds.unsigned_abs())));
                return Fault {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    problems: vec![problem],
                    retry_after: Some(*seconds),
                    quota: None,
                };
            }
            Error::TooManyAtOnce => {
                let message = "Too many requests of this kind are under way, from your address or in all.";
                return Fault {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    problems: vec![Problem::new("too_many_at_once", message).hint("Try again in seconds.")],
                    retry_after: Some(5),
                    quota: None,
                };
            }
            Error::SampleInMaking => {
                let problem = Problem::new("sample_in_making", "This download is being made, once for everybody.");
                return Fault {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    problems: vec![problem.hint("Come back in a minute.")],
                    retry_after: Some(60),
                    quota: None,
                };
            }
            Error::LinkNotFound => (
                404,
                Problem::new("link_not_found", "This link does not work: it is unknown, used, revoked or too old.")
                    .hint("Ask whoever gave it to you for a new one."),
            ),
            Error::BadBody(status, message) => (status.as_u16(), Problem::new("bad_form", message.clone())),
            Error::Account(error) => {
                let code = error.code().unwrap_or("internal");
                let problem = Problem::new(code, sentence(&error.to_string()));
                let taken = matches!(error, AccountError::Taken | AccountError::LooksAlike);
                let status = if taken { 409 } else { 422 };
                (status, error.field().into_iter().fold(problem, Problem::at))
            }
            Error::Team(error) => {
                let problem = Problem::new(error.code().unwrap_or("internal"), sentence(&error.to_string()));
                match error {
                    TeamError::BadName | TeamError::NameTaken | TeamError::NameLooksAlike => {
                        let status = if matches!(error, TeamError::BadName) { 422 } else { 409 };
                        (status, problem.at("name"))
                    }
                    TeamError::TermsNotAccepted => (422, problem.hint("Read them, and accept them.").at("terms")),
                    TeamError::TermsChanged => {
                        (409, problem.hint("Read them as they are now, and accept them.").at("terms"))
                    }
                    TeamError::Declined | TeamError::Banned(_) => (403, problem.hint("Ask them.")),
                    TeamError::NotTakingPart => (404, problem),
                    TeamError::BadReason => (422, problem.at("reason")),
                    TeamError::NoSuchMember => (404, problem),
                    TeamError::OwnersOnly => (403, problem),
                    TeamError::Bound => {
                        (409, problem.hint("Its owner can invite you again. A second team would be a second quota."))
                    }
                    TeamError::LastMember => (
                        409,
                        problem
                            .hint("Invite somebody and hand the team over first; or withdraw its entries and keep it."),
                    ),
                    TeamError::OwnerLeaves => (409, problem.hint("Make another member the owner first.")),
                    _ => (409, problem),
                }
            }
            Error::TeamNotFound => {
                (404, Problem::new("team_not_found", "There is no such team, or you are not in it."))
            }
            Error::SessionNotFound => (404, Problem::new("session_not_found", "You have no such session.")),
            Error::AccountNotFound => (404, Problem::new("account_not_found", "There is no such account.").at("name")),
            Error::TokenNotFound => (404, Problem::new("token_not_found", "You have no such token.")),
            Error::Token(error) => {
                let problem = Problem::new(error.code().unwrap_or("internal"), sentence(&error.to_string()));
                match error {
                    TokenError::BadName => (422, problem.at("name")),
                    TokenError::TooMany => (409, problem.hint("Revoke one that is no longer used.")),
                    _ => (422, problem.at("days")),
                }
            }
            Error::NoTeam => (
                403,
                Problem::new("no_team", "You are in no team of this challenge.")
                    .hint("Join or make a team of this challenge first."),
            ),
            Error::Carry(error) => match error {
                CarryError::NotAnother => {
                    (422, Problem::new("not_another_phase", sentence(&error.to_string())).at("from"))
                }
                CarryError::OtherImages(..) => (
                    409,
                    Problem::new("other_images", sentence(&error.to_string())).hint(
                        "Both the results and the model are measured; the results are of the earlier phase's images.",
                    ),
                ),
                _ => (500, Problem::new("internal", "Something went wrong here.")),
            },
            Error::NotPublished => (
                403,
                Problem::new("not_published", "The figures of this phase are not published yet.")
                    .hint("They appear here when the organizers publish them."),
            ),
            Error::NotScored => (404, Problem::new("not_scored", "This submission has no result.")),
            Error::FilesRemoved => (
                410,
                Problem::new("files_removed", "This entry never ran, and its files were removed.")
                    .hint("Files of an entry that was cancelled before it ran are kept for 7 days."),
            ),
            Error::NotLive => {
                (409, Problem::new("not_live", "This submission is final: nothing is queued or running."))
            }
            Error::NoChoice => (
                409,
                Problem::new("no_choice", "In this phase each team's best entry stands; there is nothing to choose."),
            ),
            Error::NotChoosable => (
                409,
                Problem::new("not_choosable", "Only an entry that is scored and not withdrawn can stand on the board."),
            ),
            Error::BadJson(rejection) => {
                let status = rejection.status();
                let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_json" };
                (
                    status.as_u16(),
                    Problem::new(code, "The body is not the JSON that is asked for.").hint(rejection.body_text()),
                )
            }
            Error::BadUpload(problem) => (400, problem.clone()),
            Error::Rules(problem) => (422, problem.clone()),
            Error::BadQuery(message) => (400, Problem::new("bad_query", message.clone())),
            Error::UploadTooSlow => (
                408,
                Problem::new("upload_too_slow", "The upload was too slow and was cut off.")
                    .hint("Try again over a better connection; a resumable upload goes on where it stopped."),
            ),
            Error::TooManyParts => (413, Problem::new("too_many_parts", "An upload has at most 32 parts.")),
            Error::UploadNotFound => (
                404,
                Problem::new("upload_not_found", "There is no such upload, or it is not yours.")
                    .hint("It may have expired or been used already; begin a new one."),
            ),
            Error::UploadBusy => (
                423,
                Problem::new("upload_busy", "Another request is writing to this upload.")
                    .hint("Ask for its offset in a moment and go on from there."),
            ),
            Error::UploadOffset(have) => (
                409,
                Problem::new("upload_offset", format!("The upload has {have} bytes; a piece begins there."))
                    .hint("Ask for the offset with HEAD and go on from there."),
            ),
            Error::TusVersion => (
                412,
                Problem::new("tus_version", "This server speaks version 1.0.0 of tus.")
                    .hint("Send the header `Tus-Resumable: 1.0.0`."),
            ),
            Error::NotOctets => {
                (415, Problem::new("unsupported_media_type", "A piece is sent as `application/offset+octet-stream`."))
            }
            Error::Refused(status, problem) => (status.as_u16(), problem.clone()),
            Error::Problems(status, problems) => {
                return Fault { status: *status, problems: problems.clone(), retry_after: None, quota: None };
            }
            // What no extractor saw; nothing was written.
            Error::Rejected(Rejection::Ours(error)) if db::is_bad_text(error) => return Error::no_nul().fault(),
            Error::Rejected(rejection) => return Fault::of(rejection),
        };
        Fault {
            status: StatusCode::from_u16(status).unwrap_or_default(),
            problems: vec![problem],
            retry_after: None,
            quota: None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Error::Rejected(Rejection::Ours(error)) = &self {
            // Once, and with everything; the client learns nothing but the request's id.
            if db::is_away(error) {
                tracing::warn!(error = format!("{error:#}"), "the database is away");
            } else if db::is_bad_text(error) {
                tracing::warn!("a text with a NUL reached the database");
            } else {
                tracing::error!(error = format!("{error:#}"), "a request failed through us");
            }
        }
        self.fault().into_response()
    }
}

/// With a capital and a full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// An error as it is shown: never empty, nothing of our insides.
#[derive(Debug, Clone)]
pub struct Fault {
    pub status: StatusCode,
    pub problems: Vec<Problem>,
    /// Seconds.
    pub retry_after: Option<i64>,
    /// Of a quota that is used up: how much it is, and seconds until there is room.
    pub quota: Option<(u32, i64)>,
}

impl Fault {
    fn of(rejection: &Rejection) -> Fault {
        let retry_after = match rejection {
            Rejection::QuotaUsed { resets_at: Some(at), .. } => Some((*at - chrono::Utc::now()).num_seconds().max(1)),
            Rejection::Ours(error) if db::is_away(error) || error.is::<Busy>() => Some(5),
            Rejection::StorageFull | Rejection::TooManyUploads { .. } => Some(600),
            Rejection::QuotaUsed { bound: Bound::Unfinished, .. } => Some(60),
            _ => None,
        };
        let quota = match rejection {
            Rejection::QuotaUsed { limit, .. } => retry_after.map(|seconds| (*limit, seconds)),
            _ => None,
        };
        let status = StatusCode::from_u16(rejection.class().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let status = match rejection {
            Rejection::Ours(error) if error.is::<Busy>() => StatusCode::SERVICE_UNAVAILABLE,
            _ => status,
        };
        let mut problems = rejection.problems();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problems =
                vec![Problem::new("unavailable", "The server is busy for a moment.").hint("Try again in seconds.")];
        }
        Fault { status, problems, retry_after, quota }
    }

    /// Of an answer that one of the layers below made, with nothing but its status.
    fn of_status(status: StatusCode) -> Fault {
        let (code, message) = match status.as_u16() {
            400 => ("bad_request", "The request could not be read."),
            403 => ("cross_site", "This request came from another site and was refused."),
            404 => return Error::PageNotFound.fault(),
            405 => return Error::MethodNotAllowed.fault(),
            408 | 504 => ("timeout", "The request took too long."),
            413 => ("too_large", "The request is larger than is allowed."),
            415 => ("unsupported_media_type", "The request's content type is not one that is taken here."),
            422 => ("unprocessable", "The request could not be understood."),
            431 => ("headers_too_large", "The request's headers are larger than is allowed."),
            _ => ("internal", "Something went wrong on our side."),
        };
        Fault { status, problems: vec![Problem::new(code, message)], retry_after: None, quota: None }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((limit, reset)) = self.quota {
            response.headers_mut().extend(rate_limit(limit, 0, reset));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            // Who is refused keeps no place meanwhile.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::PRECONDITION_FAILED {
            response.headers_mut().insert(TUS_VERSION, HeaderValue::from_static("1.0.0"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// An error of the API: the first problem, and all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Errors {
    pub error: Problem,
    pub errors: Vec<Problem>,
    /// Tell us this when you ask about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Errors {
    pub fn new(problems: Vec<Problem>, request_id: Option<String>) -> Errors {
        let error = problems.first().cloned().unwrap_or_else(|| Problem::new("internal", "Something went wrong."));
        Errors { error, errors: problems, request_id }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    status: u16,
    heading: &'static str,
    problems: Vec<Problem>,
    request_id: Option<String>,
    /// Where to sign in and come back from.
    sign_in: Option<String>,
}

/// Whether the asker wants JSON: the API always, a page's script when it says so.
pub fn wants_json(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    // Codabench's routes lie under /api/ too.
    (path.starts_with("/api/") && path != "/api/docs")
        || (accept.contains("application/json") && !accept.contains("text/html"))
}

/// Marks an answer that is shown as it is, as to a probe.
#[derive(Debug, Clone, Copy)]
pub struct AsItIs;

/// Shows every refusal, whoever made it, in the asker's form.
pub async fn present(State(app): State<App>, request: Request, next: Next) -> Response {
    let json = wants_json(request.uri().path(), request.headers());
    let request_id = request.extensions().get::<RequestId>();
    let request_id = request_id.and_then(|id| id.header_value().to_str().ok()).map(str::to_owned);
    let sign_in = sign_in_then(&request);
    let cookie = super::extract::cookie_secret(request.headers(), &app);
    let mut response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let fault = match response.extensions_mut().remove::<Fault>() {
        Some(fault) => fault,
        // A handler that shows its own page.
        None if response.extensions_mut().remove::<AsItIs>().is_some() => return response,
        None if response.headers().get(header::CONTENT_TYPE).is_some_and(is_shown) => return response,
        None => Fault::of_status(status),
    };
    let ours = fault.status.is_server_error();
    let request_id = request_id.filter(|_| ours);
    let shown = if json {
        let problems = fault.problems.into_iter().map(in_our_words).collect();
        (fault.status, Json(Errors::new(problems, request_id))).into_response()
    } else {
        let page = ErrorPage {
            page: Page::plain(t("Error"), cookie.is_some()),
            status: fault.status.as_u16(),
            heading: heading(fault.status),
            problems: fault.problems,
            request_id,
            sign_in: (cookie.is_none() && matches!(fault.status.as_u16(), 401 | 404)).then_some(sign_in),
        };
        (fault.status, render(&page)).into_response()
    };
    let (mut parts, body) = shown.into_parts();
    let kept = [header::RETRY_AFTER, header::WWW_AUTHENTICATE, header::ALLOW, header::CONNECTION];
    for name in kept.into_iter().chain([TUS_VERSION, TUS_RESUMABLE]).chain(RATE_LIMIT) {
        if let Some(value) = response.headers().get(&name) {
            parts.headers.insert(name, value.clone());
        }
    }
    Response::from_parts(parts, body)
}

/// In the language of the page whose script asked.
fn in_our_words(problem: Problem) -> Problem {
    Problem {
        message: told(&problem.message).into_owned(),
        hint: problem.hint.as_deref().map(|hint| told(hint).into_owned()),
        ..problem
    }
}

/// The sign-in that leads back to a page; a form is not sent again by it.
fn sign_in_then(request: &Request) -> String {
    let path =
        if request.method().is_safe() { request.uri().path_and_query().map_or("/", |p| p.as_str()) } else { "/" };
    format!("/signin?next={}", utf8_percent_encode(path, NON_ALPHANUMERIC))
}

fn is_shown(content_type: &HeaderValue) -> bool {
    let kind = content_type.as_bytes();
    kind.starts_with(b"text/html") || kind.starts_with(b"application/json")
}

fn heading(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => t("Sign in first"),
        403 => t("Not allowed"),
        404 => t("Not found"),
        409 => t("Not possible now"),
        413 => t("Too large"),
        429 => t("Enough for now"),
        503 => t("Back in a moment"),
        500.. => t("That was our fault"),
        _ => t("That did not work"),
    }
}

/// A template as an answer. That a template fails to render is a fault of ours.
pub fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => Error::from(error).into_response(),
    }
}
