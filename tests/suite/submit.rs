//! `upscore submit` and `upscore serve`, as somebody runs them.

use std::{path::PathBuf, process::Stdio, sync::atomic::Ordering::SeqCst};

use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use upscore::{challenge::phase::Phase, problem::Problem};

use crate::support::{
    app::{Plan, Team},
    files::{png, results, tiny_model, zipped},
    proxy::Proxy,
    web::Web,
};

struct Ran {
    code: Option<i32>,
    json: serde_json::Value,
    stderr: String,
}

struct Shell {
    web: Web,
    phase: Phase,
    team: Team,
    token: String,
    url: String,
    folder: TempDir,
    /// Ends the worker.
    stop: CancellationToken,
}

impl Shell {
    /// A server with a worker, and a team's folder.
    async fn open() -> Shell {
        let web = Web::start().await;
        let phase = web.app.phase().await;
        let team = web.app.team(&phase, "Shell").await;
        let (token, url) = (web.token(team).await, web.listen().await);
        let stop = CancellationToken::new();
        let worker = web.app.worker(&stop);
        tokio::spawn(async move { worker.run().await });
        Shell { web, phase, team, token, url, folder: tempfile::tempdir().expect("a folder"), stop }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    async fn submit(&self, zip: &[u8], model: &[u8], url: &str) -> Ran {
        let (zip, model) = (self.file("results.zip", zip), self.file("model.onnx", model));
        let output = Command::new(env!("CARGO_BIN_EXE_upscore"))
            .args(["submit", "--url", url, "--challenge", &self.phase.challenge_slug, "--phase", &self.phase.slug])
            .args(["--fact", "method=nearest", "--wait", "--json"])
            .arg("--results")
            .arg(zip)
            .arg("--model")
            .arg(model)
            .env("UPSCORE_TOKEN", &self.token)
            .output()
            .await
            .expect("it runs");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let json = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("one JSON document, {e}: {stdout:?}"));
        Ran { code: output.status.code(), json, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_submits_waits_and_learns_how_it_went() {
    let shell = Shell::open().await;
    let ran = shell.submit(&results(1), &tiny_model(), &shell.url).await;
    assert_eq!((ran.code, &ran.json["state"]), (Some(0), &"scored".into()), "{}", ran.stderr);
    assert_eq!((&ran.json["metrics"]["psnr"], &ran.json["fact_sheet"]["method"]), (&29.04.into(), &"nearest".into()));

    // Refused at once: the server's problems, and those that are found before the upload.
    let refused = shell.submit(b"no zip", &tiny_model(), &shell.url).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.json["errors"][0]["code"].is_string());
    let broken = shell.submit(&results(3), b"no model", &shell.url).await;
    assert_eq!((broken.code, &broken.json["errors"][0]["code"]), (Some(1), &"onnx_malformed".into()));

    // Accepted, and then failed through its own file.
    let hash = upscore::storage::BlobHash::of(&tiny_model());
    let fault = Problem::new("onnx_runtime_error", "the model failed while it ran");
    shell.web.app.evaluator.plan_model(&shell.web.app.storage, &hash, Plan::Fails(fault));
    let failed = shell.submit(&results(5), &tiny_model(), &shell.url).await;
    assert_eq!((failed.code, &failed.json["errors"][0]["code"]), (Some(1), &"onnx_runtime_error".into()));

    let nobody = shell.submit(&results(7), &tiny_model(), "http://127.0.0.1:9").await;
    assert_eq!(nobody.code, Some(3), "the server cannot be reached");
    let stored = upscore::submission::of_team(&mut *shell.web.app.conn().await, shell.team.id, None, 10).await;
    assert_eq!(stored.expect("read").len(), 2);
    shell.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_goes_on_and_a_second_run_sends_only_what_is_new() {
    let shell = Shell::open().await;
    let proxy = Proxy::before(&shell.url).await;
    let readme: Vec<u8> = (0..3_000_000).map(|_| rand::random_range(b' '..b'~')).collect();
    let zip = zipped(&[("readme.txt", &readme), ("0901x4.png", &png(96, 64, 1)), ("0902x4.png", &png(96, 64, 2))]);
    let sent = || proxy.wire.up.load(SeqCst);
    // The zip goes up, over a connection that breaks in the middle; then the fact sheet is refused.
    sqlx::query(
        "update challenge set fact_sheet = '[{\"key\": \"method\", \"label\": \"Method\", \"type\": \"number\"}]'",
    )
    .execute(&shell.web.app.pool)
    .await
    .expect("a field");
    proxy.wire.cut_at.store(1_000_000, SeqCst);
    let refused = shell.submit(&zip, &tiny_model(), &proxy.url).await;
    let whole = zip.len() as u64;
    assert_eq!((refused.code, &refused.json["errors"][0]["code"]), (Some(1), &"fact_invalid".into()));
    assert_eq!(proxy.wire.cuts.load(SeqCst), 1);
    assert!((whole..whole * 3 / 2).contains(&sent()), "{} bytes for {whole}", sent());
    sqlx::query("update challenge set fact_sheet = '[]'").execute(&shell.web.app.pool).await.expect("no field");
    let before = sent();
    let ran = shell.submit(&zip, &tiny_model(), &proxy.url).await;
    assert_eq!((ran.code, &ran.json["state"]), (Some(0), &"scored".into()), "{}", ran.stderr);
    assert!(sent() - before < 200_000, "the files were there already: {} bytes", sent() - before);
    shell.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_keeps_the_token_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::open().await;
    let config = shell.folder.path().join("config");
    let run = async |args: &[&str], stdin: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_upscore"))
            .args(args)
            .env("XDG_CONFIG_HOME", &config)
            .env_remove("UPSCORE_URL")
            .env_remove("UPSCORE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("its input");
        // A command that asks for nothing may have ended before.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut input, stdin.as_bytes()).await;
        drop(input);
        child.wait_with_output().await.expect("it runs")
    };
    let (zip, model) = (shell.file("r.zip", &results(1)), shell.file("m.onnx", &tiny_model()));
    let (zip, model) = (zip.to_str().expect("a path"), model.to_str().expect("a path"));
    let challenge = shell.phase.challenge_slug.clone();
    let submit =
        ["submit", "--challenge", &challenge, "--phase", "validation", "--results", zip, "--model", model, "--json"];
    let unknown = run(&submit, "").await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("url_needed"));

    let wrong = run(&["login", "--url", &shell.url], "upscore_wrong\n").await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(!config.exists(), "a wrong token is not kept");
    let kept = run(&["login", "--url", &shell.url], &format!("{}\n", shell.token)).await;
    assert!(kept.status.success() && !String::from_utf8_lossy(&kept.stdout).contains(&shell.token));
    let file = config.join("upscore/credentials.json");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&config.join("upscore"))), (0o600, 0o700));
    let sent = run(&submit, "").await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stdout));
    assert!(run(&["login", "--url", &shell.url, "--forget"], "").await.status.success());
    assert!(!std::fs::read_to_string(&file).expect("a file").contains(&shell.token));
    shell.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submit_asks_whether_the_entry_has_somewhere_to_go_before_it_sends() {
    let mut shell = Shell::open().await;
    let proxy = Proxy::before(&shell.url).await;
    let zip = zipped(&[("readme.txt", &(0..1_000_000).map(|_| rand::random()).collect::<Vec<u8>>())]);
    let elsewhere = shell.web.app.phase().await;
    let foreign = shell.web.token(shell.web.app.team(&elsewhere, "b").await).await;
    let (phase, token) = (shell.phase.clone(), shell.token.clone());
    let nowhere = |slug: &str| Phase { slug: slug.into(), ..phase.clone() };
    let other = Phase { challenge_slug: "no such/challenge".into(), ..phase.clone() };
    for (phase, token, code, hint) in [
        (other, &*token, "challenge_not_found", proxy.url.as_str()),
        (nowhere("test"), &token, "phase_not_found", "validation"),
        (phase.clone(), &foreign, "no_team", "/challenges/"),
        (phase.clone(), "upscore_wrong", "token_refused", "upscore_"),
    ] {
        (shell.phase, shell.token) = (phase, token.to_owned());
        let ran = shell.submit(&zip, &tiny_model(), &proxy.url).await;
        let error = &ran.json["errors"][0];
        assert_eq!((ran.code, error["code"].as_str()), (Some(1), Some(code)), "{}", ran.json);
        assert!(error["hint"].as_str().is_some_and(|words| words.contains(hint)), "{}", ran.json);
    }
    assert!(proxy.wire.up.load(SeqCst) < 10_000, "nothing was sent: {} bytes", proxy.wire.up.load(SeqCst));
    sqlx::query("update phase set opens_at = now() + interval '1 day'").execute(&shell.web.app.pool).await.expect("it");
    (shell.phase, shell.token) = (phase, token);
    let early = shell.submit(&zip, &tiny_model(), &proxy.url).await;
    assert_eq!((early.code, &early.json["errors"][0]["code"]), (Some(1), &"phase_not_open".into()));
    shell.stop.cancel();
}

#[tokio::test]
async fn serve_comes_up_with_a_database_of_its_own_and_stops_when_told() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let mut server = Command::new(env!("CARGO_BIN_EXE_upscore"))
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(folder.path())
        .env_remove("DATABASE_URL")
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let url = format!("http://{address}/readyz");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !ready(url.clone()).await {
        assert!(tokio::time::Instant::now() < deadline, "it does not come up");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let pid = server.id().expect("it runs").to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.expect("told");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), server.wait()).await;
    assert!(ended.expect("in time").expect("a status").success());
}

async fn ready(url: String) -> bool {
    tokio::task::spawn_blocking(move || ureq::get(&url).call().is_ok_and(|r| r.status() == 200)).await.expect("asked")
}
