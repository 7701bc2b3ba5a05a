//! Entries side by side: page and API, in a real browser too.

use fantoccini::Locator;

use crate::support::{
    browser::{Browser, DESKTOP, PHONE},
    showcase,
    web::Web,
};

#[tokio::test]
async fn entries_are_compared_and_single_images_only_when_the_phase_is_closed() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let board = web.app.board(&shown.phase).await;
    let (first, second) = (&board.ranked[0], &board.ranked[1]);
    let api = format!("/api/v1/challenges/{}/phases/{}/compare", shown.phase.challenge_slug, shown.phase.slug);
    let ask = format!("{api}?a={}&b={}", first.submission, second.submission);
    let made = web.get(&ask).await.json();
    assert_eq!(made["entries"][0]["team"], first.team.as_str());
    assert_eq!(made["entries"][1]["params"], second.figures.params);
    assert_eq!(made["entries"][1]["operators"][0]["op"], "Conv");
    assert!(made["images"].is_null() && made["entries"][1]["against_first"].is_null(), "the phase is open: {made}");
    // The baseline can be compared with, what is not on the board cannot.
    let base = shown.phase.baseline.submission.expect("a baseline");
    assert_eq!(web.get(&format!("{api}?a={base}&b={}", first.submission)).await.json()["entries"][0]["baseline"], true);
    for bad in [format!("{api}?a={}", first.submission), format!("{ask}&c={}", shown.failed), format!("{api}?a=x&b=y")]
    {
        assert_eq!(web.get(&bad).await.code(), "bad_query", "{bad}");
    }
    sqlx::query("update phase set closes_at = now() - interval '1 minute'")
        .execute(&web.app.pool)
        .await
        .expect("closed");
    let made = web.get(&ask).await.json();
    assert_eq!(made["images"].as_array().expect("images").len(), 40, "{made}");
    let paired = &made["entries"][1]["against_first"];
    let gap = second.figures.psnr - first.figures.psnr;
    let mean = paired["mean_db"].as_f64().expect("a mean");
    // Of single images a visitor learns no more than hundredths, and so of their differences.
    assert!((mean - gap).abs() < 0.01, "{paired}, by the means {gap}");
    assert_eq!(paired["better"].as_u64().zip(paired["worse"].as_u64()).map(|(b, w)| b + w > 0), Some(true), "{paired}");
    // Hidden is hidden.
    sqlx::query("update phase set visibility = 'hidden'").execute(&web.app.pool).await.expect("hidden");
    assert_eq!(web.get(&ask).await.code(), "not_published");
    let page = format!("/challenges/{}/{}/compare", shown.phase.challenge_slug, shown.phase.slug);
    assert_eq!(web.get(&page).await.status.as_u16(), 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_leads_to_an_address_that_can_be_shared() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    sqlx::query("update phase set closes_at = now() - interval '1 minute'")
        .execute(&web.app.pool)
        .await
        .expect("closed");
    let url = web.listen().await;
    let page = format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    for look in [DESKTOP, PHONE.dark()] {
        let browser = Browser::open(look).await;
        browser.goto(&page).await;
        browser
            .client
            .find(Locator::LinkText("Compare entries"))
            .await
            .expect("a link")
            .click()
            .await
            .expect("clicked");
        browser.find(".empty").await;
        for (field, option) in [("#entry-a", 2), ("#entry-b", 3), ("#entry-c", 4)] {
            browser.find(field).await.select_by_index(option - 1).await.expect("chosen");
        }
        browser.find(".compare-form button").await.click().await.expect("clicked");
        browser.find("#images").await;
        let heads = browser.texts("table thead th a").await;
        assert_eq!(heads.len(), 3, "{heads:?}");
        assert!(!browser.texts(".delta.good, .delta.bad").await.is_empty());
        let widths =
            browser.script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{widths}");
        browser.picture("compare").await;
        browser.is_accessible("compare").await;
        assert_eq!(browser.console().await, Vec::<String>::new());
        browser.close().await;
    }
}
