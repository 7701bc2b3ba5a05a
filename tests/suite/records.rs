//! Signed records: every byte counts, nobody learns from one what the pages hide, and `upscore verify` says what is wrong.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use axum::http::StatusCode;
use chrono::DateTime;
use serde_json::Value;
use tokio::process::Command;
use upscore::{
    challenge::phase::Visibility,
    ids::{EvaluationId, SubmissionId},
    record::{self, Scope, Signer, Subject},
};

use crate::support::{app::measurement, web::Web};

fn subject() -> Subject {
    Subject {
        submission: SubmissionId::new(),
        evaluation: EvaluationId::new(),
        number: 1,
        challenge: "esr".into(),
        phase: "validation".into(),
        team: "Zürich \"2\"".into(),
        protocol: "aim2020@1".into(),
        submitted_at: DateTime::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
    }
}

#[test]
fn no_byte_of_a_record_can_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::open(&folder.path().join("key")).expect("a key");
    let record = record::compose(&subject(), &measurement(), Scope::Full).expect("a record");
    let document = signer.sign(&record).into_bytes();
    let verified = record::verify(&document).expect("untouched");
    assert_eq!(verified.public_key, signer.public_key());
    assert_eq!(verified.record["subject"]["team"], "Zürich \"2\"");
    for at in 0..document.len() {
        let mut changed = document.clone();
        changed[at] ^= 1;
        assert!(record::verify(&changed).is_err(), "byte {at} was changed");
        if at % 64 == 0 {
            let mut shorter = document.clone();
            shorter.remove(at);
            assert!(record::verify(&shorter).is_err(), "byte {at} was taken out");
        }
    }
    for spoilt in [&[&document[..], b" "].concat(), &[b" ", &document[..]].concat(), &document[..40].to_vec(), &vec![]]
    {
        assert!(record::verify(spoilt).is_err());
    }
    // Hashed anew, but not signed by the key that it names.
    let other = Signer::open(&folder.path().join("other")).expect("a key");
    let better = record.replace("29.04", "39.04");
    let forged = other.sign(&better).replace(other.public_key(), signer.public_key());
    assert_eq!(record::verify(forged.as_bytes()).expect_err("forged").code, "record_signature");
}

#[test]
fn the_key_is_made_once_and_is_its_owners() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("record-key");
    let keys: Vec<String> = std::thread::scope(|scope| {
        let open = || Signer::open(&file).expect("a key").public_key().to_owned();
        let all: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 64), "{keys:?}");
    assert_eq!(Signer::open(&file).expect("a key").public_key(), keys[0]);
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    std::fs::write(&file, "short").expect("written");
    assert!(Signer::open(&file).is_err());
}

/// `upscore verify --json`: exit code and document.
async fn verify(file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upscore"));
    let output = command.arg("verify").arg(file).arg("--json").args(more).stdin(Stdio::null()).output().await;
    let output = output.expect("it runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    (
        output.status.code(),
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("one JSON document, {e}: {stdout:?}")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downloaded_record_verifies_at_home() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let id = web.app.enter(&phase, team).await;
    let path = format!("/api/v1/submissions/{id}/record");
    let early = web.get_as(&token, &path).await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::NOT_FOUND, "not_scored"));
    web.app.drain_queue().await;

    let own = web.get_as(&token, &path).await;
    assert_eq!((own.status, own.header("content-type")), (StatusCode::OK, "application/json"));
    assert!(own.header("content-disposition").starts_with("attachment"));
    assert_eq!(own.json()["record"]["measurement"], serde_json::to_value(measurement()).expect("JSON"));
    let page = web.get_as(&token, &format!("/submissions/{id}")).await;
    assert!(page.text.contains(&path), "the page links to it");

    let (url, folder) = (web.listen().await, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("record.json");
    std::fs::write(&file, &own.text).expect("written");
    let key = web.get("/api/v1/record-key").await.json()["public_key"].as_str().expect("a key").to_owned();
    let (code, report) = verify(&file, &[]).await;
    assert_eq!((code, &report["verified"], &report["key_checked"]), (Some(0), &true.into(), &false.into()));
    let (code, report) = verify(&file, &["--url", &url]).await;
    assert_eq!((code, &report["key_checked"]), (Some(0), &true.into()), "{report}");
    assert_eq!((&report["public_key"], &report["record"]["subject"]["team"]), (&key.clone().into(), &"a".into()));
    let (code, _) = verify(&file, &["--key", &key.to_uppercase()]).await;
    assert_eq!(code, Some(0));
    let (code, report) = verify(&file, &["--key", &"00".repeat(32)]).await;
    assert_eq!((code, &report["errors"][0]["code"]), (Some(1), &"record_key".into()));
    let (code, _) = verify(&file, &["--url", "http://127.0.0.1:9"]).await;
    assert_eq!(code, Some(3), "a server that does not answer is no fault of the record");

    std::fs::write(&file, own.text.replace("29.04", "29.94")).expect("written");
    let (code, report) = verify(&file, &["--url", &url]).await;
    assert_eq!((code, &report["errors"][0]["code"]), (Some(1), &"record_hash".into()));
}

#[tokio::test]
async fn a_record_tells_no_more_than_the_pages() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let id = web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let public = web.get(&format!("/api/v1/submissions/{id}/record")).await;
    assert_eq!(public.json()["record"]["scope"], "public");
    record::verify(public.text.as_bytes()).expect("signed too");
    assert_eq!(public.json()["record"]["measurement"]["fidelity"]["psnr"], 29.04);
    for kept_back in ["0902", "\"images\"", "model_sha256", "results_sha256"] {
        assert!(!public.text.contains(kept_back), "{kept_back}");
    }

    let hidden = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let (team, rival) = (web.app.team(&hidden, "a").await, web.app.team(&hidden, "b").await);
    let id = web.app.enter(&hidden, team).await;
    web.app.drain_queue().await;
    let path = format!("/api/v1/submissions/{id}/record");
    let own = web.get_as(&web.token(team).await, &path).await;
    assert_eq!((own.status.as_u16(), own.code().as_str()), (403, "not_published"));
    let others = [web.get_as(&web.token(rival).await, &path).await, web.get(&path).await];
    for other in others {
        assert_eq!((other.status.as_u16(), other.code().as_str()), (404, "submission_not_found"));
    }
}
