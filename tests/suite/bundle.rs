//! Competition bundles of Codabench and CodaLab: written here, imported, and made challenges of.

use std::fs;

use axum::http::{Method, StatusCode};
use serde_json::json;
use upscore::{
    challenge::{
        self,
        bundle::{self, Imported, Outcome, Wish},
        file, joining,
        joining::JoinPolicy,
        page,
        phase::{self, Visibility},
        protocol::{EntryRule, Metric, Rule},
    },
    problem::Problem,
    submission::fact_sheet::{self, Kind},
};

use crate::{
    challenge_file::apply,
    settings::send,
    support::{
        app::App,
        files::{png, zipped},
        html::fields,
        web::{Part, Visitor, Web, request},
    },
};

/// Codabench's, in a folder of the zip, as its export writes it.
pub const CODABENCH: &str = r#"
version: 2
title: "Efficient SR: 4x"
description: Fewer operations, the same PSNR.
image: logo.png
terms: pages/terms.md
registration_auto_approve: True
contact_email: chair@example.org
docker_image: codalab/codalab-legacy:py37
enable_detailed_results: True
reward: $1000
season: spring
pages:
  - title: Overview
    file: pages/overview.html
  - {title: Data, file: data.md}
  - title: Paper
    file: paper.pdf
  - title: Gone
    file: pages/gone.md
phases:
  - index: 1
    name: Test
    description: "The last two weeks: *hidden* figures."
    start: 2030-07-10 23:59:00
    end: 2030-07-17 23:59:00
    max_submissions: 3
    hide_score_output: True
    auto_migrate_to_this_phase: True
    tasks: [1]
  - index: 0
    name: Development
    start: 2030-05-08
    end: 2030-07-10T23:59:00Z
    max_submissions_per_day: 10
    execution_time_limit: 600
    starting_kit: starting_kit
    tasks:
      - 0
tasks:
  - index: 0
    name: Validation
    scoring_program: scoring_program/
    reference_data: valid_hr.zip
    input_data: valid_lr/
  - index: 1
    name: Test
    scoring_program: scoring_program/
    reference_data: test/hr
    input_data: a1b2c3d4-0000-4000-8000-000000000000
solutions:
  - {index: 0, path: solution.zip, tasks: [0]}
leaderboards:
  - title: Results
    key: main
    submission_rule: Add
    columns:
      - {title: Runtime, key: runtime, index: 1, sorting: asc, precision: 3}
      - {title: PSNR, key: psnr, index: 0, sorting: desc}
      - {title: LPIPS, key: lpips, index: 2, sorting: asc}
fact_sheet:
  "method": {"key": "method", "type": "text", "title": "Method", "selection": "", "is_required": "true", "is_on_leaderboard": "true"}
  "Extra Data": {"key": "Extra Data", "type": "checkbox", "title": "Extra data", "selection": [True, False], "is_required": "false"}
  "family": {"key": "family", "type": "select", "title": "Family", "selection": ["", "CNN", "Transformer"]}
  "cv": {"key": "cv", "type": "file", "title": "CV"}
"#;

/// CodaLab's: no version, anchors, months first, phases as a map.
pub const CODALAB: &str = r#"
title: Old SR
description: "<p>An <b>older</b> challenge.</p>"
admin_names: ann,bob
has_registration: True
end_date: 10/31/2030
image: logo.jpg
competition_docker_image: codalab/codalab-legacy:py3
enable_forum: true
html: {overview: overview.html, evaluation: evaluation.html, terms: terms.html, get_starting_kit: kit.html}
phases:
  2:
    phasenumber: 2
    label: "Test"
    start_date: 10/17/2030 11:59 PM
    max_submissions: 3
    leaderboard_management_mode: hide_results
    auto_migration: True
    <<: &data {reference_data: hr.zip, scoring_program: score.zip}
  1:
    phasenumber: 1
    label: "Development"
    color: green
    start_date: 05/08/2030
    max_submissions: 100
    max_submissions_per_day: 0
    is_scoring_only: True
    <<: *data
leaderboard:
  leaderboards:
    Results: &RESULTS {label: RESULTS, rank: 1}
  columns:
    ssim: {leaderboard: *RESULTS, label: SSIM, numeric_format: 4, rank: 2}
    score: {leaderboard: *RESULTS, label: Accuracy, numeric_format: 2, rank: 1, sort: desc}
"#;

fn hr(from: u8) -> Vec<u8> {
    zipped(&[("hr/0901.png", &png(96, 64, from)), ("hr/0902.png", &png(96, 64, from + 1))])
}

pub fn codabench() -> Vec<u8> {
    let files: [(&str, &[u8]); 13] = [
        ("esr/competition.yaml", CODABENCH.as_bytes()),
        ("esr/logo.png", b"\x89PNG"),
        ("esr/pages/terms.md", b"# Terms\r\n\r\nBe *honest*."),
        (
            "esr/pages/overview.html",
            b"<h1>Overview</h1><p>See <a href='https://x.org'>x</a><script>alert(1)</script><img src=a>",
        ),
        ("esr/data.md", b"800 images.\n\n![a](b.png)"),
        ("esr/paper.pdf", b"%PDF"),
        ("esr/valid_hr.zip", &hr(1)),
        ("esr/valid_lr/0901x4.png", &png(24, 16, 1)),
        ("esr/valid_lr/0902x4.png", &png(24, 16, 2)),
        ("esr/test/hr/0903.png", &png(96, 64, 5)),
        ("esr/scoring_program/metadata", b"command: rm -rf /"),
        ("esr/scoring_program/score.png", b"no image"),
        ("__MACOSX/esr/._competition.yaml", b"junk"),
    ];
    zipped(&files)
}

pub fn codalab() -> Vec<u8> {
    zipped(&[
        ("competition.yaml", CODALAB.as_bytes()),
        ("overview.html", b"<ul><li>one<li>two</ul>"),
        ("evaluation.html", b"<p>By PSNR</p>"),
        ("terms.html", b"<p>Terms</p>"),
        ("kit.html", b""),
        ("hr.zip", &hr(3)),
        ("score.zip", b"not even a zip"),
    ])
}

fn import(zip: &[u8]) -> (tempfile::TempDir, Result<Imported, Problem>) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    fs::create_dir(&out).expect("a folder");
    fs::write(folder.path().join("bundle.zip"), zip).expect("a zip");
    let imported = bundle::import(&folder.path().join("bundle.zip"), &out, Wish::default()).expect("no fault of ours");
    (folder, imported)
}

/// Imports and applies; gives the rows of the report as `field: outcome`.
async fn made(app: &App, zip: &[u8]) -> (Imported, Vec<String>) {
    let (folder, imported) = import(zip);
    let imported = imported.expect("imported");
    let out = folder.path().join("out");
    let left: Vec<_> = fs::read_dir(&out).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "nothing is left over: {left:?}");
    let text = fs::read_to_string(out.join("challenge.toml")).expect("the file");
    let file = file::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    let done = apply(app, &file, &out).await.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    assert!(done.created && apply(app, &file, &out).await.expect("again").changes.is_empty());
    let rows = imported.report.rows.iter().map(|row| format!("{}: {}", row.field, row.outcome.as_str())).collect();
    (imported, rows)
}

fn words(imported: &Imported, field: &str) -> String {
    let found = imported.report.rows.iter().find(|row| row.field == field && !row.words.is_empty());
    found.unwrap_or_else(|| panic!("{field}: {}", imported.report.words())).words.clone()
}

#[tokio::test]
async fn a_bundle_of_codabench_becomes_a_challenge() {
    let app = App::start().await;
    let (imported, rows) = made(&app, &codabench()).await;
    let expected = [
        "title: imported",
        "description: imported",
        "registration_auto_approve: imported",
        "contact_email: changed",
        "terms: imported",
        "pages[0].file: changed",
        "pages[1].file: changed",
        "pages[2].file: ignored",
        "pages[3].file: ignored",
        "tasks[0].scoring_program: ignored",
        "tasks[0].name: ignored",
        "tasks[1].scoring_program: ignored",
        "tasks[1].name: ignored",
        "phases[1].name: imported",
        "phases[1].start: changed",
        "phases[1].end: imported",
        "phases[1].max_submissions_per_day: changed",
        "phases[1].execution_time_limit: ignored",
        "phases[1].starting_kit: ignored",
        "phases[1].index: ignored",
        "phases[0].name: imported",
        "phases[0].start: changed",
        "phases[0].end: changed",
        "phases[0].max_submissions: changed",
        "phases[0].description: changed",
        "phases[0].hide_score_output: changed",
        "phases[0].auto_migrate_to_this_phase: ignored",
        "phases[0].index: ignored",
        "leaderboards[0].key: ignored",
        "leaderboards[0].title: changed",
        "leaderboards[0].submission_rule: changed",
        "leaderboards[0].columns[1].index: ignored",
        "leaderboards[0].columns[0].index: ignored",
        "leaderboards[0].columns[0].precision: ignored",
        "leaderboards[0].columns[2].index: ignored",
        "leaderboards[0].columns[1].title: changed",
        "leaderboards[0].columns[0].title: changed",
        "leaderboards[0].columns[2].title: ignored",
        "fact_sheet.method: imported",
        "fact_sheet.method.is_on_leaderboard: ignored",
        "fact_sheet.Extra Data: changed",
        "fact_sheet.family: imported",
        "fact_sheet.cv: ignored",
        "solutions: ignored",
        "docker_image: ignored",
        "image: ignored",
        "enable_detailed_results: ignored",
        "reward: ignored",
        "season: ignored",
        "tasks[0].reference_data: changed",
        "tasks[0].input_data: changed",
        "tasks[1].reference_data: changed",
        "tasks[1].input_data: ignored",
    ];
    assert_eq!(rows, expected);
    assert_eq!(
        words(&imported, "pages[0].file"),
        "the page “Overview”; from HTML to Markdown; left out: 1 × image, 1 × script"
    );
    assert_eq!(words(&imported, "tasks[0].input_data"), "2 PNGs: the LR images of development, ×4");
    assert!(words(&imported, "tasks[1].input_data").contains("the key of data that the platform keeps"));
    assert!(words(&imported, "pages[3].file").contains("no such file"));

    let mut conn = app.conn().await;
    let found = challenge::by_slug(&mut conn, "efficient-sr-4x").await.expect("read").expect("the challenge");
    assert_eq!(found.title, "Efficient SR: 4x");
    assert!(found.description.ends_with("Contact: [chair@example.org](mailto:chair@example.org)"));
    let [dev, test] = &phase::of_challenge(&mut conn, found.id).await.expect("phases")[..] else { panic!("two") };
    let time = |at: Option<chrono::DateTime<chrono::Utc>>| at.expect("a time").format("%F %T").to_string();
    assert_eq!([time(dev.opens_at), time(dev.closes_at)], ["2030-05-08 00:00:00", "2030-07-10 23:59:00"]);
    assert_eq!((dev.limits.daily, dev.limits.total, test.limits.total), (10, None, Some(3)));
    assert_eq!((dev.visibility, test.visibility), (Visibility::Live, Visibility::Hidden));
    let ranking = &dev.protocol.rules.ranking;
    assert_eq!((&ranking.rule, ranking.entry), (&Rule::Metric(Metric::Psnr), EntryRule::Chosen));
    let joining = joining::get(&mut conn, found.id).await.expect("read");
    assert_eq!((joining.policy, joining.terms.as_str()), (JoinPolicy::Open, "# Terms\n\nBe *honest*."));
    let pages = page::list(&mut conn, found.id).await.expect("pages");
    assert_eq!(pages.iter().map(|p| p.title.as_str()).collect::<Vec<_>>(), ["Overview", "Data", "Phases"]);
    assert_eq!(pages[0].body, "### Overview\n\nSee [x](https://x.org)");
    let fields = fact_sheet::fields(&mut conn, found.id).await.expect("fields");
    let keys: Vec<_> = fields.iter().map(|f| (f.key.as_str(), f.required)).collect();
    assert_eq!(keys, [("method", true), ("extra_data", false), ("family", false)]);
    assert_eq!(fields[2].kind, Kind::Choice { options: vec!["CNN".into(), "Transformer".into()] });
    // The LR images are those of the bundle, not made anew.
    let lr = challenge::dataset::get(&mut conn, dev.dataset).await.expect("read").images[0].lr.clone();
    assert_eq!(fs::read(app.storage.path(&lr)).expect("a blob"), png(24, 16, 1));
}

#[tokio::test]
async fn a_bundle_of_codalab_becomes_a_challenge() {
    let app = App::start().await;
    let (imported, rows) = made(&app, &codalab()).await;
    let expected = [
        "title: imported",
        "description: changed",
        "has_registration: imported",
        "html.overview: changed",
        "html.evaluation: changed",
        "html.terms: changed",
        "html.get_starting_kit: ignored",
    ];
    assert_eq!(&rows[..expected.len()], expected);
    for row in [
        "phases.1.max_submissions_per_day: changed",
        "phases.1.scoring_program: ignored",
        "phases.1.is_scoring_only: ignored",
        "phases.1.reference_data: changed",
        "phases.2.reference_data: changed",
        "phases.2.leaderboard_management_mode: imported",
        "phases.2.auto_migration: ignored",
        "end_date: changed",
        "leaderboard.columns.score: ignored",
        "leaderboard.columns.ssim: changed",
        "competition_docker_image: ignored",
        "admin_names: ignored",
    ] {
        assert!(rows.iter().any(|found| found == row), "{row}: {rows:#?}");
    }
    assert!(words(&imported, "leaderboard.columns.score").contains("ordered by runtime"));
    assert!(words(&imported, "phases.2.start_date").contains("2030-10-17T23:59:00Z"));

    let mut conn = app.conn().await;
    let found = challenge::by_slug(&mut conn, "old-sr").await.expect("read").expect("the challenge");
    assert_eq!(found.description, "An **older** challenge.");
    let [dev, test] = &phase::of_challenge(&mut conn, found.id).await.expect("phases")[..] else { panic!("two") };
    assert_eq!((dev.slug.as_str(), test.slug.as_str()), ("development", "test"));
    assert_eq!(dev.closes_at, test.opens_at);
    assert_eq!(test.closes_at.expect("a time").format("%F").to_string(), "2030-10-31");
    assert_eq!((dev.limits.daily, dev.limits.total), (5, Some(100)));
    assert_eq!(
        (test.visibility, &test.protocol.rules.ranking.rule),
        (Visibility::Hidden, &Rule::Metric(Metric::Runtime))
    );
    assert_eq!(joining::get(&mut conn, found.id).await.expect("read").policy, JoinPolicy::Approval);
    let pages = page::list(&mut conn, found.id).await.expect("pages");
    assert_eq!(pages.iter().map(|p| p.body.as_str()).collect::<Vec<_>>(), ["- one\n- two", "By PSNR"]);
}

#[tokio::test]
async fn a_bundle_without_images_says_so_and_the_rest_is_there() {
    let app = App::start().await;
    let yaml = CODABENCH.replace("valid_hr.zip", "logo.png").replace("test/hr", "../../etc");
    let (folder, imported) = import(&zipped(&[
        ("competition.yaml", yaml.as_bytes()),
        ("logo.png", b"\x89PNG"),
        ("pages/terms.md", b"Terms"),
    ]));
    let imported = imported.expect("imported");
    assert!(words(&imported, "tasks[0].reference_data").starts_with("neither a zip nor a folder"));
    assert!(words(&imported, "tasks[1].reference_data").starts_with("the path leads out of the bundle"));
    let last: Vec<_> = imported.report.rows.iter().rev().take(2).map(|row| row.field.as_str()).collect();
    assert_eq!(last, ["phase test", "phase development"]);
    let out = folder.path().join("out");
    let text = fs::read_to_string(out.join("challenge.toml")).expect("the file");
    assert!(text.starts_with("# Before it can be applied:\n# - phase development: name a `dataset`"), "{text}");
    let refused = apply(&app, &file::parse(&text).expect("it parses"), &out).await.expect_err("no images");
    assert!(refused.iter().all(|problem| problem.code == "dataset_missing") && refused.len() == 2, "{refused:?}");
    let report = fs::read_to_string(out.join("report.md")).expect("the report");
    assert!(report.contains("| contact\\_email | chair@example.org | changed | a line at the end"), "{report}");
}

#[tokio::test]
async fn hostile_bundles_are_refused_or_harmless() {
    let yaml = |text: &str| zipped(&[("competition.yaml", text.as_bytes())]);
    let phases: String = (0..10_000).map(|i| format!("  - {{name: p{i}}}\n")).collect();
    let pages: String = (0..51).map(|i| format!("  - {{title: p{i}, file: a.md}}\n")).collect();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    for (zip, code) in [
        (zipped(&[("a.txt", b"x")]), "bad_bundle"),
        (zipped(&[("a/b/c/d/e/competition.yaml", b"title: x")]), "bad_bundle"),
        (yaml(""), "bad_bundle"),
        (yaml("version: 2"), "bad_bundle"),
        (yaml("version: 7\ntitle: x"), "bad_bundle"),
        (yaml("title: [a"), "bad_bundle"),
        (yaml(&"title: ".repeat(200_000)), "bad_bundle"),
        (yaml(&format!("title: x\n{bomb}")), "bad_bundle"),
        (yaml(&format!("version: 2\ntitle: x\nphases:\n{phases}")), "bad_bundle"),
        (yaml(&format!("version: 2\ntitle: x\npages:\n{pages}")), "bad_bundle"),
        (zipped(&[("competition.yaml", b"title: x"), ("../evil.md", b"x")]), "zip_unsafe_path"),
        (zipped(&[("competition.yaml", b"title: x"), ("/etc/evil.md", b"x")]), "zip_unsafe_path"),
        (b"PK".to_vec(), "zip_malformed"),
    ] {
        let (_folder, imported) = import(&zip);
        assert_eq!(imported.expect_err("refused").code, code);
    }
    // Paths that lead out, to other files of the bundle's scratch folder, and to what is no file.
    let text = "version: 2\ntitle: \"'\\\"\\x07\"\nterms: /etc/passwd\npages:\n  - {title: a, file: ../competition.yaml}\n  \
                - {title: b, file: 'c:\\windows\\win.ini'}\n  - {title: c, file: ../../../../../../etc/passwd}\n  \
                - {title: d, file: dir.md}\n  - just a text\nphases: none\ntasks:\n  - {index: 1, reference_data: ..}\n  - 3\n\
                leaderboards: {a: 1}\nfact_sheet: [1, {key: results, type: text}]\nregistration_auto_approve: [1]\n";
    let (folder, imported) = import(&zipped(&[("competition.yaml", text.as_bytes()), ("dir.md/x.png", b"x")]));
    let imported = imported.expect("imported");
    assert_eq!((imported.file.slug.as_str(), imported.file.title.as_str()), ("challenge", "'\""));
    let pages = imported.report.rows.iter().filter(|row| row.field.starts_with("pages") || row.field == "terms");
    assert!(pages.clone().count() == 6 && pages.clone().all(|row| row.outcome == Outcome::Ignored));
    let files: Vec<_> = imported.files.iter().map(|path| path.to_string_lossy()).collect();
    assert_eq!(files, ["challenge.toml", "report.md"]);
    assert!(folder.path().join("out/challenge.toml").is_file());
    for field in ["phases", "registration_auto_approve", "fact_sheet.1"] {
        let ignored = imported.report.rows.iter().any(|row| row.field == field && row.outcome == Outcome::Ignored);
        assert!(ignored, "{field}: {}", imported.report.words());
    }
}

#[tokio::test]
async fn organizers_import_by_rest_and_administrators_make_what_comes_out() {
    let web = Web::start().await;
    let mut olga = web.organizer().await;
    let zipped = codabench();
    let post = async |who: &mut Visitor<'_>, path: &str, body: &[u8]| {
        let head = request(Method::POST, path, None).header("content-type", "application/zip");
        who.send_head(head, body.to_vec().into()).await
    };
    let became = post(&mut olga, "/api/v1/bundles?slug=esr", &zipped).await;
    assert_eq!(became.status, StatusCode::OK, "{}", became.text);
    let became = became.json();
    assert_eq!((&became["challenge"], &became["title"]), (&json!("esr"), &json!("Efficient SR: 4x")));
    assert_eq!(became["report"]["rows"][0]["outcome"], "imported");
    assert!(became["files"].as_array().expect("names").contains(&json!("images/valid_hr.zip")), "{became}");
    // Its texts are inside.
    let file = file::parse(became["file"].as_str().expect("a file")).expect("it parses");
    assert_eq!(file.joining.terms, file::format::Text::Inline("# Terms\n\nBe *honest*.".into()));

    let mut ann = web.person("Ann").await;
    assert_eq!(post(&mut ann, "/api/v1/bundles", &zipped).await.status, StatusCode::NOT_FOUND);
    let refused = post(&mut olga, "/api/v1/bundles", b"no zip").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "zip_malformed"));
    assert_eq!(post(&mut olga, "/api/v1/bundles?format=yaml", &zipped).await.status, StatusCode::BAD_REQUEST);

    // A slug is a folder of the zip and a name in a header: what is none is refused, before anything is written.
    for slug in ["../../etc/x", "/x", "Esr", "a%22;filename=%22evil", "a%0d%0aX-Evil:%20y", "a%00b", "-a", "%E2%80%AEa"]
    {
        let path = format!("/api/v1/bundles?format=zip&slug={slug}");
        let refused = post(&mut olga, &path, &zipped).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "bad_slug"), "{slug}: {}", refused.text);
        assert!(refused.headers.get("x-evil").is_none() && refused.headers.get("content-disposition").is_none());
    }
    let named = post(&mut olga, "/api/v1/bundles?format=zip&slug=esr-2", &zipped).await;
    assert_eq!(named.header("content-disposition"), "attachment; filename=\"esr-2.zip\"");

    // On the page: the report, its files to take along, and the challenge that they make.
    let parts = [Part("slug", None, b""), Part("bundle", Some("bundle.zip"), &zipped)];
    let page = send(&mut olga, "/organizer/import", &parts).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(
        page.text.contains("phases[0].hide_score_output") && page.text.contains("Show the challenge that it makes")
    );
    let staged = fields(&page.text, "make").into_iter().find(|(name, _)| name == "staged").expect("a handle").1;
    let files = olga.post("/organizer/import/file", &[("staged", &staged)]).await;
    assert_eq!((files.status, files.header("content-type")), (StatusCode::OK, "application/zip"));
    let mut other = web.person("Carla").await;
    sqlx::query("update account set is_organizer = true where name = 'Carla'")
        .execute(&web.app.pool)
        .await
        .expect("set");
    let stolen = other.post("/organizer/import/file", &[("staged", &staged)]).await;
    assert!(stolen.status.is_client_error() && stolen.text.contains("upload_not_found"), "{}", stolen.text);

    let preview =
        send(&mut olga, "/organizer/new", &[Part("staged", None, staged.as_bytes()), Part("act", None, b"preview")])
            .await;
    assert!(
        preview.text.contains("What would be made") && preview.text.contains("<strong>phase development</strong>"),
        "{}",
        preview.text
    );
    let made =
        send(&mut olga, "/organizer/new", &[Part("staged", None, staged.as_bytes()), Part("act", None, b"save")]).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
    assert!(olga.get("/challenges/efficient-sr-4x").await.text.contains("<h2>Overview</h2>"));
    let empty = send(&mut olga, "/organizer/import", &[Part("slug", None, b"x")]).await;
    assert!(empty.status.is_client_error() && empty.text.contains("No bundle was chosen"));
}

#[tokio::test]
async fn phases_without_images_take_the_dataset_that_is_named() {
    let app = App::start().await;
    app.real_phase().await;
    let yaml = CODALAB.replace("hr.zip", "score.zip");
    let folder = tempfile::tempdir().expect("a folder");
    let (zip, out) = (folder.path().join("bundle.zip"), folder.path().join("out"));
    fs::write(&zip, zipped(&[("competition.yaml", yaml.as_bytes()), ("score.zip", b"x")])).expect("a zip");
    fs::create_dir(&out).expect("a folder");
    let wish = Wish { slug: Some("again"), dataset: Some("real/validation") };
    let imported = bundle::import(&zip, &out, wish).expect("no fault of ours").expect("imported");
    assert!(words(&imported, "phases.1.reference_data").contains("cannot be read"));
    assert!(words(&imported, "phase test").ends_with("it is measured on real/validation"));
    let made = apply(&app, &imported.file, &out).await.expect("applied");
    assert!(made.created && made.challenge == "again");
}

/// A bundle of one phase on two images, with these lines in it.
fn dated(lines: &str) -> Vec<u8> {
    let yaml = format!(
        "version: 2\ntitle: Dated\nphases:\n  - name: Dev\n    tasks: [0]\n{lines}tasks:\n  - {{index: 0, reference_data: hr.zip}}\n"
    );
    zipped(&[("competition.yaml", yaml.as_bytes()), ("hr.zip", &hr(1))])
}

async fn applied(app: &App, zip: &[u8]) -> (Imported, Result<file::Applied, Vec<Problem>>) {
    let (folder, imported) = import(zip);
    let imported = imported.expect("imported");
    let out = folder.path().join("out");
    let text = fs::read_to_string(out.join("challenge.toml")).expect("the file");
    let file = file::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    let done = apply(app, &file, &out).await;
    (imported, done)
}

#[tokio::test]
async fn a_date_is_read_for_certain_or_stops_the_file() {
    for (lines, opens, closes) in [
        ("    end: 2030-03-20 23:59:59 AoE\n", None, Some("2030-03-21T11:59:59Z")),
        ("    end: 2030-03-20 24:00:00\n", None, Some("2030-03-21T00:00:00Z")),
        ("    end: 2030-03-20T23:59:59+08:00\n", None, Some("2030-03-20T15:59:59Z")),
        ("    end: Wed, 20 March 2030 23:59 UTC\n", None, Some("2030-03-20T23:59:00Z")),
        ("    start: 01.02.2030\n    end: 20.03.2030\n", Some("2030-02-01T00:00:00Z"), Some("2030-03-20T00:00:00Z")),
        ("    start: 01/02/2030\n    end: 03/20/2030\n", Some("2030-01-02T00:00:00Z"), Some("2030-03-20T00:00:00Z")),
        ("    end: null\n", None, None),
    ] {
        let app = App::start().await;
        let (imported, done) = applied(&app, &dated(lines)).await;
        done.unwrap_or_else(|problems| panic!("{lines}: {problems:?}"));
        assert_eq!(imported.left, Vec::<String>::new(), "{lines}");
        let mut conn = app.conn().await;
        let found = challenge::by_slug(&mut conn, "dated").await.expect("read").expect("the challenge");
        let phase = phase::of_challenge(&mut conn, found.id).await.expect("phases").remove(0);
        let utc = |at: Option<chrono::DateTime<chrono::Utc>>| {
            at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        };
        assert_eq!((utc(phase.opens_at).as_deref(), utc(phase.closes_at).as_deref()), (opens, closes), "{lines}");
    }
    let app = App::start().await;
    for (lines, code, why) in [
        (
            "    end: 2030-03-20 23:59:59 CST\n",
            "undecided",
            "closes: “2030-03-20 23:59:59 CST” is in CST, which is China's",
        ),
        ("    end: 2030-03-20 23:59:59 IST\n", "undecided", "India's"),
        ("    start: 46101\n", "undecided", "as a day of Excel it is 2026-03-20"),
        ("    end: March 20\n", "undecided", "states no year"),
        ("    start: 13/02/2030\n    end: 05/14/2030 \n    x: {start_date: 01/02/2030}\n    y: {end: 3}\n", "", ""),
        ("    start: 01.02.2030\n    end: 03.04.2030\n", "undecided", "may begin with the day or the month"),
        ("    end: 截止 2030\n", "undecided", "no date that is known"),
        (
            "    start: 2030-03-20\n    end: 2030-03-01\n",
            "bad_times",
            "the phase “Dev” opens 2030-03-20T00:00:00Z and closes 2030-03-01",
        ),
    ] {
        let (imported, done) = applied(&app, &dated(lines)).await;
        if code.is_empty() {
            done.expect("each of the two can only be read in one way");
            continue;
        }
        let problems = done.expect_err(lines);
        assert!(problems.iter().any(|p| p.code == code && p.message.contains(why)), "{lines}: {problems:?}");
        assert!(!imported.left.is_empty(), "{lines}");
    }
}

#[tokio::test]
async fn a_bundle_is_read_as_it_was_saved_and_its_folders_are_found() {
    let text = "version: 2\ntitle: 高效超分辨率挑战赛\nterms: terms.md\nphases:\n  - {name: 验证阶段, tasks: [0]}\n\
                 tasks:\n  - {index: 0, reference_data: ./ref/hr/}\n";
    let terms = "请在截止时间之前提交您的结果，并附上能够复现结果的模型文件。";
    let (gbk, mark) = (encoding_rs::GBK, [0xff, 0xfe]);
    let utf16: Vec<u8> = mark.into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for (yaml, terms, name) in [
        (gbk.encode(text).0.into_owned(), gbk.encode(terms).0.into_owned(), Some("GBK")),
        (utf16, terms.as_bytes().to_vec(), Some("UTF-16LE")),
        ([b"\xef\xbb\xbf", text.as_bytes()].concat(), terms.as_bytes().to_vec(), None),
    ] {
        let zip = zipped(&[
            ("out/in/competition.yaml", &yaml),
            ("out/in/terms.md", &terms),
            ("out/in/ref/hr/0901.png", &png(96, 64, 1)),
        ]);
        let (_folder, imported) = import(&zip);
        let imported = imported.expect("imported");
        assert_eq!(imported.file.title, "高效超分辨率挑战赛");
        let kept = &imported.texts[0].1;
        assert!(kept.contains("截止时间") && !kept.contains('\u{fffd}'), "{kept}");
        let said = imported.report.rows.iter().find(|row| row.field == "competition.yaml").map(|row| row.words.clone());
        assert_eq!(said, name.map(|name| format!("read as {name}, as it is not UTF-8")));
        assert!(words(&imported, "tasks[0].reference_data").starts_with("1 PNGs"), "{}", imported.report.words());
    }
    let yaml = "version: 2\ntitle: x\nphases:\n  - {name: a, tasks: [0]}\n  - {name: b, tasks: [1]}\n  - {name: c, tasks: [2]}\ntasks:\n  \
                - {index: 0, reference_data: reference_data/}\n  - {index: 1, reference_data: 'Empty\\'}\n  - {index: 2, reference_data: REFERENCE_DATA}\n";
    let zip = zipped(&[
        ("competition.yaml", yaml.as_bytes()),
        ("reference_data/a.npy", b"x"),
        ("reference_data/deep/b.JPG", b"x"),
        ("Empty/", b""),
    ]);
    let (_folder, imported) = import(&zip);
    let imported = imported.expect("imported");
    assert!(
        words(&imported, "tasks[0].reference_data")
            .starts_with("the folder has 2 files and no PNG among them (.jpg, .npy)")
    );
    assert!(
        words(&imported, "tasks[1].reference_data").starts_with("the folder is empty"),
        "{}",
        imported.report.words()
    );
    assert!(words(&imported, "tasks[2].reference_data").contains("it has `reference_data`"));
}
