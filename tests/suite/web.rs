//! Pages: what they say, to whom, and what every answer carries.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use upscore::storage::BlobHash;

use crate::support::{
    app::measurement,
    files::{png, results, tiny_model},
    showcase,
    web::{Part, Web, multipart, request},
};

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let board = format!("/challenges/{}/validation", phase.challenge_slug);
    for path in ["/", &board, "/nowhere", "/api/v1/challenges", "/api/v1/nowhere", "/static/nothing.css", "/healthz"] {
        let reply = web.get(path).await;
        let policy = reply.header("content-security-policy");
        for rule in [
            "default-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn who_takes_news_of_a_hole_is_said_where_the_installer_says_it() {
    let silent = Web::start().await;
    assert_eq!(silent.get("/.well-known/security.txt").await.status, StatusCode::NOT_FOUND);
    let web = Web::with(|settings| {
        settings.security_contact = Some("security@sr.example.org".parse().expect("a contact"));
        settings.public_url = Some("https://sr.example.org".into());
    })
    .await;
    let said = web.get("/.well-known/security.txt").await;
    assert_eq!((said.status, said.header("content-type")), (StatusCode::OK, "text/plain; charset=utf-8"));
    let line = |name: &str| said.text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    assert_eq!(line("Contact: "), "mailto:security@sr.example.org");
    assert_eq!(line("Canonical: "), "https://sr.example.org/.well-known/security.txt");
    let expires: chrono::DateTime<chrono::Utc> = line("Expires: ").parse().expect("a time");
    let days = (expires - chrono::Utc::now()).num_days();
    assert!((30..365).contains(&days), "{days} days");
    for bad in ["", "a b@c", "ftp://x", "me", "mailto:a\nContact: b"] {
        assert!(bad.parse::<upscore::web::contact::Contact>().is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn no_page_has_inline_script_or_style_or_another_site() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let phase = format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    let submission = format!("/submissions/{}", shown.scored);
    let queued = format!("/submissions/{}", shown.queued);
    for path in [
        "/",
        &phase,
        &format!("{phase}/submit"),
        &submission,
        &queued,
        "/signin",
        "/signup",
        "/team",
        "/account",
        "/api/docs",
        "/nowhere",
    ] {
        let text = web.get_as(&shown.token, path).await.text;
        assert!(!text.contains("style=") && !text.contains("<style") && !text.contains("onclick"), "{path}");
        for script in text.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/static/"), "{path}: {}", &script[..40.min(script.len())]);
        }
        for address in text.split("src=\"").skip(1).chain(text.split("href=\"").skip(1)) {
            assert!(
                address.starts_with('/') || address.starts_with('#') || address.starts_with('?'),
                "{path}: {address:.60}"
            );
        }
    }
}

#[tokio::test]
async fn a_first_view_is_small() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let page = web.get(&format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug)).await.text;
    let mut bytes = page.len();
    for name in ["app.css", "app.js", "favicon.svg"] {
        bytes += web.get(&upscore::web::assets::url(name)).await.text.len();
    }
    assert!(bytes < 200_000, "{bytes} bytes before compression");
}

#[tokio::test]
async fn the_board_shows_ranks_reasons_and_the_baseline() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let text = web.get(&format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug)).await.text;
    for words in
        ["NJU_MCG", "MSRResNet", "Not ranked", "dB below the baseline", "does not make the uploaded images", "AMD EPYC"]
    {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.contains("<svg class=\"scatter large\"") && text.contains("class=\"front\""));
    assert!(text.contains("PSNR against runtime"));
    let other = web.get(&format!("/challenges/{}/{}?cost=params", shown.phase.challenge_slug, shown.phase.slug)).await;
    assert!(other.text.contains("PSNR against parameters"));
    let bubbles = web
        .get(&format!(
            "/challenges/{}/{}?cost=params&y=ssim&scale=linear&size=memory",
            shown.phase.challenge_slug, shown.phase.slug
        ))
        .await
        .text;
    assert!(bubbles.contains("SSIM against parameters") && bubbles.contains("The area of a mark is its memory MiB"));
    assert!(bubbles.contains("The figures of this plot") && bubbles.contains("class=\"beaten\""), "{bubbles}");
    let odd = web.get(&format!("/challenges/{}/{}?cost=%00", shown.phase.challenge_slug, shown.phase.slug)).await;
    assert_eq!(odd.status, StatusCode::OK);
}

#[tokio::test]
async fn a_browser_submits_by_form_and_watches() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "Browser").await;
    let token = web.token(team).await;
    let path = format!("/challenges/{}/validation/submit", phase.challenge_slug);
    assert!(web.get(&path).await.text.contains("Your token"));
    let zip = results(1);
    let model = tiny_model();
    let form = |token: &'static str| {
        [
            Part("token", None, token.as_bytes()),
            Part("results", Some("r.zip"), &zip),
            Part("model", Some("m.onnx"), &model),
        ]
    };

    let refused = web.send(multipart(request(Method::POST, &path, None), &form("upscore_wrong"))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text.contains("token_refused") && refused.text.contains("<form"), "the form again");

    let token: &'static str = token.leak();
    let accepted = web.send(multipart(request(Method::POST, &path, None), &form(token))).await;
    assert_eq!(accepted.status, StatusCode::SEE_OTHER, "{}", accepted.text);
    let cookie = accepted.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let page = accepted.header("location").to_owned();
    let see = async |path: &str| {
        let ask = request(Method::GET, path, None).header(header::COOKIE, &cookie).body(Body::empty());
        web.send(ask.expect("a request")).await
    };
    let waiting = see(&page).await.text;
    assert!(waiting.contains("data-live=") && waiting.contains("next in line"));
    assert_eq!(web.get(&page).await.status, StatusCode::NOT_FOUND, "for nobody else");
    web.app.drain_queue().await;
    let scored = see(&page).await.text;
    assert!(scored.contains("29.04") && scored.contains("Reproduced.") && !scored.contains("data-live="));
    assert!(see(&path).await.text.contains("You submit for <strong>Browser</strong>"));
    // A script of the page gets the API's answers.
    let ask =
        request(Method::POST, &path, None).header(header::COOKIE, &cookie).header(header::ACCEPT, "application/json");
    let json = web
        .send(multipart(ask, &[Part("results", Some("r.zip"), b"no zip"), Part("model", Some("m"), b"no model")]))
        .await;
    assert_eq!(json.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(json.json()["errors"].as_array().expect("a list").len() >= 2);
}

#[tokio::test]
async fn a_post_from_another_site_is_refused() {
    let web = Web::start().await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let ask = request(Method::POST, "/signout", None).header(name, value).body(Body::empty()).expect("a request");
        assert_eq!(web.send(ask).await.status, StatusCode::FORBIDDEN, "{name}");
    }
    let ask = request(Method::POST, "/signout", None)
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::empty());
    assert_eq!(web.send(ask.expect("a request")).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_sign_in_leads_back_and_a_wrong_token_is_told() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let post = async |body: String| {
        let ask = request(Method::POST, "/signin/token", None)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        web.send(ask.body(body.into()).expect("a request")).await
    };
    assert_eq!(post(format!("token={token}&next=%2F%2Fevil")).await.header("location"), "/");
    assert_eq!(post(format!("token={token}&next=%2Fapi%2Fdocs")).await.header("location"), "/api/docs");
    let wrong = post("token=upscore_1".into()).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("token_refused") && !wrong.text.contains("upscore_1\""));
}

#[tokio::test]
async fn names_and_words_of_others_are_shown_as_text() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "<script>alert(1)</script>").await;
    let id = web.app.enter_as(&phase, team, measurement()).await;
    web.app.drain_queue().await;
    for path in [format!("/challenges/{}/validation", phase.challenge_slug), format!("/submissions/{id}"), "/".into()] {
        let text = web.get(&path).await.text;
        assert!(text.contains("&#60;script&#62;alert") && !text.contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn the_sample_submission_is_accepted_as_it_is() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let api = format!("/api/v1/challenges/{}/phases/{}/sample.zip", phase.challenge_slug, phase.slug);
    let bytes = async |path: &str| {
        let ask = request(Method::GET, path, None).body(Body::empty()).expect("a request");
        let response = tower::ServiceExt::oneshot(web.router.clone(), ask).await.expect("an answer");
        let named = response.headers()[header::CONTENT_DISPOSITION].to_str().expect("text").to_owned();
        assert_eq!(named, "attachment; filename=\"real-validation-sample.zip\"");
        axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body")
    };
    // Two at once make it once.
    let path = format!("{page}/sample.zip");
    let (sample, again) = futures::join!(bytes(&path), bytes(&api));
    assert!(sample == again);
    let token = web.token(web.app.team(&phase, "a").await).await;
    let parts = [Part("results", Some("r.zip"), &sample), Part("model", Some("m.onnx"), &tiny_model())];
    let made = web.submit(&token, &phase, &parts).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.text);
    let path = format!("/api/v1/submissions/{}", made.json()["id"].as_str().expect("an id"));
    let told = web.get_as(&token, &path).await.json();
    assert_eq!(told["fact_sheet"], serde_json::json!({}), "the readme says nothing before it is filled in");
    for path in [format!("/challenges/{}", phase.challenge_slug), format!("{page}/submit")] {
        assert!(web.get(&path).await.text.contains(&format!("{page}/sample.zip")), "{path}");
    }
}

#[tokio::test]
async fn the_lr_images_come_as_a_zip_and_the_hr_has_no_route() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let path = format!("/challenges/{}/{}/lr.zip", phase.challenge_slug, phase.slug);
    let ask = request(Method::GET, &path, None).body(Body::empty()).expect("a request");
    let response = tower::ServiceExt::oneshot(web.router.clone(), ask).await.expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/zip");
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
    let mut names: Vec<_> = zip.file_names().map(|n| n.expect("a name").into_owned()).collect();
    names.sort();
    assert_eq!(names, ["0901x4.png", "0902x4.png"]);
    let mut lr = Vec::new();
    std::io::copy(&mut zip.by_index(0).expect("an entry"), &mut lr).expect("its bytes");
    let hr = BlobHash::of(&png(96, 64, 1));
    assert!(lr.starts_with(b"\x89PNG") && BlobHash::of(&lr) != hr);
    let crawl = [
        "/".to_owned(),
        format!("/challenges/{}", phase.challenge_slug),
        format!("/challenges/{}/{}", phase.challenge_slug, phase.slug),
        format!("/api/v1/challenges/{}", phase.challenge_slug),
    ];
    let stored: Vec<String> =
        sqlx::query_scalar("select hr_sha256 from dataset_image").fetch_all(&web.app.pool).await.expect("hashes");
    for path in crawl {
        let text = web.get(&path).await.text;
        assert!(stored.iter().all(|hash| !text.contains(hash)), "{path}");
    }
}

#[tokio::test]
async fn static_files_are_kept_by_browsers_and_nothing_else_is_served() {
    let web = Web::start().await;
    let url = upscore::web::assets::url("app.css");
    let css = web.get(&url).await;
    assert!(css.header("cache-control").contains("immutable"));
    let ask = request(Method::GET, &url, None).header(header::IF_NONE_MATCH, css.header("etag"));
    assert_eq!(web.send(ask.body(Body::empty()).expect("a request")).await.status, StatusCode::NOT_MODIFIED);
    for path in
        ["/static/..%2fCargo.toml", "/static/%2e%2e/Cargo.toml", "/static/....//x", "/static/a%00.css", "/static/"]
    {
        assert_eq!(web.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn slow_headers_are_cut_off_and_a_stop_lets_requests_finish() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let web = Web::with(|s| s.header_timeout = std::time::Duration::from_millis(300)).await;
    let url = web.listen().await;
    let address = url.trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(5), slow.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection is closed by us");
    let mut large = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(20 << 10));
    large.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = large.read_to_end(&mut answer).await;
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    web.stop.cancel();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "no longer listening");
}

/// 500 clients that send a byte of their header now and then: each is cut off, and nobody else waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slow_clients_are_cut_off_and_nobody_waits_for_them() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const SLOW: usize = 500;
    let limit = std::time::Duration::from_secs(2);
    let web = Web::with(|s| s.header_timeout = limit).await;
    let url = web.listen().await;
    let address = url.trim_start_matches("http://").to_owned();
    let closed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..SLOW {
        let (address, closed) = (address.clone(), closed.clone());
        clients.spawn(async move {
            let mut slow = tokio::net::TcpStream::connect(&address).await.expect("a connection");
            let header = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
            for byte in header {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                let mut answer = [0; 512];
                let read = tokio::time::timeout(std::time::Duration::from_millis(100), slow.read(&mut answer)).await;
                if let Ok(Ok(0) | Err(_)) = read {
                    break;
                }
            }
            closed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
    }
    let healthz = || async {
        let mut client = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        answer
    };
    let mut answered_before_they_were_cut_off = 0;
    while closed.load(std::sync::atomic::Ordering::SeqCst) < SLOW / 2 {
        let answer = tokio::time::timeout(limit, healthz()).await.expect("an answer in time");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answered_before_they_were_cut_off += 1;
    }
    assert!(answered_before_they_were_cut_off > 10, "{answered_before_they_were_cut_off}");
    let all = async { while clients.join_next().await.is_some() {} };
    tokio::time::timeout(10 * limit, all).await.expect("every one of them is cut off");
}

/// Serves the furnished challenge until it is stopped: `UPSCORE_SHOWCASE=127.0.0.1:8099 cargo test showcase -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves until it is stopped"]
async fn showcase() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let at = std::env::var("UPSCORE_SHOWCASE").unwrap_or_else(|_| "127.0.0.1:8099".into());
    println!("{}", web.listen_at(&at).await);
    println!("token {}\nscored {}\nfailed {}\nqueued {}", shown.token, shown.scored, shown.failed, shown.queued);
    std::future::pending::<()>().await;
}

/// A board is ranked once and kept; whatever moves it is seen by the next visitor.
#[tokio::test]
async fn a_kept_board_moves_with_everything_that_it_shows() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (first, second) = (web.app.team(&phase, "First").await, web.app.team(&phase, "Second").await);
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let api = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    // The page as it is kept for those who are not signed in, whole again.
    let kept = async |tag: &str| {
        let ask = request(Method::GET, &page, None).header("accept-encoding", "gzip, br").header("if-none-match", tag);
        let ask = ask.body(Body::empty()).expect("a request");
        let answer = tower::ServiceExt::oneshot(web.router.clone(), ask).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let mut text = String::new();
        if head.status == StatusCode::OK {
            assert_eq!(head.headers["content-encoding"], "gzip");
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).expect("gzip");
        }
        (head.status.as_u16(), head.headers["etag"].to_str().expect("a tag").to_owned(), text)
    };
    let teams = async || {
        let made = web.get(&page).await;
        assert_eq!(kept("").await, (200, made.header("etag").to_owned(), made.text));
        let board = web.get(&api).await.json();
        let row = |row: &serde_json::Value| row["team"].as_str().expect("a name").to_owned();
        [&board["ranked"], &board["unranked"]]
            .map(|rows| rows.as_array().expect("rows").iter().map(row).collect::<Vec<_>>())
    };
    let none = Vec::<String>::new();
    assert_eq!(teams().await, [none.clone(), none.clone()]);
    let entry = web.app.enter(&phase, first).await;
    assert_eq!(teams().await, [none.clone(), none.clone()], "queued");
    web.app.drain_queue().await;
    assert_eq!(teams().await, [vec!["First".to_owned()], none.clone()]);
    let other = web.app.enter(&phase, second).await;
    web.app.drain_queue().await;
    assert_eq!(teams().await[0].len(), 2);
    let change = async |sql: &'static str| sqlx::query(sql).execute(&web.app.pool).await.expect("changed");
    change("update team set name = 'Renamed' where name = 'Second'").await;
    assert!(teams().await[0].contains(&"Renamed".to_owned()));
    change("update phase set gate_psnr = 40").await;
    assert_eq!(teams().await.map(|rows| rows.len()), [0, 2], "the gate");
    change("update phase set gate_psnr = 20").await;
    upscore::submission::withdraw(&mut *web.app.conn().await, entry).await.expect("withdrawn");
    assert_eq!(teams().await, [vec!["Renamed".to_owned()], none.clone()]);
    sqlx::query("update submission set organizer_status = 'held', organizer_reason = 'x' where id = $1")
        .bind(other)
        .execute(&web.app.pool)
        .await
        .expect("held");
    assert_eq!(teams().await, [none, vec!["Renamed".to_owned()]]);

    // What has not changed is not sent again; what has is.
    let seen = web.get(&page).await;
    let tag = seen.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let unchanged = (304, tag.clone(), String::new());
    assert_eq!(kept(&tag).await, unchanged);
    let plain = request(Method::GET, &page, None).header(header::IF_NONE_MATCH, &tag).body(Body::empty());
    assert_eq!(web.send(plain.expect("a request")).await.status, StatusCode::NOT_MODIFIED);
    change("update team set name = 'Renamed again' where name = 'Renamed'").await;
    let (status, _, text) = kept(&tag).await;
    assert!(status == 200 && text.contains("Renamed again"), "{status}");
}
