//! Views of a board: what an address asks for, on the page and in the exports.

use upscore::challenge::{
    phase::Phase,
    protocol::{Metric, Rule, Rules, SubTrack, Ties},
};

use crate::support::{app::measurement, web::Web};

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
    for (query, words) in [("sort=speed", "runtime_ratio"), ("dir=up", "asc"), ("extra=1", "yes"), ("cols=a", "memory_mib")] {
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
        for (name, ratio, interval) in
            [("a", 0.30, [0.29, 0.31]), ("b", 0.32, [0.305, 0.335]), ("c", 0.33, [0.32, 0.34]), ("d", 0.9, [0.89, 0.91])]
        {
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
        let csv = web.get(&format!("/api/v1/challenges/{}/phases/{}/leaderboard?format=csv", phase.challenge_slug, phase.slug));
        assert!(csv.await.text.contains(",1,3,false,,\""), "best and worst rank, verified, extra data, device");
    }
}
