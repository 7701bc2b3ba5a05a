//! Getting in: accounts, passwords, sessions, and what keeps others out.

use std::io::Write;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use upscore::{
    mail::Mailer,
    team::{
        account::{self, NewAccount},
        secret::digest,
        sign_in,
    },
};

use crate::support::web::{PASSWORD, Reply, Visitor, Web, request};

async fn sign_in_as(visitor: &mut Visitor<'_>, name: &str, password: &str) -> Reply {
    visitor.post("/signin", &[("name", name), ("password", password)]).await
}

/// The link that a page or a mail shows once.
fn link(text: &str) -> String {
    let start = text.find("/reset?key=").unwrap_or_else(|| panic!("no link in {text}"));
    text[start..].chars().take("/reset?key=".len() + 64).collect()
}

async fn is_signed_in(visitor: &mut Visitor<'_>) -> bool {
    visitor.get("/account").await.status == StatusCode::OK
}

#[tokio::test]
async fn an_account_is_made_left_and_entered_again() {
    let web = Web::with(|s| s.public_url = Some("https://sr.example.org".into())).await;
    let mut ann = web.visitor();
    let form = [("name", "Ann B"), ("email", "Ann@example.org"), ("password", PASSWORD), ("next", "/team")];
    let made = ann.post("/signup", &form).await;
    assert_eq!((made.status, made.header("location")), (StatusCode::SEE_OTHER, "/team"), "{}", made.text);
    let set = made.header("set-cookie");
    for word in ["__Host-upscore=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(word), "{word}: {set}");
    }
    assert!(is_signed_in(&mut ann).await);
    let (name, secret) = ann
        .cookie
        .clone()
        .expect("a cookie")
        .split_once('=')
        .map(|(n, s)| (n.to_owned(), s.to_owned()))
        .expect("a pair");
    assert_eq!((name.as_str(), secret.len()), ("__Host-upscore", 64));
    let stored: String =
        sqlx::query_scalar("select token_sha256 from session").fetch_one(&web.app.pool).await.expect("it");
    assert_eq!(stored, digest(&secret), "only the hash is kept");

    // Signing out ends the session on the server, for whoever copied the cookie.
    let mut thief = web.visitor();
    thief.cookie = ann.cookie.clone();
    assert!(is_signed_in(&mut thief).await);
    ann.post("/signout", &[]).await;
    assert!(ann.cookie.is_none() && !is_signed_in(&mut thief).await);

    // By name and by mail address, whatever the case; a new secret each time, and the old one ends.
    assert_eq!(sign_in_as(&mut ann, "ann b", PASSWORD).await.status, StatusCode::SEE_OTHER);
    let first = ann.cookie.clone();
    assert_eq!(sign_in_as(&mut ann, "ann@EXAMPLE.org", PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert_ne!(ann.cookie, first);
    thief.cookie = first;
    assert!(!is_signed_in(&mut thief).await && is_signed_in(&mut ann).await);
    let listed = ann.get("/account").await.text;
    assert!(listed.contains("this browser") && !listed.contains("Sign out everywhere else"));
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_up_is_said() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let cases = [
        (vec![("name", "ANN"), ("password", PASSWORD)], 409, "account_taken"),
        (vec![("name", "a@b.org"), ("password", PASSWORD)], 422, "bad_account_name"),
        (vec![("name", "<b>"), ("password", PASSWORD)], 422, "bad_account_name"),
        (vec![("name", "Bob"), ("password", "short")], 422, "bad_password"),
        (vec![("name", "Bob"), ("password", "Password123")], 422, "guessable_password"),
        (vec![("name", "Bob"), ("password", PASSWORD), ("email", "no mail")], 422, "bad_email"),
        (vec![("name", "Bob"), ("password", PASSWORD), ("is_organizer", "true")], 422, "bad_form"),
    ];
    for (form, status, code) in cases {
        let reply = web.visitor().post("/signup", &form).await;
        assert_eq!(reply.status.as_u16(), status, "{form:?}");
        assert!(reply.text.contains(code) && !reply.text.contains(PASSWORD), "{code}: {}", reply.text);
    }
    // A known mail address looks like any other, and its first owner signs in by it.
    ann.post("/account/email", &[("email", "ann@example.org")]).await;
    let twin = web
        .visitor()
        .post("/signup", &[("name", "Twin"), ("email", "ann@example.org"), ("password", "another phrase")])
        .await;
    assert_eq!(twin.status, StatusCode::SEE_OTHER);
    let mut by_mail = web.visitor();
    assert_eq!(sign_in_as(&mut by_mail, "ann@example.org", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let mut elsewhere = web.visitor();
    sign_in_as(&mut elsewhere, "Ann", PASSWORD).await;
    let form = |current, new| [("current", current), ("password", new)];
    let wrong = ann.post("/account/password", &form("wrong password", "a new passphrase")).await;
    assert!(wrong.status == StatusCode::UNPROCESSABLE_ENTITY && wrong.text.contains("wrong_password"));
    let changed = ann.post("/account/password", &form(PASSWORD, "a new passphrase")).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text);
    assert!(is_signed_in(&mut ann).await && !is_signed_in(&mut elsewhere).await);
    assert_eq!(sign_in_as(&mut elsewhere, "Ann", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in_as(&mut elsewhere, "Ann", "a new passphrase").await.status, StatusCode::SEE_OTHER);

    // A list of own sessions, each of which can be ended.
    let page = ann.get("/account").await.text;
    let end = page.split("action=\"").skip(1).map(|s| s.split('"').next().expect("an address"));
    let end = end.into_iter().find(|a| a.starts_with("/account/sessions/0")).expect("the other session").to_owned();
    let mut stranger = web.person("Stranger").await;
    assert_eq!(stranger.post(&end, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ann.post(&end, &[]).await.status, StatusCode::SEE_OTHER);
    assert!(!is_signed_in(&mut elsewhere).await && is_signed_in(&mut ann).await);
}

#[tokio::test]
async fn an_organizers_link_sets_a_new_password_once() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let mut olga = web.organizer().await;
    assert!(web.visitor().get("/forgotten").await.text.contains("Ask an organizer"));
    assert_eq!(
        ann.post("/organizer/reset", &[("name", "Ann"), ("reason", "they asked")]).await.status,
        StatusCode::NOT_FOUND
    );
    let link = link(&olga.post("/organizer/reset", &[("name", "ann"), ("reason", "they asked")]).await.text);
    let mut forgetful = web.visitor();
    assert!(forgetful.get(&link).await.text.contains("New password for Ann"));
    let key = link.rsplit('=').next().expect("a key");
    let weak = forgetful.post("/reset", &[("key", key), ("password", "password")]).await;
    assert_eq!(weak.status, StatusCode::UNPROCESSABLE_ENTITY, "and the link still works");
    assert_eq!(
        forgetful.post("/reset", &[("key", key), ("password", "a third passphrase")]).await.status,
        StatusCode::SEE_OTHER
    );
    assert!(is_signed_in(&mut forgetful).await && !is_signed_in(&mut ann).await, "every session ended");
    for reply in [
        web.visitor().get(&link).await,
        web.visitor().post("/reset", &[("key", key), ("password", "a fourth passphrase")]).await,
        web.visitor().get("/reset?key=none").await,
    ] {
        assert!(reply.status == StatusCode::NOT_FOUND && reply.text.contains("link_not_found"));
    }
    assert_eq!(sign_in_as(&mut ann, "Ann", "a third passphrase").await.status, StatusCode::SEE_OTHER);

    // Too old.
    let old =
        crate::accounts::link(&olga.post("/organizer/reset", &[("name", "ann"), ("reason", "they asked")]).await.text);
    sqlx::query("update reset_link set expires_at = now()").execute(&web.app.pool).await.expect("aged");
    assert_eq!(web.visitor().get(&old).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_goes_by_mail_and_the_asker_learns_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mailer =
        Mailer::new(&format!("file://{}", folder.path().display()), "Upscore <no@sr.example>").expect("a mailer");
    let web = Web::with(|s| (s.mailer, s.public_url) = (Some(mailer), Some("https://sr.example".into()))).await;
    let mut ann = web.person("Ann").await;
    ann.post("/account/email", &[("email", "Ann@example.org")]).await;
    let mails = || {
        std::fs::read_dir(folder.path())
            .expect("read")
            .map(|e| std::fs::read_to_string(e.expect("an entry").path()).expect("a mail"))
    };
    let ask = async |address: &str| web.visitor().post("/forgotten", &[("email", address)]).await;

    let (known, unknown) = (ask("ann@example.org").await, ask("nobody@example.org").await);
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    let mut waited = 0;
    while mails().count() == 0 || mails().any(|mail| mail.is_empty()) {
        assert!(waited < 300, "no mail came");
        waited += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // Lines of a mail end softly with "=".
    let mail = mails().next().expect("a mail").replace("=\r\n", "").replace("=3D", "=");
    assert!(mail.contains("To: Ann@example.org") && mail.contains("https://sr.example/reset?key="), "{mail}");
    let link = link(&mail);
    let key = link.rsplit('=').next().expect("a key");
    assert_eq!(
        web.visitor().post("/reset", &[("key", key), ("password", "a new passphrase")]).await.status,
        StatusCode::SEE_OTHER
    );
    let proven: bool = sqlx::query_scalar("select email_confirmed_at is not null from account")
        .fetch_one(&web.app.pool)
        .await
        .expect("it");
    assert!(proven);

    // No more than three an hour to one address; the answer stays the same.
    for _ in 0..4 {
        assert_eq!(ask("ann@example.org").await.text, known.text);
    }
    let links: i64 = sqlx::query_scalar("select count(*) from attempt where kind = 'reset'")
        .fetch_one(&web.app.pool)
        .await
        .expect("it");
    assert_eq!(links, 4, "three for Ann, one for nobody");
}

#[tokio::test]
async fn an_unknown_name_is_answered_like_a_wrong_password() {
    let web = Web::start().await;
    web.person("Ann").await;
    let app = &web.app;
    account::create(&mut *app.conn().await, NewAccount { name: "Tessa".into(), ..NewAccount::default() })
        .await
        .expect("made");
    let shut = NewAccount { name: "Sigrid".into(), password: Some(PASSWORD.into()), ..NewAccount::default() };
    let shut = account::create(&mut *app.conn().await, shut).await.expect("made");
    account::set_disabled(&mut *app.conn().await, shut, true).await.expect("shut out");
    let from = "192.0.2.9".parse().expect("an address");
    let wrong = sign_in::with_password(&app.pool, "Ann", "wrong", from).await.expect("asked").expect("let through");
    assert!(wrong.account.is_none() && wrong.work.memory_kib >= 19 << 10 && wrong.work.passes >= 2);
    let page = sign_in_as(&mut web.visitor(), "Ann", "wrong").await;
    for (name, password) in [("Nobody", "wrong"), ("Tessa", "wrong"), ("Sigrid", PASSWORD)] {
        let other = sign_in::with_password(&app.pool, name, password, from).await.expect("asked").expect("let through");
        assert!(other.account.is_none());
        assert_eq!(other.work, wrong.work, "{name}: the same hash work, and so the same time");
        let shown = sign_in_as(&mut web.visitor(), name, password).await;
        assert_eq!((shown.status, shown.text.replace(name, "Ann")), (StatusCode::UNAUTHORIZED, page.text.clone()));
    }
}

async fn later(web: &Web, minutes: i32) {
    sqlx::query("update attempt set at = at - make_interval(mins => $1)")
        .bind(minutes)
        .execute(&web.app.pool)
        .await
        .expect("later");
}

#[tokio::test]
async fn guessing_is_stopped_and_locks_nobody_out() {
    let web = Web::start().await;
    web.person("Ann").await;
    // She has signed in from home before.
    let mut home = web.visitor();
    home.address = [198, 51, 100, 7];
    assert_eq!(sign_in_as(&mut home, "Ann", PASSWORD).await.status, StatusCode::SEE_OTHER);
    for name in ["Ann", "Nobody"] {
        let mut rival = web.visitor();
        for n in 1..=10 {
            rival.address = [203, 0, 113, n];
            assert_eq!(sign_in_as(&mut rival, name, "wrong").await.status, StatusCode::UNAUTHORIZED, "{name} {n}");
        }
        rival.address = [203, 0, 113, 99];
        let stopped = sign_in_as(&mut rival, name, PASSWORD).await;
        assert_eq!(stopped.status, StatusCode::TOO_MANY_REQUESTS, "{name}: known and unknown alike");
        let wait: i64 = stopped.header("retry-after").parse().expect("seconds");
        assert!((1..=900).contains(&wait), "{wait}");
    }
    // The owner at her known address is not kept out by it.
    assert_eq!(sign_in_as(&mut home, "Ann", PASSWORD).await.status, StatusCode::SEE_OTHER);
    // Knocking on does not make it longer: after the window the right password works from anywhere.
    later(&web, 15).await;
    let mut travelling = web.visitor();
    travelling.address = [203, 0, 113, 200];
    assert_eq!(sign_in_as(&mut travelling, "Ann", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_address_tries_fifty_times_whatever_it_says_of_itself() {
    let web = Web::with(|s| s.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")]).await;
    web.person("Ann").await;
    sqlx::query("insert into attempt (kind, subject, address) select 'sign_in', 'x' || n, '203.0.113.5' from generate_series(1, 50) n")
        .execute(&web.app.pool)
        .await
        .expect("fifty misses");
    let knock = async |address: [u8; 4], forwarded: &str| {
        let mut visitor = web.visitor();
        visitor.address = address;
        let head = request(Method::POST, "/signin", None)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-forwarded-for", forwarded);
        visitor.send_head(head, Body::from(format!("name=Ann&password={}", PASSWORD.replace(' ', "+")))).await.status
    };
    assert_eq!(knock([203, 0, 113, 5], "").await, StatusCode::TOO_MANY_REQUESTS);
    // Who has just signed in there is let in again: others' misses behind the same router are not theirs.
    let clear = "delete from attempt";
    sqlx::query(clear).execute(&web.app.pool).await.expect("cleared");
    assert_eq!(knock([203, 0, 113, 5], "").await, StatusCode::SEE_OTHER);
    sqlx::query("insert into attempt (kind, subject, address) select 'sign_in', 'x' || n, '203.0.113.5' from generate_series(1, 50) n")
        .execute(&web.app.pool)
        .await
        .expect("fifty misses");
    assert_eq!(knock([203, 0, 113, 5], "").await, StatusCode::SEE_OTHER, "known here");
    let mut guesser = web.visitor();
    guesser.address = [203, 0, 113, 5];
    assert_eq!(sign_in_as(&mut guesser, "Nobody", "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    // Their own misses count as before.
    for _ in 0..10 {
        assert_eq!(sign_in_as(&mut guesser, "Ann", "wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(sign_in_as(&mut guesser, "Ann", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    sqlx::query("delete from attempt where succeeded").execute(&web.app.pool).await.expect("known no more");
    sqlx::query("delete from attempt where subject not like 'x%'").execute(&web.app.pool).await.expect("forgotten");
    assert_eq!(
        knock([203, 0, 113, 5], "198.51.100.1").await,
        StatusCode::TOO_MANY_REQUESTS,
        "its own header changes nothing"
    );
    assert_eq!(
        knock([10, 0, 0, 1], "198.51.100.1, 203.0.113.5").await,
        StatusCode::TOO_MANY_REQUESTS,
        "our proxy names it"
    );
    assert_eq!(
        knock([10, 0, 0, 1], "203.0.113.5, 198.51.100.1").await,
        StatusCode::SEE_OTHER,
        "and another is another"
    );
}

#[tokio::test]
async fn many_guesses_at_once_do_not_pass_the_limit() {
    let web = Web::start().await;
    web.person("Ann").await;
    let from = "203.0.113.5".parse().expect("an address");
    let tries = (0..30).map(|_| sign_in::with_password(&web.app.pool, "Ann", "wrong", from));
    let tried = futures::future::join_all(tries).await;
    assert_eq!(tried.iter().filter(|t| t.as_ref().expect("asked").is_ok()).count(), 10);
}

#[tokio::test]
async fn sign_ups_are_limited_for_an_address() {
    let web = Web::start().await;
    sqlx::query(
        "insert into attempt (kind, subject, address) select 'sign_up', 'x', '192.0.2.1' from generate_series(1, 20)",
    )
    .execute(&web.app.pool)
    .await
    .expect("twenty");
    let mut visitor = web.visitor();
    let stopped = visitor.post("/signup", &[("name", "Ann"), ("password", PASSWORD)]).await;
    assert!(stopped.status == StatusCode::TOO_MANY_REQUESTS && !stopped.header("retry-after").is_empty());
    later(&web, 60).await;
    assert_eq!(visitor.post("/signup", &[("name", "Ann"), ("password", PASSWORD)]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_sign_in_with_a_token_can_do_no_more_than_it_and_ends_with_it() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "a").await).await;
    let mut browser = web.visitor();
    let signed = browser.post("/signin/token", &[("token", &token), ("next", "/team")]).await;
    assert_eq!((signed.status, signed.header("location")), (StatusCode::SEE_OTHER, "/team"));
    assert!(!browser.cookie.as_ref().expect("a cookie").contains(&token), "the cookie holds a session, not the token");
    assert_eq!(browser.get("/team").await.status, StatusCode::OK);
    assert_eq!(browser.get("/account").await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.post("/tokens", &[("name", "x"), ("scope", "admin")]).await.status, StatusCode::FORBIDDEN);
    sqlx::query("update api_token set revoked_at = now()").execute(&web.app.pool).await.expect("revoked");
    assert_eq!(browser.get("/team").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn whoever_is_shut_out_is_out_at_once() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let made = ann.json(Method::POST, "/api/v1/tokens", serde_json::json!({ "name": "ci", "scope": "read" })).await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(web.get_as(&token, "/api/v1/account").await.json()["name"], "Ann");
    let id = account::by_name(&mut *web.app.conn().await, "ann").await.expect("asked").expect("Ann").id;
    account::set_disabled(&mut *web.app.conn().await, id, true).await.expect("shut out");
    assert_eq!(web.get_as(&token, "/api/v1/account").await.status, StatusCode::UNAUTHORIZED);
    assert!(!is_signed_in(&mut ann).await);
    account::set_disabled(&mut *web.app.conn().await, id, false).await.expect("let in");
    assert_eq!(web.get_as(&token, "/api/v1/account").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_script_needs_no_browser() {
    let web = Web::start().await;
    let mut script = web.visitor();
    let body = serde_json::json!({ "name": "Ann", "password": PASSWORD });
    assert_eq!(script.json(Method::POST, "/api/v1/account", body.clone()).await.status, StatusCode::CREATED);
    assert_eq!(
        script.json(Method::DELETE, "/api/v1/session", serde_json::Value::Null).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(script.cookie.is_none());
    assert_eq!(script.json(Method::POST, "/api/v1/session", body).await.status, StatusCode::CREATED);
    let made = script
        .json(Method::POST, "/api/v1/tokens", serde_json::json!({ "name": "ci", "scope": "admin", "days": 7 }))
        .await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let listed = web.get_as(&token, "/api/v1/tokens").await;
    assert!(listed.json()[0]["last_used_at"].is_string() && !listed.text.contains(&token), "shown once");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(web.call(Method::DELETE, &token, &format!("/api/v1/tokens/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(web.get_as(&token, "/api/v1/tokens").await.code(), "token_refused");
    // JSON that claims to be text is what a foreign page could send.
    let head = request(Method::POST, "/api/v1/tokens", None).header(header::CONTENT_TYPE, "text/plain");
    let reply = script.send_head(head, r#"{"name":"x","scope":"admin"}"#.into()).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// What is logged while it stands, on this thread.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_gets_into_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let web = Web::start().await;
    let guard = tracing::subscriber::set_default(subscriber);
    let mut ann = web.person("Ann").await;
    sign_in_as(&mut web.visitor(), "Ann", "wrong\r\nforged line").await;
    let made = ann.json(Method::POST, "/api/v1/tokens", serde_json::json!({ "name": "ci", "scope": "admin" })).await;
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    web.get_as(&token, "/api/v1/account").await;
    let mut olga = web.organizer().await;
    let link = link(&olga.post("/organizer/reset", &[("name", "Ann"), ("reason", "they asked")]).await.text);
    web.visitor().get(&link).await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().expect("the log").clone()).expect("text");
    assert!(text.contains("an account was made") && text.contains("path=\"/reset\""), "it was captured: {text}");
    let cookie = ann.cookie.as_ref().and_then(|c| c.split_once('=')).expect("a cookie").1;
    let key = link.rsplit('=').next().expect("a key");
    for secret in [PASSWORD, cookie, &token, key, "forged line"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_fault_of_ours_tells_nothing_of_our_insides() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    sqlx::raw_sql("alter table attempt rename to broken").execute(&web.app.pool).await.expect("broken");
    let reply = sign_in_as(&mut ann, "Ann", PASSWORD).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.text.contains(reply.header("x-request-id")), "the number to tell us");
    for word in ["attempt", "relation", "sqlx", "src/", "select"] {
        assert!(!reply.text.contains(word), "{word}: {}", reply.text);
    }
    assert_eq!(ann.get("/account").await.status, StatusCode::OK, "the rest goes on");
}

#[tokio::test]
async fn sign_ins_of_an_account_are_bounded() {
    use upscore::team::session;
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let id = account::by_name(&mut *web.app.conn().await, "Ann").await.expect("read").expect("Ann").id;
    for _ in 0..session::MOST + 20 {
        session::create(&mut *web.app.conn().await, id, None, Some("a script")).await.expect("a session");
    }
    let listed = session::list(&mut *web.app.conn().await, id).await.expect("read");
    assert_eq!(listed.len() as i64, session::MOST);
    assert!(!is_signed_in(&mut ann).await, "the oldest went");
    sign_in_as(&mut ann, "Ann", PASSWORD).await;
    assert!(is_signed_in(&mut ann).await);
}
