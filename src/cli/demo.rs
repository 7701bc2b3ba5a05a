//! `upscore demo`: a server with a worker, and a challenge worth looking at, made of nothing but a seed.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, anyhow};
use sqlx::Acquire;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Outcome,
    output::outln,
    serve,
    store::{self, Store},
    worker::{self as worker_command, DeviceOptions},
};
use crate::{
    challenge::{
        self,
        create::{self, NewChallenge, PhaseFiles},
        phase::{self, Phase},
    },
    config::{Limits, ListenOptions, find_onnxruntime},
    db,
    demo::{
        images::{EVALUATION_SEED, TRAINING_SEED, hr_images},
        models::{self, DemoEntry},
    },
    evaluation::{
        self, TimingSettings,
        images::{Rgb8, encode_png},
        resize,
        runner::{Fault, Runner, Setup, Slot},
    },
    queue,
    submission::intake::{self, Upload},
    team::{
        self,
        account::{self, NewAccount},
        secret::Secret,
        token::{self, Scope},
    },
    web, worker,
};

/// The challenge and phase that the demo makes.
const CHALLENGE: &str = "demo-esr";
const PHASE: &str = "validation";
const SCALE: u32 = 4;
const IMAGES: usize = 10;
/// Twice as many to fit on, of another seed.
const TRAINING_IMAGES: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    store: store::Options,
}

pub fn run(args: &Args) -> Outcome {
    // The demo tells its own story; the log only speaks up when something is wrong, unless asked.
    let mut log = args.store.log.clone();
    if log.filter == "info" {
        log.filter = "warn".into();
    }
    store::block_on(&log, async {
        let limits = Limits::default();
        let store = Store::open(&args.store, &limits).await?;
        demo(args, &limits, &store).await?;
        store.close().await
    })?;
    Ok(Ok(()))
}

async fn demo(args: &Args, limits: &Limits, store: &Store) -> anyhow::Result<()> {
    let stop = worker::stop_signal()?;
    let address = args.listen.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("listening at {address}; another program may use it: UPSCORE_LISTEN=127.0.0.1:8081 make demo")
    })?;
    let pool = db::pool(store.connect.clone(), limits.worker_connections);
    let worker = worker_command::make(
        &args.device,
        limits,
        pool,
        store.storage.clone(),
        &args.store.data.data_dir,
        stop.clone(),
    )?;
    let work = tokio::spawn(async move { worker.run().await });
    let app = serve::app(store, serve::settings(None, &serve::PeopleOptions::default(), limits), stop.clone())?;
    tokio::spawn(serve::sweep_uploads(store.pool.clone(), store.storage.clone(), stop.clone()));
    let server = tokio::spawn(web::server::serve(app, listener));
    let url = format!("http://{address}");
    outln!("Upscore runs at {url}; Ctrl-C stops it all.");
    let filled = tokio::select! {
        filled = fill(store, &args.device) => filled,
        () = stop.cancelled() => Ok(()),
    };
    match filled {
        Ok(()) if !stop.is_cancelled() => introduce(store, &args.store.data.data_dir, &url).await?,
        Ok(()) => {}
        Err(error) => {
            stop.cancel();
            return Err(error);
        }
    }
    wait(server, work, &stop).await
}

async fn wait(
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
    work: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let served = server.await.context("the server's task ended")?;
    stop.cancel();
    work.await.context("the worker's task ended")??;
    served
}

/// Makes the challenge and its entries, unless an earlier run did, and waits until they are measured.
async fn fill(store: &Store, device: &DeviceOptions) -> anyhow::Result<()> {
    let mut conn = store.pool.acquire().await?;
    if challenge::by_slug(&mut conn, CHALLENGE).await?.is_none() {
        step("drawing images and fitting networks on 20 of them (about half a minute)");
        let (images, baseline, entries) = tokio::task::spawn_blocking(|| {
            let training: Vec<Rgb8> = hr_images(TRAINING_IMAGES, TRAINING_SEED).into_iter().map(|(_, i)| i).collect();
            let mut entries = models::entries(&training);
            entries.push(models::broken());
            (hr_images(IMAGES, EVALUATION_SEED), models::baseline(&training), entries)
        })
        .await?;
        // The baseline is measured by itself: the gate follows it.
        let phase = make_challenge(store, &images, &baseline).await?;
        step("making each team's results with its own network, and submitting them");
        for entry in &entries {
            submit(store, &phase, &images, entry, device).await?;
        }
    }
    let mut said = 0;
    loop {
        let depth = queue::depth(&mut conn).await?;
        let left = depth.queued + depth.running;
        if left != said && left > 0 {
            step(&format!("measuring: {left} entries left"));
        }
        if left == 0 {
            return Ok(());
        }
        said = left;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn step(what: &str) {
    outln!("  {what}");
}

async fn make_challenge(store: &Store, images: &[(String, Rgb8)], baseline: &DemoEntry) -> anyhow::Result<Phase> {
    let folder = tempfile::tempdir()?;
    let hr = folder.path().join("hr");
    std::fs::create_dir(&hr)?;
    for (name, image) in images {
        std::fs::write(hr.join(format!("{name}.png")), encode_png(image)?)?;
    }
    let model = folder.path().join("baseline.onnx");
    std::fs::write(&model, &baseline.model)?;
    let new = NewChallenge {
        slug: CHALLENGE.into(),
        title: "Efficient ×4 super-resolution (demo)".into(),
        description: "Ten synthetic pictures, enlarged four times. Beat the baseline's PSNR, and be cheaper.".into(),
    };
    let mut files = PhaseFiles {
        baseline_name: baseline.title.to_owned(),
        baseline_model: Some(model),
        ..PhaseFiles::new(PHASE, "Validation", hr, SCALE)
    };
    // Somebody waits for the board: less exact than a challenge's.
    files.rules.timing = TimingSettings { processes: 1, max_seconds: 10.0, ..files.rules.timing };
    create::challenge(&store.pool, &store.storage, &new, &files)
        .await?
        .map_err(|problems| anyhow!("the demo's challenge: {problems:?}"))?;
    let mut conn = store.pool.acquire().await?;
    phase::by_slug(&mut conn, CHALLENGE, PHASE).await?.context("the demo's phase is gone")
}

/// One team with its account, and its entry sent in by the way that every entry takes.
async fn submit(
    store: &Store,
    phase: &Phase,
    images: &[(String, Rgb8)],
    entry: &DemoEntry,
    device: &DeviceOptions,
) -> anyhow::Result<()> {
    let mut conn = store.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let name = entry.team.to_lowercase().replace(' ', "-");
    let new = NewAccount { name, email: None, password: None, is_organizer: false };
    let account = account::create(&mut tx, new).await?;
    let challenge = challenge::by_slug(&mut tx, CHALLENGE).await?.context("the demo's challenge is gone")?;
    let team = team::create(&mut tx, challenge.id, entry.team, account).await?;
    tx.commit().await?;
    let zip = results(images, entry, device)?;
    let upload = Upload {
        phase: phase.id,
        team,
        account,
        results: Some(store.storage.stage(&zip).await?),
        model: Some(store.storage.stage(&entry.model).await?),
        fact_sheet: [("method", entry.title), ("description", entry.description)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        idempotency_key: None,
    };
    let accepted = intake::accept(&store.pool, &store.storage, upload).await;
    accepted.map_err(|rejection| anyhow!("{}: {:?}", entry.team, rejection.problems()))?;
    Ok(())
}

/// What a team would upload: its network's output for every LR image. Where the network does not fit the task (the demo
/// has one such team), bicubic takes its place.
fn results(images: &[(String, Rgb8)], entry: &DemoEntry, device: &DeviceOptions) -> anyhow::Result<Vec<u8>> {
    let setup = Setup {
        program: std::env::current_exe()?,
        onnxruntime: find_onnxruntime()?,
        device: device.device.clone(),
        threads: 2,
        limits: evaluation::Limits::default(),
        strict: !device.allow_weak_sandbox,
    };
    let mut runner = Runner::start(&setup, Arc::new(AtomicBool::new(false)))?;
    runner.load(Slot::Entry, &entry.model).map_err(whose)?;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, hr) in images {
        let lr = resize::downscale(hr, SCALE);
        let sr = match evaluation::upscale(&mut runner, &lr, 1, name, SCALE) {
            Ok(sr) => sr,
            Err(Fault::Model(_)) => resize::upscale(&lr, SCALE),
            Err(fault) => return Err(whose(fault)),
        };
        zip.start_file(format!("{name}x{SCALE}.png"), stored)?;
        zip.write_all(&encode_png(&sr)?)?;
    }
    zip.start_file("readme.txt", stored)?;
    write!(
        zip,
        "runtime per image [s] : 0.01\nCPU[1] / GPU[0] : 1\nExtra Data [1] / No Extra Data [0] : 0\nOther description : {}\n",
        entry.description
    )?;
    Ok(zip.finish()?.into_inner())
}

fn whose(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Model(problem) => anyhow!(problem),
        Fault::Ours(error) => error,
    }
}

/// Logins for an organizer and for a team of the visitor's own, a fresh token, and where to look.
async fn introduce(store: &Store, data_dir: &Path, url: &str) -> anyhow::Result<()> {
    let password = demo_password(data_dir)?;
    let mut conn = store.pool.acquire().await?;
    let mut accounts = Vec::new();
    for (name, is_organizer) in [("organizer", true), ("guest", false)] {
        let id = match account::by_name(&mut conn, name).await? {
            Some(account) => account.id,
            None => {
                let new = NewAccount { name: name.into(), email: None, password: Some(password.clone()), is_organizer };
                account::create(&mut conn, new).await?
            }
        };
        accounts.push(id);
    }
    let guest = accounts[1];
    let challenge = challenge::by_slug(&mut conn, CHALLENGE).await?.context("the demo's challenge is gone")?;
    if team::of_account(&mut conn, challenge.id, guest).await?.is_none() {
        team::create(&mut conn, challenge.id, "Guests", guest).await?;
    }
    let (_, secret) = token::create(&mut conn, guest, "demo", Scope::Submit, None).await?;
    outln!("ready:");
    outln!("  leaderboard  {url}/challenges/{CHALLENGE}/{PHASE}");
    outln!("  challenge    {url}/challenges/{CHALLENGE} (LR images to download)");
    outln!("  submit       {url}/challenges/{CHALLENGE}/{PHASE}/submit");
    outln!("  sign in      {url}/signin");
    outln!("    team         guest      password {password}   (team Guests)");
    outln!("    organizer    organizer  password {password}");
    outln!("  your token   {} (of guest, for scripts)", secret.expose());
    Ok(())
}

/// One for each data folder, kept there for its owner alone: made anew it would not fit the accounts of an earlier run.
fn demo_password(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("demo-password");
    match std::fs::read_to_string(&path) {
        Ok(password) => Ok(password.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let password = Secret::new("").expose()[..16].to_owned();
            let mut file = tempfile::NamedTempFile::new_in(data_dir).context("the demo's password file")?;
            writeln!(file, "{password}")?;
            file.persist(&path)?;
            Ok(password)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
