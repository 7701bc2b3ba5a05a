//! `upscore serve`: the web server, with a worker in the same process where asked for.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Outcome;
use crate::{
    config::{DataOptions, DatabaseOptions, Limits, ListenOptions, LogOptions, find_onnxruntime},
    db,
    evaluation::Tools,
    postgres,
    queue::Feed,
    storage::Storage,
    telemetry, web,
    worker::{self, Measure, Worker},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also work the queue, in this process.
    #[arg(long)]
    with_worker: bool,
    /// What the worker measures on: `cpu` or `cuda:N`.
    #[arg(long, default_value = "cpu", value_name = "DEVICE", requires = "with_worker")]
    device: String,
    /// The address that participants use, as https://sr.example.org: for links in snippets, and secure cookies.
    #[arg(long, env = "UPSCORE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    log: LogOptions,
}

pub fn run(args: &Args) -> Outcome {
    telemetry::init(&args.log)?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(serve(args))?;
    Ok(Ok(()))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let stop = worker::stop_signal()?;
    let limits = Limits::default();
    let (options, cluster) = postgres::open(args.database.url(), &args.data.data_dir).await?;
    let pool = db::pool(options.clone(), limits.connections);
    db::migrate(&pool).await?;
    let storage = Storage::local(&args.data.data_dir, limits.free_bytes)?;
    // Bound before the worker starts: a second server must fail at once.
    let address = args.listen.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening at {address}"))?;
    let work = match args.with_worker {
        true => {
            let pool = db::pool(options, limits.worker_connections);
            let worker = worker(args, &limits, pool, storage.clone(), stop.clone())?;
            Some(tokio::spawn(async move { worker.run().await }))
        }
        false => None,
    };
    let app = web::App {
        feed: Feed::start(pool.clone()),
        pool: pool.clone(),
        storage,
        settings: Arc::new(settings(args, &limits)),
        stop,
    };
    info!(url = %format_args!("http://{address}"), worker = args.with_worker, "Upscore is up");
    web::server::serve(app, listener).await?;
    if let Some(work) = work {
        work.await.context("the worker's task ended")??;
    }
    pool.close().await;
    match cluster {
        Some(cluster) => cluster.stop().await,
        None => Ok(()),
    }
}

fn settings(args: &Args, limits: &Limits) -> web::Settings {
    web::Settings {
        public_url: args.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        results_bytes: limits.results_bytes,
        model_bytes: limits.model_bytes,
        ..web::Settings::default()
    }
}

fn worker(
    args: &Args,
    limits: &Limits,
    pool: sqlx::PgPool,
    storage: Storage,
    stop: CancellationToken,
) -> anyhow::Result<Worker> {
    let runner = std::env::current_exe().context("finding our own program")?;
    let tools = Tools { onnxruntime: find_onnxruntime()?, runner, strict_sandbox: false };
    let settings = worker::Settings {
        lease: limits.lease,
        poll: limits.poll,
        max_attempts: limits.attempts,
        ..worker::Settings::new(&args.device, tools, &args.data.data_dir)
    };
    Worker::new(pool, storage, Arc::new(Measure), settings, stop)
}
