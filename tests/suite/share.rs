//! What other sites show of a board: to everybody alike, what is public and nothing else.

use axum::http::StatusCode;
use upscore::challenge::phase::Visibility;

use crate::support::{
    app::measurement,
    browser::{Browser, DESKTOP, PHONE},
    showcase,
    web::Web,
};

#[tokio::test]
async fn a_board_is_shown_elsewhere() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let board = format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    let rows = web.app.board(&shown.phase).await;
    let (first, below) = (&rows.ranked[0], &rows.unranked[0]);

    let badge = web.get(&format!("{board}/teams/{}/badge.svg", first.team_id)).await;
    assert_eq!(badge.header("content-type"), "image/svg+xml");
    assert!(badge.text.contains("#1 · 29.04 dB · 0.34× runtime"), "{}", badge.text);
    let badge = web.get(&format!("{board}/teams/{}/badge.svg?track=none", below.team_id)).await.text;
    assert!(badge.contains("not ranked"), "{badge}");
    let nobody = web.get(&format!("{board}/teams/{}/badge.svg", uuid::Uuid::now_v7())).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);

    let embed = web.get(&format!("{board}/embed?rows=3")).await;
    assert!(embed.header("content-security-policy").contains("frame-ancestors *"));
    assert!(embed.headers.get("x-frame-options").is_none() && embed.headers.get("set-cookie").is_none());
    assert_eq!(embed.text.matches("<th scope=\"row\"").count(), 3);
    assert!(embed.text.contains("6 more on the whole board") && !embed.text.contains("<script"), "{}", embed.text);
    // Signed in or not, it is the same: it does not ask.
    assert_eq!(web.get_as(&shown.token, &format!("{board}/embed?rows=3")).await.text, embed.text);
    let page = web.get(&board).await;
    assert_eq!(page.header("x-frame-options"), "DENY", "the page itself is in nobody's frame");

    let feed = web.get(&format!("{board}/feed.atom")).await;
    assert!(feed.header("content-type").starts_with("application/atom+xml"));
    assert_eq!(feed.text.matches("<entry>").count(), 9);
    assert!(feed.text.contains("NJU_MCG: 29.04 dB at 0.336× the baseline&#39;s runtime"), "{}", feed.text);
    assert!(!feed.text.contains("Bicubic"), "what is not ranked is no best entry");

    let picture = web.get(&format!("{board}/preview.png")).await;
    assert_eq!((picture.status, picture.header("content-type")), (StatusCode::OK, "image/png"));
    assert_eq!(picture.header("cross-origin-resource-policy"), "cross-origin");
    assert!(picture.text.len() > 10_000, "it holds a table and a plot: {} bytes", picture.text.len());
    for path in ["badge", "embed", "feed.atom", "preview.png"].map(|of| match of {
        "badge" => format!("{board}/teams/{}/badge.svg", first.team_id),
        of => format!("{board}/{of}"),
    }) {
        let reply = web.get(&path).await;
        assert_eq!(reply.header("cache-control"), "public, max-age=60", "{path}");
        assert!(reply.headers.get("set-cookie").is_none(), "{path}");
    }

    // What is withdrawn goes from everywhere.
    let came = |page: &str| {
        let table = page.split("aria-label=\"Entries by time\"").nth(1).and_then(|rest| rest.split("</table>").next());
        table.expect("the figures of the timeline").matches("NJU_MCG").count()
    };
    let study = format!("{board}/study");
    assert_eq!(came(&web.get(&study).await.text), 1);
    upscore::submission::withdraw(&mut *web.app.conn().await, first.submission).await.expect("withdrawn");
    let feed = web.get(&format!("{board}/feed.atom")).await.text;
    assert!(feed.matches("<entry>").count() == 8 && !feed.contains("NJU_MCG"), "{feed}");
    for path in [study, format!("{board}/embed")] {
        assert!(!web.get(&path).await.text.contains("NJU_MCG"), "{path}");
    }
    let badge = web.get(&format!("{board}/teams/{}/badge.svg", first.team_id)).await;
    assert!(!badge.text.contains("29.04"), "{}", badge.text);
}

#[tokio::test]
async fn what_is_hidden_is_shown_nowhere() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let team = web.app.team(&phase, "Secret & Co").await;
    let entry = web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let token = web.token(team).await;
    let board = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let own = [format!("{board}/teams/{}/badge.svg", team.id), format!("{board}/embed"), format!("{board}/feed.atom")];
    for path in &own {
        // Neither to its team, as a page of another site would hold it.
        for reply in [web.get(path).await, web.get_as(&token, path).await] {
            assert_eq!(reply.status, StatusCode::OK, "{path}");
            assert!(!reply.text.contains("29.04") && !reply.text.contains("Secret"), "{path}: {}", reply.text);
        }
    }
    let hidden = web.get(&format!("{board}/preview.png")).await.text;
    let page = format!("/teams/{}", team.id);
    assert_eq!(web.get(&page).await.status, StatusCode::NOT_FOUND);
    assert!(web.get_as(&token, &page).await.text.contains("On no public board yet"));
    let model = format!("/submissions/{entry}/model");
    assert_eq!(web.get(&model).await.status, StatusCode::NOT_FOUND);
    assert!(web.get_as(&token, &model).await.text.contains("On no public board yet"));

    sqlx::query("update phase set published_at = now()").execute(&web.app.pool).await.expect("published");
    for path in own.iter().chain([&page, &model]) {
        assert!(web.get(path).await.text.contains("29.04"), "{path}");
    }
    let feed = web.get(&own[2]).await.text;
    assert!(feed.contains("Secret &#38; Co"), "words are escaped: {feed}");
    assert_ne!(web.get(&format!("{board}/preview.png")).await.text, hidden);
}

/// The same weights stand on the boards of two challenges, by the same people; somebody else's copy is not told of.
#[tokio::test]
async fn a_model_has_a_page_over_all_boards() {
    let web = Web::start().await;
    let (one, two) = (web.app.phase().await, web.app.phase().await);
    let mut entries = Vec::new();
    for (phase, name) in [(&one, "Here"), (&two, "There"), (&two, "Copycats")] {
        let team = web.app.team(phase, name).await;
        entries.push(web.app.enter_as(phase, team, measurement()).await);
    }
    web.app.drain_queue().await;
    let weights = "ab".repeat(32);
    for entry in &entries {
        sqlx::query("insert into fingerprint values ($1, 1, $2, $2, $2, '')")
            .bind(entry)
            .bind(&weights)
            .execute(&web.app.pool)
            .await
            .expect("a fingerprint");
    }
    // One person is in both teams.
    sqlx::query(
        "insert into membership (team_id, challenge_id, account_id, role)
         select t.id, t.challenge_id, (select account_id from membership m join team h on h.id = m.team_id where h.name = 'Here'),
                'member' from team t where t.name = 'There'",
    )
    .execute(&web.app.pool)
    .await
    .expect("a member");
    let page = web.get(&format!("/submissions/{}/model", entries[0])).await.text;
    assert!(page.contains(">Here</a>") && page.contains(">There</a>") && !page.contains("Copycats"), "{page}");
    let copy = web.get(&format!("/submissions/{}/model", entries[2])).await.text;
    assert!(copy.contains(">Copycats</a>") && !copy.contains(">Here</a>"), "{copy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_frames_the_board_and_a_plot_is_read_by_keyboard() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let url = web.listen().await;
    let board = format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    let team = web.app.board(&shown.phase).await.ranked[0].team_id;
    // Another site: its own port, its own name.
    let page = format!("<!doctype html><iframe src='{board}/embed' width=600 height=400></iframe>");
    let site = axum::Router::new().fallback(move || async move { axum::response::Html(page.clone()) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let elsewhere = format!("http://localhost:{}/", listener.local_addr().expect("an address").port());
    tokio::spawn(async move { axum::serve(listener, site).await });
    for look in [DESKTOP, PHONE.dark()] {
        let browser = Browser::open(look).await;
        for (name, path) in [("embed", format!("{board}/embed")), ("team-public", format!("{url}/teams/{team}"))] {
            browser.goto(&path).await;
            browser.find("main h1").await;
            browser.picture(name).await;
            browser.is_accessible(name).await;
            let widths = browser.script("return [document.documentElement.scrollWidth, innerWidth]").await;
            assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name} scrolls sideways: {widths}");
        }
        browser.goto(&elsewhere).await;
        browser.client.clone().enter_frame(0).await.expect("a frame");
        browser.until("the board is in it", async |b: &Browser| b.texts("tbody th.team").await.len() == 9).await;
        browser.client.clone().enter_parent_frame().await.expect("back");

        browser.goto(&format!("{board}?size=params#plot")).await;
        browser.find("[data-plot] .help").await;
        let stops = browser.script("return [...document.querySelectorAll('[data-plot] svg')].map((s) => s.querySelectorAll('a[tabindex=\"0\"]').length)").await;
        assert_eq!(stops, serde_json::json!([1, 1]), "one stop for Tab in each");
        let press = "const plot = [...document.querySelectorAll('[data-plot] svg')].find((s) => s.getBoundingClientRect().width > 0);
            const at = plot.contains(document.activeElement) ? document.activeElement : plot.querySelector('a[tabindex=\"0\"]');
            at.focus(); at.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0], bubbles: true }));
            return [document.activeElement.getAttribute('aria-label'), document.querySelector('.tip').textContent, document.querySelector('.tip').hidden]";
        let press = async |key: &str| browser.client.execute(press, vec![key.into()]).await.expect("pressed");
        let first = press(" ").await;
        let next = press("ArrowRight").await;
        assert_ne!(first[0], next[0]);
        assert_eq!((&next[0], &next[2]), (&next[1], &serde_json::json!(false)), "the figures stand beside the mark");
        press(" ").await;
        let link = browser.find("[data-plot] .help a").await;
        assert!(link.text().await.expect("a text").starts_with("Compare "));
        browser.picture("plot").await;
        browser.is_accessible("plot").await;
        link.click().await.expect("clicked");
        browser.until("they are compared", async |b: &Browser| b.texts("#figures").await.len() == 1).await;
        browser.close().await;
    }
}
