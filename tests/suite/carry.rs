//! Entries that an organizer carries from one phase to another.

use axum::http::Method;
use serde_json::{Value, json};
use upscore::{
    audit,
    challenge::phase::{Phase, QuotaLimits},
    submission::{self, OrganizerStatus, quota},
};

use crate::support::{app::measurement, web::Web};

async fn second(web: &Web, first: &Phase, slug: &str, same_images: bool) -> Phase {
    let other = web.app.phase().await.dataset;
    let limits = QuotaLimits { daily: 1, total: Some(1), daily_attempts: 20 };
    web.app
        .phase_with(
            |new| {
                (new.challenge, new.slug, new.title, new.limits) =
                    (first.challenge, slug.into(), "Test".into(), limits);
                new.dataset = if same_images { first.dataset } else { other };
            },
            |_| {},
        )
        .await
}

fn teams(carried: &Value, list: &str) -> Vec<String> {
    let names = carried[list].as_array().expect("a list").iter();
    names.map(|one| one["team"].as_str().or(one.as_str()).expect("a team").to_owned()).collect()
}

#[tokio::test]
async fn what_stands_is_carried_once_in_the_teams_name_at_no_cost() {
    let web = Web::start().await;
    let app = &web.app;
    let dev = app.phase().await;
    let test = second(&web, &dev, "test", true).await;
    let (anna, ben, cleo) = (app.team(&dev, "Anna").await, app.team(&dev, "Ben").await, app.team(&dev, "Cleo").await);
    let below = || {
        let mut m = measurement();
        m.fidelity.psnr = 28.0;
        m
    };
    // Of Anna two entries, of which the better stands; Ben's is below the gate; Cleo's is held.
    let worse = app.enter_as(&dev, anna, below()).await;
    let stands = app.enter(&dev, anna).await;
    let gated = app.enter_as(&dev, ben, below()).await;
    let held = app.enter(&dev, cleo).await;
    app.drain_queue().await;
    submission::mark(&mut *app.conn().await, held, OrganizerStatus::Held, "look", None).await.expect("held");

    let mut olga = web.organizer().await;
    let path = format!("/api/v1/challenges/{}/phases/test/carry", dev.challenge_slug);
    let body = json!({ "from": "validation", "reason": "Judged again." });
    let first = olga.json(Method::POST, &path, body.clone()).await.json();
    assert_eq!(
        (teams(&first, "carried"), teams(&first, "left")),
        (vec!["Anna".into(), "Ben".into()], vec!["Cleo".into()])
    );
    let from: Vec<_> = first["carried"].as_array().expect("a list").iter().map(|e| e["from"].clone()).collect();
    assert_eq!(from, [json!(stands), json!(gated)], "{worse} does not stand");
    assert_eq!(app.drain_queue().await, 2);
    assert_eq!(app.board(&test).await.ranked[0].team, "Anna");
    let used = quota::usage(&mut *app.conn().await, test.id, anna.id, test.limits).await.expect("a count");
    assert_eq!((used.daily_used, used.total_used), (0, 0));

    // The team sees it; others' eyes see no more than a board shows.
    let carried = first["carried"][0]["submission"].as_str().expect("an id");
    let token = web.token(anna).await;
    let told = web.get_as(&token, &format!("/api/v1/submissions/{carried}")).await.json();
    assert_eq!(told["carried_from"], json!(stands));
    assert!(web.get_as(&token, &format!("/submissions/{carried}")).await.text.contains("carried over by an organizer"));
    assert_eq!(web.get(&format!("/api/v1/submissions/{carried}")).await.json()["carried_from"], Value::Null);

    // Again nothing; then what stands anew, by the page.
    let again = olga.json(Method::POST, &path, body).await.json();
    assert_eq!((teams(&again, "carried"), teams(&again, "there")), (vec![], vec!["Anna".into(), "Ben".into()]));
    let mut better = measurement();
    better.runtime.baseline.as_mut().expect("a baseline").ratio = 0.1;
    app.enter_as(&dev, ben, better).await;
    app.drain_queue().await;
    let page = format!("/organizer/{}", dev.challenge_slug);
    assert!(olga.get(&page).await.text.contains("Carry entries to another phase"));
    let fields = [("from", "validation"), ("to", "test"), ("reason", "Ben was faster.")];
    let done = olga.post(&format!("{page}/carry"), &fields).await.text;
    assert!(done.contains("1 entry was carried to Test") && done.contains("There already"), "{done}");
    let acts = audit::list(&mut *app.conn().await, Some(dev.challenge), None, 10).await.expect("the log");
    let reasons: Vec<_> = acts.iter().filter(|a| a.action == "phase.carry").map(|a| a.reason.as_str()).collect();
    assert_eq!(reasons, ["Ben was faster.", "Judged again."], "what carries nothing is not noted");
}

#[tokio::test]
async fn results_of_other_images_are_not_carried() {
    let web = Web::start().await;
    let dev = web.app.phase().await;
    let other = second(&web, &dev, "test", false).await;
    sqlx::query("update dataset_image set lr_sha256 = repeat('0', 64) where dataset_id = $1 and name = '0902'")
        .bind(other.dataset)
        .execute(&web.app.pool)
        .await
        .expect("another image");
    web.app.enter(&dev, web.app.team(&dev, "Anna").await).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let path = |phase: &str| format!("/api/v1/challenges/{}/phases/{phase}/carry", dev.challenge_slug);
    let body = json!({ "from": "validation", "reason": "Judged again." });
    let refused = olga.json(Method::POST, &path("test"), body.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "other_images"));
    assert!(refused.text.contains("1 of the phase"), "{}", refused.text);
    assert_eq!(olga.json(Method::POST, &path("validation"), body).await.code(), "not_another_phase");
    let fields = [("from", "validation"), ("to", "test"), ("reason", " ")];
    let page = olga.post(&format!("/organizer/{}/carry", dev.challenge_slug), &fields).await;
    assert!(page.status.as_u16() == 422 && page.text.contains("A reason has"), "{}", page.text);
}
