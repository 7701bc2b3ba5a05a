//! The pages in a real Chromium: what script adds, at desktop and phone width, in light and dark.

use std::{sync::atomic::Ordering, time::Duration};

use fantoccini::Locator;
use tokio_util::sync::CancellationToken;

use crate::support::{
    browser::{Browser, DESKTOP, Look, PHONE},
    files::{png, results, tiny_model, zipped},
    proxy::Proxy,
    showcase,
    web::Web,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_sorts_by_a_click_on_a_header() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    browser.goto(&format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug)).await;
    let teams = async || browser.texts("tbody.ranked th.team").await;
    let first = teams().await;
    assert!(first[0].starts_with("NJU_MCG") && first.last().expect("a row").starts_with("MSRResNet"), "{first:?}");
    let params = browser.client.find(Locator::XPath("//th[contains(., 'Params')]//button")).await.expect("a button");
    params.click().await.expect("clicked");
    assert!(teams().await[0].starts_with("XPixel"), "fewest parameters first");
    let sorted = browser.find("th[aria-sort]").await.text().await.expect("a text");
    assert!(sorted.contains("Params"), "{sorted}");
    params.click().await.expect("clicked");
    assert!(teams().await[0].starts_with("MSRResNet"), "the baseline has most");
    // PSNR: the highest first at the first click.
    let psnr = browser.client.find(Locator::XPath("//th[contains(., 'PSNR')]//button")).await.expect("a button");
    psnr.click().await.expect("clicked");
    assert!(teams().await[0].starts_with("IPCV_IITM"));
    assert_eq!(browser.texts("tbody.unranked th.team").await.len(), 3, "they stay apart");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_leads_through_live_progress_to_the_result() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let team = web.app.team(&phase, "Nearest").await;
    let token = web.token(team).await;
    let url = web.listen().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let no_images = zipped(&[("0901x4.png", b"no image"), ("0902x4.png", b"no image")]);
    let (zip, model, junk) =
        (file("results.zip", &results(1)), file("model.onnx", &tiny_model()), file("junk.zip", &no_images));
    let half = file("half.zip", &zipped(&[("sr/0901x4.png", b"x"), ("other.png", b"x")]));

    let browser = Browser::open(DESKTOP).await;
    browser.goto(&format!("{url}/challenges/{}/validation/submit", phase.challenge_slug)).await;
    let fill = async |css: &str, value: &str| browser.find(css).await.send_keys(value).await.expect("typed");
    fill("#token", &token).await;
    // Looked at before anything is sent.
    fill("#results", &half).await;
    browser
        .until("what is missing is told", async |b: &Browser| {
            b.texts(".found .bad").await
                == ["1 of 2 images, 0.2 kB", "Missing: 0902.", "Not among the images: other.png."]
        })
        .await;
    fill("#results", &junk).await;
    fill("#model", &model).await;
    browser
        .until("both look right", async |b: &Browser| {
            b.texts(".found .good").await.len() == 2 && b.texts(".found .bad").await.is_empty()
        })
        .await;
    let send = async || browser.find("#upload button[type=submit]").await.click().await.expect("clicked");
    send().await;
    browser
        .until("the problems are listed", async |b: &Browser| !b.texts("#refused:not([hidden]) li").await.is_empty())
        .await;
    assert!(browser.texts("#refused").await[0].contains("nothing was charged"));

    browser.find("#results").await.clear().await.expect("cleared");
    fill("#results", &zip).await;
    send().await;
    browser.find("[data-live]").await;
    let id =
        browser.client.current_url().await.expect("an address").path().rsplit('/').next().expect("an id").to_owned();
    browser
        .until("it waits in line", async |b: &Browser| b.texts(".live-line").await[0].contains("next in line"))
        .await;
    browser.picture("live-queued").await;
    let slow = web.app.evaluator.clone();
    let submission = upscore::submission::get(&mut *web.app.conn().await, id.parse().expect("an id"))
        .await
        .expect("read")
        .expect("there");
    slow.plan_model(&web.app.storage, &submission.model_sha256, crate::support::app::Plan::Hangs);
    let stop = CancellationToken::new();
    let worker = web.app.worker(&stop);
    let step = tokio::spawn(async move { worker.step().await });
    browser.until("it runs", async |b: &Browser| b.texts("h1 .pill").await == ["running"]).await;
    browser
        .until("the step is shown", async |b: &Browser| {
            b.texts("li.current .step-name").await.iter().any(|t| t.eq_ignore_ascii_case("scoring"))
        })
        .await;
    assert!(slow.running.load(Ordering::SeqCst));
    browser.picture("live-running").await;
    // Handed back; the next try measures.
    stop.cancel();
    step.await.expect("the step ends").expect("no trouble");
    slow.forget(&web.app.storage, &submission.model_sha256);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(web.app.drain_queue().await, 1);
    browser
        .until("the results are shown", async |b: &Browser| {
            b.texts(".metric .value").await.iter().any(|t| t.starts_with("29.04"))
        })
        .await;
    assert!(browser.texts(".standing").await[0].contains("Rank 1"));
    browser.goto(&format!("{url}/challenges/{}/validation", phase.challenge_slug)).await;
    assert!(browser.texts("tbody.ranked th.team").await[0].starts_with("Nearest"));
    browser.close().await;
}

/// Results of seven megabytes: most of it a readme that no zipper can shrink.
fn large_results() -> Vec<u8> {
    let readme: Vec<u8> = b"Extra Data [1] / No Extra Data [0] : 1\nOther description : Distilled.\n"
        .iter()
        .copied()
        .chain((0..7_000_000).map(|_| rand::random_range(b' '..b'~')))
        .collect();
    zipped(&[("readme.txt", &readme), ("0901x4.png", &png(96, 64, 1)), ("0902x4.png", &png(96, 64, 2))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_a_cut_connection_and_a_reload() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let token = web.token(web.app.team(&phase, "Patient").await).await;
    let proxy = Proxy::before(&web.listen().await).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (zip, model) = (folder.path().join("results.zip"), folder.path().join("model.onnx"));
    let large = large_results();
    std::fs::write(&zip, &large).expect("written");
    std::fs::write(&model, tiny_model()).expect("written");
    let (zip, model) = (zip.to_str().expect("a path"), model.to_str().expect("a path"));

    let browser = Browser::open(DESKTOP).await;
    let page = format!("{}/challenges/{}/validation/submit", proxy.url, phase.challenge_slug);
    browser.goto(&page).await;
    let choose = async || {
        browser.find("#token").await.send_keys(&token).await.expect("typed");
        browser.find("#results").await.send_keys(zip).await.expect("chosen");
        browser.find("#model").await.send_keys(model).await.expect("chosen");
        browser.until("both look right", async |b: &Browser| b.texts(".found .good").await.len() == 2).await;
        browser.find("#upload button[type=submit]").await.click().await.expect("clicked");
    };
    // Slow enough that the reload comes in the middle.
    proxy.wire.delay.store(25, Ordering::SeqCst);
    let begun = proxy.wire.up.load(Ordering::SeqCst);
    proxy.wire.cut_at.store(begun + 700_000, Ordering::SeqCst);
    choose().await;
    let sent = || proxy.wire.up.load(Ordering::SeqCst) - begun;
    browser
        .until("it went on after the cut", async |_: &Browser| {
            proxy.wire.cuts.load(Ordering::SeqCst) == 1 && sent() > 1_500_000
        })
        .await;
    let line = browser.texts("#sending [role=status]").await.remove(0);
    assert!(line.contains("MB/s") && line.contains("left"), "{line}");
    browser.picture("uploading").await;
    browser.goto(&page).await;
    browser
        .until("it is told of", async |b: &Browser| {
            b.texts(".found li").await.iter().any(|t| t.contains("interrupted"))
        })
        .await;
    let at_reload = sent();
    assert!(at_reload < large.len() as u64, "the upload was over before the reload: the test proves nothing");
    proxy.wire.delay.store(0, Ordering::SeqCst);
    choose().await;
    browser.find("[data-live]").await;
    // Twice broken, hardly a byte was sent twice (but what was on its way).
    assert!(sent() < large.len() as u64 * 3 / 2, "{} bytes for {}", sent(), large.len());
    let id = browser.client.current_url().await.expect("an address");
    let id = id.path().rsplit('/').next().expect("an id").parse().expect("an id");
    let stored = upscore::submission::get(&mut *web.app.conn().await, id).await.expect("read").expect("stored");
    assert_eq!(stored.results_sha256, upscore::storage::BlobHash::of(&large));
    assert_eq!(
        (&*stored.fact_sheet["extra_data"], stored.fact_sheet["description"].starts_with("Distilled.")),
        ("yes", true)
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_a_phone_and_a_desk_in_light_and_dark() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let url = web.listen().await;
    for look in [DESKTOP, DESKTOP.dark(), PHONE, PHONE.dark()] {
        look_at_all(&url, &shown, look).await;
    }
}

async fn look_at_all(url: &str, shown: &showcase::Showcase, look: Look) {
    let browser = Browser::open(look).await;
    browser.goto(&format!("{url}/signin")).await;
    browser.find("#token").await.send_keys(&shown.token).await.expect("typed");
    browser.find("main button[type=submit]").await.click().await.expect("clicked");
    browser.find(".cards").await;
    let challenge = format!("/challenges/{}", shown.phase.challenge_slug);
    let board = format!("{challenge}/{}", shown.phase.slug);
    let pages = [
        ("home", "/".to_owned()),
        ("challenge", challenge),
        ("board", board.clone()),
        ("submit", format!("{board}/submit")),
        ("scored", format!("/submissions/{}", shown.scored)),
        ("failed", format!("/submissions/{}", shown.failed)),
        ("missing", "/nowhere".to_owned()),
        ("docs", "/api/docs".to_owned()),
    ];
    for (name, path) in pages {
        browser.goto(&format!("{url}{path}")).await;
        browser.find("main h1").await;
        let widths = browser.script("return [document.documentElement.scrollWidth, innerWidth]").await;
        assert!(
            widths[0].as_u64() <= widths[1].as_u64(),
            "{name} at {}: the page scrolls sideways: {widths}",
            look.name
        );
        let dark = browser.script("return matchMedia('(prefers-color-scheme: dark)').matches").await;
        assert_eq!(dark, look.dark, "{name}");
        browser.picture(name).await;
    }
    browser.close().await;
}
