//! The organizers' console: what is shown to whom, and that every act leaves its trace.

use axum::http::StatusCode;
use upscore::{
    challenge::phase::Phase,
    ids::AccountId,
    submission::{self, OrganizerStatus},
    team::account,
};

use crate::support::web::{Visitor, Web};

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
    submission::mark(&mut *web.app.conn().await, held, OrganizerStatus::Held, "look").await.expect("held");
    let mut carla = organizer_of(&web, &own, "Carla").await;
    let home = carla.get("/organizer").await;
    assert!(home.text.contains("1 held entry") && home.text.contains("2 entries, 1 in work"), "{}", home.text);
    assert!(home.text.contains(&own.challenge_slug) && !home.text.contains(&other.challenge_slug));
    // Making challenges and helping accounts is for whoever runs the whole server.
    assert!(!home.text.contains("/organizer/new") && !home.text.contains("Forgotten password"));
    let overview = carla.get(&format!("/organizer/{}", own.challenge_slug)).await;
    assert!(overview.text.contains("1</strong> entry is held"), "{}", overview.text);
    assert_eq!(carla.get(&format!("/organizer/{}", other.challenge_slug)).await.status, StatusCode::NOT_FOUND);

    let mut olga = web.organizer().await;
    let home = olga.get("/organizer").await.text;
    assert!(
        home.contains(&own.challenge_slug) && home.contains(&other.challenge_slug) && home.contains("/organizer/new")
    );
}
