//! Nobody waits for somebody else: what one visitor holds or asks for, and how everybody else is served meanwhile.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, StatusCode, header},
};
use chrono::{SecondsFormat, Utc};
use futures::future::join_all;
use sqlx::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use upscore::{
    challenge::phase::Phase,
    queue::{self, Feed},
    web::AtOnce,
};

use crate::{
    support::{
        app::{App, Team},
        files::{results, tiny_model},
        web::{PASSWORD, Reply, Web, request},
    },
    uploads::id,
};

/// In which a page is served that waits for nobody, on a loaded machine.
const SOON: Duration = Duration::from_secs(3);

impl Web {
    /// A visitor from the last byte of an address.
    async fn get_from(&self, last: u8, path: &str) -> Reply {
        let mut ask = request(Method::GET, path, None).body(Body::empty()).expect("a request");
        ask.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from(([192, 0, 2, last], 4711))));
        self.send(ask).await
    }

    async fn soon(&self, path: &str) -> Reply {
        let began = Instant::now();
        let reply = self.get_from(200, path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
        assert!(began.elapsed() < SOON, "{path}: {:?}", began.elapsed());
        reply
    }
}

fn board(phase: &Phase) -> String {
    format!("/challenges/{}/{}", phase.challenge_slug, phase.slug)
}

fn api(phase: &Phase, what: &str) -> String {
    format!("/api/v1/challenges/{}/phases/{}/{what}", phase.challenge_slug, phase.slug)
}

/// With a board of one scored entry, that was looked at, and two connections for all requests.
async fn with_a_board() -> (Web, Phase) {
    let web = Web::narrow(2).await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "First").await;
    web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    web.soon(&board(&phase)).await;
    web.soon("/").await;
    (web, phase)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_who_ask_for_boards_of_the_past_hold_up_nobody() {
    let (web, phase) = with_a_board().await;
    // Ranking one takes as long as we like: it reads the marks' history.
    let mut held = web.app.conn().await;
    let mut held = held.begin().await.expect("begun");
    sqlx::query("lock table submission_marks in access exclusive mode").execute(&mut *held).await.expect("locked");
    let now = Utc::now();
    let at = |n: i64| {
        let at = (now - chrono::Duration::milliseconds(1 + n)).to_rfc3339_opts(SecondsFormat::Millis, true);
        [format!("{}?at={at}", api(&phase, "leaderboard")), format!("{}?at={at}", board(&phase))][n as usize % 2]
            .clone()
    };
    let paths: Vec<_> = (0..60).map(at).collect();
    let asked = join_all(paths.iter().map(|path| web.get_from(1, path)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for path in [board(&phase), "/".into(), "/signin".into(), api(&phase, "leaderboard"), "/readyz".into()] {
            web.soon(&path).await;
        }
        // Somebody else may ask for the past too, and waits for the one that is being ranked.
        held.rollback().await.expect("released");
        let other = web.get_from(2, &format!("{}?at={}", api(&phase, "leaderboard"), "2026-01-01")).await;
        assert_eq!(other.status, StatusCode::OK, "{}", other.text);
    };
    let (replies, ()) = tokio::join!(asked, meanwhile);
    let refused = replies.iter().filter(|r| r.status == StatusCode::TOO_MANY_REQUESTS).collect::<Vec<_>>();
    let served = replies.iter().filter(|r| r.status == StatusCode::OK).count();
    assert_eq!((served, refused.len()), (2, 58), "two at once of an address");
    assert!(refused.iter().all(|r| r.text.contains("too_many_at_once") && r.header("retry-after") == "5"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_study_or_a_board_holds_no_connection() {
    let (web, phase) = with_a_board().await;
    for (table, path) in [("image_score", api(&phase, "study")), ("score", api(&phase, "leaderboard"))] {
        // The board has moved, but for the pages that are tried meanwhile.
        let other = web.app.phase().await;
        if table == "score" {
            sqlx::query("update board_version set version = version + 1 where phase_id = $1")
                .bind(phase.id)
                .execute(&web.app.pool)
                .await
                .expect("moved");
            web.soon(&board(&other)).await;
        }
        let mut held = web.app.conn().await;
        let mut held = held.begin().await.expect("begun");
        let lock = sqlx::AssertSqlSafe(format!("lock table {table} in access exclusive mode"));
        sqlx::query(lock).execute(&mut *held).await.expect("locked");
        let asked = join_all((0..20).map(|last| web.get_from(last, &path)));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            for path in ["/signin".to_owned(), "/readyz".into(), api(&phase, "submissions").replace("/submissions", "")]
            {
                let began = Instant::now();
                let reply = web.get_from(200, &path).await;
                assert!(reply.status.as_u16() != 503 && began.elapsed() < SOON, "{path}: {}", reply.text);
            }
            held.rollback().await.expect("released");
        };
        let (replies, ()) = tokio::join!(asked, meanwhile);
        assert!(replies.iter().all(|r| r.status == StatusCode::OK), "{path}: {}", replies[0].text);
    }
}

/// Counts the statements that sqlx sends from this thread.
#[derive(Clone, Default)]
struct Statements(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn the_first_page_asks_as_much_for_ten_challenges_as_for_one() {
    use tracing_subscriber::layer::SubscriberExt;
    let web = Web::start().await;
    let statements = Statements::default();
    // With a second one about, tracing asks all of them what they want to hear, and not only the thread's that is the first to say it.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry().with(Statements::default()));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(statements.clone()));
    let visit = async || {
        // The boards are ranked at the first visit.
        web.soon("/").await;
        let before = statements.0.load(std::sync::atomic::Ordering::SeqCst);
        let text = web.soon("/").await.text;
        (statements.0.load(std::sync::atomic::Ordering::SeqCst) - before, text)
    };
    web.app.phase().await;
    let (one, _) = visit().await;
    for n in 0..9 {
        let phase = web.app.phase().await;
        web.app.team(&phase, &format!("Team {n}")).await;
    }
    let (ten, text) = visit().await;
    assert!(one > 0 && one == ten, "{one} statements, then {ten}");
    assert_eq!(text.matches("/validation").count().min(10), 10, "{text}");
}

#[tokio::test]
async fn all_who_wait_are_told_their_places_by_one_look_at_the_queue() {
    let app = App::start().await;
    let phase = app.phase().await;
    let (first, second) = (app.team(&phase, "a").await, app.team(&phase, "b").await);
    let feed = Feed::start(app.pool.clone());
    let (a, b) = (app.enter(&phase, first).await, app.enter(&phase, second).await);
    let place = async |id| feed.place(&app.pool, id).await.expect("asked").map(|p| (p.position, p.of));
    assert_eq!((place(a).await, place(b).await), (Some((1, 2)), Some((2, 2))));
    queue::cancel(&mut *app.conn().await, a).await.expect("cancelled");
    assert_eq!(place(b).await, Some((2, 2)), "what was read a moment ago");
    let now = queue::position(&mut *app.conn().await, b).await.expect("asked").expect("queued");
    assert_eq!((now.position, now.of), (1, 1), "a page of its own looks itself");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!((place(a).await, place(b).await), (None, Some((1, 1))));

    // How long the last ones took is read off an index, however many were scored.
    let mut conn = app.conn().await;
    sqlx::query("set enable_seqscan = off").execute(&mut *conn).await.expect("set");
    let plan: Vec<String> = sqlx::query_scalar(
        "explain select finished_at, started_at from evaluation where state = 'scored' order by finished_at desc limit 20",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("a plan");
    let plan = plan.join("\n");
    assert!(plan.contains("evaluation_last_scored") && !plan.contains("Sort"), "{plan}");
}

/// A connection from one of this machine's own addresses, `127.0.0.last`.
async fn from(last: u8, server: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, last], 0))).expect("an address");
    let server = server.trim_start_matches("http://").parse().expect("an address");
    socket.connect(server).await.expect("a connection")
}

/// The whole answer to a request that is sent as it stands; what came until the connection broke.
async fn exchange(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_requests_of_one_address_shut_nobody_out() {
    let web = Web::with(|settings| {
        settings.header_timeout = Duration::from_secs(600);
        settings.connections = AtOnce { an_address: 50, in_all: 60 };
    })
    .await;
    let url = web.listen().await;
    let mut unfinished = Vec::new();
    for _ in 0..200 {
        let mut stream = from(2, &url).await;
        // Those before may have made room already.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
        unfinished.push(stream);
    }
    for last in [1, 2, 3, 4] {
        let began = Instant::now();
        let answer = exchange(from(last, &url).await, &get("/signin")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "127.0.0.{last}: {answer}");
        assert!(began.elapsed() < SOON);
    }
    // The oldest made room; the newest are there still.
    let mut cut = 0;
    for stream in &mut unfinished {
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0])).await;
        cut += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!((150..155).contains(&cut), "{cut} of 200 are cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_work_beyond_an_address_s_share_are_refused_and_others_served() {
    let share = AtOnce { an_address: 3, in_all: 2048 };
    let web = Web::with(|settings| settings.connections = share).await;
    let url = web.listen().await;
    let busy = "POST /signin HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 100\r\n\r\nname=";
    let mut at_work = Vec::new();
    for _ in 0..3 {
        let mut stream = from(2, &url).await;
        stream.write_all(busy.as_bytes()).await.expect("sent");
        at_work.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut refused = from(2, &url).await;
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("Retry-After"), "{answer}");
    assert!(exchange(from(3, &url).await, &get("/signin")).await.starts_with("HTTP/1.1 200"));
    drop(at_work);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(exchange(from(2, &url).await, &get("/signin")).await.starts_with("HTTP/1.1 200"));

    // Behind a proxy of ours every connection is the proxy's, and clients are told apart by what it says.
    let web = Web::with(|settings| {
        settings.connections = share;
        settings.followers = AtOnce { an_address: 2, in_all: 9 };
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let id = web.app.enter(&phase, team).await;
    let url = web.listen().await;
    let follow = async |client: &str| {
        let mut stream = from(9, &url).await;
        let ask = format!(
            "GET /api/v1/submissions/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             X-Forwarded-For: {client}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut head = vec![0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        (String::from_utf8(head).expect("text"), stream)
    };
    let mut streams = Vec::new();
    for (client, status) in [
        ("192.0.2.1", "200"),
        ("192.0.2.1", "200"),
        ("192.0.2.1", "429"),
        ("192.0.2.2", "200"),
        ("2001:db8::1", "200"),
        ("2001:db8::2", "200"),
        ("2001:db8::3", "429"),
        ("2001:db8:0:1::1", "200"),
    ] {
        let (head, stream) = follow(client).await;
        assert_eq!(head, format!("HTTP/1.1 {status}"), "{client}");
        streams.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let web = Web::with(|settings| {
        settings.form_deadline = Duration::from_secs(1);
        settings.upload_window = Duration::from_secs(1);
    })
    .await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let cookie = {
        let olga = web.organizer().await;
        olga.cookie.clone().expect("signed in")
    };
    let url = web.listen().await;
    let form = "application/x-www-form-urlencoded";
    let files = "multipart/form-data; boundary=b";
    let part = "--b\r\nContent-Disposition: form-data; name=\"hr\"; filename=\"r.zip\"\r\n\r\nbytes";
    let submit = api(&phase, "submissions");
    let forms = [
        ("/signin", form, "name="),
        ("/signup", form, "name="),
        ("/api/api-token-auth/", form, "username="),
        ("/api/v1/session", "application/json", "{\"name\":"),
        ("/organizer/new", form, "title="),
        ("/organizer/new", "text/plain", "title="),
        ("/organizer/new", files, part),
        ("/organizer/datasets", files, part),
        (&submit, files, part),
        ("/api/v1/bundles", "application/zip", "PK"),
        ("/api/v1/bundles", files, part),
    ];
    let ask = async |(path, kind, body): &(&str, &str, &str), extra: &str| {
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n{extra}Content-Type: {kind}\r\n\
             Content-Length: 5000\r\n\r\n{body}"
        );
        let began = Instant::now();
        let answer = exchange(from(1, &url).await, &text).await;
        assert!(began.elapsed() < Duration::from_secs(15), "{path} {kind}: {:?}", began.elapsed());
        answer
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let answers = join_all(forms.iter().map(|form| {
        let extra = if form.0 == submit { &*bearer } else { "" };
        ask(form, extra)
    }));
    for (form, answer) in forms.iter().zip(answers.await) {
        assert!(answer.starts_with("HTTP/1.1 408"), "{form:?}: {answer}");
        assert!(answer.contains("upload_too_slow"), "{form:?}: {answer}");
    }
}

/// Makes the LR zip of a phase this large.
async fn lr_zip(app: &App, phase: &Phase, bytes: usize) {
    let hash = app.storage.put(&vec![7; bytes]).await.expect("a blob");
    sqlx::query("insert into dataset_sample (dataset_id, kind, sha256, bytes) values ($1, 'lr', $2, $3)")
        .bind(phase.dataset)
        .bind(hash.as_str())
        .bind(bytes as i64)
        .execute(&app.pool)
        .await
        .expect("noted");
}

/// Clients that ask for a large file and do not read it: they hold no thread, and are cut off.
#[test]
fn readers_that_do_not_read_hold_nothing() {
    const BYTES: usize = 16 << 20;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let web = Web::with(|settings| {
            settings.read_window = Duration::from_secs(4);
            settings.downloads = AtOnce { an_address: 40, in_all: 41 };
        })
        .await;
        let phase = web.app.phase().await;
        lr_zip(&web.app, &phase, BYTES).await;
        web.person("Reader").await;
        let url = web.listen().await;
        let path = format!("{}/lr.zip", board(&phase));
        let mut stalled = Vec::new();
        for _ in 0..40 {
            let mut stream = from(2, &url).await;
            stream.write_all(get(&path).as_bytes()).await.expect("sent");
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 200");
            stalled.push(stream);
        }
        // One more of this address, one of another, one more in all.
        let refused = exchange(from(2, &url).await, &get(&path)).await;
        assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("too_many_at_once"), "{refused}");
        assert!(refused.to_lowercase().contains("connection: close"), "{refused}");
        let mut other = from(3, &url).await;
        other.write_all(get(&path).as_bytes()).await.expect("sent");
        let mut head = [0; 12];
        other.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200");
        assert!(exchange(from(4, &url).await, &get(&path)).await.starts_with("HTTP/1.1 429"));

        // Pages that need a thread are served: the password is checked by one, and the probe asks for one.
        let began = Instant::now();
        let mut visitor = web.visitor();
        let signed = visitor.post("/signin", &[("name", "Reader"), ("password", PASSWORD)]).await;
        assert_eq!(signed.status, StatusCode::SEE_OTHER, "{}", signed.text);
        web.soon("/readyz").await;
        web.soon(&board(&phase)).await;
        assert!(began.elapsed() < 2 * SOON, "{:?}", began.elapsed());
        let metrics = web.soon("/metrics").await.text;
        assert!(metrics.contains("upscore_at_once{kind=\"downloads\"} 41"), "{metrics}");
        assert!(metrics.contains("upscore_vetting_bytes"));

        // All are cut off before the file's end, and their places are free again.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !web.get("/metrics").await.text.contains("upscore_at_once{kind=\"downloads\"} 0") {
            assert!(Instant::now() < deadline, "{}", web.get("/metrics").await.text);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for stream in &mut stalled {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.len() < BYTES, "it was sent whole");
        }
        // Who reads gets all of it, also in parts.
        let whole = web.get(&path).await;
        assert_eq!((whole.status, whole.header("content-length")), (StatusCode::OK, &*BYTES.to_string()));
        let part = request(Method::GET, &path, None).header(header::RANGE, "bytes=5-9").body(Body::empty());
        let part = web.send(part.expect("a request")).await;
        assert_eq!((part.status, part.text.len()), (StatusCode::PARTIAL_CONTENT, 5));
    });
}

#[test]
fn the_probe_tells_when_pages_would_wait() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).max_blocking_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let web = Web::narrow(1).await;
        web.soon("/readyz").await;
        let probe = async |web: &Web, why: &str| {
            let began = Instant::now();
            let reply = web.get("/readyz").await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
            assert!(reply.text.contains(why) && began.elapsed() < 2 * SOON, "{}", reply.text);
        };
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let busy = [wait.clone(), wait].map(|wait| {
            tokio::task::spawn_blocking(move || {
                wait.lock().expect("whole").recv_timeout(Duration::from_secs(60)).is_ok()
            })
        });
        probe(&web, "no thread is free").await;
        drop(release);
        for thread in busy {
            thread.await.expect("ended");
        }
        web.soon("/readyz").await;

        let pool = upscore::db::pool(web.app.pool.connect_options().as_ref().clone(), 1);
        let _held = pool.acquire().await.expect("a connection");
        probe(&Web::of(App::start().await, pool.clone(), |_| {}).await, "the database does not answer").await;
    });
}

/// A server process that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Most memory that it has had, bytes.
    fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    }
}

/// Sixteen small requests that name one large upload.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_that_name_one_upload_take_the_memory_of_one() {
    const MODEL: usize = 60 << 20;
    const MOST: u64 = 400 << 20;
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team: Team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    // A model and a field that no reader of ONNX knows, of so many bytes.
    let mut model = tiny_model();
    model.extend([0xc2, 0x3e]);
    let mut left = MODEL;
    while left > 0 {
        model.push((left & 0x7f) as u8 | if left > 0x7f { 0x80 } else { 0 });
        left >>= 7;
    }
    model.resize(model.len() + MODEL, 7);
    let zip = results(1);
    let mut ids = Vec::new();
    for (part, bytes) in [("results", &zip), ("model", &model)] {
        ids.push(id(&web.whole(&token, &phase, part, bytes).await));
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let child = Command::new(env!("CARGO_BIN_EXE_upscore"))
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--log", "warn"])
        .env("DATABASE_URL", web.app.database_url())
        .env("UPSCORE_DATA_DIR", web.app.folder.path())
        .stdout(Stdio::null())
        .spawn();
    let server = Server(child.expect("a server"));
    let url = format!("http://127.0.0.1:{port}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(url.trim_start_matches("http://")).await.is_err() {
        assert!(Instant::now() < deadline, "the server does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let field =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let asked = join_all((0..16).map(|n| {
        let body = field("results_upload", &ids[0]) + &field("model_upload", &ids[1]) + "--b--\r\n";
        let text = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k{n}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
            api(&phase, "submissions"),
            body.len()
        );
        let url = &url;
        async move {
            let mut stream = from(1, url).await;
            stream.write_all(text.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        }
    }));
    let answers = asked.await;
    let most = server.most_memory();
    println!("{} MiB at most", most >> 20);
    assert!(answers.iter().all(|a| ["202", "422", "404"].iter().any(|s| a[9..].starts_with(s))), "{answers:#?}");
    assert!(most < MOST, "{} MiB", most >> 20);
}
