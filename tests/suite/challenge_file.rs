//! A challenge from one file: made, changed, written, and made again.

use std::{fs, path::Path};

use axum::http::{Method, StatusCode, header};
use upscore::{
    audit::{self, Actor},
    challenge::{
        self,
        create::{self, NewChallenge, PhaseFiles},
        dataset,
        file::{self, Applied, ChallengeFile, How, Of, Reach, Source},
        organizers,
        phase::{self, Phase, Visibility},
        protocol::ReproductionRule,
    },
    problem::Problem,
};

use crate::support::{
    app::App,
    files::{png, tiny_model, zipped},
    web::{Reply, Visitor, Web, request},
};

pub fn how(actor: &Actor) -> How<'_> {
    How { dry_run: false, measure_again: false, actor, reason: "", reach: Reach::All, of: Of::Any }
}

pub async fn apply(app: &App, file: &ChallengeFile, folder: &Path) -> Result<Applied, Vec<Problem>> {
    let done = file::apply(&app.pool, &app.storage, file, &Source::shell(folder), how(&Actor::Shell)).await;
    done.expect("no fault of ours")
}

fn codes(refused: Result<Applied, Vec<Problem>>) -> Vec<String> {
    refused.expect_err("refused").into_iter().map(|p| p.code.into_owned()).collect()
}

fn words(applied: &Applied) -> Vec<String> {
    applied.changes.iter().map(|change| format!("{}: {}", change.what, change.words)).collect()
}

async fn phases(app: &App, slug: &str) -> Vec<Phase> {
    let mut conn = app.conn().await;
    let found = challenge::by_slug(&mut conn, slug).await.expect("read").expect("the challenge");
    phase::of_challenge(&mut conn, found.id).await.expect("its phases")
}

/// The shipped example with two small images a set.
pub fn example() -> (tempfile::TempDir, ChallengeFile) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/aim2020-esr");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("pages")).expect("a folder");
    for entry in fs::read_dir(from.join("pages")).expect("the pages") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.path().join("pages").join(path.file_name().expect("a name"))).expect("copied");
    }
    for (set, names) in [("DIV2K_valid_HR", ["0801", "0802"]), ("DIV2K_test_HR", ["0901", "0902"])] {
        fs::create_dir(folder.path().join(set)).expect("a folder");
        for (seed, name) in (1..).zip(names) {
            fs::write(folder.path().join(set).join(format!("{name}.png")), png(96, 64, seed)).expect("an image");
        }
    }
    fs::write(folder.path().join("msrresnet.onnx"), tiny_model()).expect("a model");
    let text = fs::read_to_string(from.join("challenge.toml")).expect("the example");
    (folder, file::parse(&text).expect("the example parses"))
}

/// A small challenge of one phase.
fn small(text: &str) -> (tempfile::TempDir, ChallengeFile) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("hr")).expect("a folder");
    for (name, seed) in [("0901", 1), ("0902", 2)] {
        fs::write(folder.path().join("hr").join(format!("{name}.png")), png(96, 64, seed)).expect("an image");
    }
    let file = file::parse(&format!("slug = \"c\"\ntitle = \"C\"\n{text}")).expect("it parses");
    (folder, file)
}

const PHASE: &str = "[[phase]]\nslug = \"dev\"\nhr = \"hr\"\n";

#[tokio::test]
async fn the_example_makes_the_challenge_and_applied_again_changes_nothing() {
    let app = App::start().await;
    let (folder, file) = example();
    let dry = How { dry_run: true, ..how(&Actor::Shell) };
    let planned = file::apply(&app.pool, &app.storage, &file, &Source::shell(folder.path()), dry).await;
    let planned = planned.expect("no fault of ours").expect("no problems");
    assert!(challenge::by_slug(&mut *app.conn().await, "aim2020-esr").await.expect("read").is_none(), "only said");

    let made = apply(&app, &file, folder.path()).await.expect("made");
    assert!(made.created && made.changes == planned.changes);
    let [validation, test] = &phases(&app, "aim2020-esr").await[..] else { panic!("two phases") };
    assert_eq!((validation.gate.stated, test.gate.stated), (Some(29.0), Some(28.7)));
    assert_eq!((validation.visibility, test.visibility), (Visibility::Live, Visibility::Hidden));
    assert_eq!((test.protocol.rules.reproduction, test.limits.total), (ReproductionRule::Held, Some(10)));
    assert_eq!(validation.closes_at, test.opens_at);
    assert_eq!(validation.baseline.model_sha256, test.baseline.model_sha256);
    let names: Vec<_> = {
        let mut conn = app.conn().await;
        let all = dataset::list(&mut conn).await.expect("the datasets");
        all.into_iter().map(|d| (d.name, d.version, d.images)).collect()
    };
    assert_eq!(names, [("div2k-test".to_owned(), 1, 2), ("div2k-valid".to_owned(), 1, 2)]);

    let again = apply(&app, &file, folder.path()).await.expect("applied");
    assert_eq!((again.words().as_str(), again.created), ("Nothing to change.", false));
    let web = Web::on(app, |_| {}).await;
    let page = web.get("/challenges/aim2020-esr").await.text;
    for title in ["<h2>Rules</h2>", "<h2>Evaluation</h2>", "<h2>Data</h2>"] {
        assert!(page.contains(title), "{title}: {page}");
    }
    let app = &web.app;
    let acts = audit::list(&mut *app.conn().await, None, None, 10).await.expect("the log");
    assert_eq!(acts.iter().map(|a| a.action.as_str()).collect::<Vec<_>>(), ["challenge.create"]);
}

#[tokio::test]
async fn what_is_exported_and_applied_again_changes_nothing() {
    let app = App::start().await;
    let (folder, file) = example();
    apply(&app, &file, folder.path()).await.expect("made");
    // One that was made by flags, with rules that differ from every preset.
    let mut flags = PhaseFiles::new("validation", "Validation", folder.path().join("DIV2K_valid_HR"), 4);
    flags.rules.timing.runs += 1;
    flags.protocol = "own".into();
    flags.gate_psnr = Some(28.123_456_789);
    flags.opens_at = Some(chrono::Utc::now());
    let new =
        NewChallenge {
            slug: "flags".into(), title: "Fl\"ags ''' é".into(), description: " \"\"\"\n\\ text \n".into()
        };
    create::challenge(&app.pool, &app.storage, &new, &flags).await.expect("made").expect("made");

    for slug in ["aim2020-esr", "flags"] {
        for beside in [false, true] {
            let out = tempfile::tempdir().expect("a folder");
            let found = challenge::by_slug(&mut *app.conn().await, slug).await.expect("read").expect("it");
            let exported = file::export(&mut *app.conn().await, &found, beside).await.expect("exported");
            for (name, words) in &exported.texts {
                let path = out.path().join(name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, words).expect("a text");
            }
            for (name, hash) in &exported.models {
                fs::copy(app.storage.path(hash), out.path().join(name)).expect("a model");
            }
            assert_eq!((exported.texts.is_empty(), exported.models.is_empty()), (!beside, !beside || slug == "flags"));
            let file = file::parse(&exported.toml).unwrap_or_else(|e| panic!("{e}\n{}", exported.toml));
            let again = apply(&app, &file, out.path()).await.expect("applied");
            assert_eq!(words(&again), Vec::<String>::new(), "{}", exported.toml);
        }
    }
}

#[tokio::test]
async fn a_change_is_said_in_words_and_done() {
    let app = App::start().await;
    let (folder, mut file) = small(PHASE);
    apply(&app, &file, folder.path()).await.expect("made");
    file.title = "Another".into();
    file.joining.max_members = Some(3);
    let changed =
        "[[phase]]\nslug = \"test\"\nhr = \"hr\"\nlr = \"hr\"\n[[phase]]\nslug = \"dev\"\nhr = \"hr\"\nclose = 1\n";
    let refused = file::parse(&format!("slug = \"c\"\ntitle = \"C\"\n{changed}")).expect_err("a key that is not");
    assert_eq!((refused.code.as_ref(), refused.place.as_deref()), ("bad_file", Some("line 10")));
    file.phases[0].closes = Some(file::format::Moment::parse("2030-07-10T23:59:00+02:00").expect("a time"));
    file.phases[0].rules = Some("ranking.metric = \"params\"".parse().expect("a table"));
    file.phases[0].gate = Some(file::format::GateFile::figure(29.0));
    let done = apply(&app, &file, folder.path()).await.expect("changed");
    assert_eq!(
        words(&done),
        [
            "title: C → Another",
            "joining.max_members: no limit → 3",
            "phase dev: closes: never → 2030-07-10T21:59:00Z",
            "phase dev: protocol: standard@1 → another version of standard (ranking.metric: \"runtime\" → \"params\")",
            "phase dev: gate: no gate: every entry is ranked → gate 29.00 dB",
        ]
    );
    assert_eq!(phases(&app, "c").await[0].protocol.name, "standard@2");
    let act = audit::list(&mut *app.conn().await, None, None, 1).await.expect("the log").remove(0);
    assert_eq!(
        (act.action.as_str(), &act.details["title"]),
        ("challenge.change", &serde_json::json!(["C", "Another"]))
    );

    // What one database constraint or another refuses is said in a dry run too.
    file.phases[0].opens = Some(file::format::Moment::parse("2031-01-01T00:00:00Z").expect("a time"));
    let dry = How { dry_run: true, ..how(&Actor::Shell) };
    let tried = file::apply(&app.pool, &app.storage, &file, &Source::shell(folder.path()), dry).await;
    assert_eq!(codes(tried.expect("no fault of ours")), ["bad_times"]);
}

#[tokio::test]
async fn every_problem_of_a_file_is_found_at_once() {
    let app = App::start().await;
    let (folder, file) = small(
        "description = { file = \"none.md\" }\n\
         [[phase]]\nslug = \"a\"\nhr = \"hr\"\ncloses = 2030-01-01T00:00:00\ngate = { psnr = 29.0, follows = \"baseline\" }\n\
         rules = { ranking = { metrik = \"params\" } }\nartifacts = [\"model\"]\n\
         [[phase]]\nslug = \"b\"\ndataset = \"none@1\"\nbaseline = { model = \"sha256:00\" }\npreset = \"aim1066\"\n",
    );
    let mut found = codes(apply(&app, &file, folder.path()).await);
    found.sort();
    let expected = [
        "bad_artifacts",
        "bad_gate",
        "bad_rules",
        "bad_times",
        "dataset_not_found",
        "file_not_found",
        "model_not_found",
        "preset_not_found",
    ];
    assert_eq!(found, expected);
    // By the clocks of a zone, in winter, in summer, and in the hour that is not.
    let (folder, mut file) = small(&format!(
        "time_zone = \"Europe/Paris\"\n{PHASE}opens = 2030-01-01T00:00:00\ncloses = \"2030-07-01 00:00\"\n"
    ));
    apply(&app, &file, folder.path()).await.expect("made");
    let made = &phases(&app, "c").await[0];
    let utc = |at: Option<chrono::DateTime<chrono::Utc>>| at.expect("a time").to_rfc3339();
    assert_eq!(
        (utc(made.opens_at), utc(made.closes_at)),
        ("2029-12-31T23:00:00+00:00".into(), "2030-06-30T22:00:00+00:00".into())
    );
    file.phases[0].opens = Some(file::format::Moment::parse("2030-03-31T02:30:00").expect("a time"));
    assert_eq!(codes(apply(&app, &file, folder.path()).await), ["bad_times"]);
}

#[tokio::test]
async fn an_upload_names_nothing_outside_its_folder() {
    let app = App::start().await;
    let (folder, mut file) = small(PHASE);
    let inside = folder.path().join("in");
    fs::create_dir(&inside).expect("a folder");
    std::os::unix::fs::symlink(folder.path().join("hr"), inside.join("hr")).expect("a link");
    let source = Source::confined([inside]);
    for (hr, code) in [("hr", "file_not_found"), ("../hr", "path_outside"), ("/etc", "path_outside")] {
        file.phases[0].hr = Some(hr.into());
        let tried = file::apply(&app.pool, &app.storage, &file, &source, how(&Actor::Shell)).await;
        assert_eq!(codes(tried.expect("no fault of ours")), [code], "{hr}");
    }
}

#[tokio::test]
async fn entries_keep_their_phase_and_scale_and_follow_a_new_dataset_on_request() {
    let app = App::start().await;
    let (folder, mut file) = small(PHASE);
    apply(&app, &file, folder.path()).await.expect("made");
    let dev = phases(&app, "c").await.remove(0);
    let team = app.team(&dev, "a").await;
    let entry = app.enter(&dev, team).await;
    app.drain_queue().await;
    assert_eq!(app.board(&dev).await.ranked.len(), 1);

    let phase = file.phases.remove(0);
    assert_eq!(codes(apply(&app, &file, folder.path()).await), ["phase_has_entries"]);
    file.phases.push(file::format::PhaseFile { scale: Some(2), ..phase.clone() });
    assert_eq!(codes(apply(&app, &file, folder.path()).await), ["scale_fixed"]);

    // One other image, in a zip this time, among what a Mac leaves in it.
    let images =
        [("set/0901.png", png(96, 64, 1)), ("set/0902.png", png(96, 64, 9)), ("__MACOSX/set/._0901.png", vec![1])];
    let images: Vec<_> = images.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    fs::write(folder.path().join("hr.zip"), zipped(&images)).expect("a zip");
    file.phases = vec![file::format::PhaseFile { hr: Some("hr.zip".into()), ..phase }];
    let done = apply(&app, &file, folder.path()).await.expect("changed");
    assert_eq!(words(&done), ["phase dev: dataset: c/dev@1 → a new version of c/dev, 2 images"]);
    assert!(done.changes[0].note.as_deref().is_some_and(|note| note.contains("measure the 1 entry again")));
    assert_eq!(app.board(&dev).await.ranked.len(), 0, "its score is of other images");

    let again = How { measure_again: true, ..how(&Actor::Shell) };
    let asked = async |how: How<'static>| {
        let done = file::apply(&app.pool, &app.storage, &file, &Source::shell(folder.path()), how).await;
        done.expect("no fault of ours").expect("applied").measured_again
    };
    let again = How { actor: &Actor::Shell, ..again };
    assert_eq!((asked(again.clone()).await, asked(again.clone()).await), (1, 0), "once");
    assert_eq!(app.drain_queue().await, 1);
    assert_eq!(app.board(&dev).await.ranked.len(), 1);
    assert_eq!(asked(again.clone()).await, 0, "it is measured by now");
    assert_eq!(app.evaluation(entry).await.number, 2);
    let kept = sqlx::query_scalar::<_, i64>("select count(*) from score").fetch_one(&app.pool).await.expect("a count");
    assert_eq!(kept, 2, "the old score stays");
    // An image of another size: what was sent in is no picture of it, and is not measured as if it were.
    fs::write(folder.path().join("hr.zip"), zipped(&[("0901.png", &png(96, 64, 1)), ("0902.png", &png(96, 68, 9))]))
        .expect("a zip");
    assert_eq!((asked(again).await, app.drain_queue().await), (0, 0));
    assert_eq!(app.board(&dev).await.ranked.len(), 0);
}

/// Sends a file, or a zip of one, as a script would.
async fn send(who: &mut Visitor<'_>, method: Method, path: &str, body: &[u8]) -> Reply {
    let head = request(method, path, None).header(header::CONTENT_TYPE, "application/octet-stream");
    who.send_head(head, body.to_vec().into()).await
}

/// A folder as a zip, below a folder of this name.
pub fn packed(folder: &Path, below: &str) -> Vec<u8> {
    fn collect(folder: &Path, at: &str, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = format!("{at}{}", path.file_name().and_then(|name| name.to_str()).expect("a name"));
            match path.is_dir() {
                true => collect(&path, &format!("{name}/"), found),
                false => found.push((name, fs::read(&path).expect("a file"))),
            }
        }
    }
    let mut found = Vec::new();
    collect(folder, below, &mut found);
    zipped(&found.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_challenge_is_made_changed_and_read_by_rest() {
    let web = Web::start().await;
    let (mut olga, mut carla) = (web.organizer().await, web.person("Carla").await);
    let (folder, file) = example();
    fs::write(folder.path().join("challenge.toml"), file::format::write(&file).expect("TOML")).expect("written");
    let zip = packed(folder.path(), "aim2020-esr/");
    const ALL: &str = "/api/v1/challenges";
    const ONE: &str = "/api/v1/challenges/aim2020-esr/file";

    assert_eq!(send(&mut carla, Method::POST, ALL, &zip).await.status, StatusCode::NOT_FOUND);
    let planned = send(&mut olga, Method::POST, &format!("{ALL}?dry_run=true"), &zip).await;
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.text);
    let planned = planned.json();
    assert_eq!((&planned["created"], &planned["dry_run"]), (&true.into(), &true.into()));
    assert!(planned["changes"].as_array().is_some_and(|all| all.iter().any(|c| c["what"] == "phase validation")));
    assert_eq!(web.get("/challenges/aim2020-esr").await.status, StatusCode::NOT_FOUND, "only said");
    let made = send(&mut olga, Method::POST, &format!("{ALL}?reason=the%20season"), &zip).await;
    assert_eq!((made.status, made.header("location")), (StatusCode::CREATED, "/api/v1/challenges/aim2020-esr"));
    assert_eq!(made.json()["changes"], planned["changes"]);
    let again = send(&mut olga, Method::POST, ALL, &zip).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "slug_taken"));

    // Carla runs this one, and no other.
    let by = Actor::Shell;
    let id = phases(&web.app, "aim2020-esr").await[0].challenge;
    organizers::add(&mut *web.app.conn().await, id, "Carla", &by).await.expect("an organizer");
    let text = carla.get(ONE).await.text;
    for body in [text.as_bytes(), &zip] {
        let same = send(&mut carla, Method::PUT, ONE, body).await;
        assert_eq!((same.status, &same.json()["changes"]), (StatusCode::OK, &serde_json::json!([])), "{}", same.text);
    }
    let other = text.replace("title = \"AIM 2020 Efficient Super-Resolution\"", "title = \"AIM\"");
    let changed = send(&mut carla, Method::PUT, &format!("{ONE}?reason=shorter"), other.as_bytes()).await.json();
    assert_eq!(changed["changes"][0]["words"], "AIM 2020 Efficient Super-Resolution → AIM", "{changed}");
    let acts = audit::list(&mut *web.app.conn().await, None, None, 10).await.expect("the log");
    let acts: Vec<_> = acts.iter().map(|a| (a.actor.as_str(), a.action.as_str(), a.reason.as_str())).collect();
    let last = ("Carla", "challenge.change", "shorter");
    assert_eq!((acts[0], acts[2]), (last, ("Olga Organizer", "challenge.create", "the season")), "{acts:?}");

    // What is another's stays another's, and every problem is said at once.
    let hidden = web.app.phase().await.challenge_slug;
    for (from, to, code) in [
        ("slug = \"aim2020-esr\"", format!("slug = \"{hidden}\""), "another_challenge"),
        ("dataset = \"div2k-valid@1\"", format!("dataset = \"{hidden}@1\""), "dataset_not_found"),
        ("title = \"AIM 2020", "titel = \"AIM 2020".into(), "bad_file"),
        ("description = ", "description = { file = \"../../secret\" }\nx = ".into(), "bad_file"),
    ] {
        let tried = send(&mut carla, Method::PUT, ONE, text.replacen(from, &to, 1).as_bytes()).await;
        assert_eq!((tried.status, tried.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, code), "{}", tried.text);
    }
    let outside = zipped(&[("challenge.toml", b"slug = \"aim2020-esr\"\ntitle = \"A\"\ndescription = { file = \"/etc/passwd\" }\n[joining]\nterms = { file = \"../x\" }\n")]);
    let tried = send(&mut carla, Method::PUT, ONE, &outside).await.json();
    let codes: Vec<_> = tried["errors"].as_array().expect("a list").iter().map(|p| p["code"].clone()).collect();
    assert_eq!(codes, ["path_outside", "path_outside"]);
    for (zip, code) in [
        (zipped(&[("../challenge.toml", b"")]), "zip_unsafe_path"),
        (zipped(&[("a.md", b"")]), "bad_file"),
        (zipped(&[("a/challenge.toml", b""), ("b/challenge.toml", b"")]), "bad_file"),
        (b"\xff\xfe".to_vec(), "bad_file"),
    ] {
        assert_eq!(send(&mut carla, Method::PUT, ONE, &zip).await.code(), code);
    }
    let left = fs::read_dir(web.app.folder.path().join("tmp")).expect("a folder").count();
    assert_eq!(left, 0, "what was unpacked is removed");
}

#[tokio::test]
async fn rules_that_only_judge_leave_every_score_where_it_is() {
    let app = App::start().await;
    let (folder, mut file) = small(PHASE);
    apply(&app, &file, folder.path()).await.expect("made");
    let dev = phases(&app, "c").await.remove(0);
    let team = app.team(&dev, "a").await;
    app.enter(&dev, team).await;
    app.drain_queue().await;
    for (rules, ranked, said) in [
        ("ranking.metric = \"params\"", 1, "all scores stand"),
        ("ranking.metric = \"params\"\ntiming.runs = 7", 0, "measure the 1 entry again"),
    ] {
        file.phases[0].rules = Some(rules.parse().expect("a table"));
        let done = apply(&app, &file, folder.path()).await.expect("changed");
        assert!(done.changes[0].note.as_deref().is_some_and(|note| note.contains(said)), "{:?}", done.changes);
        assert_eq!(app.board(&dev).await.ranked.len(), ranked, "{rules}");
        assert!(done.words().ends_with("\n1 change made to c."), "{}", done.words());
    }
}

#[tokio::test]
async fn what_no_phase_can_hold_is_refused_by_name() {
    let app = App::start().await;
    for (text, code, place) in [
        ("rules.timing.input = [100000, 100000]", "bad_rules", "rules.timing.input"),
        ("rules.timing.threads = 0", "bad_rules", "rules.timing.threads"),
        ("rules.timing.runs = 0", "bad_rules", "rules.timing.runs"),
        ("rules.timing.max_seconds = 1e12", "bad_rules", "rules.timing.max_seconds"),
        ("rules.timing.half_width = -1.0", "bad_rules", "rules.timing.half_width"),
        ("rules.limits.memory_bytes = 1", "bad_rules", "rules.limits.memory_bytes"),
        ("rules.limits.seconds = 0", "bad_rules", "rules.limits.seconds"),
        ("rules.fidelity.border = 27", "bad_rules", "rules.fidelity.border"),
        ("rules.gate = { rounded = { decimals = 200 } }", "bad_rules", "rules.gate"),
        ("rules.device_name = \"\"", "bad_rules", "rules.device_name"),
        ("quota = { daily = 0 }", "bad_quota", "quota.daily"),
        ("quota = { daily = 4294967295 }", "bad_quota", "quota.daily"),
        ("quota = { daily = 3, total = 3000000000 }", "bad_quota", "quota.total"),
        ("gate = { psnr = 1e9 }", "bad_gate", "gate"),
        ("gate = { psnr = nan }", "bad_gate", "gate"),
        ("opens = 9999-01-01T00:00:00Z", "bad_times", "opens"),
        ("opens = 2030-02-01T00:00:00Z\ncloses = 2030-01-01T00:00:00Z", "bad_times", "closes"),
        (
            "visibility = \"frozen\"\nfrozen_at = 2030-02-01T00:00:00Z\ncloses = 2030-01-01T00:00:00Z",
            "bad_times",
            "frozen_at",
        ),
        ("title = \" \"", "bad_title", "title"),
        ("protocol = \"My Rules\"", "bad_protocol", "protocol"),
        ("baseline = { name = \"\" }", "bad_baseline_name", "baseline.name"),
    ] {
        let (folder, file) = small(&format!("{PHASE}{text}\n"));
        let problems = apply(&app, &file, folder.path()).await.expect_err(text);
        let found: Vec<_> = problems.iter().map(|p| (p.code.as_ref(), p.place.clone().unwrap_or_default())).collect();
        assert!(found.contains(&(code, format!("phase dev.{place}"))), "{text}: {found:?}");
    }
    let (folder, file) =
        small(&format!("{PHASE}title = \"Final\"\nopens = 2030-02-01T00:00:00Z\ncloses = 2030-01-01T00:00:00Z\n"));
    let said = apply(&app, &file, folder.path()).await.expect_err("refused").remove(0).message;
    assert_eq!(
        said,
        "the phase “Final” opens 2030-02-01T00:00:00Z and closes 2030-01-01T00:00:00Z: it opens before it closes"
    );
    assert!(challenge::by_slug(&mut *app.conn().await, "c").await.expect("read").is_none());
}

#[tokio::test]
async fn a_file_says_the_gate_in_one_of_four_ways() {
    let app = App::start().await;
    let (folder, mut file) = small(PHASE);
    fs::write(folder.path().join("base.onnx"), tiny_model()).expect("a model");
    let gate = |words: &str| {
        Some(
            file::parse(&format!("slug = \"c\"\ntitle = \"C\"\n{PHASE}gate = {words}\n"))
                .expect(words)
                .phases
                .remove(0)
                .gate
                .expect("a gate"),
        )
    };
    let mut applied = async |gate, model: Option<&str>| {
        file.phases[0].gate = gate;
        file.phases[0].baseline.model = model.map(str::to_owned);
        let said = words(&apply(&app, &file, folder.path()).await.expect("applied"));
        let phase = phases(&app, "c").await.remove(0);
        let found = challenge::by_slug(&mut *app.conn().await, "c").await.expect("read").expect("it");
        let written = file::export(&mut *app.conn().await, &found, false).await.expect("exported").toml;
        let again = apply(&app, &file::parse(&written).expect("it parses"), folder.path()).await.expect("applied");
        assert_eq!(words(&again), Vec::<String>::new(), "{written}");
        (said.join("\n"), app.board(&phase).await.gate.map(|gate| gate.psnr), phase.baseline.submission)
    };
    let (said, gate_now, _) = applied(None, None).await;
    assert!(said.contains("no gate: every entry is ranked"), "{said}");
    assert_eq!(gate_now, None);
    let (said, gate_now, entry) = applied(gate("{ follows = \"baseline\" }"), None).await;
    assert!(said.contains("of which there is no model: nobody is ranked until an entry is marked"), "{said}");
    assert_eq!((gate_now, entry), (Some(None), None), "it waits, and is not open");
    let (said, gate_now, entry) = applied(None, Some("base.onnx")).await;
    assert!(said.contains("baseline model"), "{said}");
    assert!(gate_now == Some(None) && entry.is_some(), "a model is measured");
    assert_eq!(app.drain_queue().await, 1);
    let (said, gate_now, same) = applied(None, Some("base.onnx")).await;
    assert_eq!((said.as_str(), gate_now, same), ("", Some(Some(29.04)), entry), "once");
    let (said, gate_now, _) = applied(gate("{ psnr = 28.5 }"), Some("base.onnx")).await;
    assert!(said.ends_with("measured PSNR: nobody is ranked until it is measured → gate 28.50 dB"), "{said}");
    assert_eq!(gate_now, Some(Some(28.5)));
    let (said, gate_now, _) = applied(gate("\"none\""), Some("base.onnx")).await;
    assert_eq!((said.as_str(), gate_now), ("phase dev: gate: gate 28.50 dB → no gate: every entry is ranked", None));
    // A phase that nobody has sent anything in for goes with the baseline that was made for it.
    file.phases[0].slug = "other".into();
    let said = words(&apply(&app, &file, folder.path()).await.expect("applied"));
    assert!(said.iter().any(|line| line.starts_with("phase dev: removed")), "{said:?}");
}
