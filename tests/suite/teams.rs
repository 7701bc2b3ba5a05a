//! Joining challenges, and the people of a team.

use axum::http::{Method, StatusCode};
use serde_json::json;
use upscore::{
    challenge::{
        joining::{self, JoinPolicy, Joining},
        phase::Phase,
    },
    team::{self, Role},
};

use crate::support::{
    app::Team,
    web::{Visitor, Web},
};

async fn rules(web: &Web, phase: &Phase, edit: impl FnOnce(&mut Joining)) -> Joining {
    let mut rules = Joining::default();
    edit(&mut rules);
    joining::set(&mut *web.app.conn().await, phase.challenge, &rules).await.expect("set");
    rules
}

async fn join(who: &mut Visitor<'_>, phase: &Phase, name: &str) {
    let joined = who.post(&format!("/join/{}", phase.challenge_slug), &[("name", name)]).await;
    assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.text);
}

/// The asker's team in a challenge, as the API shows it.
async fn team_of(who: &mut Visitor<'_>) -> serde_json::Value {
    who.get("/api/v1/teams").await.json()[0].clone()
}

fn path(team: &serde_json::Value, rest: &str) -> String {
    format!("/teams/{}{rest}", team["id"].as_str().expect("an id"))
}

/// Makes an invitation and gives its key.
async fn invite(owner: &mut Visitor<'_>, uses: &str) -> String {
    let team = team_of(owner).await;
    let page = owner.post(&path(&team, "/invitations"), &[("uses", uses), ("days", "7")]).await.text;
    let start = page.find("/invitation?key=").expect("a link") + "/invitation?key=".len();
    page[start..start + 64].to_owned()
}

async fn accept(who: &mut Visitor<'_>, key: &str) -> StatusCode {
    who.post("/invitation", &[("key", key)]).await.status
}

fn id(member: &serde_json::Value) -> String {
    member["account"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn joining_makes_a_team_of_one_and_notes_the_terms() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let rules = rules(&web, &phase, |r| r.terms = "Share your **code** <script>alert(1)</script>".into()).await;
    let here = format!("/join/{}", phase.challenge_slug);
    let seen = web.get(&here).await.text;
    assert!(
        seen.contains("<strong>code</strong>") && !seen.contains("<script>alert") && seen.contains("Sign in to join")
    );
    let mut ann = web.person("Ann").await;
    // Who is signed in and in no team is led here from the form, and not asked for a token.
    let form = ann.get(&format!("/challenges/{}/{}/submit", phase.challenge_slug, phase.slug)).await.text;
    assert!(form.contains(&format!("href=\"{here}\"")) && !form.contains("name=\"token\""));
    let refused = ann.post(&here, &[("name", "")]).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("terms_not_accepted"));
    let stale = ann.post(&here, &[("terms", &"0".repeat(64))]).await;
    assert!(stale.status == StatusCode::CONFLICT && stale.text.contains("terms_changed"));
    let sha256 = rules.terms_sha256().expect("terms");
    let joined = ann.post(&here, &[("terms", &sha256)]).await;
    assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.text);
    let team = team_of(&mut ann).await;
    assert_eq!((&team["name"], &team["role"]), (&json!("Ann"), &json!("owner")));
    let accepted: String =
        sqlx::query_scalar("select terms_sha256 from participant").fetch_one(&web.app.pool).await.expect("it");
    assert_eq!(accepted, sha256);
    assert!(ann.get(&format!("/challenges/{}", phase.challenge_slug)).await.text.contains("You take part as"));
    let again = ann.post(&here, &[("terms", &sha256), ("name", "Another")]).await;
    assert!(again.status == StatusCode::CONFLICT && again.text.contains("already_in_a_team"));
    let mut bob = web.person("Bob").await;
    let taken = bob.post(&here, &[("terms", &sha256), ("name", " ann ")]).await;
    assert!(taken.status == StatusCode::CONFLICT && taken.text.contains("team_name_taken"));
}

#[tokio::test]
async fn an_organizer_decides_where_the_challenge_says_so() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    rules(&web, &phase, |r| r.policy = JoinPolicy::Approval).await;
    let (mut ann, mut bob, mut olga) = (web.person("Ann").await, web.person("Bob").await, web.organizer().await);
    join(&mut ann, &phase, "Wanted").await;
    join(&mut bob, &phase, "Refused").await;
    assert!(team_of(&mut ann).await.is_null() && ann.get("/team").await.text.contains("has to let you in"));
    let requests = format!("/api/v1/challenges/{}/requests", phase.challenge_slug);
    assert_eq!(ann.get(&requests).await.status, StatusCode::NOT_FOUND);
    let waiting = olga.get(&requests).await.json();
    assert_eq!((&waiting[0]["team"], &waiting[1]["account_name"]), (&json!("Wanted"), &json!("Bob")));
    // The name was taken while she waited.
    web.app.team(&phase, "wanted").await;
    let decide = |who: usize, word: &'static str| {
        let path = format!(
            "/organizer/{}/participants/{}/decide",
            phase.challenge_slug,
            waiting[who]["account"].as_str().expect("an id")
        );
        (path, word)
    };
    let (path, word) = decide(0, "approve");
    assert_eq!(ann.post(&path, &[("decision", word)]).await.status, StatusCode::NOT_FOUND, "not by herself");
    assert_eq!(olga.post(&path, &[("decision", word)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(team_of(&mut ann).await["name"], "Wanted 2");
    let (path, word) = decide(1, "decline");
    assert_eq!(olga.post(&path, &[("decision", word)]).await.status, StatusCode::UNPROCESSABLE_ENTITY, "why?");
    let declined = [("decision", word), ("reason", "a second account of Ann's")];
    assert_eq!(olga.post(&path, &declined).await.status, StatusCode::SEE_OTHER);
    let declined = bob.post(&format!("/join/{}", phase.challenge_slug), &[("name", "Refused")]).await;
    assert!(declined.status == StatusCode::FORBIDDEN && declined.text.contains("join_declined"));
    // An invitation is no way round it.
    let mut carl = web.person("Carl").await;
    let key = invite(&mut ann, "many").await;
    assert_eq!(accept(&mut bob, &key).await, StatusCode::FORBIDDEN);
    assert_eq!(accept(&mut carl, &key).await, StatusCode::SEE_OTHER);
    assert!(team_of(&mut carl).await.is_null(), "he waits");
    let waiting = olga.get(&requests).await.json();
    assert_eq!(waiting[0]["team"], "Wanted 2");
    let path = format!("{requests}/{}", id(&waiting[0]));
    assert_eq!(olga.json(Method::POST, &path, json!({ "let_in": true })).await.status, StatusCode::NO_CONTENT);
    assert_eq!(team_of(&mut carl).await["name"], "Wanted 2");
}

#[tokio::test]
async fn an_invitation_lets_in_as_many_as_it_says_and_the_team_holds() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    rules(&web, &phase, |r| r.max_members = Some(3)).await;
    let mut ann = web.person("Ann").await;
    join(&mut ann, &phase, "Nearest").await;
    let (mut bob, mut carl, mut dora) = (web.person("Bob").await, web.person("Carl").await, web.person("Dora").await);
    let key = invite(&mut ann, "one").await;
    let page = web.get(&format!("/invitation?key={key}")).await.text;
    assert!(page.contains("Join Nearest") && page.contains(&format!("next=%2Finvitation%3Fkey%3D{key}")));
    assert!(!ann.get("/team").await.text.contains(&key), "shown once");
    let stored: String =
        sqlx::query_scalar("select token_sha256 from invitation").fetch_one(&web.app.pool).await.expect("it");
    assert_ne!(stored, key, "only the hash is kept");
    assert_eq!(accept(&mut bob, &key).await, StatusCode::SEE_OTHER);
    assert_eq!(accept(&mut carl, &key).await, StatusCode::NOT_FOUND, "for one person");
    assert!(!bob.get("/team").await.text.contains("Make a link"), "a member does not invite");

    let key = invite(&mut ann, "many").await;
    // One place is left, and two want it at once.
    let (first, second) = tokio::join!(accept(&mut carl, &key), accept(&mut dora, &key));
    let mut both = [first, second];
    both.sort();
    assert_eq!(both, [StatusCode::SEE_OTHER, StatusCode::CONFLICT]);
    let (mut inside, mut outside) = if first == StatusCode::SEE_OTHER { (carl, dora) } else { (dora, carl) };
    assert_eq!(accept(&mut inside, &key).await, StatusCode::SEE_OTHER, "whoever is in stays in");
    assert_eq!(team_of(&mut ann).await["members"].as_array().expect("a list").len(), 3);
    assert_eq!(team_of(&mut ann).await["invitations"][0]["uses"], 1);

    let open = team_of(&mut ann).await["invitations"][0]["id"].as_str().expect("an id").to_owned();
    let team = team_of(&mut ann).await;
    let revoke = path(&team, &format!("/invitations/{open}/revoke"));
    assert_eq!(bob.post(&revoke, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(outside.post(&revoke, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ann.post(&revoke, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(accept(&mut outside, &key).await, StatusCode::NOT_FOUND);
    let key = invite(&mut ann, "many").await;
    sqlx::query("update invitation set expires_at = now()").execute(&web.app.pool).await.expect("aged");
    assert_eq!(accept(&mut outside, &key).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn owners_rename_remove_and_hand_over() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (mut ann, mut bob) = (web.person("Ann").await, web.person("Bob").await);
    join(&mut ann, &phase, "Nearest").await;
    let key = invite(&mut ann, "one").await;
    accept(&mut bob, &key).await;
    let team = team_of(&mut ann).await;
    let (ann_id, bob_id) = (id(&team["members"][0]), id(&team["members"][1]));
    assert_eq!(bob.post(&path(&team, "/rename"), &[("name", "Mine")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ann.post(&path(&team, "/rename"), &[("name", "Bilinear")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(team_of(&mut bob).await["name"], "Bilinear");
    assert_eq!(bob.post(&path(&team, &format!("/members/{ann_id}/remove")), &[]).await.status, StatusCode::FORBIDDEN);
    let stay = ann.post(&path(&team, "/leave"), &[]).await;
    assert!(stay.status == StatusCode::CONFLICT && stay.text.contains("owner_leaves"));
    assert_eq!(ann.post(&path(&team, &format!("/members/{bob_id}/owner")), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(team_of(&mut bob).await["role"], "owner");
    assert_eq!(ann.post(&path(&team, "/leave"), &[]).await.status, StatusCode::SEE_OTHER);
    // It never sent an entry in: she may join anew, and the last who leaves ends the team.
    join(&mut ann, &phase, "Another").await;
    assert_eq!(bob.post(&path(&team, "/leave"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(web.get("/api/v1/challenges").await.status, StatusCode::OK);
    let left: i64 = sqlx::query_scalar("select count(*) from team").fetch_one(&web.app.pool).await.expect("a count");
    assert_eq!(left, 1);
}

#[tokio::test]
async fn whoever_leaves_a_team_with_entries_gets_no_second_quota() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (mut ann, mut bob) = (web.person("Ann").await, web.person("Bob").await);
    join(&mut ann, &phase, "Nearest").await;
    let key = invite(&mut ann, "many").await;
    accept(&mut bob, &key).await;
    let team = team_of(&mut ann).await;
    let team_id = team["id"].as_str().expect("an id").parse().expect("an id");
    let account = id(&team["members"][0]).parse().expect("an id");
    let entry = web.app.enter(&phase, Team { id: team_id, account }).await;
    assert!(bob.get("/team").await.text.contains(&entry.to_string()));
    assert_eq!(bob.post(&path(&team, "/leave"), &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(bob.get(&format!("/submissions/{entry}")).await.status, StatusCode::NOT_FOUND, "no longer his");
    let second = bob.post(&format!("/join/{}", phase.challenge_slug), &[("name", "Second")]).await;
    assert!(second.status == StatusCode::CONFLICT && second.text.contains("bound_to_another_team"));
    let last = ann.post(&path(&team, "/leave"), &[]).await;
    assert!(last.status == StatusCode::CONFLICT && last.text.contains("last_member"));
    assert_eq!(accept(&mut bob, &key).await, StatusCode::SEE_OTHER, "back is possible");
    let role = team::role(&mut *web.app.conn().await, team_id, account).await.expect("read");
    assert_eq!(role, Some(Role::Owner));
}

#[tokio::test]
async fn a_token_is_shown_once_and_its_end_is_shown() {
    let web = Web::start().await;
    let mut ann = web.person("Ann").await;
    let page = ann.post("/tokens", &[("name", "<i>ci</i>"), ("scope", "submit"), ("days", "30")]).await.text;
    let start = page.find("id=\"new-token\">").expect("the token") + "id=\"new-token\">".len();
    let token = page[start..].split('<').next().expect("the token").to_owned();
    assert_eq!(web.get_as(&token, "/api/v1/account").await.json()["name"], "Ann");
    let page = ann.get("/team").await.text;
    assert!(!page.contains(&token) && page.contains(&token[..16]) && page.contains("&#60;i&#62;ci"));
    let revoke = page.split("action=\"").map(|s| s.split('"').next().unwrap_or("")).find(|a| a.ends_with("/revoke"));
    let revoke = revoke.expect("a way to revoke it").to_owned();
    let mut bob = web.person("Bob").await;
    assert_eq!(bob.post(&revoke, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ann.post(&revoke, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(web.get_as(&token, "/api/v1/account").await.status, StatusCode::UNAUTHORIZED);
    assert!(ann.get("/team").await.text.contains("revoked"));
    let endless = ann.post("/tokens", &[("name", "x"), ("scope", "read"), ("days", "4000")]).await;
    assert!(endless.status == StatusCode::UNPROCESSABLE_ENTITY && endless.text.contains("bad_token_lifetime"));
}

#[tokio::test]
async fn no_name_imitates_another() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let mut ann = web.person("Ann Olsen").await;
    let mut bob = web.person("Bob").await;
    // Accounts: Cyrillic letters, a capital I for an l, full-width letters; and what is not seen at all.
    let sign_up = async |name: &str| {
        let form = [("name", name), ("password", crate::support::web::PASSWORD)];
        web.visitor().post("/signup", &form).await
    };
    for name in ["\u{410}nn Olsen", "Ann OIsen", "Ａnn Olsen"] {
        let refused = sign_up(name).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{name}");
        assert!(refused.text.contains("name_looks_alike"), "{name}");
    }
    for name in ["Ann\u{200b} Olsen", "\u{202e}nesmO nnA", "Ann\u{3000}Olsen", "Ann Olsen\u{3164}"] {
        let refused = sign_up(name).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
        assert!(refused.text.contains("bad_account_name"), "{name:?}");
    }
    // Teams, of one challenge.
    join(&mut ann, &phase, "NJU_MCG").await;
    let there = format!("/join/{}", phase.challenge_slug);
    let asked = async |who: &mut Visitor<'_>, name: &str| {
        let reply = who.post(&there, &[("name", name)]).await;
        (reply.status, reply.text)
    };
    for (name, code, status) in [
        ("N\u{408}U_MCG", "name_looks_alike", StatusCode::CONFLICT),
        ("nju_mcg", "team_name_taken", StatusCode::CONFLICT),
        ("NJU_MCG\u{200d}", "bad_team_name", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (got, text) = asked(&mut bob, name).await;
        assert!(got == status && text.contains(code), "{name:?}: {got}");
    }
    // Where an organizer lets in, and by a later change of the name.
    rules(&web, &phase, |r| r.policy = JoinPolicy::Approval).await;
    let (got, text) = asked(&mut bob, "N\u{408}U_MCG").await;
    assert!(got == StatusCode::CONFLICT && text.contains("name_looks_alike"));
    rules(&web, &phase, |_| {}).await;
    join(&mut bob, &phase, "Other").await;
    let team = team_of(&mut bob).await;
    let renamed = bob.post(&path(&team, "/rename"), &[("name", "NJU\u{2010}MCG")]).await;
    assert_eq!(renamed.status, StatusCode::SEE_OTHER, "a hyphen is no underscore: {}", renamed.text);
    let renamed = bob.post(&path(&team, "/rename"), &[("name", "NJU_M\u{421}G")]).await;
    assert!(renamed.status == StatusCode::CONFLICT && renamed.text.contains("name_looks_alike"));
    // In another challenge nobody is imitated.
    let elsewhere = web.app.phase().await;
    join(&mut bob, &elsewhere, "N\u{408}U_MCG").await;
    // Names of before are compared with, once a server has started.
    sqlx::query("update team set look = null").execute(&web.app.pool).await.expect("older");
    assert!(upscore::team::name::backfill(&web.app.pool).await.expect("noted") >= 2);
    let renamed = bob.post(&path(&team, "/rename"), &[("name", "NJU_M\u{421}G")]).await;
    assert_eq!(renamed.status, StatusCode::CONFLICT);
}
