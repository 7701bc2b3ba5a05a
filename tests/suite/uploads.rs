//! Resumable uploads: in pieces, over broken connections and killed servers, and what they may not do.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use upscore::{
    challenge::phase::Phase,
    storage::{BlobHash, Storage},
    submission::{self, uploads},
};

use crate::support::{
    app::App,
    files::{external_model, results, tiny_model},
    web::{Part, Reply, Web, request},
};

const OCTETS: &str = "application/offset+octet-stream";

fn metadata(phase: &Phase, part: &str, filename: &str) -> String {
    let pairs = [("challenge", &*phase.challenge_slug), ("phase", &phase.slug), ("part", part), ("filename", filename)];
    pairs.map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).join(",")
}

impl Web {
    async fn announce(&self, token: &str, length: usize, metadata: &str) -> Reply {
        let ask = request(Method::POST, "/api/v1/uploads", Some(token))
            .header("tus-resumable", "1.0.0")
            .header("upload-length", length)
            .header("upload-metadata", metadata);
        self.send(ask.body(Body::empty()).expect("a request")).await
    }

    async fn begin(&self, token: &str, phase: &Phase, part: &str, length: usize) -> String {
        let made = self.announce(token, length, &metadata(phase, part, &format!("{part}.bin"))).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        assert!(!made.header("upload-expires").is_empty());
        made.header("location").to_owned()
    }

    async fn piece(&self, token: &str, url: &str, offset: usize, bytes: &[u8]) -> Reply {
        let ask = request(Method::PATCH, url, Some(token))
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", offset)
            .header(header::CONTENT_TYPE, OCTETS)
            .header(header::CONTENT_LENGTH, bytes.len());
        self.send(ask.body(Body::from(bytes.to_vec())).expect("a request")).await
    }

    async fn tus(&self, method: Method, token: &str, url: &str) -> Reply {
        let ask = request(method, url, Some(token)).header("tus-resumable", "1.0.0");
        self.send(ask.body(Body::empty()).expect("a request")).await
    }

    pub async fn whole(&self, token: &str, phase: &Phase, part: &str, bytes: &[u8]) -> String {
        let url = self.begin(token, phase, part, bytes.len()).await;
        let sent = self.piece(token, &url, 0, bytes).await;
        assert_eq!(sent.status, StatusCode::NO_CONTENT, "{}", sent.text);
        url
    }

    async fn submit_uploads(&self, token: &str, phase: &Phase, results: &str, model: &str) -> Reply {
        let (results, model) = (id(results), id(model));
        let parts = [
            Part("results_upload", None, results.as_bytes()),
            Part("model_upload", None, model.as_bytes()),
            Part("method", None, b"nearest"),
        ];
        self.submit(token, phase, &parts).await
    }
}

pub fn id(url: &str) -> String {
    url.rsplit('/').next().expect("an id").to_owned()
}

fn growing(app: &App) -> usize {
    std::fs::read_dir(app.folder.path().join("uploads")).expect("a folder").count()
}

/// A thousand pieces, each asked for the moment that it is answered, while the cores are busy and children are being started,
/// which have a copy of every open file until they are programs of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_has_been_let_go() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let over = Arc::new(AtomicBool::new(false));
    let load = |work: fn()| {
        let over = over.clone();
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                work();
            }
        })
    };
    let start = || assert!(Command::new("true").status().expect("started").success());
    let load = [load(start), load(start), load(|| assert!(std::hint::black_box((0..1000u64).sum::<u64>()) > 0))];
    let mut held = Vec::new();
    for n in 0..1000 {
        let url = web.whole(&token, &phase, "model", b"a model").await;
        let upload = id(&url).parse().expect("an id");
        let first = web.app.storage.stage_grown(upload).await.expect("read");
        // What was staged lets go of its lock too: the writer has the file at once.
        drop(first.ok_or(n).map_err(|n| held.push(("piece", n))));
        let writer = web.app.storage.grow(upload).await.expect("read");
        drop(writer.ok_or(n).map_err(|n| held.push(("staged", n))));
        let head = web.tus(Method::HEAD, &token, &url).await;
        assert_eq!(head.header("upload-offset"), "7");
        let again = web.app.storage.stage_grown(upload).await.expect("read");
        drop(again.ok_or(n).map_err(|n| held.push(("asked", n))));
        assert_eq!(web.tus(Method::DELETE, &token, &url).await.status, StatusCode::NO_CONTENT);
    }
    over.store(true, Ordering::SeqCst);
    for thread in load {
        thread.join().expect("ended");
    }
    assert!(held.is_empty(), "locked still: {held:?}");
}

#[tokio::test]
async fn an_upload_that_somebody_has_is_waited_for_a_moment() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let zip = web.whole(&token, &phase, "results", &results(1)).await;
    let model = web.whole(&token, &phase, "model", &tiny_model()).await;
    let has = async || web.app.storage.grow(id(&zip).parse().expect("an id")).await.expect("read").expect("free");
    let held = has().await;
    let refused = web.submit_uploads(&token, &phase, &zip, &model).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (423, "upload_busy"));
    drop(held);
    let held = has().await;
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.release().await;
    };
    let (accepted, ()) = tokio::join!(web.submit_uploads(&token, &phase, &zip, &model), release);
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
}

#[tokio::test]
async fn a_file_comes_in_pieces_and_a_submission_names_it() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let zip = results(1);
    let url = web.begin(&token, &phase, "results", zip.len()).await;
    let first = web.piece(&token, &url, 0, &zip[..100]).await;
    assert_eq!((first.status, first.header("upload-offset")), (StatusCode::NO_CONTENT, "100"));

    // Not yet whole; a piece that does not begin there; then where it stands.
    let model = web.whole(&token, &phase, "model", &tiny_model()).await;
    let early = web.submit_uploads(&token, &phase, &url, &model).await;
    assert_eq!((early.status.as_u16(), early.code().as_str()), (409, "upload_incomplete"));
    assert_eq!(web.piece(&token, &url, 90, &zip[90..]).await.code(), "upload_offset");
    let now = web.tus(Method::HEAD, &token, &url).await;
    assert_eq!((now.header("upload-offset"), now.header("upload-length")), ("100", &*zip.len().to_string()));
    assert_eq!(now.header("cache-control"), "no-store");
    assert_eq!(web.piece(&token, &url, 100, &[&zip[100..], b"more"].concat()).await.code(), "too_large");
    assert_eq!(web.piece(&token, &url, 100, &zip[100..]).await.status, StatusCode::NO_CONTENT);

    let listed = web.get_as(&token, "/api/v1/uploads").await.json();
    assert_eq!((listed.as_array().map(Vec::len), &listed[1]["offset"]), (Some(2), &zip.len().into()));
    let accepted = web.submit_uploads(&token, &phase, &url, &model).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let accepted = accepted.json();
    let submission = accepted["id"].as_str().expect("an id").parse().expect("an id");
    let stored = submission::get(&mut *web.app.conn().await, submission).await.expect("read").expect("stored");
    assert_eq!((stored.results_sha256.clone(), stored.model_sha256), (BlobHash::of(&zip), BlobHash::of(&tiny_model())));
    assert_eq!(std::fs::read(web.app.storage.path(&stored.results_sha256)).expect("a blob"), zip);
    assert_eq!(growing(&web.app), 0, "what was used is gone");
    assert_eq!(web.tus(Method::HEAD, &token, &url).await.status, StatusCode::NOT_FOUND);

    // The reply was lost: the same request again gives the same submission.
    let again = web.submit_uploads(&token, &phase, &url, &model).await.json();
    assert_eq!((&again["id"], &again["repeated"]), (&accepted["id"], &true.into()));
    assert_eq!(web.app.drain_queue().await, 1);
}

#[tokio::test]
async fn a_refused_submission_leaves_its_uploads_for_another_try() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let good = web.whole(&token, &phase, "results", &results(1)).await;
    let bad = web.whole(&token, &phase, "model", b"no model").await;
    assert_eq!(web.submit_uploads(&token, &phase, &good, &bad).await.code(), "onnx_malformed");
    assert_eq!(web.tus(Method::DELETE, &token, &bad).await.status, StatusCode::NO_CONTENT);
    let model = web.whole(&token, &phase, "model", &tiny_model()).await;
    assert_eq!(web.submit_uploads(&token, &phase, &good, &model).await.status, StatusCode::ACCEPTED);
    // A client that announced another sum than arrived.
    let claim = format!("{},sha256 {}", metadata(&phase, "results", "r.zip"), BASE64_STANDARD.encode("0".repeat(64)));
    let url = web.announce(&token, 3, &claim).await.header("location").to_owned();
    web.piece(&token, &url, 0, b"abc").await;
    let model = web.whole(&token, &phase, "model", &tiny_model()).await;
    assert_eq!(web.submit_uploads(&token, &phase, &url, &model).await.code(), "upload_corrupt");
}

#[tokio::test]
async fn a_model_may_come_as_a_graph_and_its_data_file() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let (graph, data) = external_model("tiny.onnx.data");
    let (zip, other) = (results(1), results(3));
    let whole = [
        Part("results", Some("r.zip"), &zip),
        Part("model", Some("tiny.onnx"), &graph),
        Part("model", Some("tiny.onnx.data"), &data),
    ];
    let accepted = web.submit(&token, &phase, &whole).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    // Without its data it says what is missing; and by resumable uploads.
    let alone = web.submit(&token, &phase, &[Part("results", Some("r.zip"), &other), whole[1]]).await;
    assert_eq!(alone.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", alone.text);
    let mut ids = Vec::new();
    for (name, bytes) in [("tiny.onnx", &graph), ("tiny.onnx.data", &data)] {
        let made = web.announce(&token, bytes.len(), &metadata(&phase, "model", name)).await;
        let url = made.header("location").to_owned();
        assert_eq!(web.piece(&token, &url, 0, bytes).await.status, StatusCode::NO_CONTENT);
        ids.push(id(&url));
    }
    let parts = [
        Part("results", Some("r.zip"), &other),
        Part("model_upload", None, ids[0].as_bytes()),
        Part("model_upload", None, ids[1].as_bytes()),
    ];
    let accepted = web.submit(&token, &phase, &parts).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let three = web.submit(&token, &phase, &[whole[1], whole[1], whole[1]]).await;
    assert_eq!((three.status.as_u16(), three.code().as_str()), (400, "duplicate_part"));
}

/// Submits parts under the very dispositions that are given.
async fn submit_called(web: &Web, token: &str, phase: &Phase, parts: &[(&str, &[u8])]) -> Reply {
    let mut body = Vec::new();
    for (disposition, bytes) in parts {
        body.extend(format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    let path = format!("/api/v1/challenges/{}/phases/{}/submissions", phase.challenge_slug, phase.slug);
    let head =
        request(Method::POST, &path, Some(token)).header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    web.send(head.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn two_model_files_of_one_name_are_refused_by_their_names() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let (graph, data) = external_model("m.onnx.data");
    let zip = results(1);
    let whole = ("name=\"results\"; filename=\"r.zip\"", zip.as_slice());
    for (first, second, told) in [
        ("; filename=\"m.onnx\"", "; filename=\"m.onnx\"", "m.onnx and m.onnx"),
        ("; filename=\"a/b.onnx\"", "; filename=\"b.onnx\"", "a/b.onnx and b.onnx"),
        ("; filename=\"C:\\x\\b.onnx\"", "; filename=\"b.onnx\"", "C:\\x\\b.onnx and b.onnx"),
        ("; filename*=utf-8''m.onnx", "; filename*=utf-8''m.onnx", "m.onnx and m.onnx"),
        ("; filename*=utf-8''%E7%BD%91.onnx", "; filename=\"网.onnx\"", "网.onnx and 网.onnx"),
        ("", "", "model.onnx and model.onnx"),
        ("; filename=\"\"", "; filename=\"model.onnx\"", "model.onnx and model.onnx"),
    ] {
        let (first, second) = (format!("name=\"model\"{first}"), format!("name=\"model\"{second}"));
        let refused = submit_called(&web, &token, &phase, &[whole, (&first, &graph), (&second, &data)]).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "duplicate_part"), "{first}, {second}");
        assert!(refused.text.contains(&serde_json::json!(told).to_string().replace('"', "")), "{}", refused.text);
    }
    // Two uploads of one name, and one beside a part.
    let uploads = [web.whole(&token, &phase, "model", &graph).await, web.whole(&token, &phase, "model", &data).await]
        .map(|url| id(&url));
    let named = ("name=\"model_upload\"", uploads[0].as_bytes());
    let twice =
        submit_called(&web, &token, &phase, &[whole, named, ("name=model_upload", uploads[1].as_bytes())]).await;
    assert_eq!((twice.status.as_u16(), twice.code().as_str()), (400, "duplicate_part"), "{}", twice.text);
    let beside = ("name=model; filename=model.bin", data.as_slice());
    let beside = submit_called(&web, &token, &phase, &[whole, named, beside]).await;
    assert_eq!((beside.status.as_u16(), beside.code().as_str()), (400, "duplicate_part"), "{}", beside.text);

    // Names that cannot be read, or are missing.
    for bad in ["filename=\"m.onnx\"", "name=\"model\"; filename*=m.onnx", "name=\"model", "name=\"\""] {
        let refused = submit_called(&web, &token, &phase, &[whole, (bad, &graph)]).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "bad_form"), "{bad}");
    }
    // A name in the extended form is a name.
    let (graph_part, data_part) =
        ("name=\"model\"; filename*=utf-8''m.onnx", "name=\"model\"; filename*=UTF-8'en'm%2Eonnx.data");
    let accepted = submit_called(&web, &token, &phase, &[whole, (graph_part, &graph), (data_part, &data)]).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
}

#[tokio::test]
async fn an_upload_gives_its_metadata_back_and_takes_its_method_from_a_header() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    // With keys of other clients, one without a value, one that is no text, and a file's name of 300 letters.
    let known = metadata(&phase, "results", &"r".repeat(300));
    let said = format!("{known}, filetype YXBwbGljYXRpb24vemlw,is_confidential,thumb /9j/,relativePath bnVsbA==");
    let made = web.announce(&token, 10, &said).await;
    assert_eq!((made.status, made.header("tus-resumable")), (StatusCode::CREATED, "1.0.0"), "{}", made.text);
    let url = made.header("location").to_owned();
    let asked = web.tus(Method::HEAD, &token, &url).await;
    assert_eq!((asked.header("upload-metadata"), asked.header("upload-offset")), (said.as_str(), "0"));
    assert_eq!(web.announce(&token, 10, &format!("{known},filetype YQ==,filetype YQ==")).await.code(), "bad_metadata");

    let by_post = async |method: &str, offset: usize, bytes: &'static [u8]| {
        let ask = request(Method::POST, &url, Some(&token))
            .header("x-http-method-override", method)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", offset)
            .header(header::CONTENT_TYPE, OCTETS);
        web.send(ask.body(Body::from(bytes)).expect("a request")).await
    };
    let sent = by_post("PATCH", 0, b"01234").await;
    assert_eq!((sent.status, sent.header("upload-offset")), (StatusCode::NO_CONTENT, "5"), "{}", sent.text);
    let asked = by_post("HEAD", 0, b"").await;
    assert_eq!((asked.status, asked.header("upload-offset"), asked.text.as_str()), (StatusCode::OK, "5", ""));
    let wrong = by_post("patch", 3, b"34567").await;
    assert_eq!((wrong.code().as_str(), wrong.header("tus-resumable")), ("upload_offset", "1.0.0"));
    assert_eq!(by_post("GET", 0, b"").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(web.tus(Method::POST, &token, &url).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(by_post("DELETE", 0, b"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(web.tus(Method::HEAD, &token, &url).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_that_can_become_nothing_is_not_begun() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let elsewhere = web.app.phase().await;
    let token = web.token(web.app.team(&elsewhere, "a").await).await;
    let code = async |metadata: String| {
        let refused = web.announce(&token, 9, &metadata).await;
        (refused.status.as_u16(), refused.code())
    };
    assert_eq!(code(metadata(&phase, "results", "r.zip")).await, (403, "no_team".into()));
    let mut unknown = web.app.reload(phase.id).await;
    unknown.slug = "nowhere".into();
    assert_eq!(code(metadata(&unknown, "results", "r.zip")).await, (404, "phase_not_found".into()));
    unknown.challenge_slug = "nowhere".into();
    assert_eq!(code(metadata(&unknown, "results", "r.zip")).await, (404, "challenge_not_found".into()));
    assert_eq!(growing(&web.app), 0);
}

#[tokio::test]
async fn an_upload_is_held_to_its_phase_its_owner_and_the_protocol() {
    let web = Web::with(|settings| settings.uploads.uploads = 2).await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let foreign = web.token(web.app.team(&phase, "b").await).await;
    let reader = web.token_that_may(web.app.team(&phase, "c").await, upscore::team::token::Scope::Read).await;
    let good = metadata(&phase, "results", "r.zip");

    // The limit follows the dataset: two images of 96x64 need no 2 GiB.
    let large = web.announce(&token, 2 << 30, &good).await;
    assert_eq!((large.status.as_u16(), large.code().as_str()), (413, "too_large"));
    assert_eq!(web.announce(&token, 0, &good).await.code(), "empty_file");
    assert_eq!(web.announce(&reader, 9, &good).await.code(), "scope_too_small");
    assert_eq!(web.announce("upscore_wrong", 9, &good).await.status, StatusCode::UNAUTHORIZED);
    for bad in ["", "challenge", "challenge ???", "part cmVzdWx0cw==", "part YnVuZGxl,challenge YQ==,phase YQ=="] {
        let reply = web.announce(&token, 9, bad).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "bad_metadata"), "{bad}");
    }
    for length in ["-1", "+1", "1e3", "99999999999999999999", "9223372036854775808"] {
        let ask = request(Method::POST, "/api/v1/uploads", Some(&token)).header("tus-resumable", "1.0.0");
        let ask = ask.header("upload-length", length).header("upload-metadata", &good).body(Body::empty());
        assert_eq!(web.send(ask.expect("a request")).await.code(), "bad_header", "{length}");
    }

    let url = web.begin(&token, &phase, "results", 10).await;
    web.begin(&token, &phase, "model", 10).await;
    let third = web.announce(&token, 10, &good).await;
    assert_eq!((third.status.as_u16(), third.code().as_str()), (429, "too_many_uploads"));
    assert!(!third.header("retry-after").is_empty());
    // One that is whole, and that no submission used, makes room.
    assert_eq!(web.piece(&token, &url, 0, b"0123456789").await.status, StatusCode::NO_CONTENT);
    let third = web.begin(&token, &phase, "results", 10).await;
    assert_eq!(web.tus(Method::HEAD, &token, &url).await.status, StatusCode::NOT_FOUND);
    let url = third;

    // To others it is not there, word for word as one that never was.
    let missing = format!("/api/v1/uploads/{}", uuid::Uuid::now_v7());
    for method in [Method::HEAD, Method::DELETE] {
        let (theirs, none) = (web.tus(method.clone(), &foreign, &url).await, web.tus(method, &foreign, &missing).await);
        assert_eq!((theirs.status.as_u16(), &theirs.text), (404, &none.text));
    }
    assert_eq!(web.piece(&foreign, &url, 0, b"x").await.code(), "upload_not_found");
    let model = web.whole(&foreign, &phase, "model", &tiny_model()).await;
    let stolen = web.submit_uploads(&foreign, &phase, &url, &model).await;
    assert_eq!((stolen.status.as_u16(), stolen.code().as_str()), (422, "upload_not_found"));

    let old = web.get_as(&token, &url).await;
    assert_eq!(old.status, StatusCode::METHOD_NOT_ALLOWED);
    let ask = request(Method::PATCH, &url, Some(&token)).header("tus-resumable", "0.2.2").body(Body::from("x"));
    let version = web.send(ask.expect("a request")).await;
    assert_eq!((version.status.as_u16(), version.header("tus-version")), (412, "1.0.0"));
    let ask = request(Method::PATCH, &url, Some(&token)).header("tus-resumable", "1.0.0").header("upload-offset", "0");
    assert_eq!(web.send(ask.body(Body::from("x")).expect("a request")).await.status.as_u16(), 415);
    let ask = request(Method::OPTIONS, "/api/v1/uploads", None).body(Body::empty()).expect("a request");
    assert!(web.send(ask).await.header("tus-extension").contains("termination"));
}

#[tokio::test]
async fn uploads_expire_and_what_a_crash_left_goes_too() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let (old, new) =
        (web.whole(&token, &phase, "model", b"old").await, web.whole(&token, &phase, "model", b"new").await);
    sqlx::query("update upload set expires_at = now() where id = $1")
        .bind(id(&old).parse::<uuid::Uuid>().expect("an id"))
        .execute(&web.app.pool)
        .await
        .expect("aged");
    assert_eq!(web.tus(Method::HEAD, &token, &old).await.status, StatusCode::NOT_FOUND, "before any sweep");
    let orphan = web.app.folder.path().join("uploads").join(uuid::Uuid::now_v7().to_string());
    let file = std::fs::File::create(&orphan).expect("a file");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600)).expect("aged");
    assert_eq!(uploads::sweep(&web.app.pool, &web.app.storage).await.expect("swept"), 2);
    assert!(!orphan.exists() && growing(&web.app) == 1);
    assert_eq!(web.tus(Method::HEAD, &token, &new).await.header("upload-offset"), "3");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let mut app = App::start().await;
    let roomy = app.storage.clone();
    app.storage = Storage::local(app.folder.path(), u64::MAX / 2).expect("a storage");
    let full = Web::on(app, |_| {}).await;
    let phase = full.app.phase().await;
    let token = full.token(full.app.team(&phase, "a").await).await;
    let refused = full.announce(&token, 9, &metadata(&phase, "results", "r.zip")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (507, "storage_full"));
    let parts = [Part("results", Some("r"), b"x"), Part("model", Some("m"), b"x")];
    assert_eq!(full.submit(&token, &phase, &parts).await.status.as_u16(), 507);
    let rows: i64 = sqlx::query_scalar("select (select count(*) from upload) + (select count(*) from submission)")
        .fetch_one(&full.app.pool)
        .await
        .expect("a count");
    assert_eq!((rows, growing(&full.app)), (0, 0));
    let mut app = full.app;
    app.storage = roomy;
    let web = Web::on(app, |_| {}).await;
    web.begin(&token, &phase, "results", 9).await;
}

/// A piece that is announced whole and sent in part.
async fn send_some(address: &str, token: &str, url: &str, offset: usize, of: usize, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "PATCH {url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: {offset}\r\nContent-Type: {OCTETS}\r\nContent-Length: {}\r\n\r\n",
        of - offset
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn offset_when(web: &Web, token: &str, url: &str, at_least: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // The list looks without taking the upload from its writer.
        let listed = web.get_as(token, "/api/v1/uploads").await.json();
        let entry = listed.as_array().expect("a list").iter().find(|u| u["url"] == url).expect("it").clone();
        let offset = entry["offset"].as_u64().expect("a number") as usize;
        if offset >= at_least {
            return offset;
        }
        assert!(Instant::now() < deadline, "{offset} of {at_least} bytes arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_costs_nothing_and_a_stalled_one_gives_way() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let address = web.listen().await.trim_start_matches("http://").to_owned();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    // The phase's limit is above 16 MB.
    let url = web.begin(&token, &phase, "results", bytes.len()).await;

    let broken = send_some(&address, &token, &url, 0, bytes.len(), &bytes[..1_000_000]).await;
    let arrived = offset_when(&web, &token, &url, 1_000_000).await;
    drop(broken);
    let stalled = send_some(&address, &token, &url, arrived, bytes.len(), &bytes[arrived..2_000_000]).await;
    offset_when(&web, &token, &url, 2_000_000).await;
    // The old connection is open still; whoever asks now has the upload.
    let now = web.tus(Method::HEAD, &token, &url).await;
    assert_eq!(now.header("upload-offset"), "2000000", "{}", now.text);
    let rest = web.piece(&token, &url, 2_000_000, &bytes[2_000_000..]).await;
    assert_eq!((rest.status, rest.header("upload-offset")), (StatusCode::NO_CONTENT, "3000000"), "{}", rest.text);
    let mut stalled = stalled;
    let mut answer = Vec::new();
    let told = tokio::time::timeout(Duration::from_secs(20), stalled.read_to_end(&mut answer)).await;
    assert!(told.is_ok() && String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 423"), "{answer:?}");
    let file = web.app.folder.path().join("uploads").join(id(&url));
    assert!(std::fs::read(file).expect("the file") == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_that_is_too_slow_is_cut_off_and_kept() {
    let web = Web::with(|settings| settings.upload_window = Duration::from_secs(1)).await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let address = web.listen().await.trim_start_matches("http://").to_owned();
    let url = web.begin(&token, &phase, "results", 100_000).await;
    let mut slow = send_some(&address, &token, &url, 0, 100_000, b"a few bytes").await;
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(web.tus(Method::HEAD, &token, &url).await.header("upload-offset"), "11");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_lies_leaves_nothing() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let address = web.listen().await.trim_start_matches("http://").to_owned();
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let part = "--b\r\nContent-Disposition: form-data; name=\"results\"; filename=\"r.zip\"\r\n\r\nbytes";
    let send = async |lengths: &str, body: &str| {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{lengths}\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("said");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{lengths}: the connection is closed");
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    for lengths in ["Content-Length: 9\r\nContent-Length: 90\r\n", "Content-Length: -1\r\n", "Content-Length: 1e3\r\n"]
    {
        let answer = send(lengths, part).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
    // The client announces more than it sends and hangs up; the form ends in the middle; both lengths at once.
    for lengths in
        ["Content-Length: 5000\r\n", "Content-Length: 90\r\n", "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n"]
    {
        let answer = send(lengths, part).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{lengths}: {answer}");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let temporary = || std::fs::read_dir(web.app.folder.path().join("tmp")).expect("a folder").count();
    while temporary() > 0 {
        assert!(Instant::now() < deadline, "a temporary file stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows: i64 =
        sqlx::query_scalar("select count(*) from submission").fetch_one(&web.app.pool).await.expect("a count");
    assert_eq!(rows, 0);
}

/// A server process that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const KILLS: usize = 10;

/// Uploads while the server is killed with `kill -9` at random moments: what was acknowledged is there after every restart,
/// and in the end every file is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_lose_no_acknowledged_byte() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let (database, folder) = (web.app.database_url(), web.app.folder.path().to_owned());
    let start = move || {
        let child = Command::new(env!("CARGO_BIN_EXE_upscore"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--log", "warn"])
            .env("DATABASE_URL", &database)
            .env("UPSCORE_DATA_DIR", &folder)
            .stdout(Stdio::null())
            .spawn();
        Server(child.expect("a server"))
    };
    let mut server = start();
    let base = format!("http://127.0.0.1:{port}");
    let files: Vec<Vec<u8>> =
        (0..3u32).map(|n| (0..4_000_000u32).map(|i| (i.wrapping_mul(n + 3) >> 3) as u8).collect()).collect();
    let mut urls = Vec::new();
    for file in &files {
        urls.push(web.begin(&token, &phase, "results", file.len()).await);
    }
    let uploads: Vec<_> = files
        .iter()
        .cloned()
        .zip(urls.clone())
        .map(|(file, url)| {
            let (token, base) = (token.clone(), base.clone());
            std::thread::spawn(move || send_through(&format!("{base}{url}"), &token, &file))
        })
        .collect();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..600))).await;
        server.0.kill().expect("killed");
        server.0.wait().expect("gone");
        server = start();
    }
    let mut broken = 0;
    for upload in uploads {
        broken += tokio::task::spawn_blocking(move || upload.join().expect("uploaded")).await.expect("joined");
    }
    assert!(broken > 0, "no kill hit an upload: the test proves nothing");
    for (file, url) in files.iter().zip(&urls) {
        let stored = std::fs::read(web.app.folder.path().join("uploads").join(id(url))).expect("the file");
        assert!(stored == *file, "{url}");
    }
}

/// Sends a file in pieces until it is whole, however often the server goes; returns how often a request failed.
fn send_through(url: &str, token: &str, file: &[u8]) -> usize {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let bearer = format!("Bearer {token}");
    let deadline = Instant::now() + Duration::from_secs(180);
    let (mut acknowledged, mut failures) = (0, 0);
    loop {
        assert!(Instant::now() < deadline, "{acknowledged} bytes in time");
        let asked =
            agent.head(url).header("Authorization", &bearer).header("Tus-Resumable", "1.0.0").call().ok().and_then(
                |r| {
                    (r.status() == 200)
                        .then(|| r.headers()["upload-offset"].to_str().ok()?.parse::<usize>().ok())
                        .flatten()
                },
            );
        let Some(offset) = asked else {
            failures += 1;
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        assert!(offset >= acknowledged, "{acknowledged} bytes were acknowledged, {offset} are there");
        if offset == file.len() {
            return failures;
        }
        let end = file.len().min(offset + 150_000);
        let sent = agent
            .patch(url)
            .header("Authorization", &bearer)
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Offset", offset.to_string())
            .header("Content-Type", OCTETS)
            .send(&file[offset..end]);
        match sent {
            Ok(reply) if reply.status() == 204 => acknowledged = end,
            _ => failures += 1,
        }
        // So that the kills fall among the pieces and not after them.
        std::thread::sleep(Duration::from_millis(60));
    }
}
