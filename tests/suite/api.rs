//! REST, as a script sees it.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use chrono::{Duration, Utc};
use futures::StreamExt;
use upscore::{
    challenge::phase::Visibility,
    queue::{self, State},
    team::token::Scope,
};

use crate::support::{
    app::{App, Plan, measurement},
    files::{png, results, tiny_model, zipped},
    web::{Part, Web, multipart, request},
};

fn parts<'a>(results: &'a [u8], model: &'a [u8]) -> [Part<'a>; 3] {
    [
        Part("method", None, b"nearest"),
        Part("results", Some("results.zip"), results),
        Part("model", Some("model.onnx"), model),
    ]
}

/// Files below the storage's folder, temporary ones included.
fn files(app: &App) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&app.folder.path().join("blobs")) + count(&app.folder.path().join("tmp"))
}

async fn rows(app: &App) -> i64 {
    sqlx::query_scalar("select count(*) from submission").fetch_one(&app.pool).await.expect("a count")
}

#[tokio::test]
async fn a_submission_goes_in_is_measured_and_stands_on_the_board() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "Nearest").await;
    let token = web.token(team).await;

    let accepted = web.submit(&token, &phase, &parts(&results(1), &tiny_model())).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let receipt = accepted.json();
    let id = receipt["id"].as_str().expect("an id").to_owned();
    assert_eq!(receipt["state"], "queued");
    assert_eq!(receipt["url"], format!("/submissions/{id}"));

    let path = format!("/api/v1/submissions/{id}");
    let queued = web.get_as(&token, &path).await.json();
    assert_eq!((&queued["state"], &queued["queue"]["position"]), (&"queued".into(), &1.into()));
    assert!(queued["metrics"].is_null());
    assert_eq!(web.app.drain_queue().await, 1);

    let scored = web.get_as(&token, &path).await.json();
    assert_eq!(scored["state"], "scored");
    assert_eq!(scored["metrics"]["psnr"], 29.04);
    assert_eq!(scored["metrics"]["params"], 433_448);
    assert_eq!(scored["rank"], 1);
    assert_eq!(scored["images"][0]["psnr"], "inf");
    assert_eq!(scored["provenance"]["onnxruntime"], "1.31.1");
    assert_eq!(scored["fact_sheet"]["method"], "nearest");
    assert!(scored["definitions"].as_array().expect("definitions").iter().any(|d| d["id"] == "psnr"));

    let board = web.get(&format!("/api/v1/challenges/{}/phases/validation/leaderboard", phase.challenge_slug)).await;
    let board = board.json();
    assert_eq!(board["protocol"], "aim2020@1");
    assert_eq!(board["baseline"]["team"], "MSRResNet");
    let first = &board["ranked"][0];
    assert_eq!((&first["rank"], &first["team"], &first["submission"]), (&1.into(), &"Nearest".into(), &id.into()));
    assert_eq!(first["ranks"]["runtime"], 1);
}

#[tokio::test]
async fn a_refused_upload_lists_every_problem_and_leaves_nothing() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let zip = zipped(&[("0901x4.png", &png(96, 60, 1))]);
    let refused = web.submit(&token, &phase, &parts(&zip, b"no model")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problems = refused.json()["errors"].as_array().expect("a list").clone();
    let codes: Vec<_> = problems.iter().map(|p| p["code"].as_str().expect("a code")).collect();
    assert!(codes.contains(&"missing_image") && codes.contains(&"onnx_malformed"), "{codes:?}");
    assert_eq!(refused.json()["error"], problems[0]);

    let missing = web.submit(&token, &phase, &parts(&results(1), b"")[..2]).await;
    assert_eq!((missing.status.as_u16(), missing.code().as_str()), (422, "artifact_missing"));
    let twice = [Part("results", Some("a"), b"1"), Part("results", Some("b"), b"2")];
    assert_eq!(web.submit(&token, &phase, &twice).await.code(), "duplicate_part");
    let other = [Part("weights", Some("w.bin"), b"1")];
    assert_eq!(web.submit(&token, &phase, &other).await.code(), "unexpected_file");
    let many = vec![Part("fact", None, b"x"); 10_000];
    assert_eq!(web.submit(&token, &phase, &many).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let no_form = request(Method::POST, &path, Some(&token)).body(Body::from("hello")).expect("a request");
    assert_eq!(web.send(no_form).await.code(), "not_multipart");
    let head = "--b\r\nContent-Disposition: form-data; name=\"results\"; filename=\"a\"\r\n\r\nbytes";
    let broken =
        request(Method::POST, &path, Some(&token)).header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    assert_eq!(web.send(broken.body(head.into()).expect("a request")).await.code(), "upload_broken");
    assert_eq!((rows(&web.app).await, files(&web.app)), (0, 0));
}

#[tokio::test]
async fn a_giant_or_endless_upload_is_cut_off() {
    let web = Web::with(|s| s.model_bytes = 1000).await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let large = web.submit(&token, &phase, &parts(&results(1), &[0; 1001])).await;
    assert_eq!((large.status.as_u16(), large.code().as_str()), (413, "too_large"));

    // A part's head that does not end.
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"{}", "n".repeat(1 << 20));
    let chunks = head.into_bytes().chunks(8 << 10).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
    let body = Body::from_stream(futures::stream::iter(chunks));
    let endless =
        request(Method::POST, &path, Some(&token)).header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    assert_eq!(web.send(endless.body(body).expect("a request")).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((rows(&web.app).await, files(&web.app)), (0, 0));
}

#[tokio::test]
async fn a_slow_upload_is_cut_off_and_leaves_nothing() {
    let web = Web::with(|s| s.upload_window = std::time::Duration::from_secs(1)).await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let head = "--b\r\nContent-Disposition: form-data; name=\"results\"; filename=\"a\"\r\n\r\n";
    let drip = futures::stream::unfold(0, move |n| async move {
        tokio::time::sleep(std::time::Duration::from_millis(if n == 0 { 0 } else { 50 })).await;
        let chunk = if n == 0 { head.as_bytes().to_vec() } else { vec![b'x'] };
        Some((Ok::<_, std::io::Error>(chunk), n + 1))
    });
    let slow =
        request(Method::POST, &path, Some(&token)).header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    let reply = web.send(slow.body(Body::from_stream(drip)).expect("a request")).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (408, "upload_too_slow"));
    assert_eq!((rows(&web.app).await, files(&web.app)), (0, 0));
}

#[tokio::test]
async fn tokens_decide_who_may_submit() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let upload = parts(b"x", b"y");
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let nobody = web.send(multipart(request(Method::POST, &path, None), &upload)).await;
    assert_eq!((nobody.status.as_u16(), nobody.code().as_str()), (401, "token_needed"));
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    let wrong = web.submit("upscore_0000", &phase, &upload).await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (401, "token_refused"));
    let reader = web.token_that_may(team, Scope::Read).await;
    assert_eq!(web.submit(&reader, &phase, &upload).await.code(), "scope_too_small");
    let elsewhere = web.app.phase().await;
    let stranger = web.token(web.app.team(&elsewhere, "b").await).await;
    assert_eq!(web.submit(&stranger, &phase, &upload).await.code(), "no_team");
    let detail = web.get_as(&reader, &format!("/api/v1/challenges/{}", phase.challenge_slug)).await.json();
    assert_eq!(detail["team"], "a");
    assert_eq!(detail["phases"][0]["quota"]["daily_used"], 0);
}

#[tokio::test]
async fn a_repeated_upload_gives_the_first_result() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let path = format!("/api/v1/challenges/{}/phases/validation/submissions", phase.challenge_slug);
    let send = async |zip: &[u8]| {
        let head = request(Method::POST, &path, Some(&token)).header("idempotency-key", "one");
        web.send(multipart(head, &parts(zip, &tiny_model()))).await
    };
    let first = send(&results(1)).await.json();
    let again = send(&results(1)).await.json();
    assert_eq!((&first["id"], &again["repeated"]), (&again["id"], &true.into()));
    let other = send(&results(9)).await;
    assert_eq!((other.status.as_u16(), other.code().as_str()), (409, "idempotency_key_reused"));
    assert_eq!(rows(&web.app).await, 1);
}

#[tokio::test]
async fn the_board_comes_in_four_formats() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let evil = web.app.team(&phase, "=cmd|<b>").await;
    web.app.enter(&phase, evil).await;
    let mut low = measurement();
    low.fidelity.psnr = 28.91;
    let below = web.app.team(&phase, "Below").await;
    web.app.enter_as(&phase, below, low).await;
    web.app.drain_queue().await;
    let path = format!("/api/v1/challenges/{}/phases/validation/leaderboard?format=", phase.challenge_slug);
    let json = web.get(&format!("{path}json")).await.json();
    assert_eq!(json["unranked"][0]["reason"]["message"], "28.91 dB, 0.09 dB below the baseline's 29.00");
    let csv = web.get(&format!("{path}csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.text.contains("\"'=cmd|<b>\"") && csv.text.contains("below_baseline"), "{}", csv.text);
    assert!(web.get(&format!("{path}md")).await.text.contains("=cmd\\|&lt;b&gt;"));
    assert!(web.get(&format!("{path}tex")).await.text.contains("\\toprule"));
    let unknown = web.get(&format!("{path}xml")).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (400, "bad_query"));
}

#[tokio::test]
async fn another_teams_submission_does_not_exist() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (owner, other) = (web.app.team(&phase, "owner").await, web.app.team(&phase, "other").await);
    let (own, foreign) = (web.token(owner).await, web.token(other).await);
    let failed = web.app.enter(&phase, owner).await;
    let secret = upscore::problem::Problem::new("zip_crc", "the secret words");
    web.app.evaluator.plan(&web.app.storage, failed, Plan::Fails(secret));
    web.app.drain_queue().await;
    let queued = web.app.enter(&phase, owner).await;
    let unknown = uuid::Uuid::now_v7();
    for id in [failed.to_string(), queued.to_string()] {
        for ending in ["", "/events"] {
            let path = format!("/api/v1/submissions/{id}{ending}");
            let missing = web.get_as(&foreign, &format!("/api/v1/submissions/{unknown}{ending}")).await;
            for reply in [web.get_as(&foreign, &path).await, web.get(&path).await] {
                assert_eq!((reply.status.as_u16(), &reply.text), (404, &missing.text), "{path}");
            }
        }
        for (method, ending) in [(Method::DELETE, ""), (Method::POST, "/cancel")] {
            let reply = web.call(method, &foreign, &format!("/api/v1/submissions/{id}{ending}")).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(web.get_as(&foreign, &format!("/submissions/{id}")).await.status, StatusCode::NOT_FOUND);
    }
    assert!(web.get_as(&own, &format!("/api/v1/submissions/{failed}")).await.text.contains("the secret words"));
    let cancelled = web.call(Method::POST, &own, &format!("/api/v1/submissions/{queued}/cancel")).await;
    assert_eq!(cancelled.json()["state"], "cancelled");
    let again = web.call(Method::POST, &own, &format!("/api/v1/submissions/{queued}/cancel")).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "not_live"));
}

#[tokio::test]
async fn others_see_the_figures_of_an_entry_on_the_board_and_no_more() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let id = web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let seen = web.get(&format!("/api/v1/submissions/{id}")).await.json();
    assert_eq!(seen["metrics"]["psnr"], 29.04);
    for hidden in ["images", "reproduction", "provenance", "fact_sheet", "readme"] {
        assert!(seen[hidden].is_null(), "{hidden}");
    }
    let page = web.get(&format!("/submissions/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("0902") && !page.text.contains(&"00".repeat(32)));
    // Withdrawn, it is gone for them.
    let own = web.token(team).await;
    let gone = web.call(Method::DELETE, &own, &format!("/api/v1/submissions/{id}")).await;
    assert_eq!(gone.json()["withdrawn"], true);
    assert_eq!(web.get(&format!("/api/v1/submissions/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_hidden_phase_tells_no_figure() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let id = web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let base = format!("/api/v1/challenges/{}/phases/validation", phase.challenge_slug);
    for format in ["json", "csv", "md", "tex"] {
        let board = web.get_as(&token, &format!("{base}/leaderboard?format={format}")).await;
        assert_eq!((board.status.as_u16(), board.code().as_str()), (403, "not_published"));
    }
    let pages = [
        web.get_as(&token, &format!("/api/v1/submissions/{id}")).await,
        web.get_as(&token, &format!("/submissions/{id}")).await,
        web.get_as(&token, &format!("/challenges/{}/validation", phase.challenge_slug)).await,
        web.get("/").await,
    ];
    for page in pages {
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text.contains("29.04") && !page.text.contains("0.8200"), "{}", page.text);
    }
    assert_eq!(web.get(&format!("/submissions/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn events_tell_the_way_and_end_when_it_is_final() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "a").await;
    let token = web.token(team).await;
    let id = web.app.enter(&phase, team).await;
    let ask = request(Method::GET, &format!("/api/v1/submissions/{id}/events"), Some(&token));
    let response = tower::ServiceExt::oneshot(web.router.clone(), ask.body(Body::empty()).expect("a request")).await;
    let response = response.expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut text = String::new();
    let first = stream.next().await.expect("an event").expect("bytes");
    text.push_str(std::str::from_utf8(&first).expect("text"));
    assert!(text.contains("\"state\":\"queued\"") && text.contains("next in line"), "{text}");
    web.app.drain_queue().await;
    // Ends by itself.
    let rest = async {
        while let Some(chunk) = stream.next().await {
            text.push_str(std::str::from_utf8(&chunk.expect("bytes")).expect("text"));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), rest).await.expect("the stream ends");
    assert!(text.trim_end().lines().last().expect("a line").contains("\"final\":true"), "{text}");
    assert_eq!(web.app.state(id).await, State::Scored);
}

#[tokio::test]
async fn a_quota_that_is_used_up_says_until_when() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.limits.daily = 1, |_| {}).await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    assert_eq!(web.submit(&token, &phase, &parts(&results(1), &tiny_model())).await.status, StatusCode::ACCEPTED);
    let second = web.submit(&token, &phase, &parts(&results(3), &tiny_model())).await;
    assert_eq!((second.status.as_u16(), second.code().as_str()), (429, "quota_used"));
    assert!(second.header("retry-after").parse::<u32>().is_ok_and(|s| s <= 86_400));
    let closed = web.app.phase_with(|new| new.closes_at = Some(Utc::now() - Duration::hours(1)), |_| {}).await;
    let late = web.token(web.app.team(&closed, "a").await).await;
    assert_eq!(web.submit(&late, &closed, &parts(&results(1), &tiny_model())).await.code(), "phase_closed");
}

#[tokio::test]
async fn the_openapi_document_describes_what_is_there() {
    let web = Web::start().await;
    let document = web.get("/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    let expected = [
        ("/api/v1/bundles", "post"),
        ("/api/v1/challenges", "get"),
        ("/api/v1/challenges", "post"),
        ("/api/v1/challenges/{slug}", "get"),
        ("/api/v1/challenges/{slug}/file", "get"),
        ("/api/v1/challenges/{slug}/file", "put"),
        ("/api/v1/challenges/{slug}/phases/{phase}/leaderboard", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/submissions", "get"),
        ("/api/v1/datasets", "get"),
        ("/api/v1/datasets", "post"),
        ("/api/v1/datasets/builds/{id}", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/lr.zip", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/sample.zip", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/compare", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/publish", "post"),
        ("/api/v1/challenges/{slug}/phases/{phase}/unpublish", "post"),
        ("/api/v1/challenges/{slug}/phases/{phase}/carry", "post"),
        ("/api/v1/challenges/{slug}/phases/{phase}/study", "get"),
        ("/challenges/{slug}/{phase}/embed", "get"),
        ("/challenges/{slug}/{phase}/feed.atom", "get"),
        ("/challenges/{slug}/{phase}/preview.png", "get"),
        ("/challenges/{slug}/{phase}/teams/{id}/badge.svg", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/review", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/reruns", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/reruns", "post"),
        ("/api/v1/challenges/{slug}/phases/{phase}/reruns/{batch}", "get"),
        ("/api/v1/challenges/{slug}/phases/{phase}/reruns/{batch}", "post"),
        ("/api/v1/submissions/{id}/review", "get"),
        ("/api/v1/submissions/{id}/mark", "post"),
        ("/api/v1/submissions/{id}/objections", "get"),
        ("/api/v1/submissions/{id}/objections", "post"),
        ("/api/v1/submissions/{id}/objections/{objection}/answer", "post"),
        ("/api/v1/challenges/{slug}/phases/{phase}/submissions", "post"),
        ("/api/v1/submissions/{id}", "get"),
        ("/api/v1/submissions/{id}", "delete"),
        ("/api/v1/submissions/{id}", "patch"),
        ("/api/v1/submissions/{id}/cancel", "post"),
        ("/api/v1/submissions/{id}/choose", "post"),
        ("/api/v1/submissions/{id}/model", "get"),
        ("/api/v1/submissions/{id}/results", "get"),
        ("/api/v1/submissions/{id}/withdraw", "post"),
        ("/api/v1/submissions/{id}/events", "get"),
        ("/api/v1/submissions/{id}/record", "get"),
        ("/api/v1/record-key", "get"),
        ("/api/v1/uploads", "get"),
        ("/api/v1/uploads", "options"),
        ("/api/v1/uploads", "post"),
        ("/api/v1/uploads/{id}", "delete"),
        ("/api/v1/uploads/{id}", "head"),
        ("/api/v1/uploads/{id}", "patch"),
        ("/api/v1/uploads/{id}", "post"),
        ("/api/v1/account", "get"),
        ("/api/v1/account", "post"),
        ("/api/v1/account", "patch"),
        ("/api/v1/account/password", "put"),
        ("/api/v1/account/sessions", "get"),
        ("/api/v1/account/sessions/{id}", "delete"),
        ("/api/v1/session", "post"),
        ("/api/v1/session", "delete"),
        ("/api/v1/tokens", "get"),
        ("/api/v1/tokens", "post"),
        ("/api/v1/tokens/{id}", "delete"),
        ("/api/v1/challenges/{slug}/join", "get"),
        ("/api/v1/challenges/{slug}/join", "post"),
        ("/api/v1/account/mails", "get"),
        ("/api/v1/account/mails", "put"),
        ("/api/v1/challenges/{slug}/phases/{phase}/protocol", "put"),
        ("/api/v1/challenges/{slug}/phases/{phase}/protocol/preview", "post"),
        ("/api/v1/challenges/{slug}/announcements", "get"),
        ("/api/v1/challenges/{slug}/announcements", "post"),
        ("/api/v1/challenges/{slug}/announcements/{id}/withdraw", "post"),
        ("/api/v1/challenges/{slug}/webhook", "delete"),
        ("/api/v1/challenges/{slug}/webhook", "get"),
        ("/api/v1/challenges/{slug}/webhook", "put"),
        ("/api/v1/challenges/{slug}/webhook/ping", "post"),
        ("/api/v1/workers", "get"),
        ("/api/v1/challenges/{slug}/audit", "get"),
        ("/api/v1/challenges/{slug}/export.zip", "get"),
        ("/api/v1/challenges/{slug}/organizers", "get"),
        ("/api/v1/challenges/{slug}/organizers", "post"),
        ("/api/v1/challenges/{slug}/organizers/{account}", "delete"),
        ("/api/v1/challenges/{slug}/participants", "get"),
        ("/api/v1/challenges/{slug}/participants/{account}/ban", "post"),
        ("/api/v1/challenges/{slug}/participants/{account}/remove", "post"),
        ("/api/v1/challenges/{slug}/participants/{account}/unban", "post"),
        ("/api/v1/challenges/{slug}/requests", "get"),
        ("/api/v1/challenges/{slug}/requests/{account}", "post"),
        ("/api/v1/invitations/accept", "post"),
        ("/api/v1/teams", "get"),
        ("/api/v1/teams/{id}", "get"),
        ("/api/v1/teams/{id}", "patch"),
        ("/api/v1/teams/{id}/members/{account}", "delete"),
        ("/api/v1/teams/{id}/invitations", "post"),
        ("/api/v1/teams/{id}/invitations/{invitation}", "delete"),
        ("/api/v1/reset-links", "post"),
    ];
    for (path, method) in expected {
        assert!(paths[path][method]["summary"].is_string(), "{method} {path}");
    }
    let described: usize = paths.values().map(|item| item.as_object().expect("an item").len()).sum();
    assert_eq!(described, expected.len(), "a new route is listed here, so that its test is not forgotten");
    // Each is routed: the answer is one of its own, not "there is nothing at this address". (What is for readmes and frames
    // answers like a page; `share::` asks for it.)
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/api/")) {
        for method in item.as_object().expect("an item").keys() {
            let address = path.replace("{slug}", "none").replace("{phase}", "none").replace("{id}", "none");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let reply = web.send(request(method, &address, None).body(Body::empty()).expect("a request")).await;
            // (A HEAD has no body to tell the two apart by.)
            assert!(reply.status.is_success() || reply.text.is_empty() || reply.code() != "not_found", "{path}");
        }
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    assert!(web.get("/api/docs").await.text.contains("/api/v1/submissions/{id}/events"));
}

#[tokio::test]
async fn health_and_metrics_are_there_for_whoever_runs_it() {
    let web = Web::start().await;
    assert_eq!(web.get("/healthz").await.text, "ok\n");
    assert_eq!(web.get("/readyz").await.status, StatusCode::OK);
    let phase = web.app.phase().await;
    web.app.enter(&phase, web.app.team(&phase, "a").await).await;
    web.get(&format!("/api/v1/challenges/{}", phase.challenge_slug)).await;
    let metrics = web.get("/metrics").await.text;
    assert!(metrics.contains("upscore_queue_jobs{state=\"queued\"}"), "{metrics}");
    assert!(metrics.contains("path=\"/api/v1/challenges/{slug}\""), "{metrics}");
    assert!(!metrics.contains(&phase.challenge_slug), "labels are routes, not addresses");
    sqlx::raw_sql("delete from _sqlx_migrations").execute(&web.app.pool).await.expect("deleted");
    assert_eq!(web.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let depth = queue::depth(&mut *web.app.conn().await).await.expect("a depth");
    assert_eq!(depth.queued, 1);
}
