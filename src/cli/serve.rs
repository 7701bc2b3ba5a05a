//! `upscore serve`: the web server, with a worker in the same process where asked for.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Outcome,
    store::{self, Store},
    worker::{self as worker_command, DeviceOptions},
};
use crate::{
    config::{Limits, ListenOptions},
    db,
    mail::Mailer,
    outbox,
    queue::Feed,
    record::Signer,
    storage::Storage,
    submission::{files, uploads},
    web::{self, contact::Contact},
    webhook::Allowed,
    worker,
};

/// Between looks for expired uploads.
const SWEEP: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also work the queue, in this process.
    #[arg(long)]
    with_worker: bool,
    #[command(flatten)]
    device: DeviceOptions,
    /// The address that participants use, as `https://sr.example.org`: for links in snippets, and secure cookies.
    #[arg(long, env = "UPSCORE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Whom to tell of a hole in this server: an address of e-mail, or https://…; shown at /.well-known/security.txt.
    #[arg(long, env = "UPSCORE_SECURITY_CONTACT", value_name = "ADDRESS")]
    security_contact: Option<Contact>,
    /// Folder with images, as folders or zips, that administrators may make datasets of in the browser. Nothing outside it.
    #[arg(long, env = "UPSCORE_DATASETS_DIR", value_name = "DIR")]
    datasets_dir: Option<PathBuf>,
    #[command(flatten)]
    people: PeopleOptions,
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    store: store::Options,
}

/// How people are reached and told apart.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PeopleOptions {
    /// Proxies of yours in front of this server, as 10.0.0.0/8: their X-Forwarded-For says where a request came from.
    #[arg(long, env = "UPSCORE_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network, value_name = "NET,…")]
    trusted_proxies: Vec<ipnet::IpNet>,
    /// Mail server: smtps://USER:PASSWORD@HOST, smtp://HOST:25, or …:587?tls=required for STARTTLS. Without one, organizers
    /// hand out the links that set a new password.
    #[arg(long, env = "UPSCORE_SMTP_URL", hide_env_values = true, value_name = "URL")]
    smtp_url: Option<String>,
    /// Sender of mails.
    #[arg(long, env = "UPSCORE_MAIL_FROM", default_value = "Upscore <upscore@localhost>", value_name = "ADDRESS")]
    mail_from: String,
    /// Origins of yours that webhooks may lead to although they are not public or not https, as http://10.0.0.1:9000.
    #[arg(long, env = "UPSCORE_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "ORIGIN,…")]
    webhook_allow: Vec<String>,
}

/// A network, or one address.
fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "neither an address nor a network, as 10.0.0.0/8".to_owned())
}

impl PeopleOptions {
    fn mailer(&self, public_url: Option<&str>) -> anyhow::Result<Option<Mailer>> {
        let Some(url) = self.smtp_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        if public_url.is_none() {
            bail!("mails hold links, so a mail server needs the address of this one: set UPSCORE_PUBLIC_URL");
        }
        Mailer::new(url, &self.mail_from).map(Some)
    }
}

pub fn run(args: &Args) -> Outcome {
    store::block_on(&args.store.log, async {
        let limits = Limits::default();
        let store = Store::open(&args.store, &limits).await?;
        serve(args, &limits, &store).await?;
        store.close().await
    })?;
    Ok(Ok(()))
}

/// Files that a server may have open: its connections, a file for each download and upload, and room.
const OPEN_FILES: libc::rlim_t = 16_384;

/// Lets this process open as many files as it needs, where the system allows it: the usual limit to begin with is 1024.
fn open_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit that outlives both calls.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_cur.max(limit.rlim_max.min(OPEN_FILES));
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !raised {
        warn!("the limit of open files stays as it is");
    }
}

async fn serve(args: &Args, limits: &Limits, store: &Store) -> anyhow::Result<()> {
    open_many_files();
    let stop = worker::stop_signal()?;
    let mailer = args.people.mailer(args.public_url.as_deref())?;
    // Bound before the worker starts: a second server must fail at once.
    let address = args.listen.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening at {address}"))?;
    let work = match args.with_worker {
        true => {
            let pool = db::pool(store.connect.clone(), limits.worker_connections);
            let data_dir = &args.store.data.data_dir;
            let worker =
                worker_command::make(&args.device, limits, pool, store.storage.clone(), data_dir, stop.clone())?;
            Some(tokio::spawn(async move { worker.run().await }))
        }
        false => None,
    };
    info!(url = %format_args!("http://{address}"), worker = args.with_worker, "Upscore is up");
    tokio::spawn(sweep_uploads(store.pool.clone(), store.storage.clone(), stop.clone()));
    let webhooks = Allowed::new(&args.people.webhook_allow)?;
    let datasets_dir = args.datasets_dir.clone().filter(|folder| !folder.as_os_str().is_empty());
    let settings = web::Settings {
        mailer,
        webhooks,
        datasets_dir,
        security_contact: args.security_contact.clone(),
        ..settings(args.public_url.as_deref(), &args.people, limits)
    };
    web::server::serve(app(store, settings, stop)?, listener).await?;
    if let Some(work) = work {
        work.await.context("the worker's task ended")??;
    }
    Ok(())
}

/// Removes expired uploads now and then, until the stop.
pub async fn sweep_uploads(pool: PgPool, storage: Storage, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match uploads::sweep(&pool, &storage).await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "removed expired uploads"),
            Err(error) => warn!(error = format!("{error:#}"), "expired uploads were not removed"),
        }
        match files::sweep(&pool, &storage).await {
            Ok(0) => {}
            Ok(entries) => info!(entries, "removed the files of entries that never ran"),
            Err(error) => warn!(error = format!("{error:#}"), "files of entries that never ran were not removed"),
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// The web application on an open store, and beside it what sends mails and events.
pub fn app(store: &Store, settings: web::Settings, stop: CancellationToken) -> anyhow::Result<web::App> {
    let sending = outbox::Settings {
        mailer: settings.mailer.clone(),
        public_url: settings.public_url.clone(),
        allowed: settings.webhooks.clone(),
        ..outbox::Settings::default()
    };
    tokio::spawn(outbox::Sender::new(store.pool.clone(), sending).run(stop.clone()));
    Ok(web::App {
        feed: Feed::start(store.pool.clone()),
        pool: store.pool.clone(),
        storage: store.storage.clone(),
        doors: web::Doors::new(&settings),
        settings: Arc::new(settings),
        signer: Arc::new(Signer::open(&store.storage.record_key())?),
        boards: Arc::default(),
        pages: Arc::default(),
        studies: Arc::default(),
        samples: Default::default(),
        builds: Default::default(),
        turns: web::Turns::default(),
        stop,
    })
}

/// The web application's limits, from the installation's.
pub fn settings(public_url: Option<&str>, people: &PeopleOptions, limits: &Limits) -> web::Settings {
    web::Settings {
        public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
        trusted_proxies: people.trusted_proxies.clone(),
        results_bytes: limits.results_bytes,
        model_bytes: limits.model_bytes,
        dataset_bytes: limits.dataset_bytes,
        uploads: limits.uploads(),
        ..web::Settings::default()
    }
}
