//! Pages, REST and the server under them.
//!
//! ```text
//! server   connections: time limits, caps, graceful stop; `pace`: how slow the other side may be
//!   layers   request id, trace, metrics, security headers, CSRF, compression, panics
//!     doors    what one address may have at once
//!     lang     the language of the answer
//!       error    every refusal becomes one `Fault`, shown as a page or as JSON
//!         extract  checked values: who asks, which phase, which submission and how much of it they may see
//!           pages/ organizer/ api/   small handlers; both call `submission::intake::accept`
//! ```
//!
//! No route serves HR, anything derived from it but scores, or another team's files; but to the organizers of a challenge,
//! who look at an entry's images beside HR (`organizer/pictures.rs`).

pub mod api;
pub mod assets;
mod body;
mod bundles;
mod codabench;
pub mod contact;
mod details;
mod disposition;
mod doors;
mod error;
mod etag;
mod extract;
mod facts;
mod filing;
mod kept;
pub mod lang;
mod layers;
mod metrics;
mod organizer;
mod pace;
mod pages;
mod plot;
mod posted;
mod rules;
pub mod server;
mod share;
mod sight;
mod steps;
pub mod studies;
mod turns;
mod upload;
mod view;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, header},
};
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio_util::sync::CancellationToken;

pub use error::Error;

pub use doors::{AtOnce, Doors};
pub use kept::Pages;
pub use turns::Turns;

use self::contact::Contact;
use crate::{
    challenge::{build::Builds, sample::Samples},
    config,
    leaderboard::Boards,
    mail::Mailer,
    queue::Feed,
    record::Signer,
    storage::Storage,
    submission::uploads::Allowance,
    webhook::Allowed,
};

/// What every handler works with; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub pool: PgPool,
    pub storage: Storage,
    pub feed: Feed,
    pub settings: Arc<Settings>,
    /// Signs the records that are downloaded.
    pub signer: Arc<Signer>,
    pub boards: Arc<Boards>,
    pub pages: Arc<Pages>,
    pub studies: Arc<studies::Studies>,
    pub samples: Samples,
    pub builds: Builds,
    /// What each address may have at once.
    pub doors: Doors,
    /// Which request is writing which resumable upload.
    pub turns: Turns,
    /// Cancelled when the server is to stop, so that streams end.
    pub stop: CancellationToken,
}

impl App {
    pub(crate) async fn db(&self) -> Result<PoolConnection<Postgres>, Error> {
        Ok(self.pool.acquire().await?)
    }

    /// Where this server is found, for snippets.
    pub(crate) fn url(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.settings.public_url {
            return url.clone();
        }
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("127.0.0.1:8080");
        format!("http://{host}")
    }
}

/// The web's knobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://sr.example.org`, without a slash at the end: in snippets and, when https, for `Secure` cookies. `None`:
    /// taken from each request's `Host`.
    pub public_url: Option<String>,
    /// Proxies of ours, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Mails links; `None`: organizers hand them over. Needs `public_url`: a link must not lead where a `Host` header says.
    pub mailer: Option<Mailer>,
    /// Where webhooks may lead beside the public internet.
    pub webhooks: Allowed,
    /// Whom to tell of a hole; `None`: the server does not say.
    pub security_contact: Option<Contact>,
    /// Connections. A browser opens six and leaves them idle for seconds; of an address that has more than its share, the one
    /// that was idle longest makes room, so that only what is at work at once counts, and a lab behind one address hardly meets it.
    pub connections: AtOnce,
    /// Requests of a client until their answers are sent, also behind a proxy, whose connections are not counted by address.
    pub requests: AtOnce,
    /// Downloads: a class that fetches the images at the same moment. Each costs an open file and a piece of it in memory.
    pub downloads: AtOnce,
    /// Live pages: a lab at the deadline. Each costs a look at a row every `events_poll`.
    pub followers: AtOnce,
    /// Boards of the past that are wanted and not made yet: each takes up to a second of the database, one after another.
    pub past_boards: AtOnce,
    /// Pages and documents that are made for one address at once; more wait their turn. As many as a core or two make within a
    /// tenth of a second, so that who else comes waits no longer.
    pub answers: usize,
    /// A client that has not sent its whole header by then is cut off; also how long a connection may idle.
    pub header_timeout: Duration,
    /// The body of a form or a document is whole by then.
    pub form_deadline: Duration,
    /// A client that waits for us, and reads an answer slower than `read_min_rate` over so long, is cut off.
    pub read_window: Duration,
    /// Bytes a second: a twentieth of a poor connection. A zip of 30 MB that is read so slowly takes hours.
    pub read_min_rate: u64,
    /// An answer takes no longer, uploads and streams apart.
    pub request_timeout: Duration,
    /// Bytes of a results zip; a phase whose images need less allows less.
    pub results_bytes: u64,
    /// Bytes of a model.
    pub model_bytes: u64,
    /// Bytes of a dataset's zip.
    pub dataset_bytes: u64,
    /// Where images lie that who runs the server may make datasets of without an upload; `None`: nowhere.
    pub datasets_dir: Option<PathBuf>,
    /// Resumable uploads that an account may have open: a few entries at once, and no more disk than they need.
    pub uploads: Allowance,
    /// The whole body of an upload.
    pub upload_deadline: Duration,
    /// An upload slower than `upload_min_rate` over this long is cut off.
    pub upload_window: Duration,
    /// Bytes a second.
    pub upload_min_rate: u64,
    /// How long open requests may go on after the stop signal.
    pub grace: Duration,
    /// Between looks at a row whose events may have been missed, for the live page.
    pub events_poll: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            public_url: None,
            trusted_proxies: Vec::new(),
            mailer: None,
            webhooks: Allowed::default(),
            security_contact: None,
            connections: AtOnce { an_address: 256, in_all: 2048 },
            requests: AtOnce { an_address: 256, in_all: 2048 },
            downloads: AtOnce { an_address: 32, in_all: 512 },
            followers: AtOnce { an_address: 100, in_all: 1024 },
            past_boards: AtOnce { an_address: 2, in_all: 16 },
            answers: 4,
            header_timeout: Duration::from_secs(15),
            form_deadline: Duration::from_secs(30),
            read_window: Duration::from_secs(30),
            read_min_rate: 2_000,
            request_timeout: Duration::from_secs(30),
            results_bytes: config::Limits::default().results_bytes,
            model_bytes: config::Limits::default().model_bytes,
            dataset_bytes: config::Limits::default().dataset_bytes,
            datasets_dir: None,
            uploads: config::Limits::default().uploads(),
            upload_deadline: Duration::from_secs(600),
            upload_window: Duration::from_secs(20),
            upload_min_rate: 10_000,
            grace: Duration::from_secs(10),
            events_poll: Duration::from_secs(3),
        }
    }
}

impl Settings {
    /// Cookies travel over TLS only.
    fn secure(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// Everything the server answers.
pub fn router(app: App) -> Router {
    let api = api::router(&app);
    let routes = Router::new()
        .merge(pages::router(&app))
        .merge(api)
        .merge(codabench::router(&app))
        .merge(layers::health())
        .merge(contact::router())
        .route("/static/{name}", axum::routing::get(assets::serve))
        .fallback(async || Error::PageNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    layers::apply(routes, &app).with_state(app)
}
