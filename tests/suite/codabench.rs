//! Codabench's routes, as a client that was not written for us drives them.

use std::path::Path;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use upscore::challenge::phase::Visibility;

use crate::support::{
    files::{png, tiny_model, zipped},
    web::{Reply, Web, request},
};

fn bundle(seed: u8, model: bool) -> Vec<u8> {
    let (a, b, model_bytes) = (png(96, 64, seed), png(96, 64, seed + 1), tiny_model());
    let mut files: Vec<(&str, &[u8])> = vec![("0901x4.png", &a), ("0902x4.png", &b)];
    if model {
        files.push(("model.onnx", &model_bytes));
    }
    zipped(&files)
}

/// `codabench-client` from PyPI, where `make setup` has put it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_from_pypi_signs_in_submits_waits_and_reads_the_board() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/codabench");
    if !packages.join("codabench/client.py").is_file() {
        eprintln!("SKIPPED: no codabench-client in {}: run `make setup`", packages.display());
        return;
    }
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "Coda").await;
    let (token, url) = (web.token(team).await, web.listen().await);
    let name: String = sqlx::query_scalar("select name from account where id = $1")
        .bind(team.account)
        .fetch_one(&web.app.pool)
        .await
        .expect("a name");
    let stop = CancellationToken::new();
    let worker = web.app.worker(&stop);
    tokio::spawn(async move { worker.run().await });
    let folder = tempfile::tempdir().expect("a folder");
    let run = async |args: &[&str]| {
        let output = tokio::process::Command::new("python3")
            .args(["-m", "codabench"])
            .args(args)
            .current_dir(folder.path())
            .env("PYTHONPATH", &packages)
            .env("CODABENCH_URL", format!("{url}/"))
            .env("CODABENCH_USERNAME", &name)
            .env("CODABENCH_PASSWORD", &token)
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env("NO_PROXY", "*")
            .output()
            .await
            .expect("python3 runs");
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{error}");
        out.into_owned()
    };
    assert!(run(&["competitions"]).await.contains("Efficient SR"));
    let number: i64 =
        sqlx::query_scalar("select number from challenge").fetch_one(&web.app.pool).await.expect("a number");
    let number = number.to_string();
    let shown = run(&["show", &number]).await;
    assert!(shown.contains("status='Current'") && shown.contains("1000/day"), "{shown}");
    std::fs::write(folder.path().join("run.zip"), bundle(1, true)).expect("written");
    let report = ["submit", &number, "-z", "run.zip", "--wait", "--interval", "1", "--results-json", "r.json"];
    let submitted = run(&report).await;
    assert!(submitted.contains("status: Finished"), "{submitted}");
    let found = std::fs::read(folder.path().join("r.json")).expect("results");
    let found: Value = serde_json::from_slice(&found).expect("JSON");
    assert_eq!((&found["status"], &found["metrics"]["PSNR"]), (&json!("Finished"), &json!(29.04)));
    assert_eq!(found["primary"], json!({ "metric": "× baseline", "score": 0.336 }));
    let board = run(&["show", &number]).await;
    assert!(board.contains("entries        : 1") && board.contains("0.33600 by Coda"), "{board}");
    run(&["outputs", &number, "--only", "submission", "--no-extract"]).await;
    stop.cancel();
}

impl Web {
    async fn coda(&self, method: Method, token: &str, path: &str, body: Value) -> Reply {
        let ask = request(method, path, None)
            .header(header::AUTHORIZATION, format!("Token {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(ask.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn put(&self, url: &str, bytes: &[u8]) -> Reply {
        let path = url.split_once("upscore.test").expect("an address").1;
        let ask = request(Method::PUT, path, None).header(header::CONTENT_LENGTH, bytes.len());
        self.send(ask.body(Body::from(bytes.to_vec())).expect("a request")).await
    }

    async fn announce_bundle(&self, token: &str, bytes: usize) -> Reply {
        let body = json!({ "type": "submission", "request_sassy_file_name": "r.zip", "file_size": bytes });
        self.coda(Method::POST, token, "/api/datasets/", body).await
    }
}

#[tokio::test]
async fn bundles_are_held_to_the_same_rules() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let (team, other) = (web.app.team(&phase, "a").await, web.app.team(&phase, "b").await);
    let (token, foreign) = (web.token(team).await, web.token(other).await);
    let number: i64 = sqlx::query_scalar("select number from phase").fetch_one(&web.app.pool).await.expect("a number");

    // A password is a token, and its own account's.
    let login = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        web.coda(Method::POST, &token, "/api/api-token-auth/", body).await.status
    };
    assert_eq!(login("somebody", &token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(login("somebody", "guessed").await, StatusCode::UNAUTHORIZED);

    assert_eq!(web.announce_bundle(&token, 3 << 30).await.code(), "too_large");
    let whole = bundle(1, true);
    let made = web.announce_bundle(&token, whole.len()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let (key, url) = (made.json()["key"].clone(), made.json()["sassy_url"].as_str().expect("a url").to_owned());
    let body = json!({ "phase": number, "data": key, "tasks": [] });
    let submit = async |token: &str| web.coda(Method::POST, token, "/api/submissions/", body.clone()).await;
    assert_eq!(submit(&token).await.code(), "upload_incomplete");
    assert_eq!(web.put(&url, &whole[..50]).await.code(), "upload_incomplete");
    assert_eq!(web.put(&url, &[&whole[..], b"more"].concat()).await.code(), "too_large");
    assert_eq!(web.put(&url, &whole).await.status, StatusCode::OK);
    assert_eq!(web.put(&url, &whole).await.code(), "upload_offset", "once");
    assert_eq!(submit(&foreign).await.code(), "upload_not_found");
    let accepted = submit(&token).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    web.app.drain_queue().await;

    // The figures are hidden, and the entry is another team's.
    let path = format!("/api/submissions/{}/", accepted.json()["id"]);
    let seen = web.coda(Method::GET, &token, &path, Value::Null).await.json();
    assert_eq!((&seen["status"], &seen["scores"]), (&json!("Finished"), &json!([])));
    for path in [path.clone(), format!("{path}get_details/")] {
        assert_eq!(web.coda(Method::GET, &foreign, &path, Value::Null).await.code(), "submission_not_found");
    }
    for path in [format!("/api/leaderboards/{number}/"), format!("/api/phases/{number}/get_leaderboard/")] {
        assert_eq!(web.coda(Method::GET, &token, &path, Value::Null).await.code(), "not_published");
    }
    let list = web.coda(Method::GET, &foreign, "/api/submissions/", Value::Null).await;
    assert_eq!(list.json(), json!([]));

    // Without a model, and with junk.
    for (bytes, code) in [(bundle(3, false), "artifact_missing"), (b"no zip at all".to_vec(), "zip_malformed")] {
        let made = web.announce_bundle(&token, bytes.len()).await.json();
        assert_eq!(web.put(made["sassy_url"].as_str().expect("a url"), &bytes).await.status, StatusCode::OK);
        let body = json!({ "phase": number, "data": made["key"] });
        assert_eq!(web.coda(Method::POST, &token, "/api/submissions/", body).await.code(), code);
    }
    let may = web.coda(Method::GET, &token, &format!("/api/can_make_submission/{number}/"), Value::Null).await.json();
    assert_eq!(may["can"], true);
    sqlx::query("update phase set closes_at = now()").execute(&web.app.pool).await.expect("closed");
    let may = web.coda(Method::GET, &token, &format!("/api/can_make_submission/{number}/"), Value::Null).await.json();
    assert!(may["reason"].as_str().expect("a reason").contains("closed"), "{may}");
}
