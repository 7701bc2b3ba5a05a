//! A challenge made and changed in the browser: by a form, and by its file.

use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    http::{Method, StatusCode, header},
};
use tower::ServiceExt;
use upscore::{
    audit::{self, Actor},
    challenge::{
        self, organizers,
        phase::{self, Phase, Visibility},
        protocol::{ReproductionRule, Rules},
    },
    evaluation::RankedImages,
    queue::rerun::{self, Which},
    submission::{self, OrganizerStatus},
};

use crate::{
    browser::{click, fill},
    challenge_file::{example, packed},
    life::sign_in,
    support::{
        browser::{Browser, DESKTOP, Look, PHONE},
        files::{tiny_model, zipped},
        html::{fields, links},
        showcase,
        web::{Part, Reply, Visitor, Web, multipart, request},
    },
};

type Fields = Vec<(String, String)>;

fn set(fields: &mut Fields, name: &str, value: &str) {
    let field = fields.iter_mut().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no field {name}"));
    field.1 = value.to_owned();
}

async fn press(who: &mut Visitor<'_>, path: &str, fields: &Fields, act: &str) -> Reply {
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.push(("act", act));
    who.post(path, &fields).await
}

/// Sends a form with files, as a browser does.
pub async fn send(who: &mut Visitor<'_>, path: &str, parts: &[Part<'_>]) -> Reply {
    let (head, body) = multipart(request(Method::POST, path, None), parts).into_parts();
    let mut builder = request(Method::POST, path, None).header("sec-fetch-site", "same-origin");
    for (name, value) in &head.headers {
        if name != header::HOST {
            builder = builder.header(name, value);
        }
    }
    who.send_head(builder, body).await
}

async fn phases(web: &Web, slug: &str) -> Vec<Phase> {
    let mut conn = web.app.conn().await;
    let found = challenge::by_slug(&mut conn, slug).await.expect("read").expect("the challenge");
    phase::of_challenge(&mut conn, found.id).await.expect("its phases")
}

#[tokio::test]
async fn a_form_makes_a_challenge_and_shows_it_first() {
    let web = Web::start().await;
    let images = web.app.phase().await.challenge_slug;
    let (mut olga, mut carla) = (web.organizer().await, web.person("Carla").await);
    assert!(olga.get("/organizer").await.text.contains("href=\"/organizer/new\""));
    assert_eq!(carla.get("/organizer/new").await.status, StatusCode::NOT_FOUND);
    let page = olga.get("/organizer/new?preset=ntire2024").await;
    let mut form = fields(&page.text, "editor");
    // Whose images, and what gate on them, is hers to say.
    for field in ["phase.0.dataset", "phase.1.dataset", "phase.0.gate", "phase.1.gate"] {
        assert!(form.iter().any(|(name, value)| name == field && value.is_empty()), "{field}: {form:?}");
    }
    assert!(page.text.contains("On its own images, NTIRE2024 asked for 26.99."), "{}", page.text);
    let missing = press(&mut olga, "/organizer/new", &form, "preview").await;
    assert!(missing.text.contains("dataset_missing"), "{}", missing.text);
    for (name, value) in [
        ("phase.0.dataset", format!("{images}@1").as_str()),
        ("phase.1.dataset", &format!("{images}@1")),
        ("phase.0.gate", "26.9"),
        ("phase.1.gate", "26.99"),
        ("slug", "mine"),
        ("title", "Mine & <b>yours</b>"),
        ("time_zone", "Europe/Paris"),
        ("description", "Some *words*."),
        ("page.0.text", "Be fair."),
        ("terms", "Share your code."),
        ("max_members", "4"),
        ("fact_sheet", "method | Method | text | required | Name\nkind | Kind | choice small, large | optional | "),
        ("phase.0.opens", "2030-01-01T00:00"),
        ("phase.0.closes", "2030-07-01T00:00"),
        ("phase.1.opens", "2030-07-01T00:00"),
        ("phase.1.closes", "2030-07-08T00:00:30"),
        ("reason", "the season"),
    ] {
        set(&mut form, name, value);
    }
    let previewed = press(&mut olga, "/organizer/new", &form, "preview").await;
    assert_eq!(previewed.status, StatusCode::OK, "{}", previewed.text);
    for words in ["What would be made", "Some <em>words</em>", "Mine &#38; &#60;b&#62;yours", "2029-12-31T23:00:00Z"] {
        assert!(previewed.text.contains(words), "{words}: {}", previewed.text);
    }
    assert_eq!(fields(&previewed.text, "editor"), form, "the form is as it was sent");
    assert_eq!(web.get("/challenges/mine").await.status, StatusCode::NOT_FOUND, "nothing is saved");

    // Every problem at once, and the form as it was.
    let mut wrong = form.clone();
    for (name, value) in [("phase.0.gate", "much"), ("max_members", "few"), ("fact_sheet", "what"), ("policy", "any")] {
        set(&mut wrong, name, value);
    }
    let refused = press(&mut olga, "/organizer/new", &wrong, "save").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.text.matches("class=\"said\"").count(), 4, "{}", refused.text);
    assert!(refused.text.contains("value=\"much\""));
    set(&mut wrong, "slug", "workers");
    for (name, value) in [("phase.0.gate", "29"), ("max_members", ""), ("fact_sheet", ""), ("policy", "open")] {
        set(&mut wrong, name, value);
    }
    assert!(press(&mut olga, "/organizer/new", &wrong, "save").await.text.contains("slug_reserved"));

    let more = press(&mut olga, "/organizer/new", &form, "phase").await;
    assert!(fields(&more.text, "editor").iter().any(|(name, _)| name == "phase.2.slug"));
    let made = press(&mut olga, "/organizer/new", &form, "save").await;
    assert_eq!((made.status, made.header("location")), (StatusCode::SEE_OTHER, "/organizer/mine"), "{}", made.text);
    let [dev, test] = &phases(&web, "mine").await[..] else { panic!("two phases") };
    assert_eq!(
        (dev.protocol.name.as_str(), dev.gate.stated, dev.baseline.name.as_str()),
        ("ntire2024@1", Some(26.9), "RLFN")
    );
    assert_eq!((test.visibility, test.limits.total, test.gate.stated), (Visibility::Hidden, Some(10), Some(26.99)));
    assert_eq!(test.opens_at.expect("a time").to_rfc3339(), "2030-06-30T22:00:00+00:00");
    let act = audit::list(&mut *web.app.conn().await, None, None, 1).await.expect("the log").remove(0);
    assert_eq!(
        (act.actor.as_str(), act.action.as_str(), act.reason.as_str()),
        ("Olga Organizer", "challenge.create", "the season")
    );
    let taken = press(&mut olga, "/organizer/new", &form, "save").await;
    assert!(taken.status == StatusCode::CONFLICT && taken.text.contains("slug_taken"));
    assert!(page.text.contains("choose a dataset") && page.text.contains(&format!("{images}@1 (2 images, ×4)")));
}

/// By the rules that a new challenge starts with nobody is ranked by images that the model does not make.
#[tokio::test]
async fn a_new_challenge_holds_foreign_images_and_an_edition_says_that_it_does_not() {
    let web = Web::start().await;
    let images = format!("{}@1", web.app.phase().await.challenge_slug);
    let mut olga = web.organizer().await;
    let red = "a model of no parameters";
    let page = olga.get("/organizer/new").await.text;
    assert!(!page.contains(red), "{page}");
    let mut form = fields(&page, "editor");
    for (name, value) in [
        ("slug", "mine"),
        ("title", "Mine"),
        ("reason", "the season"),
        ("phase.0.dataset", &images),
        ("phase.1.dataset", &images),
    ] {
        set(&mut form, name, value);
    }
    let made = press(&mut olga, "/organizer/new", &form, "save").await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
    let phases = phases(&web, "mine").await;
    for phase in &phases {
        let rules = &phase.protocol.rules;
        assert_eq!((rules.reproduction, rules.ranked_images), (ReproductionRule::Held, RankedImages::Model));
        assert!(phase.limits.total.is_some(), "each evaluation tells something");
    }
    assert_eq!(phases[0].protocol.name, "standard@1");
    for edition in ["aim2020", "ntire2024"] {
        let page = olga.get(&format!("/organizer/new?preset={edition}")).await.text;
        assert!(page.contains(red), "{edition}");
    }
    let path = "/organizer/mine/validation/protocol";
    assert!(!olga.get(path).await.text.contains(red));
    let filled = olga.post(path, &[("act", "fill"), ("preset", "aim2020")]).await.text;
    assert!(filled.contains(red) && filled.contains("check bad"), "the edition keeps its rule, and says so");
    // Files and the shell start with the same.
    assert_eq!(Rules::standard(4).reproduction, ReproductionRule::Held);
    let file =
        upscore::challenge::file::parse("slug = \"f\"\ntitle = \"F\"\n[[phase]]\nslug = \"dev\"\n").expect("a file");
    assert_eq!((file.phases[0].protocol.as_str(), file.phases[0].quota.total), ("standard", Some(100)));
}

#[tokio::test]
async fn settings_change_what_is_changed_and_say_it_first() {
    let web = Web::start().await;
    let (phase, elsewhere) = (web.app.phase().await, web.app.phase().await);
    let slug = &phase.challenge_slug;
    // Times that no field of a browser shows whole.
    sqlx::query("update phase set opens_at = now(), gate_psnr = 28.123456").execute(&web.app.pool).await.expect("set");
    let team = web.app.team(&phase, "a").await;
    web.app.enter(&phase, team).await;
    web.app.drain_queue().await;
    let mut carla = web.person("Carla").await;
    organizers::add(&mut *web.app.conn().await, phase.challenge, "Carla", &Actor::Shell).await.expect("an organizer");
    let path = format!("/organizer/{slug}/settings");
    let page = carla.get(&path).await.text;
    assert!(!page.contains(&elsewhere.challenge_slug), "other challenges' images are not for her to choose");
    let mut form = fields(&page, "editor");
    let same = press(&mut carla, &path, &form, "preview").await.text;
    assert!(same.contains("Nothing: the challenge is so already."), "{same}");

    set(&mut form, "phase.0.closes", "2031-01-01T00:00");
    set(&mut form, "phase.0.gate", "28.5");
    let previewed = press(&mut carla, &path, &form, "preview").await.text;
    for words in ["never → 2031-01-01T00:00:00Z", "gate 28.12 dB → gate 28.50 dB", "What would change"] {
        assert!(previewed.contains(words), "{words}: {previewed}");
    }
    assert_eq!(web.app.reload(phase.id).await.closes_at, None);
    let saved = press(&mut carla, &path, &form, "save").await;
    assert_eq!((saved.status, saved.header("location")), (StatusCode::SEE_OTHER, path.as_str()), "{}", saved.text);
    let now = web.app.reload(phase.id).await;
    assert_eq!(
        (now.gate.stated, now.protocol.name, now.opens_at),
        (Some(28.5), phase.protocol.name, web.app.reload(phase.id).await.opens_at)
    );
    assert_eq!(now.baseline.model_sha256, phase.baseline.model_sha256, "the model stays");

    // An entry keeps its phase; another's images stay another's.
    let mut other = form.clone();
    other.push(("phase.0.remove".into(), "yes".into()));
    let kept = press(&mut carla, &path, &other, "save").await;
    assert!(kept.status == StatusCode::UNPROCESSABLE_ENTITY && kept.text.contains("phase_has_entries"));
    let mut other = form.clone();
    set(&mut other, "phase.0.dataset", &format!("{}@1", elsewhere.challenge_slug));
    assert!(press(&mut carla, &path, &other, "preview").await.text.contains("dataset_not_found"));
    let mut other = form.clone();
    set(&mut other, "slug", &elsewhere.challenge_slug);
    assert!(press(&mut carla, &path, &other, "preview").await.text.contains("another_challenge"));
    let mut other = form.clone();
    other.push(("phase.0.rules.device".into(), "cuda".into()));
    assert_eq!(press(&mut carla, &path, &other, "save").await.status, StatusCode::UNPROCESSABLE_ENTITY);

    // One more phase, with a baseline's model that is sent once and named from then on.
    let more = press(&mut carla, &path, &form, "phase").await.text;
    let mut form = fields(&more, "editor");
    set(&mut form, "phase.1.slug", "final");
    set(&mut form, "phase.1.title", "Final");
    let model = tiny_model();
    let mut parts: Vec<_> = form.iter().map(|(name, value)| Part(name, None, value.as_bytes())).collect();
    parts.extend([
        Part("phase.1.file", Some("base.onnx"), &model),
        Part("phase.0.file", Some(""), b""),
        Part("act", None, b"preview"),
    ]);
    let previewed = send(&mut carla, &path, &parts).await.text;
    assert!(previewed.contains("timed beside each entry"), "{previewed}");
    let form = fields(&previewed, "editor");
    let mut forged = form.clone();
    let sent = form.iter().find(|(name, _)| name == "phase.1.model").expect("it").1.clone();
    set(&mut forged, "phase.1.model", &sent.replacen('.', ".0", 1));
    assert!(press(&mut carla, &path, &forged, "save").await.text.contains("upload_not_found"));
    assert_eq!(press(&mut carla, &path, &form, "save").await.status, StatusCode::SEE_OTHER);
    let made = phases(&web, slug).await;
    assert_eq!((made[1].slug.as_str(), made[1].baseline.model_bytes), ("final", Some(model.len() as u64)));
}

#[tokio::test]
async fn a_file_is_looked_at_then_applied_and_downloaded_again() {
    let web = Web::start().await;
    let mut olga = web.organizer().await;
    let (folder, file) = example();
    std::fs::write(folder.path().join("challenge.toml"), challenge::file::format::write(&file).expect("TOML"))
        .expect("written");
    let zip = packed(folder.path(), "");
    let parts = [Part("file", Some("aim.zip"), &zip), Part("act", None, b"preview")];
    let previewed = send(&mut olga, "/organizer/new", &parts).await;
    assert!(
        previewed.status == StatusCode::OK && previewed.text.contains("protocol aim2020-test"),
        "{}",
        previewed.text
    );
    assert!(!previewed.text.contains("id=\"editor\""), "one thing at a time");
    let staged = |page: &str| {
        page.split("name=\"staged\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it").to_owned()
    };
    let given = staged(&previewed.text);
    // It is hers alone.
    let mut otto = web.person("Otto").await;
    sqlx::query("update account set is_organizer = true").execute(&web.app.pool).await.expect("organizers");
    let fields = [("staged", given.as_str()), ("act", "save"), ("reason", "")];
    assert!(otto.post("/organizer/new", &fields).await.text.contains("upload_not_found"));
    let made = olga.post("/organizer/new", &fields).await;
    assert_eq!(made.header("location"), "/organizer/aim2020-esr", "{}", made.text);
    assert_eq!(phases(&web, "aim2020-esr").await.len(), 2);

    let path = "/organizer/aim2020-esr/settings";
    let mut saved = Vec::new();
    for ending in ["challenge.toml", "settings.zip"] {
        let ask = request(Method::GET, &format!("/organizer/aim2020-esr/{ending}"), None);
        let ask = ask.header(header::COOKIE, olga.cookie.clone().expect("a cookie")).body(Body::empty());
        let reply = web.router.clone().oneshot(ask.expect("a request")).await.expect("an answer");
        assert_eq!(reply.status(), StatusCode::OK);
        saved.push(to_bytes(reply.into_body(), 1 << 20).await.expect("a body"));
    }
    for bytes in &saved {
        let page = send(&mut olga, path, &[Part("file", Some("f"), bytes), Part("act", None, b"preview")]).await.text;
        assert!(page.contains("Nothing: the challenge is so already."), "{page}");
    }
    let text = String::from_utf8(saved.remove(0).to_vec())
        .expect("text")
        .replace("closes = 2020-07-17", "closes = 2020-07-18");
    let page =
        send(&mut olga, path, &[Part("file", Some("f"), text.as_bytes()), Part("act", None, b"preview")]).await.text;
    assert!(page.contains("2020-07-17T23:59:00Z → 2020-07-18T23:59:00Z"), "{page}");
    let fields = [("staged", &*staged(&page)), ("act", "save"), ("reason", "a day more")];
    assert_eq!(olga.post(path, &fields).await.status, StatusCode::SEE_OTHER);
    let closes = phases(&web, "aim2020-esr").await[1].closes_at.expect("a time").to_rfc3339();
    assert_eq!(closes, "2020-07-18T23:59:00+00:00");
    let hostile = zipped(&[("../challenge.toml", b"")]);
    let refused = send(&mut olga, path, &[Part("file", Some("f"), &hostile), Part("act", None, b"save")]).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("zip_unsafe_path"));
    assert!(refused.text.contains("id=\"editor\""), "the way on");
}

/// Every address on every page of the console, as an administrator finds them from `/organizer` on.
#[tokio::test]
async fn no_link_of_the_console_is_dead() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let slug = shown.phase.challenge_slug.clone();
    let mut olga = web.organizer().await;
    // Something in every list.
    let mut asker = web.person("Asker").await;
    sqlx::query("update challenge set join_policy = 'approval'").execute(&web.app.pool).await.expect("set");
    asker.post(&format!("/join/{slug}"), &[("name", "Askers")]).await;
    submission::mark(&mut *web.app.conn().await, shown.scored, OrganizerStatus::Held, "look", None)
        .await
        .expect("held");
    let ids = (shown.phase.challenge, shown.phase.id);
    rerun::start(&mut *web.app.conn().await, ids, Which::These(&[shown.scored]), &Actor::Shell, "again")
        .await
        .expect("a batch");
    let announced = olga
        .post(&format!("/organizer/{slug}/announcements"), &[("title", "Hello"), ("body", "all"), ("act", "announce")])
        .await;
    assert_eq!(announced.status, StatusCode::SEE_OTHER, "{}", announced.text);
    organizers::add(&mut *web.app.conn().await, shown.phase.challenge, "Asker", &Actor::Shell)
        .await
        .expect("an organizer");
    // The files that are there only in name so far.
    let entries = sqlx::query_scalar::<_, uuid::Uuid>("select id from submission").fetch_all(&web.app.pool).await;
    let entries = entries.expect("the entries").into_iter().map(|id| id.to_string());
    for bytes in entries.chain(["lr".to_owned(), "baseline".to_owned()]) {
        web.app.storage.put(bytes.as_bytes()).await.expect("a blob");
    }

    let (mut seen, mut ahead) = (BTreeSet::new(), vec![("/organizer".to_owned(), String::new())]);
    let mut pages = 0;
    while let Some((address, from)) = ahead.pop() {
        // The entries' images are no images: their results were made up.
        if !address.starts_with('/') || address.contains("/images/") || !seen.insert(address.clone()) {
            continue;
        }
        let reply = olga.get(&address).await;
        // A form's address may take nothing but what it posts.
        let there = matches!(reply.status.as_u16(), 200 | 303 | 405);
        assert!(there, "{from} leads to {address}: {}", reply.status);
        let inside = address.starts_with("/organizer") && reply.header("content-type").starts_with("text/html");
        if inside {
            pages += 1;
            let path = address.split('?').next().unwrap_or_default();
            let whole = |link: String| if link.starts_with('?') { format!("{path}{link}") } else { link };
            ahead.extend(links(&reply.text).into_iter().map(|link| (whole(link), address.clone())));
        }
    }
    for page in [
        "/organizer/new",
        "/organizer/import",
        "/organizer/workers",
        &format!("/organizer/{slug}/settings"),
        &format!("/organizer/{slug}/review/{}", shown.scored),
    ] {
        assert!(seen.contains(page), "nothing leads to {page}");
    }
    assert!(pages > 15, "{pages} pages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_editor_fits_a_phone_and_a_desk_in_light_and_dark() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    web.organizer().await;
    let url = web.listen().await;
    for look in [DESKTOP, DESKTOP.dark(), PHONE, PHONE.dark()] {
        let browser = Browser::open(look).await;
        sign_in(&url, "Olga Organizer", &browser).await;
        let settings = format!("/organizer/{}/settings", shown.phase.challenge_slug);
        for (name, path) in [("new", "/organizer/new"), ("settings", &settings)] {
            browser.goto(&format!("{url}{path}")).await;
            looks_right(&browser, name, look).await;
            fill(&browser, "#title", "Another title").await;
            let choose = "document.querySelectorAll('select[name$=\".dataset\"]').forEach((s) => { if (!s.value) s.selectedIndex = 1 })";
            browser.script(choose).await;
            click(&browser, "#editor button[value=preview]").await;
            browser.find("#plan").await;
            looks_right(&browser, &format!("{name}-plan"), look).await;
        }
        assert_eq!(browser.console().await, Vec::<String>::new());
        browser.close().await;
    }
}

async fn looks_right(browser: &Browser, name: &str, look: Look) {
    browser.find("#editor").await;
    browser.picture(&format!("editor-{name}")).await;
    let widths = browser.script("return [document.documentElement.scrollWidth, innerWidth]").await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{name} at {}: the page scrolls sideways: {widths}", look.name);
    browser.is_accessible(name).await;
}
