//! Datasets that organizers make: from a zip or a folder of the server, in versions, for their own challenges.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::Value;
use upscore::{
    audit::{self, Actor},
    challenge::{dataset, organizers},
    team::{account, token::Scope},
};

use crate::{
    browser::{administrator, look_at, sign_in},
    support::{
        app::Team,
        browser::{Browser, DESKTOP, PHONE},
        files::{png, zipped},
        showcase,
        web::{Part, Reply, Web, multipart, request},
    },
};

/// A token of somebody who runs the challenge of `slug`; of nobody in particular: the whole server.
async fn token(web: &Web, name: &str, challenge: Option<upscore::ids::ChallengeId>) -> String {
    let mut conn = web.app.conn().await;
    let new = account::NewAccount { name: name.into(), is_organizer: challenge.is_none(), ..Default::default() };
    let account = account::create(&mut conn, new).await.expect("an account");
    if let Some(challenge) = challenge {
        organizers::add(&mut conn, challenge, name, &Actor::Shell).await.expect("an organizer");
    }
    drop(conn);
    // The team is of no matter: a token is of the account.
    web.token_that_may(Team { id: upscore::ids::TeamId::new(), account }, Scope::Admin).await
}

impl Web {
    async fn send_dataset(&self, token: &str, parts: &[Part<'_>]) -> Reply {
        self.send(multipart(request(Method::POST, "/api/v1/datasets", Some(token)), parts)).await
    }

    /// The build as it ended.
    async fn built(&self, token: &str, started: &Reply) -> Value {
        assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.text);
        let id = started.json()["id"].as_str().expect("an id").to_owned();
        for _ in 0..200 {
            let build = self.get_as(token, &format!("/api/v1/datasets/builds/{id}")).await.json();
            if build["state"] != "working" {
                return build;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the dataset is never made");
    }
}

fn codes(problems: &Value) -> Vec<&str> {
    problems.as_array().expect("problems").iter().map(|p| p["code"].as_str().expect("a code")).collect()
}

#[tokio::test]
async fn an_organizer_makes_versions_of_a_dataset_from_zips() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let (carla, otto) = {
        let elsewhere = web.app.phase().await;
        (token(&web, "Carla", Some(phase.challenge)).await, token(&web, "Otto", Some(elsewhere.challenge)).await)
    };
    let slug = phase.challenge_slug.as_bytes();
    let hr = |seed| zipped(&[("hr/0901.png", &png(96, 64, seed)), ("hr/0902.png", &png(99, 66, 2))]);
    let send = async |token: &str, name: &[u8], zip: &[u8]| {
        let parts = [Part("name", None, name), Part("challenge", None, slug), Part("hr", Some("hr.zip"), zip)];
        web.send_dataset(token, &parts).await
    };
    let first = web.built(&carla, &send(&carla, b"valid", &hr(1)).await).await;
    assert_eq!((&first["state"], &first["dataset"], &first["done"]), (&"made".into(), &"valid@1".into(), &2.into()));
    let same = web.built(&carla, &send(&carla, b"valid", &hr(1)).await).await;
    let other = web.built(&carla, &send(&carla, b"valid", &hr(9)).await).await;
    assert_eq!((&same["dataset"], &other["dataset"]), (&"valid@1".into(), &"valid@2".into()));

    let listed = web.get_as(&carla, "/api/v1/datasets").await;
    let names: Vec<_> = listed.json().as_array().expect("a list").iter().map(|d| d["version"].clone()).collect();
    assert_eq!(names, [1, 2, 1], "its phase's, and both versions, newest first");
    let found = dataset::by_name(&mut *web.app.conn().await, "valid@1").await.expect("read").expect("it");
    let made = dataset::get(&mut *web.app.conn().await, found.id).await.expect("read");
    assert_eq!((made.images[1].hr_size, made.images[1].lr_size), ([96, 64], [24, 16]), "cropped to the scale");
    let acts = audit::list(&mut *web.app.conn().await, Some(phase.challenge), None, 10).await.expect("the log");
    assert_eq!(acts.iter().filter(|a| a.action == "dataset.create" && a.actor == "Carla").count(), 3);
    let page = web.get_as(&carla, "/organizer/datasets").await.text;
    assert!(page.contains("valid@2") && !page.contains("Or from the server"), "{page}");
    for text in [&page, &listed.text, &first.to_string()] {
        assert!(made.images.iter().all(|image| !text.contains(image.hr.as_str())), "no hash of HR: {text}");
    }

    // To others it is not there, and its name is taken.
    assert_eq!(web.get_as(&otto, "/api/v1/datasets").await.json().as_array().map(Vec::len), Some(1));
    assert!(!web.get_as(&otto, "/organizer/datasets").await.text.contains("valid@"));
    let build = format!("/organizer/datasets/builds/{}", first["id"].as_str().expect("an id"));
    assert_eq!(web.get_as(&otto, &build).await.status, StatusCode::NOT_FOUND);
    assert!(web.get_as(&carla, &build).await.text.contains("valid@1"));
    let refused = send(&otto, b"valid", &hr(3)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(codes(&refused.json()["errors"]), ["challenge_not_found", "dataset_taken"]);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_dataset_is_said_at_once() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let carla = token(&web, "Carla", Some(phase.challenge)).await;
    let slug = phase.challenge_slug.as_bytes();
    let asked = [
        Part("name", None, b"Not A Name"),
        Part("scale", None, b"17"),
        Part("hr_folder", None, b"hr"),
        Part("colour", None, b"red"),
    ];
    let refused = web.send_dataset(&carla, &asked).await;
    assert_eq!(
        codes(&refused.json()["errors"]),
        ["challenge_not_found", "bad_dataset_name", "bad_scale", "folder_not_allowed", "bad_form"]
    );
    let file = [Part("name", None, b"d"), Part("challenge", None, slug), Part("sr", Some("sr.zip"), b"x")];
    assert_eq!(web.send_dataset(&carla, &file).await.code(), "unexpected_file");

    let hr = zipped(&[("0901.png", &png(96, 64, 1)), ("0902.png", &png(20, 20, 2)), ("0903.png", b"no image")]);
    let parts = [Part("name", None, b"d"), Part("challenge", None, slug), Part("hr", Some("hr.zip"), &hr)];
    let build = web.built(&carla, &web.send_dataset(&carla, &parts).await).await;
    assert_eq!(codes(&build["problems"]), ["image_too_small", "png_malformed"]);
    let places: Vec<_> = build["problems"].as_array().expect("a list").iter().map(|p| p["where"].clone()).collect();
    assert_eq!(places, ["0902", "0903"]);
    // LR of other sizes and names.
    let hr = zipped(&[("0901.png", &png(96, 64, 1)), ("0902.png", &png(96, 64, 2))]);
    for (lr, expected) in [
        (vec![("0901x4.png", png(24, 16, 1)), ("0902x4.png", png(24, 17, 1))], vec!["lr_size"]),
        (vec![("0901x4.png", png(24, 16, 1)), ("0903x4.png", png(24, 16, 1))], vec!["missing_lr", "unexpected_lr"]),
        (vec![("b\u{e9}.png", png(24, 16, 1)), ("a b.png", png(24, 16, 1))], vec!["bad_image_name", "bad_image_name"]),
    ] {
        let lr = zipped(&lr.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect::<Vec<_>>());
        let files = [Part("hr", Some("hr.zip"), &hr), Part("lr", Some("lr.zip"), &lr)];
        let parts = [&[Part("name", None, b"d"), Part("challenge", None, slug)][..], &files].concat();
        let build = web.built(&carla, &web.send_dataset(&carla, &parts).await).await;
        assert_eq!((&build["state"], codes(&build["problems"])), (&"refused".into(), expected));
    }
    assert!(web.get_as(&carla, "/organizer/datasets").await.text.contains("refused, 2 problems"));
    let none = dataset::by_name(&mut *web.app.conn().await, "d").await.expect("read");
    assert!(none.is_none(), "nothing was made");
}

#[tokio::test]
async fn whoever_runs_the_server_names_a_folder_below_one_and_nothing_outside_it() {
    let root = tempfile::tempdir().expect("a folder");
    let inside = root.path().join("datasets");
    for folder in ["datasets/hr", "secret"] {
        std::fs::create_dir_all(root.path().join(folder)).expect("a folder");
        std::fs::write(root.path().join(folder).join("0901.png"), png(96, 64, 1)).expect("an image");
    }
    std::os::unix::fs::symlink(root.path().join("secret"), inside.join("link")).expect("a link");
    let web = Web::with(|settings| settings.datasets_dir = Some(inside)).await;
    let phase = web.app.phase().await;
    let (olga, carla) = (token(&web, "Olga", None).await, token(&web, "Carla", Some(phase.challenge)).await);
    let send = async |token: &str, folder: &[u8]| {
        let slug = phase.challenge_slug.as_bytes();
        let parts = [Part("name", None, b"d"), Part("challenge", None, slug), Part("hr_folder", None, folder)];
        web.send_dataset(token, &parts).await
    };
    for (folder, code) in [("../secret", "path_outside"), ("/etc", "path_outside"), ("link", "file_not_found")] {
        assert_eq!(codes(&send(&olga, folder.as_bytes()).await.json()["errors"]), [code], "{folder}");
    }
    assert_eq!(send(&carla, b"hr").await.code(), "folder_not_allowed", "it may hold others' hidden images");
    let build = web.built(&olga, &send(&olga, b"hr").await).await;
    assert_eq!((&build["dataset"], &build["total"]), (&"d@1".into(), &1.into()));
    assert!(web.get_as(&olga, "/organizer/datasets").await.text.contains("<option value=\"hr\">"));
    // It is for Carla's challenge, so that she may use it.
    assert!(web.get_as(&carla, "/organizer/datasets").await.text.contains("d@1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_is_made_in_the_browser_and_carried_entries_and_a_still_board_are_looked_at() {
    let files = tempfile::tempdir().expect("a folder");
    let inside = files.path().join("server");
    std::fs::create_dir_all(inside.join("DIV2K_valid_HR")).expect("a folder");
    let web = Web::with(|settings| settings.datasets_dir = Some(inside)).await;
    let shown = showcase::furnish(&web).await;
    let token = administrator(&web, &shown.phase).await;
    let url = web.listen().await;
    let good = zipped(&[("0901.png", &png(96, 64, 1)), ("0902.png", &png(96, 64, 2))]);
    let bad = zipped(&[("0901.png", &png(20, 20, 1)), ("0902.png", b"no image"), ("0903.png", &png(96, 64, 3))]);
    for (name, bytes) in [("good.zip", good), ("bad.zip", bad)] {
        std::fs::write(files.path().join(name), bytes).expect("a zip");
    }
    let first = &shown.phase;
    let same = |new: &mut upscore::challenge::phase::NewPhase| {
        (new.challenge, new.dataset, new.slug, new.title) =
            (first.challenge, first.dataset, "test".into(), "Test".into());
    };
    web.app.phase_with(same, |_| {}).await;
    for look in [DESKTOP, PHONE.dark()] {
        let browser = Browser::open(look).await;
        sign_in(&browser, &url, &token).await;
        for (zip, ends) in [("bad.zip", ".alert .problems li"), ("good.zip", ".notice h2")] {
            browser.goto(&format!("{url}/organizer/datasets")).await;
            browser.find("#name").await.send_keys("div2k-valid").await.expect("typed");
            let path = files.path().join(zip).display().to_string();
            browser.find("#hr").await.send_keys(&path).await.expect("chosen");
            browser.find("form[data-send] button[type=submit]").await.click().await.expect("sent");
            browser.until("the build's page", async |b| b.texts("h1").await.concat().starts_with("div2k-valid")).await;
            browser.find(ends).await;
            look_at(&browser, &format!("dataset-{}", zip.trim_end_matches(".zip"))).await;
        }
        assert!(browser.texts(".notice h2").await.concat().contains("div2k-valid@1"));
        browser.goto(&format!("{url}/organizer/datasets")).await;
        look_at(&browser, "datasets").await;
        // Refused before anything is made: what was filled in stays.
        browser.find("#name").await.send_keys("No Name").await.expect("typed");
        browser.find("form[data-send] button[type=submit]").await.click().await.expect("sent");
        browser.find("#refused:not([hidden]) li").await;
        let kept = browser.script("return document.getElementById('name').value").await;
        assert_eq!(kept, "No Name");
        let said = browser.console().await;
        assert!(said.iter().all(|line| line.contains("422")), "no more than the refusal: {said:?}");
        browser.goto(&format!("{url}/organizer/{}", shown.phase.challenge_slug)).await;
        browser.find("details summary").await.click().await.expect("opened");
        browser.find("#carry-why").await.send_keys("Judged again.").await.expect("typed");
        look_at(&browser, "overview").await;
        browser.find("form[action$='/carry'] button").await.click().await.expect("clicked");
        browser.client.accept_alert().await.expect("asked once");
        assert!(browser.find(".notice h2").await.text().await.expect("a text").contains("carried to Test"));
        look_at(&browser, "carried").await;
        browser.close().await;
    }
    let frozen = "update phase set visibility = 'frozen', frozen_at = now() where id = $1";
    sqlx::query(frozen).bind(shown.phase.id).execute(&web.app.pool).await.expect("frozen");
    for look in [DESKTOP, PHONE.dark()] {
        let browser = Browser::open(look).await;
        browser.goto(&format!("{url}/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug)).await;
        assert!(browser.texts(".notice").await.concat().contains("stands still since"));
        look_at(&browser, "board-still").await;
        browser.goto(&format!("{url}/challenges/{}", shown.phase.challenge_slug)).await;
        look_at(&browser, "challenge-sample").await;
        browser.close().await;
    }
}
