//! Announcements and what goes out of them: mails, and signed events to a webhook that hangs, fails and lies.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, Method, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use upscore::{
    audit::Actor,
    challenge::{announcement, organizers, phase::Visibility},
    ids::AccountId,
    mail::Mailer,
    outbox::{Sender, Settings, State},
    team::{account, people},
    webhook::{Allowed, signature},
};

use crate::support::web::{Visitor, Web};

/// Takes what is posted to it, and answers as it is told.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Receiver {
    async fn start() -> Receiver {
        let (status, got) = (Arc::new(AtomicU16::new(204)), Arc::new(Mutex::new(Vec::new())));
        let (answer, store) = (status.clone(), got.clone());
        let take = async move |headers: HeaderMap, body: String| {
            store.lock().expect("a list").push((headers, body));
            let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).expect("a status");
            (status, [("location", "http://127.0.0.1:1/elsewhere")])
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/hook", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { url, status, got }
    }

    fn allowed(&self) -> Allowed {
        Allowed::new(std::slice::from_ref(&self.url)).expect("an origin")
    }

    fn got(&self) -> Vec<(HeaderMap, String)> {
        self.got.lock().expect("a list").clone()
    }
}

/// Sends until nothing is due; what became of each try.
async fn send(sender: &Sender) -> Vec<State> {
    let mut states = Vec::new();
    while let Some((_, state)) = sender.step().await.expect("a step") {
        states.push(state);
    }
    states
}

async fn account(web: &Web, name: &str) -> AccountId {
    account::by_name(&mut *web.app.conn().await, name).await.expect("read").expect("it").id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_signed_events_again_until_it_takes_them() {
    let receiver = Receiver::start().await;
    let web = Web::with(|settings| settings.webhooks = receiver.allowed()).await;
    let phase = web.app.phase().await;
    let base = format!("/api/v1/challenges/{}", phase.challenge_slug);
    let mut olga = web.organizer().await;
    for inner in ["http://127.0.0.1:1/hook", "https://169.254.169.254/", "https://10.0.0.1/", "file:///etc/passwd"] {
        let refused = olga.json(Method::PUT, &format!("{base}/webhook"), json!({ "url": inner })).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "bad_webhook_url"), "{inner}");
    }
    let set = json!({ "url": format!("{}/hook", receiver.url) });
    let key =
        olga.json(Method::PUT, &format!("{base}/webhook"), set).await.json()["key"].as_str().expect("a key").to_owned();
    let words = json!({ "title": "Test data", "body": "It is **out**." });
    assert_eq!(olga.json(Method::POST, &format!("{base}/announcements"), words).await.status, StatusCode::CREATED);

    let settings = Settings { allowed: receiver.allowed(), pause: Duration::ZERO, ..Settings::default() };
    let sender = Sender::new(web.app.pool.clone(), settings);
    // It fails, then redirects, which leads nowhere, then takes it.
    for status in [500, 302, 204] {
        receiver.status.store(status, Ordering::SeqCst);
        let (_, state) = sender.step().await.expect("a step").expect("something was due");
        assert_eq!(state, if status == 204 { State::Sent } else { State::Waiting });
    }
    assert!(sender.step().await.expect("a step").is_none());
    let got = receiver.got();
    let header = |name: &str| got.iter().map(|(h, _)| h[name].to_str().expect("a text").to_owned()).collect::<Vec<_>>();
    assert_eq!(header("x-upscore-event"), ["announcement"; 3]);
    let ids = header("x-upscore-delivery");
    assert!(ids.iter().all(|id| *id == ids[0]), "the receiver knows that it is one: {ids:?}");
    for (headers, body) in &got {
        let time = headers["x-upscore-timestamp"].to_str().expect("a text").parse().expect("seconds");
        assert_eq!(headers["x-upscore-signature"].to_str().expect("a text"), signature(&key, time, body));
    }
    let body: Value = serde_json::from_str(&got[0].1).expect("JSON");
    assert_eq!((&body["id"], &body["data"]["body"]), (&json!(ids[0]), &json!("It is **out**.")));
    let shown = olga.get(&format!("{base}/webhook")).await.json();
    assert_eq!(shown["deliveries"][0]["attempts"], 3);
    assert_eq!((&shown["deliveries"][0]["state"], &shown["deliveries"][0]["status"]), (&json!("sent"), &json!(204)));
    let page = olga.get(&format!("/organizer/{}/announcements", phase.challenge_slug)).await.text;
    assert!(page.contains("<strong>out</strong>") && page.contains("3 tries") && !page.contains(&key), "{page}");

    // One that never takes it is given up, and said so.
    receiver.status.store(410, Ordering::SeqCst);
    olga.json(Method::POST, &format!("{base}/webhook/ping"), json!({})).await;
    let states = send(&sender).await;
    assert_eq!((states.len(), states.last()), (7, Some(&State::Failed)), "{states:?}");
    // Whoever sends nothing any more is not asked again.
    olga.json(Method::POST, &format!("{base}/webhook/ping"), json!({})).await;
    let before = receiver.got().len();
    assert_eq!(olga.json(Method::DELETE, &format!("{base}/webhook"), json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(send(&sender).await, [State::Failed]);
    assert_eq!(receiver.got().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_goes_out_without_what_is_hidden_and_a_crash_loses_nothing() {
    let receiver = Receiver::start().await;
    let web = Web::with(|settings| settings.webhooks = receiver.allowed()).await;
    let hidden = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let live = web.app.phase().await;
    let mut olga = web.organizer().await;
    for phase in [&hidden, &live] {
        let path = format!("/api/v1/challenges/{}/webhook", phase.challenge_slug);
        olga.json(Method::PUT, &path, json!({ "url": format!("{}/hook", receiver.url) })).await;
        web.app.enter(phase, web.app.team(phase, "Aces").await).await;
    }
    web.app.drain_queue().await;
    let settings = Settings { allowed: receiver.allowed(), pause: Duration::ZERO, ..Settings::default() };
    // A sender that took one and died: its lease ends, and another sends it.
    sqlx::query("update outbox set attempts = 1, not_before = now() + interval '1 hour'")
        .execute(&web.app.pool)
        .await
        .expect("taken");
    let sender = Sender::new(web.app.pool.clone(), settings);
    assert!(send(&sender).await.is_empty(), "another sender has them");
    sqlx::query("update outbox set not_before = now()").execute(&web.app.pool).await.expect("the lease ended");
    assert_eq!(send(&sender).await, [State::Sent; 2]);
    for (_, body) in receiver.got() {
        let event: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&event["event"], &event["data"]["team"]), (&json!("submission.scored"), &json!("Aces")));
        match event["challenge"] == json!(hidden.challenge_slug) {
            true => assert!(event["data"]["figures"].is_null() && !body.contains("29.04"), "{body}"),
            false => assert_eq!(event["data"]["figures"]["psnr"], 29.04),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_a_phase_goes_out_once_and_without_figures() {
    let receiver = Receiver::start().await;
    let web = Web::with(|settings| settings.webhooks = receiver.allowed()).await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    web.app.enter(&phase, web.app.team(&phase, "Aces").await).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let path = format!("/api/v1/challenges/{}/webhook", phase.challenge_slug);
    olga.json(Method::PUT, &path, json!({ "url": format!("{}/hook", receiver.url) })).await;
    let publish = format!("/organizer/{}/validation/publish", phase.challenge_slug);
    let act = [("act", "publish"), ("reason", "the report is out")];
    for _ in 0..2 {
        assert_eq!(olga.post(&publish, &act).await.status, StatusCode::SEE_OTHER);
    }
    let settings = Settings { allowed: receiver.allowed(), pause: Duration::ZERO, ..Settings::default() };
    let sender = Sender::new(web.app.pool.clone(), settings);
    assert_eq!(send(&sender).await, [State::Sent]);
    let got = receiver.got();
    let [(headers, body)] = &got[..] else { panic!("one event: {got:?}") };
    assert_eq!(headers["x-upscore-event"], "phase.published");
    let event: Value = serde_json::from_str(body).expect("JSON");
    let said = (&event["event"], &event["challenge"], &event["data"]);
    assert_eq!(said, (&json!("phase.published"), &json!(phase.challenge_slug), &json!({ "phase": "validation" })));
}

async fn with_mail<'a>(web: &'a Web, slug: &str, name: &str, address: &str) -> Visitor<'a> {
    let mut visitor = web.person(name).await;
    visitor.post("/account/email", &[("email", address)]).await;
    let joined = visitor.post(&format!("/join/{slug}"), &[("name", name)]).await;
    assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.text);
    visitor
}

#[tokio::test]
async fn announcements_reach_those_who_take_part_and_want_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mailer =
        Mailer::new(&format!("file://{}", folder.path().display()), "Upscore <no@sr.example>").expect("a mailer");
    let url = Some("https://sr.example".to_owned());
    let web = Web::with(|s| (s.mailer, s.public_url) = (Some(mailer.clone()), url.clone())).await;
    let phase = web.app.phase().await;
    let slug = phase.challenge_slug.as_str();
    let mut ann = with_mail(&web, slug, "Ann", "ann@example.org").await;
    // The same address in other letters gets one mail.
    with_mail(&web, slug, "Anna", "ANN@example.org").await;
    let mut ben = with_mail(&web, slug, "Ben", "ben@example.org").await;
    with_mail(&web, slug, "Cyd", "cyd@example.org").await;
    let mut dora = web.person("Dora").await;
    dora.post("/account/email", &[("email", "dora@example.org")]).await;
    ben.post("/account/mails", &[]).await;
    let cyd = account(&web, "Cyd").await;
    people::ban(&web.app.pool, phase.challenge, cyd, "spam", &Actor::Shell).await.expect("banned");
    let mut carla = web.person("Carla").await;
    organizers::add(&mut *web.app.conn().await, phase.challenge, "Carla", &Actor::Shell).await.expect("added");

    let page = format!("/organizer/{slug}/announcements");
    let fields = [("title", "Deadline"), ("body", "One *week* more <script>"), ("act", "preview")];
    let preview = carla.post(&page, &fields).await;
    assert!(preview.status == StatusCode::OK && preview.text.contains("One <em>week</em> more &lt;script&gt;"));
    assert!(announcement::list(&mut *web.app.conn().await, phase.challenge, true).await.expect("read").is_empty());
    let broken = carla.post(&page, &[("title", "a\nb"), ("body", "x")]).await;
    assert!(broken.status == StatusCode::UNPROCESSABLE_ENTITY && broken.text.contains("bad_announcement_title"));
    assert_eq!(carla.post(&page, &fields[..2]).await.status, StatusCode::SEE_OTHER);

    let sender = Sender::new(
        web.app.pool.clone(),
        Settings { mailer: Some(mailer), public_url: url, pause: Duration::ZERO, ..Settings::default() },
    );
    assert_eq!(send(&sender).await, [State::Sent], "to Ann alone");
    let mails: Vec<_> = std::fs::read_dir(folder.path())
        .expect("read")
        .map(|e| std::fs::read_to_string(e.expect("an entry").path()).expect("a mail").to_ascii_lowercase())
        .collect();
    assert!(mails.len() == 1 && mails[0].contains("to: ann@example.org") && mails[0].contains("deadline"), "{mails:?}");

    // The link in it works for whoever reads it, and asks first.
    let key: uuid::Uuid = sqlx::query_scalar(
        "select mail_key from account where id = (select account_id from outbox where kind = 'mail')",
    )
    .fetch_one(&web.app.pool)
    .await
    .expect("a key");
    let mut reader = web.visitor();
    assert!(reader.get(&format!("/unsubscribe?key={key}")).await.text.contains("Stop these mails"));
    assert_eq!(reader.post("/unsubscribe", &[("key", &uuid::Uuid::now_v7().to_string())]).await.status, 404);
    assert!(reader.post("/unsubscribe", &[("key", &key.to_string())]).await.text.contains("no longer"));
    let wants: Vec<bool> = sqlx::query_scalar("select announcements_by_mail from account where mail_key = $1")
        .bind(key)
        .fetch_all(&web.app.pool)
        .await
        .expect("read");
    assert_eq!(wants, [false]);

    // On the page, until it is withdrawn.
    let public = format!("/challenges/{slug}");
    assert!(
        ann.get(&public).await.text.contains("One <em>week</em> more")
            && ann.get("/").await.text.contains("1 announcement")
    );
    let id = web.get(&format!("/api/v1/challenges/{slug}/announcements")).await.json()[0]["id"].clone();
    let withdraw = format!("{page}/{}/withdraw", id.as_str().expect("an id"));
    assert_eq!(carla.post(&withdraw, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(carla.post(&withdraw, &[]).await.status, StatusCode::NOT_FOUND);
    assert!(!ann.get(&public).await.text.contains("One <em>week</em> more"));
    assert_eq!(web.get(&format!("/api/v1/challenges/{slug}/announcements")).await.json(), json!([]));
    assert!(carla.get(&page).await.text.contains("withdrawn"));
}
