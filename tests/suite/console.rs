//! The organizers' console: what is shown to whom, and that every act leaves its trace.

use axum::http::{Method, StatusCode};
use serde_json::json;
use upscore::{
    audit::{self, Act, Actor},
    challenge::phase::Phase,
    ids::AccountId,
    submission::{self, OrganizerStatus},
    team::{self, Role, account},
};

use crate::support::{
    app::Team,
    files::{results, tiny_model},
    web::{Part, Visitor, Web},
};

async fn account(web: &Web, name: &str) -> AccountId {
    account::by_name(&mut *web.app.conn().await, name).await.expect("read").expect("it").id
}

/// Somebody who runs this challenge and no other.
async fn organizer_of<'a>(web: &'a Web, phase: &Phase, name: &str) -> Visitor<'a> {
    let visitor = web.person(name).await;
    sqlx::query("insert into challenge_organizer (challenge_id, account_id) values ($1, $2)")
        .bind(phase.challenge)
        .bind(account(web, name).await)
        .execute(&web.app.pool)
        .await
        .expect("an organizer");
    visitor
}

#[tokio::test]
async fn an_organizer_sees_what_waits_in_the_challenges_that_are_theirs() {
    let web = Web::start().await;
    let (own, other) = (web.app.phase().await, web.app.phase().await);
    let team = web.app.team(&own, "a").await;
    let held = web.app.enter(&own, team).await;
    web.app.drain_queue().await;
    web.app.enter(&own, team).await;
    submission::mark(&mut *web.app.conn().await, held, OrganizerStatus::Held, "look", None).await.expect("held");
    sqlx::query("insert into objection (id, submission_id, text) values (gen_random_uuid(), $1, 'We were first')")
        .bind(held)
        .execute(&web.app.pool)
        .await
        .expect("objected");
    let mut carla = organizer_of(&web, &own, "Carla").await;
    let home = carla.get("/organizer").await;
    assert!(home.text.contains("1 held entry") && home.text.contains("2 entries, 1 in work"), "{}", home.text);
    assert!(home.text.contains(&own.challenge_slug) && !home.text.contains(&other.challenge_slug));
    // Making challenges and helping accounts is for whoever runs the whole server.
    assert!(!home.text.contains("/organizer/audit") && !home.text.contains("Forgotten password"));
    let overview = carla.get(&format!("/organizer/{}", own.challenge_slug)).await;
    assert!(overview.text.contains("1</strong> entry is held"), "{}", overview.text);
    assert!(home.text.contains("1 objection to answer") && overview.text.contains("1</strong> objection waits"));
    assert!(overview.text.contains("Review <span class=\"pill wait\">2<"), "{}", overview.text);
    assert_eq!(carla.get(&format!("/organizer/{}", other.challenge_slug)).await.status, StatusCode::NOT_FOUND);

    let mut olga = web.organizer().await;
    let home = olga.get("/organizer").await.text;
    assert!(
        home.contains(&own.challenge_slug) && home.contains(&other.challenge_slug) && home.contains("/organizer/audit")
    );
}

fn entry_files<'a>(results: &'a [u8], model: &'a [u8]) -> [Part<'a>; 2] {
    [Part("results", Some("results.zip"), results), Part("model", Some("model.onnx"), model)]
}

/// The acts in the log, oldest first: action, object, reason.
async fn log(web: &Web) -> Vec<(String, String, String)> {
    let acts = audit::list(&mut *web.app.conn().await, None, None, 1000).await.expect("the log");
    acts.into_iter().rev().map(|act| (act.action, act.object, act.reason)).collect()
}

#[tokio::test]
async fn whoever_is_removed_leaves_the_entries_and_may_ask_again() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let slug = &phase.challenge_slug;
    let mut carla = organizer_of(&web, &phase, "Carla").await;
    let (mut ann, _ben) = (web.person("Ann").await, web.person("Ben").await);
    ann.post(&format!("/join/{slug}"), &[("name", "Aces")]).await;
    let (id, ben) = (account(&web, "Ann").await, account(&web, "Ben").await);
    let team = team::of_account(&mut *web.app.conn().await, phase.challenge, id).await.expect("read").expect("a team");
    team::join(&mut *web.app.conn().await, team.id, ben, Role::Member).await.expect("joined");
    let entry = web.app.enter(&phase, Team { id: team.id, account: id }).await;
    let page = carla.get(&format!("/organizer/{slug}/participants?q=ace")).await.text;
    assert!(page.contains("Ann") && page.contains("Ben") && page.contains("owner"), "{page}");
    assert!(!carla.get(&format!("/organizer/{slug}/participants?q=xyz")).await.text.contains("Aces"));

    let remove = format!("/organizer/{slug}/participants/{id}/remove");
    let without = carla.post(&remove, &[("reason", "  ")]).await;
    assert!(without.status == StatusCode::UNPROCESSABLE_ENTITY && without.text.contains("bad_reason"));
    assert_eq!(carla.post(&remove, &[("reason", "two accounts")]).await.status, StatusCode::SEE_OTHER);
    let again = carla.post(&remove, &[("reason", "two accounts")]).await;
    assert!(again.status == StatusCode::NOT_FOUND && again.text.contains("not_taking_part"), "{}", again.text);
    let left = team::members(&mut *web.app.conn().await, team.id).await.expect("read");
    assert_eq!(left.iter().map(|m| (m.account, m.role)).collect::<Vec<_>>(), [(ben, Role::Owner)], "somebody owns it");
    assert!(submission::get(&mut *web.app.conn().await, entry).await.expect("read").is_some());
    // A second team would be a second quota.
    let second = ann.post(&format!("/join/{slug}"), &[("name", "Twos")]).await;
    assert!(second.text.contains("bound_to_another_team"), "{}", second.text);
    // The last one goes too: the entries keep their team.
    let remove = format!("/api/v1/challenges/{slug}/participants/{ben}/remove");
    let reply = carla.json(Method::POST, &remove, json!({ "reason": "the same person" })).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let team = team::get(&mut *web.app.conn().await, team.id).await.expect("read").expect("still there");
    assert_eq!(team.name, "Aces");
    let listed = carla.get(&format!("/api/v1/challenges/{slug}/participants?state=removed")).await.json();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["entries"], &listed[1]["name"]),
        (&json!("Ann"), &json!(1), &json!("Ben"))
    );
    let acts = log(&web).await;
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert_eq!(acts[0], ("participant.remove".into(), "Ann".into(), "two accounts".into()));
}

#[tokio::test]
async fn whoever_is_banned_cannot_join_submit_or_accept_and_is_told_why() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let slug = &phase.challenge_slug;
    let mut carla = organizer_of(&web, &phase, "Carla").await;
    let (mut ann, mut ben) = (web.person("Ann").await, web.person("Ben").await);
    ann.post(&format!("/join/{slug}"), &[("name", "Aces")]).await;
    let key = {
        let made = ann.get("/api/v1/teams").await.json()[0]["id"].as_str().expect("an id").to_owned();
        let made =
            ann.json(Method::POST, &format!("/api/v1/teams/{made}/invitations"), json!({ "days": 7 })).await.json();
        made["link"].as_str().expect("a link").rsplit('=').next().expect("a key").to_owned()
    };
    let why = "a script that floods <us>";
    for name in ["Ann", "Ben"] {
        let path = format!("/organizer/{slug}/participants/{}/ban", account(&web, name).await);
        assert_eq!(carla.post(&path, &[("reason", why)]).await.status, StatusCode::SEE_OTHER);
    }
    // Ann is in a team, and does not submit for it.
    let team = team::of_account(&mut *web.app.conn().await, phase.challenge, account(&web, "Ann").await).await;
    let team = Team { id: team.expect("read").expect("her team").id, account: account(&web, "Ann").await };
    let token = web.token(team).await;
    let sent = web.submit(&token, &phase, &entry_files(&results(1), &tiny_model())).await;
    assert_eq!((sent.status, sent.code().as_str()), (StatusCode::FORBIDDEN, "banned_here"), "{}", sent.text);
    // Ben is in none, and comes into none.
    for (path, fields) in [(format!("/join/{slug}"), [("name", "Bens")]), ("/invitation".to_owned(), [("key", &*key)])]
    {
        let reply = ben.post(&path, &fields).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
        assert!(reply.text.contains("banned_here") && reply.text.contains("a script that floods &#60;us&#62;"));
    }
    for path in [format!("/challenges/{slug}"), "/team".into()] {
        assert!(ben.get(&path).await.text.contains("a script that floods &#60;us&#62;"), "{path}");
    }
    // Elsewhere they are as welcome as before.
    let other = web.app.phase().await;
    assert_eq!(
        ben.post(&format!("/join/{}", other.challenge_slug), &[("name", "B")]).await.status,
        StatusCode::SEE_OTHER
    );

    let path = format!("/organizer/{slug}/participants/{}/unban", account(&web, "Ann").await);
    assert_eq!(carla.post(&path, &[("reason", "a mistake")]).await.status, StatusCode::SEE_OTHER);
    assert!(carla.post(&path, &[("reason", "a mistake")]).await.text.contains("not_banned"));
    let sent = web.submit(&token, &phase, &entry_files(&results(1), &tiny_model())).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.text);
    let path = format!("/api/v1/challenges/{slug}/participants/{}/unban", account(&web, "Ben").await);
    carla.json(Method::POST, &path, json!({ "reason": "a mistake" })).await;
    assert_eq!(ben.post("/invitation", &[("key", &key)]).await.status, StatusCode::SEE_OTHER);
    let acts: Vec<_> = log(&web).await.into_iter().map(|act| act.0).collect();
    assert_eq!(acts, ["participant.ban", "participant.ban", "participant.unban", "participant.unban"]);
}

#[tokio::test]
async fn organizers_name_each_other_and_one_always_stays() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let slug = &phase.challenge_slug;
    let path = format!("/organizer/{slug}/organizers");
    let (mut olga, mut carla, mut dan) = (web.organizer().await, web.person("Carla").await, web.person("Dan").await);
    assert_eq!(olga.post(&path, &[("name", "carla")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(carla.get(&format!("/organizer/{slug}")).await.status, StatusCode::OK);
    let (carlas, dans) = (account(&web, "Carla").await, account(&web, "Dan").await);
    let gone = carla.post(&format!("{path}/{carlas}/remove"), &[]).await;
    assert!(gone.status == StatusCode::CONFLICT && gone.text.contains("last_organizer"), "{}", gone.text);
    assert!(carla.post(&path, &[("name", "nobody")]).await.text.contains("account_not_found"));
    assert_eq!(carla.post(&path, &[("name", "Dan")]).await.status, StatusCode::SEE_OTHER);
    assert!(carla.post(&path, &[("name", "Dan")]).await.text.contains("already_an_organizer"));
    assert_eq!(dan.post(&format!("{path}/{carlas}/remove"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(carla.get(&format!("/organizer/{slug}")).await.status, StatusCode::NOT_FOUND);
    let listed = dan.get(&format!("/api/v1/challenges/{slug}/organizers")).await.json();
    assert_eq!((&listed[0]["name"], &listed[0]["added_by"]), (&json!("Dan"), &json!("Carla")));
    // An administrator may leave it to the administrators.
    let rest = format!("/api/v1/challenges/{slug}/organizers/{dans}");
    assert_eq!(olga.json(Method::DELETE, &rest, json!({})).await.status, StatusCode::NO_CONTENT);
    let acts: Vec<_> = log(&web).await.into_iter().map(|act| format!("{} {}", act.0, act.1)).collect();
    assert_eq!(acts, ["organizer.add Carla", "organizer.add Dan", "organizer.remove Carla", "organizer.remove Dan"]);
}

/// The files of a zip, by name.
fn unzipped(zip: &[u8]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("a zip");
    let mut files = std::collections::BTreeMap::new();
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).expect("an entry");
        let mut bytes = Vec::new();
        std::io::copy(&mut file, &mut bytes).expect("its bytes");
        files.insert(file.name().expect("a name").into_owned(), bytes);
    }
    files
}

#[tokio::test]
async fn the_whole_challenge_is_taken_along_without_a_byte_of_hr() {
    let web = Web::start().await;
    let phase = web.app.real_phase().await;
    let mut sent = Vec::new();
    for (seed, team) in [(1, "=cmd|' /C calc'!A0"), (9, "b")] {
        let team = web.app.team(&phase, team).await;
        sent.push((seed, web.app.submit(&phase, team, &results(seed)).await.expect("accepted").submission));
    }
    web.app.drain_queue().await;
    let withdrawn = sent[1].1;
    sqlx::query("update submission set withdrawn_at = now() where id = $1")
        .bind(withdrawn)
        .execute(&web.app.pool)
        .await
        .expect("withdrawn");
    let mut olga = web.organizer().await;
    let act = json!({ "word": "verify", "reason": "code, \"read\"\nand run" });
    olga.json(Method::POST, &format!("/api/v1/submissions/{}/mark", sent[0].1), act).await;

    let mut conn = web.app.conn().await;
    let dataset = upscore::challenge::dataset::get(&mut conn, phase.dataset).await.expect("read");
    let hidden: Vec<Vec<u8>> =
        dataset.images.iter().map(|image| std::fs::read(web.app.storage.path(&image.hr)).expect("a blob")).collect();
    let admin = {
        let id = account(&web, "Olga Organizer").await;
        let scope = upscore::team::token::Scope::Admin;
        let made = upscore::team::token::create(&mut conn, id, "export", scope, None).await.expect("a token");
        made.1.expose().to_owned()
    };
    for (with_files, path) in
        [(false, "/api/v1/challenges/real/export.zip"), (true, "/organizer/real/export.zip?files=true")]
    {
        let zip = web.bytes_as(&admin, path).await;
        let files = unzipped(&zip);
        let text = |name: &str| String::from_utf8(files[name].clone()).expect("a text");
        let entries: serde_json::Value = serde_json::from_str(&text("submissions.json")).expect("JSON");
        let listed: Vec<_> = entries.as_array().expect("a list").iter().map(|e| e["submission"].clone()).collect();
        assert_eq!(listed, [json!(sent[0].1), json!(withdrawn)], "withdrawn ones too");
        assert!(entries[0]["psnr"].is_f64() && entries[0]["fact_sheet"]["method"] == "nearest", "{entries}");
        let csv = text("submissions.csv");
        assert_eq!(csv.lines().count(), 3);
        assert!(!csv.lines().any(|line| line.contains(",=cmd")) && csv.contains("fact method"), "{csv}");
        for ending in ["json", "csv", "md", "tex"] {
            assert!(text(&format!("boards/validation.{ending}")).contains("aim2020"), "{ending}");
        }
        assert!(text("audit.csv").contains("submission.verify"));
        let of = |id: &dyn std::fmt::Display, name: &str| files.get(&format!("files/validation/{id}/{name}")).cloned();
        for (seed, id) in &sent {
            assert_eq!(of(id, "results.zip"), with_files.then(|| results(*seed)));
            assert_eq!(of(id, "model.onnx"), with_files.then(tiny_model));
        }
        // Neither a file of HR, nor its compressed pixels within another.
        for hr in &hidden {
            let pixels = &hr[hr.len() / 2..][..48];
            for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with("results.zip")) {
                assert!(!bytes.windows(pixels.len()).any(|window| window == pixels), "{name} holds HR");
            }
            assert!(files.values().all(|bytes| bytes != hr));
        }
    }
}

#[tokio::test]
async fn the_audit_log_is_exported_whole_and_each_organizer_gets_their_own() {
    let web = Web::start().await;
    let (own, other) = (web.app.phase().await, web.app.phase().await);
    let mut carla = organizer_of(&web, &own, "Carla").await;
    let mut olga = web.organizer().await;
    let why = "=1+1, \"quoted\"\nand on a second line";
    for phase in [&own, &other] {
        let act = Act::of(phase.challenge, "phase.publish", "validation").because(why);
        for _ in 0..1001 {
            audit::note(&mut *web.app.conn().await, &Actor::Shell, act.clone()).await.expect("noted");
        }
    }
    audit::note(&mut *web.app.conn().await, &Actor::Shell, Act::of_server("account.reset_link", "x"))
        .await
        .expect("noted");
    let base = format!("/organizer/{}/audit", own.challenge_slug);
    let acts = carla.get(&format!("{base}.json")).await;
    assert!(acts.header("content-disposition").starts_with("attachment"));
    let acts = acts.json();
    let acts = acts.as_array().expect("a list");
    assert_eq!((acts.len(), &acts[0]["reason"], &acts[0]["action"]), (1001, &json!(why), &json!("phase.publish")));
    let csv = carla.get(&format!("{base}.csv")).await.text;
    assert!(csv.starts_with("id,at,actor,action,object,reason,details\r\n"));
    assert_eq!(csv.matches("phase.publish").count(), 1001);
    assert!(!csv.contains(",=1+1") && csv.contains("\"\"quoted\"\""), "{}", &csv[..400]);
    assert_eq!(
        carla.get(&format!("/organizer/{}/audit.json", other.challenge_slug)).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(carla.get("/organizer/audit.json").await.status, StatusCode::NOT_FOUND);
    let all = olga.get("/organizer/audit.json").await.json();
    assert_eq!(all.as_array().map(Vec::len), Some(2003));
}
