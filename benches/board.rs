//! The leaderboard of a large challenge: 1,000 teams, 100,000 submissions, each measured. The ranked query alone, and the
//! page as visitors get it: requests at a fixed rate from beside the server, on the same cores.
//!
//! `cargo bench --profile dev --bench board`; `UPSCORE_BENCH_TEAMS`, `…_ENTRIES` (of each team), `…_RATE` (requests a second),
//! `…_SECONDS`. A request that the server is late for is timed from when it was due, so that a queue shows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use upscore::{
    challenge::{
        self,
        dataset::{self, Image},
        phase::{self, NewPhase, Phase, QuotaLimits, Visibility},
        protocol::{self, Rules},
    },
    db, leaderboard, postgres,
    queue::Feed,
    record::Signer,
    storage::{BlobHash, Storage},
    web,
};

fn main() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(bench())
}

fn knob(name: &str, otherwise: u64) -> anyhow::Result<u64> {
    std::env::var(format!("UPSCORE_BENCH_{name}")).map_or(Ok(otherwise), |n| n.parse()).context(name.to_owned())
}

async fn bench() -> anyhow::Result<()> {
    let (teams, entries) = (knob("TEAMS", 1000)?, knob("ENTRIES", 100)?);
    let (rate, seconds) = (knob("RATE", 200)?, knob("SECONDS", 15)?);
    let folder = tempfile::tempdir()?;
    let (connect, cluster) = postgres::open(None, folder.path()).await?;
    let pool = db::pool(connect, 16);
    db::migrate(&pool).await?;
    let phase = furnish(&pool, teams as i32, entries as i32).await?;

    let mut conn = pool.acquire().await?;
    let mut times = Vec::new();
    let mut rows = 0;
    for _ in 0..20 {
        let start = Instant::now();
        let board = leaderboard::ranking(&mut conn, &phase).await?;
        times.push(start.elapsed());
        rows = board.ranked.len() + board.unranked.len();
    }
    drop(conn);
    println!("{teams} teams, {} submissions; {rows} rows on the board", teams * entries);
    print("the ranked query", &mut times);

    let storage = Storage::local(folder.path(), 0)?;
    let stop = CancellationToken::new();
    let app = web::App {
        feed: Feed::start(pool.clone()),
        pool: pool.clone(),
        doors: web::Doors::new(&web::Settings::default()),
        settings: Arc::default(),
        signer: Arc::new(Signer::open(&storage.record_key())?),
        storage,
        boards: Arc::default(),
        pages: Arc::default(),
        studies: Arc::default(),
        samples: Default::default(),
        builds: Default::default(),
        turns: web::Turns::default(),
        stop: stop.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(web::server::serve(app, listener));
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let (head, body) = get(&mut TcpStream::connect(address).await?, &page, "").await?;
    println!("the page: {} kB as it travels", body / 1000);
    let etag = head.lines().find_map(|l| l.strip_prefix("etag: ")).map(str::to_owned);
    let known = etag.map(|tag| format!("If-None-Match: {tag}\r\n"));
    for (what, header) in [("page", Some(String::new())), ("page, unchanged since the last visit", known)] {
        let Some(header) = header else { continue };
        let mut times = load(address, &page, &header, rate, seconds).await?;
        print(&format!("{what}, {rate} requests/s for {seconds} s"), &mut times);
    }
    stop.cancel();
    server.await??;
    pool.close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await?;
    }
    Ok(())
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    println!("{what:<60} median {:>8.2} ms, p99 {:>8.2} ms, most {:>8.2} ms", at(0.5), at(0.99), at(1.0));
}

/// Requests that are due at a fixed rate, over as many connections as are needed.
async fn load(
    address: std::net::SocketAddr,
    path: &str,
    header: &str,
    rate: u64,
    seconds: u64,
) -> anyhow::Result<Vec<Duration>> {
    const CONNECTIONS: u64 = 32;
    let begin = Instant::now() + Duration::from_millis(200);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CONNECTIONS {
        let (path, header) = (path.to_owned(), header.to_owned());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            let mut times = Vec::new();
            for number in (client..rate * seconds).step_by(CONNECTIONS as usize) {
                let due = begin + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                get(&mut stream, &path, &header).await?;
                times.push(due.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = clients.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

/// The head of the answer, and how long its body is.
async fn get(stream: &mut TcpStream, path: &str, header: &str) -> anyhow::Result<(String, usize)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let end = loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        let n = stream.read(&mut buffer).await?;
        ensure!(n > 0, "the server hung up");
        read.extend_from_slice(&buffer[..n]);
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200") || head.starts_with("http/1.1 304"), "{head}");
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|n| n.parse::<usize>().ok());
    let chunked = head.contains("transfer-encoding: chunked");
    while !head.starts_with("http/1.1 304") {
        let whole = match length {
            Some(length) => read.len() >= end + length,
            None => !chunked || read.ends_with(b"\r\n0\r\n\r\n"),
        };
        if whole {
            break;
        }
        let n = stream.read(&mut buffer).await?;
        ensure!(n > 0, "the server hung up");
        read.extend_from_slice(&buffer[..n]);
    }
    Ok((head, read.len() - end))
}

/// A phase with `teams` teams of `entries` scored submissions each; one team in ten is below the gate.
async fn furnish(pool: &PgPool, teams: i32, entries: i32) -> anyhow::Result<Phase> {
    let mut conn = pool.acquire().await?;
    let challenge = challenge::insert(&mut conn, "large", "A large challenge", "").await?;
    let image = Image {
        name: "0901".into(),
        hr_size: [96, 64],
        lr_size: [24, 16],
        hr: BlobHash::of(b"hr"),
        lr: BlobHash::of(b"lr"),
        lr_bytes: 2,
    };
    let dataset = dataset::ensure(&mut conn, "large", 4, &[image]).await?;
    let protocol = protocol::ensure(&mut conn, "aim2020", &Rules::aim2020(4)).await?;
    let new = NewPhase {
        challenge,
        slug: "validation".into(),
        title: "Validation".into(),
        dataset,
        protocol: protocol.id,
        opens_at: None,
        closes_at: None,
        limits: QuotaLimits::default(),
        visibility: Visibility::Live,
        frozen_at: None,
        gate_psnr: Some(29.0),
        gate_rule: None,
        baseline_name: "MSRResNet".into(),
        baseline_model: Some((BlobHash::of(b"baseline"), 8)),
    };
    let id = phase::insert(&mut conn, &new).await?;
    // The parameters are numbers of ours.
    let large = format!(
        "set fill.challenge = 'large'; set fill.teams = {teams}; set fill.entries = {entries};\n{}",
        include_str!("../scripts/large.sql")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(large)).execute(&mut *conn).await?;
    phase::get(&mut conn, id).await?.context("the phase")
}
