//! Flows that end otherwise than in a rank: a run that fails, a phase that hides its figures; and a way without a mouse.

use fantoccini::{
    actions::{InputSource, KeyAction, KeyActions},
    key::Key,
};
use upscore::{challenge::phase::Visibility, ids::SubmissionId, problem::Problem};

use crate::{
    browser::{click, fill},
    support::{
        app::Plan,
        browser::{Browser, DESKTOP, PHONE},
        files::{results, tiny_model},
        showcase,
        web::Web,
    },
};

/// Sends both files through the form and gives the submission that it leads to.
async fn send(browser: &Browser, page: &str, token: &str) -> SubmissionId {
    let folder = tempfile::tempdir().expect("a folder");
    let (zip, model) = (folder.path().join("results.zip"), folder.path().join("model.onnx"));
    std::fs::write(&zip, results(1)).expect("written");
    std::fs::write(&model, tiny_model()).expect("written");
    browser.goto(page).await;
    fill(browser, "#token", token).await;
    for (field, path) in [("#results", &zip), ("#model", &model)] {
        browser.find(field).await.send_keys(path.to_str().expect("a path")).await.expect("chosen");
    }
    browser.until("both look right", async |b: &Browser| b.texts(".found .good").await.len() == 2).await;
    click(browser, "#upload button[type=submit]").await;
    browser.find("[data-live]").await;
    let url = browser.client.current_url().await.expect("an address");
    url.path().rsplit('/').next().expect("an id").parse().expect("an id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_says_what_where_and_what_to_do() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "Half Measures").await).await;
    let url = web.listen().await;
    let browser = Browser::open(PHONE).await;
    let id = send(&browser, &format!("{url}/challenges/{}/validation/submit", phase.challenge_slug), &token).await;
    let problem = Problem::new("output_shape", "the output is 48×32 where 96×64 is expected")
        .at("Conv_17")
        .hint("The challenge enlarges four times.");
    let submission = upscore::submission::get(&mut *web.app.conn().await, id).await.expect("read").expect("there");
    web.app.evaluator.plan_model(&web.app.storage, &submission.model_sha256, Plan::Fails(problem));
    assert_eq!(web.app.drain_queue().await, 1);
    // The page that watches learns it by itself.
    browser.until("the failure is told", async |b: &Browser| b.texts("h1 .pill").await == ["failed"]).await;
    browser.find("main .alert").await;
    let told = browser.texts("main .alert").await.remove(0);
    for words in ["output_shape", "48×32", "Conv_17", "enlarges four times", "upscore check"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    browser.picture("flow-failed").await;
    browser.is_accessible("a failed run").await;
    // It cost an attempt and nothing of the quota.
    let quota = web.get_as(&token, &format!("/api/v1/challenges/{}", phase.challenge_slug)).await.json();
    let quota = quota["phases"][0]["quota"].clone();
    assert_eq!((&quota["daily_used"], &quota["attempts_used"]), (&0.into(), &1.into()), "{quota}");
    assert_eq!(browser.console().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_phase_says_that_it_measured_and_no_figure_until_it_is_published() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    let token = web.token(web.app.team(&phase, "Nearest").await).await;
    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    let board = format!("{url}/challenges/{}/validation", phase.challenge_slug);
    let id = send(&browser, &format!("{board}/submit"), &token).await;
    assert_eq!(web.app.drain_queue().await, 1);
    browser.until("it is measured", async |b: &Browser| b.texts("h1 .pill").await == ["scored"]).await;
    let told = browser.find("main .empty").await.text().await.expect("a text");
    assert!(
        told.contains("Accepted and measured") && told.contains("makes every sample of the uploaded images"),
        "{told}"
    );
    browser.picture("flow-hidden").await;
    browser.is_accessible("a hidden result").await;
    let whole = async |b: &Browser| b.script("return document.documentElement.outerHTML").await.to_string();
    // 29.04 dB, as the board of a phase that is not hidden would say.
    assert!(!whole(&browser).await.contains("29.0"), "the page tells the PSNR");
    browser.goto(&board).await;
    assert!(browser.texts("tbody.ranked th.team").await.is_empty() && !whole(&browser).await.contains("29.04"));
    browser.picture("flow-hidden-board").await;
    sqlx::query("update phase set published_at = now()").execute(&web.app.pool).await.expect("published");
    browser.goto(&format!("{url}/submissions/{id}")).await;
    assert!(browser.texts(".metric .value").await.iter().any(|t| t.starts_with("29.04")));
    browser.goto(&board).await;
    assert!(browser.texts("tbody.ranked th.team").await[0].starts_with("Nearest"));
    browser.close().await;
}

/// Presses Tab until what `css` says has the focus; whatever has it on the way must show it.
async fn tab_to(browser: &Browser, css: &str) {
    for _ in 0..80 {
        press(browser, Key::Tab).await;
        let state = browser
            .script(&format!(
                "const e = document.activeElement, s = getComputedStyle(e);
                 const shown = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none';
                 return [e.matches({css:?}), shown || e === document.body, e.outerHTML.slice(0, 120)]"
            ))
            .await;
        assert_eq!(state[1], true, "nothing shows that it has the focus: {}", state[2]);
        if state[0] == true {
            return;
        }
    }
    panic!("no way by Tab to {css}");
}

async fn press(browser: &Browser, key: Key) {
    type_in(browser, &char::from(key).to_string()).await;
}

/// By the keyboard itself: a file's field would take keys that are sent to it for a path.
async fn type_in(browser: &Browser, keys: &str) {
    let mut strokes = KeyActions::new("keyboard".into());
    for value in keys.chars() {
        strokes = strokes.then(KeyAction::Down { value }).then(KeyAction::Up { value });
    }
    browser.client.perform_actions(strokes).await.expect("typed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_can_be_done_with_the_keyboard_alone() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    web.person("Ann").await;
    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    browser.goto(&url).await;
    // The first stop leads past the navigation.
    tab_to(&browser, ".skip").await;
    press(&browser, Key::Enter).await;
    assert_eq!(browser.script("return document.activeElement.id").await, "main");
    browser.goto(&format!("{url}/signin")).await;
    tab_to(&browser, "#name").await;
    type_in(&browser, "Ann").await;
    tab_to(&browser, "#password").await;
    type_in(&browser, "a cheap passphrase").await;
    press(&browser, Key::Enter).await;
    browser.find(".cards").await;
    // Home, the challenge, its board.
    tab_to(&browser, "main a[href^='/challenges/']").await;
    press(&browser, Key::Enter).await;
    browser.until("the challenge", async |b: &Browser| !b.texts("main .title-row .button").await.is_empty()).await;
    browser.goto(&format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug)).await;
    let sorted = async |b: &Browser| b.script("return document.querySelector('th[aria-sort]').innerText").await;
    let before = sorted(&browser).await;
    tab_to(&browser, "thead th:not([aria-sort]) a").await;
    press(&browser, Key::Enter).await;
    browser.until("Enter sorts", async |b: &Browser| sorted(b).await != before).await;
    let at = browser.script("return document.activeElement.closest('th')?.hasAttribute('aria-sort')").await;
    assert_eq!(at, true, "the focus stays where it was");
    // Joins, and reaches both files and the button of the form.
    browser.goto(&format!("{url}/join/{}", shown.phase.challenge_slug)).await;
    tab_to(&browser, "#name").await;
    type_in(&browser, "Keys").await;
    press(&browser, Key::Enter).await;
    browser.until("she is in a team", async |b: &Browser| !b.texts("section.card").await.is_empty()).await;
    browser.goto(&format!("{url}/challenges/{}/{}/submit", shown.phase.challenge_slug, shown.phase.slug)).await;
    for stop in ["#results", "#model", "#upload button[type=submit]"] {
        tab_to(&browser, stop).await;
    }
    browser.close().await;
}
