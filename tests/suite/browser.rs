//! The pages in a real Chromium: what script adds, at desktop and phone width, in light and dark.

use std::{sync::atomic::Ordering, time::Duration};

use fantoccini::Locator;
use tokio_util::sync::CancellationToken;

use upscore::{
    audit::Actor,
    challenge::{
        joining::{self, JoinPolicy, Joining},
        phase::Phase,
    },
    review::mark::{self, Word},
    team::{
        self, Role,
        reset::{self, Maker},
        token::Scope,
    },
};

use crate::support::{
    browser::{Browser, DESKTOP, Look, PHONE},
    files::{png, results, tiny_model, zipped},
    proxy::Proxy,
    showcase,
    web::Web,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_sorts_filters_and_keeps_its_address() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    sqlx::query("update submission set fact_sheet = '{\"extra_data\": \"yes\"}' where team_id = (select id from team where name = 'XPixel')")
        .execute(&web.app.pool)
        .await
        .expect("told");
    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    let board = format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    browser.goto(&board).await;
    // A mark that a reload would take away.
    browser.script("window.stays = true").await;
    let teams = async |b: &Browser| b.texts("tbody.ranked th.team").await;
    let first = teams(&browser).await;
    assert!(first[0].starts_with("NJU_MCG") && first.last().expect("a row").starts_with("MSRResNet"), "{first:?}");
    let sort = async |by: &str, leads: &str| {
        browser.find(&format!("[data-key=sort-{by}]")).await.click().await.expect("clicked");
        let query = format!("sort={by}");
        browser
            .until(&format!("{leads} leads by {by}"), async |b: &Browser| {
                let at = b.client.current_url().await.expect("an address");
                at.query().is_some_and(|q| q.contains(&query)) && teams(b).await[0].starts_with(leads)
            })
            .await;
    };
    sort("params", "XPixel").await;
    assert!(browser.find("th[aria-sort=ascending]").await.text().await.expect("a text").contains("Params"));
    sort("params", "MSRResNet").await;
    // PSNR: the highest first at the first click.
    sort("psnr", "IPCV_IITM").await;
    assert_eq!(browser.texts("tbody.unranked th.team").await.len(), 3, "they stay apart");

    fill(&browser, "#q", "pixel").await;
    browser.until("it is found", async |b: &Browser| b.texts("#count").await == ["1 of 12 entries"]).await;
    assert_eq!(browser.texts("tbody th.team").await, ["XPixel", "MSRResNet baseline"]);
    fill(&browser, "#q", "nobody").await;
    browser.until("that is said", async |b: &Browser| b.texts("#board-view .empty h2").await.len() == 1).await;
    browser.find("#q").await.clear().await.expect("cleared");
    browser.find("#extra option[value=yes]").await.click().await.expect("chosen");
    browser.until("one has extra data", async |b: &Browser| b.texts("#count").await == ["1 of 12 entries"]).await;
    browser.find(".columns summary").await.click().await.expect("opened");
    browser.picture("board-columns").await;
    browser.find(".columns input[value=ssim]").await.click().await.expect("unchecked");
    browser.until("a column goes", async |b: &Browser| !b.texts("thead th").await.iter().any(|t| t == "SSIM")).await;
    assert_eq!(browser.script("return window.stays").await, true, "no reload");

    // The address of the view shows it again, also where there is no script; and the exports follow.
    let at = browser.client.current_url().await.expect("an address");
    let query = at.query().expect("a query").to_owned();
    assert!(query.starts_with("sort=psnr&extra=yes&cols=psnr,runtime_ms"), "{query}");
    let plain = web.get(&format!("{}?{query}", at.path())).await.text;
    assert!(plain.contains("1 of 12 entries") && !plain.contains(">NJU_MCG<") && !plain.contains("sort-ssim"));
    let export = browser.find(".exports a[href*='format=md']").await.attr("href").await.expect("read").expect("a link");
    let table = web.get(&export).await.text;
    assert!(table.contains("XPixel") && !table.contains("NJU") && !table.contains("SSIM |"), "{table}");
    assert!(table.contains("Only entries trained with extra data"), "{table}");
    browser.goto(at.as_str()).await;
    assert_eq!(browser.texts("#count").await, ["1 of 12 entries"]);
    assert_eq!(browser.console().await, Vec::<String>::new());
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

pub async fn fill(browser: &Browser, css: &str, value: &str) {
    let field = browser.find(css).await;
    field.clear().await.expect("cleared");
    field.send_keys(value).await.expect("typed");
}

pub async fn click(browser: &Browser, css: &str) {
    browser.find(css).await.click().await.expect("clicked");
}

async fn sign_up(browser: &Browser, name: &str) {
    fill(browser, "#name", name).await;
    fill(browser, "#password", "a cheap passphrase").await;
    click(browser, "main form button[type=submit]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_up_joins_invites_another_and_makes_a_token() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let rules = Joining { terms: "# Terms\n\nShare your code.".into(), max_members: Some(4), ..Joining::default() };
    joining::set(&mut *web.app.conn().await, phase.challenge, &rules).await.expect("set");
    let url = web.listen().await;
    let ann = Browser::open(DESKTOP).await;
    ann.goto(&format!("{url}/challenges/{}", phase.challenge_slug)).await;
    click(&ann, ".title-row .button").await;
    ann.is_accessible("join, signed out").await;
    click(&ann, "main .button.quiet").await;
    sign_up(&ann, "Ann").await;
    // Back at what she came for.
    ann.find("#terms").await;
    ann.is_accessible("join").await;
    ann.picture("join").await;
    fill(&ann, "#name", "Nearest").await;
    click(&ann, "#terms").await;
    click(&ann, "main form button[type=submit]").await;
    ann.find("section.card").await;
    ann.is_accessible("team").await;
    click(&ann, "form.row button").await;
    let link = ann.find("#new-link").await.text().await.expect("the link");
    ann.picture("team-invited").await;

    let bob = Browser::open(PHONE).await;
    bob.goto(&link).await;
    assert!(bob.texts("h1").await[0].contains("Join Nearest"));
    click(&bob, "main .button.quiet").await;
    bob.find("#email").await;
    bob.is_accessible("signup").await;
    sign_up(&bob, "Bob").await;
    click(&bob, "#terms").await;
    click(&bob, "main form button[type=submit]").await;
    bob.until("he is in the team", async |b: &Browser| b.texts(".card .list strong").await == ["Ann", "Bob"]).await;
    bob.picture("team").await;
    bob.is_accessible("team of two").await;
    fill(&bob, "#token-name", "laptop").await;
    click(&bob, "#tokens form.row button").await;
    let token = bob.find("#new-token").await.text().await.expect("the token");
    assert_eq!(web.get_as(&token, "/api/v1/teams").await.json()[0]["name"], "Nearest");
    bob.goto(&format!("{url}/account")).await;
    bob.find("#current").await;
    bob.is_accessible("account").await;
    bob.picture("account").await;
    for browser in [ann, bob] {
        assert_eq!(browser.console().await, Vec::<String>::new());
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_of_others_run_no_script() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let evil = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";
    let terms = format!("{evil} [x](javascript:alert(3)) <svg onload=alert(4)>");
    let rules = Joining { terms: terms.clone(), policy: JoinPolicy::Approval, ..Joining::default() };
    joining::set(&mut *web.app.conn().await, phase.challenge, &rules).await.expect("set");
    sqlx::query("update challenge set title = $1, description = $2")
        .bind(evil)
        .bind(&terms)
        .execute(&web.app.pool)
        .await
        .expect("named");
    let team = web.app.team(&phase, evil).await;
    let entry = web.app.enter(&phase, team).await;
    let problem = upscore::problem::Problem::new("zip_crc", evil).at(evil).hint(evil);
    web.app.evaluator.plan(&web.app.storage, entry, crate::support::app::Plan::Fails(problem));
    web.app.drain_queue().await;
    let scored = web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    sqlx::query("update session set user_agent = $1").bind(evil).execute(&web.app.pool).await.expect("named");
    let id = upscore::team::account::by_name(&mut *web.app.conn().await, "Olga Organizer").await.expect("read");
    team::join(&mut *web.app.conn().await, team.id, id.expect("Olga").id, Role::Member).await.expect("joined");
    let token = olga.post("/tokens", &[("name", evil), ("scope", "read")]).await;
    assert_eq!(token.status, axum::http::StatusCode::OK);
    let mut asker = web.person("Asker").await;
    let name = format!("{evil} 2");
    let join = [("name", name.as_str()), ("terms", &rules.terms_sha256().expect("terms"))];
    assert_eq!(asker.post(&format!("/join/{}", phase.challenge_slug), &join).await.status.as_u16(), 303);

    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    browser.goto(&format!("{url}/signin?next=%22%3E%3Cscript%3Ealert(5)%3C/script%3E")).await;
    fill(&browser, "#name", "Olga Organizer").await;
    fill(&browser, "#password", "a cheap passphrase").await;
    click(&browser, "main form button[type=submit]").await;
    browser.find(".hero").await;
    let slug = &phase.challenge_slug;
    let pages = [
        "/".to_owned(),
        format!("/challenges/{slug}"),
        format!("/challenges/{slug}/validation"),
        format!("/challenges/{slug}/validation/submit"),
        format!("/join/{slug}"),
        format!("/submissions/{entry}"),
        format!("/submissions/{scored}"),
        "/team".into(),
        "/account".into(),
        "/organizer".into(),
    ];
    for path in pages {
        browser.goto(&format!("{url}{path}")).await;
        browser.find("main h1").await;
        let words = browser.script("return document.body.innerText").await;
        assert!(words.as_str().expect("a text").contains("onerror") || path == "/account", "{path} shows the words");
        let live = browser
            .script("return document.querySelectorAll('main img, main svg[onload], [onerror], main script').length")
            .await;
        assert_eq!(live, 0, "{path}");
        assert!(browser.client.get_alert_text().await.is_err(), "{path} opened a dialog");
        assert_eq!(browser.console().await, Vec::<String>::new(), "{path}");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_fit_in_chinese_too() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let url = web.listen().await;
    let board = format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    for look in [DESKTOP, PHONE] {
        let browser = Browser::open(look).await;
        sign_in(&browser, &url, &shown.token).await;
        // The cookie keeps it.
        browser.goto(&format!("{url}/?lang=zh-CN")).await;
        let pages = [
            ("zh-home", "/".to_owned()),
            ("zh-challenge", format!("/challenges/{}", shown.phase.challenge_slug)),
            ("zh-board", board.clone()),
            ("zh-study", format!("{board}/study")),
            ("zh-submit", format!("{board}/submit")),
            ("zh-scored", format!("/submissions/{}", shown.scored)),
            ("zh-failed", format!("/submissions/{}", shown.failed)),
            ("zh-team", "/team".to_owned()),
        ];
        for (name, path) in pages {
            browser.goto(&format!("{url}{path}")).await;
            look_at(&browser, name).await;
            let lang = browser.script("return document.documentElement.lang").await;
            assert_eq!(lang, "zh-CN", "{name}");
        }
        browser.goto(&format!("{url}{board}")).await;
        let hint = browser.texts("figure > .help").await;
        assert!(hint[0].contains("方向键"), "a script's words: {hint:?}");
        browser.close().await;
    }
}

async fn look_at_all(url: &str, shown: &showcase::Showcase, look: Look) {
    let browser = Browser::open(look).await;
    browser.goto(&format!("{url}/signin")).await;
    browser.find("details summary").await.click().await.expect("opened");
    browser.find("#token").await.send_keys(&shown.token).await.expect("typed");
    browser.find("details button[type=submit]").await.click().await.expect("clicked");
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
        ("team-token", "/team".to_owned()),
        ("signin", "/signin".to_owned()),
        ("signup", "/signup".to_owned()),
        ("forgotten", "/forgotten".to_owned()),
    ];
    for (name, path) in pages {
        browser.goto(&format!("{url}{path}")).await;
        browser.find("main h1").await;
        let widths =
            browser.script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
        assert!(
            widths[0].as_u64() <= widths[1].as_u64(),
            "{name} at {}: the page scrolls sideways: {widths}",
            look.name
        );
        let dark = browser.script("return matchMedia('(prefers-color-scheme: dark)').matches").await;
        assert_eq!(dark, look.dark, "{name}");
        browser.picture(name).await;
        browser.is_accessible(name).await;
    }
    browser.close().await;
}

/// Somebody who runs the server, with a token for the browser's sign-in.
pub async fn administrator(web: &Web, phase: &Phase) -> String {
    let team = web.app.team(phase, "Olga's").await;
    sqlx::query("update account set is_organizer = true where id = $1")
        .bind(team.account)
        .execute(&web.app.pool)
        .await
        .expect("set");
    web.token_that_may(team, Scope::Admin).await
}

pub async fn sign_in(browser: &Browser, url: &str, token: &str) {
    browser.goto(&format!("{url}/signin")).await;
    browser.find("details summary").await.click().await.expect("opened");
    browser.find("#token").await.send_keys(token).await.expect("typed");
    browser.find("details button[type=submit]").await.click().await.expect("clicked");
    browser.find(".cards").await;
}

/// That a page fits the window and reads well, and how it looks.
pub async fn look_at(browser: &Browser, name: &str) {
    browser.find("main h1").await;
    browser.picture(name).await;
    let widths =
        browser.script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name}: the page scrolls sideways: {widths}");
    browser.is_accessible(name).await;
    // The showcase has no image files.
    let mut said = browser.console().await;
    said.retain(|line| !(line.contains("/images/") && line.contains("404")));
    assert_eq!(said, Vec::<String>::new(), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_organizers_pages_fit_a_phone_and_a_desk() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let token = administrator(&web, &shown.phase).await;
    let held = (shown.phase.challenge, shown.scored);
    let why = "the same weights as XPixel's";
    mark::mark(&mut *web.app.conn().await, held, Word::Hold, why.into(), None, &Actor::Shell).await.expect("held");
    sqlx::query("insert into objection (id, submission_id, text) values (gen_random_uuid(), $1, 'We were first.')")
        .bind(shown.scored)
        .execute(&web.app.pool)
        .await
        .expect("objected");
    let key = {
        let mut conn = web.app.conn().await;
        let of = web.app.team(&shown.phase, "Forgetful").await.account;
        reset::create(&mut conn, of, Maker::Shell).await.expect("a link").expose().to_owned()
    };
    let url = web.listen().await;
    for look in [DESKTOP, PHONE.dark()] {
        let browser = Browser::open(look).await;
        sign_in(&browser, &url, &token).await;
        let base = format!("/organizer/{}", shown.phase.challenge_slug);
        for (name, path) in [
            ("organizer", "/organizer".to_owned()),
            ("organizer-workers", "/organizer/workers".into()),
            ("organizer-audit-all", "/organizer/audit".into()),
            ("organizer-import", "/organizer/import".into()),
            ("organizer-overview", base.clone()),
            ("review", format!("{base}/review")),
            ("review-entry", format!("{base}/review/{}", shown.scored)),
            ("organizer-participants", format!("{base}/participants")),
            ("organizer-protocol", format!("{base}/{}/protocol", shown.phase.slug)),
            ("organizer-announcements", format!("{base}/announcements")),
            ("organizer-audit", format!("{base}/audit")),
            ("organizer-exports", format!("{base}/exports")),
            ("reset", format!("/reset?key={key}")),
        ] {
            browser.goto(&format!("{url}{path}")).await;
            look_at(&browser, name).await;
        }
        // On a phone, what is to be looked at stands on the screen and not beyond its edge.
        browser.goto(&format!("{url}{base}/review?state=held")).await;
        let edge = browser
            .script("return document.querySelector('.review .flags .check.bad').getBoundingClientRect().right")
            .await;
        assert!(edge.as_f64().is_some_and(|edge| edge <= f64::from(look.width)), "{edge}");
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_measured_again_and_the_drift_decided_in_the_browser() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    web.app.drain_queue().await;
    let token = administrator(&web, &shown.phase).await;
    let board = web.app.board(&shown.phase).await;
    // Its only entry: another would take its place on the board.
    let before = board.ranked.iter().find(|row| row.team == "AiriA_CG").expect("ranked");
    let (first, moves) = (before.submission, format!("{} → ", before.rank));
    let mut slower = crate::support::app::measurement();
    slower.fidelity.psnr = 29.04;
    slower.runtime.median_ms = 90.0;
    slower.runtime.ci95_ms = [89.0, 91.0];
    let baseline = slower.runtime.baseline.as_mut().expect("a baseline");
    (baseline.ratio, baseline.ratio_ci95) = (90.0 / 110.0, [0.8, 0.83]);
    web.app.evaluator.plan(&web.app.storage, first, crate::support::app::Plan::Measures(Box::new(slower)));

    let url = web.listen().await;
    let browser = Browser::open(DESKTOP).await;
    sign_in(&browser, &url, &token).await;
    browser.goto(&format!("{url}/organizer/{}/review", shown.phase.challenge_slug)).await;
    click(&browser, &format!("input[value=\"{first}\"]")).await;
    fill(&browser, "#again-reason", "The machine was changed").await;
    click(&browser, "button[value=selected]").await;
    browser
        .until("it waits", async |b: &Browser| b.texts("main p.empty").await.iter().any(|t| t.contains("not ended")))
        .await;
    look_at(&browser, "rerun-waits").await;
    assert!(
        browser.client.find(Locator::Css("button[value=official]:disabled")).await.is_ok(),
        "nothing to decide yet"
    );
    web.app.drain_queue().await;
    let address = browser.client.current_url().await.expect("an address");
    browser.goto(address.as_str()).await;
    let told = browser.texts("main").await.remove(0);
    assert!(told.contains(&moves) && told.contains("Other entries whose rank would change"), "{told}");
    look_at(&browser, "rerun-drift").await;
    fill(&browser, "#decision-reason", "It is the machine of all from now on").await;
    click(&browser, "button[value=official]").await;
    browser.client.accept_alert().await.expect("asked once");
    browser
        .until("it is official", async |b: &Browser| {
            b.texts("main .notice").await.iter().any(|t| t.contains("official"))
        })
        .await;
    // Decided, it says still what it did.
    let told = browser.texts("main").await.remove(0);
    assert!(told.contains(&moves) && told.contains("Other entries whose rank changed"), "{told}");
    look_at(&browser, "rerun-decided").await;
    let phone = Browser::open(PHONE).await;
    sign_in(&phone, &url, &token).await;
    phone.goto(address.as_str()).await;
    look_at(&phone, "rerun-decided").await;
    phone.close().await;
    browser.close().await;
    let after = web.app.board(&shown.phase).await;
    let after = after.ranked.iter().find(|row| row.submission == first).expect("ranked still");
    assert!(after.rank > before.rank && (after.figures.runtime_ms - 90.0).abs() < 0.01);
}
