//! Views of a board: what an address asks for, on the page and in the exports.

use chrono::{DateTime, SecondsFormat, Utc};
use upscore::{
    audit::Actor,
    challenge::{
        phase::{Phase, Visibility},
        protocol::{EntryRule, Metric, Rule, Rules, SubTrack, Ties},
    },
    queue::rerun::{self, Decision, Which},
    submission::{self, OrganizerStatus},
};

use crate::support::{
    app::{Plan, measurement},
    web::Web,
};

/// Three teams: `Alpha` is fast, `Beta` has the best images, `Gamma` is below the gate.
async fn three(web: &Web) -> Phase {
    let phase = web.app.phase().await;
    for (name, psnr, ratio, device) in
        [("Alpha", 29.1, 0.2, "box one"), ("Beta", 29.4, 0.5, "box two"), ("Gamma", 28.0, 0.1, "box one")]
    {
        let mut m = measurement();
        m.fidelity.psnr = psnr;
        m.runtime.baseline.as_mut().expect("a baseline").ratio = ratio;
        m.provenance.device_name = device.into();
        let team = web.app.team(&phase, name).await;
        web.app.enter_as(&phase, team, m).await;
    }
    web.app.drain_queue().await;
    phase
}

#[tokio::test]
async fn an_address_chooses_order_entries_and_columns() {
    let web = Web::start().await;
    let phase = three(&web).await;
    sqlx::query(
        "update submission s set verified_at = case t.name when 'Beta' then now() end,
             fact_sheet = case t.name when 'Alpha' then '{\"extra_data\": \"no\"}'::jsonb else '{}' end
         from team t where t.id = s.team_id",
    )
    .execute(&web.app.pool)
    .await
    .expect("marked");
    let api = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let teams = async |query: &str| {
        let board = web.get(&format!("{api}?{query}")).await.json();
        let names = |rows: &serde_json::Value| {
            let names = rows.as_array().expect("rows").iter().map(|row| row["team"].as_str().expect("a name"));
            names.collect::<Vec<_>>().join(" ")
        };
        (names(&board["ranked"]), names(&board["unranked"]), board["ranked"][0]["rank"].as_u64())
    };
    let found = |ranked: &str, unranked: &str, rank| (ranked.to_owned(), unranked.to_owned(), rank);
    for (query, expected) in [
        ("", found("Alpha Beta", "Gamma", Some(1))),
        ("sort=psnr", found("Beta Alpha", "Gamma", Some(2))),
        ("sort=team&dir=desc", found("Beta Alpha", "Gamma", Some(2))),
        ("verified=yes", found("Beta", "", Some(2))),
        ("verified=no", found("Alpha", "Gamma", Some(1))),
        ("extra=no", found("Alpha", "", Some(1))),
        ("extra=yes", found("", "", None)),
        ("device=box+two", found("Beta", "", Some(2))),
        ("q=ALPH", found("Alpha", "", Some(1))),
    ] {
        assert_eq!(teams(query).await, expected, "{query}");
    }
    let whole = web.get(&api).await.json();
    assert!(whole.get("selected").is_none() && whole["ranked"][0]["device"] == "box one", "{whole}");
    let part = web.get(&format!("{api}?verified=yes&sort=psnr")).await.json();
    assert_eq!(part["selected"], serde_json::json!({ "only": ["verified"], "order": "psnr descending" }));
    assert_ne!(part["hash"], whole["hash"]);
    for (query, words) in
        [("sort=speed", "runtime_ratio"), ("dir=up", "asc"), ("extra=1", "yes"), ("cols=a", "memory_mib")]
    {
        let refused = web.get(&format!("{api}?{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "bad_query"), "{query}");
        assert!(refused.text.contains(words), "{query}: {}", refused.text);
    }
    for format in ["md", "tex"] {
        let table = web.get(&format!("{api}?format={format}&cols=psnr,params")).await.text;
        assert!(table.contains("PSNR") && table.contains("Params") && !table.contains("SSIM"), "{table}");
    }

    // The page without script: the same order, the baseline in its place, a form that keeps what it has not.
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let text = web.get(&format!("{page}?sort=psnr&q=beta&cols=psnr&cols=params&cost=params")).await.text;
    assert!(text.contains("1 of 3 entries") && text.contains(">Beta</a>") && !text.contains(">Alpha</a>"), "{text}");
    assert!(text.contains("aria-sort=\"descending\"") && !text.contains("sort-ssim"));
    assert!(text.contains("name=\"sort\" value=\"psnr\"") && text.contains("name=\"cost\" value=\"params\""));
    assert!(text.contains("data-address=\"?sort=psnr&#38;q=beta&#38;cols=psnr,params&#38;cost=params\""), "{text}");
    let odd = web.get(&format!("{page}?sort=%00&cols=nothing&device={}", "x".repeat(300))).await;
    assert!(odd.status.is_success() && odd.text.contains("3 entries"), "an old link shows the board");
    let nothing = web.get(&format!("{page}?q=%3Cscript%3E")).await.text;
    assert!(nothing.contains("No entry is like that") && !nothing.contains("<script>"));
}

/// Timed in the same process: an interval says which of two is faster, or that neither is.
#[tokio::test]
async fn what_the_timing_does_not_resolve_is_shown_and_may_share_a_rank() {
    let web = Web::start().await;
    for (ties, expected) in [(Ties::Equal, [1, 2, 3, 4]), (Ties::Interval, [1, 1, 2, 4])] {
        let edit = |rules: &mut Rules| {
            rules.ranking.ties = ties;
            rules.ranking.sub_tracks = vec![
                SubTrack::new("race", "Race", Rule::Metric(Metric::Runtime)),
                SubTrack::new("small", "Small", Rule::Metric(Metric::Params)),
            ];
        };
        let phase = web.app.phase_with(|_| {}, edit).await;
        // The second is told apart from neither the first nor the third.
        for (name, ratio, interval) in [
            ("a", 0.30, [0.29, 0.31]),
            ("b", 0.32, [0.305, 0.335]),
            ("c", 0.33, [0.32, 0.34]),
            ("d", 0.9, [0.89, 0.91]),
        ] {
            let mut m = measurement();
            let runtime = m.runtime.baseline.as_mut().expect("a baseline");
            (runtime.ratio, runtime.ratio_ci95) = (ratio, interval);
            let team = web.app.team(&phase, name).await;
            web.app.enter_as(&phase, team, m).await;
        }
        web.app.drain_queue().await;
        let board = web.app.board(&phase).await;
        let open = [Some([1, 2]), Some([1, 3]), Some([2, 3]), Some([4, 4])];
        for board in [board.clone(), board.clone().on_track("race").expect("a track")] {
            assert_eq!(board.ranked.iter().map(|r| r.rank).collect::<Vec<_>>(), expected, "{ties:?}");
            assert_eq!(board.ranked.iter().map(|r| r.team.as_str()).collect::<String>(), "abcd");
            assert_eq!(board.ranked.iter().map(|r| r.rank_ci95).collect::<Vec<_>>(), open);
        }
        let small = board.clone().on_track("small").expect("a track");
        assert!(small.ranked.iter().all(|r| r.rank_ci95.is_none() && r.rank == 1), "parameters are exact, and equal");
        let page = web.get(&format!("/challenges/{}/{}", phase.challenge_slug, phase.slug)).await.text;
        assert_eq!(page.matches("class=\"open\"").count(), 3, "the last is resolved");
        assert_eq!(page.contains("does not tell apart share a rank"), ties == Ties::Interval);
        let csv = web
            .get(&format!("/api/v1/challenges/{}/phases/{}/leaderboard?format=csv", phase.challenge_slug, phase.slug))
            .await;
        assert!(csv.text.contains(",1,3,false,,\""), "best and worst rank, verified, extra data, device");
    }
}

/// Every board that stood is there still: scores, marks, withdrawals, re-runs, choices and rules as they were.
#[tokio::test]
async fn a_board_can_be_seen_as_it_stood() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|_| {}, |rules| rules.ranking.entry = EntryRule::Chosen).await;
    let app = &web.app;
    let now = async || {
        let now: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&app.pool).await.expect("a time");
        now.to_rfc3339_opts(SecondsFormat::Micros, true)
    };
    let measured = |ratio: f64| {
        let mut m = measurement();
        m.runtime.baseline.as_mut().expect("a baseline").ratio = ratio;
        m
    };
    let (a, b) = (app.team(&phase, "a").await, app.team(&phase, "b").await);
    let slow = app.enter_as(&phase, a, measured(0.5)).await;
    app.drain_queue().await;
    let mut then = vec![(now().await, "a0.5", "one entry")];
    let fast = app.enter_as(&phase, b, measured(0.3)).await;
    app.drain_queue().await;
    then.push((now().await, "b0.3 a0.5", "a second"));
    submission::mark(&mut *app.conn().await, fast, OrganizerStatus::Held, "why", None).await.expect("held");
    then.push((now().await, "a0.5 (b)", "the second is held"));
    submission::mark(&mut *app.conn().await, fast, OrganizerStatus::None, "", None).await.expect("let go");
    let better = app.enter_as(&phase, a, measured(0.2)).await;
    app.drain_queue().await;
    then.push((now().await, "a0.2 b0.3", "a better one"));
    submission::choose(&mut *app.conn().await, slow).await.expect("chosen");
    then.push((now().await, "b0.3 a0.5", "the team chose the other"));
    submission::withdraw(&mut *app.conn().await, slow).await.expect("withdrawn");
    then.push((now().await, "a0.2 b0.3", "and withdrew it"));
    // Measured again, slower: it counts from the decision on.
    app.evaluator.plan(&app.storage, better, Plan::Measures(Box::new(measured(0.9))));
    let mut conn = app.conn().await;
    let ids = (phase.challenge, phase.id);
    let (batch, _) = rerun::start(&mut conn, ids, Which::These(&[better]), &Actor::Shell, "again").await.expect("one");
    app.drain_queue().await;
    then.push((now().await, "a0.2 b0.3", "a re-run that waits"));
    rerun::decide(&mut conn, phase.challenge, batch, Decision::Official, &Actor::Shell, "so").await.expect("decided");
    then.push((now().await, "b0.3 a0.9", "which counts"));
    sqlx::query("update phase set gate_psnr = 40").execute(&app.pool).await.expect("set");
    then.push((now().await, "(a) (b)", "another gate"));

    let api = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    let words = |board: &serde_json::Value| {
        let rows = |of: &str| board[of].as_array().expect("rows").clone();
        let ranked = rows("ranked")
            .into_iter()
            .map(|r| format!("{}{}", r["team"].as_str().expect("a name"), r["runtime_ratio"]));
        let mut out: Vec<_> =
            rows("unranked").iter().map(|r| format!("({})", r["team"].as_str().expect("a name"))).collect();
        out.sort();
        ranked.chain(out).collect::<Vec<_>>().join(" ")
    };
    for (at, expected, what) in &then {
        let board = web.get(&format!("{api}?at={at}")).await.json();
        assert_eq!(words(&board), *expected, "{what}");
    }
    assert_eq!(words(&web.get(&api).await.json()), "(a) (b)");
    assert_eq!(words(&web.get(&format!("{api}?at=2020-01-01")).await.json()), "");
    let future = web.get(&format!("{api}?at=2090-01-01")).await.json();
    assert!(future.get("at").is_none(), "what is to come is not known");
    assert_eq!(web.get(&format!("{api}?at=soon")).await.code(), "bad_query");
    // What is withdrawn since has no page: its row has no link.
    let old = web.get(&format!("{page}?at={}", then[0].0)).await.text;
    assert!(old.contains("The board as it stood at") && !old.contains(&format!("/submissions/{slow}")), "{old}");
    assert!(web.get(&page).await.text.contains(&format!("/submissions/{better}")));
}

/// A phase that was hidden then does not show its past to everybody, though its figures are published now.
#[tokio::test]
async fn what_was_hidden_then_stays_hidden() {
    let web = Web::start().await;
    let phase = web.app.phase_with(|new| new.visibility = Visibility::Hidden, |_| {}).await;
    web.app.enter(&phase, web.app.team(&phase, "a").await).await;
    web.app.drain_queue().await;
    let mut olga = web.organizer().await;
    let before = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let api = format!("/api/v1/challenges/{}/phases/{}/leaderboard", phase.challenge_slug, phase.slug);
    let page = format!("/challenges/{}/{}", phase.challenge_slug, phase.slug);
    assert_eq!(web.get(&format!("{api}?at={before}")).await.code(), "not_published");
    sqlx::query("update phase set published_at = now()").execute(&web.app.pool).await.expect("published");
    let after = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    assert_eq!(web.get(&format!("{api}?at={before}")).await.code(), "not_published");
    let text = web.get(&format!("{page}?at={before}")).await.text;
    assert!(text.contains("were not public at that time") && !text.contains("class=\"board\""), "{text}");
    assert_eq!(web.get(&format!("{api}?at={after}")).await.json()["ranked"][0]["team"], "a");
    assert_eq!(olga.get(&format!("{api}?at={before}")).await.json()["ranked"][0]["team"], "a");
}
