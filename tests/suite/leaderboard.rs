//! The board: who ranks, who does not and why, and the same in every format.

use upscore::{
    challenge::{
        phase,
        protocol::{Comparison, EntryRule, Metric, ReproductionRule},
    },
    evaluation::{Measurement, Verdict},
    leaderboard::Board,
    queue,
    submission::{self, OrganizerStatus},
};

use crate::support::app::{App, measurement};

/// With this PSNR, ratio to the baseline, and parameters.
fn measured(psnr: f64, ratio: f64, params: u64) -> Measurement {
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m.runtime.median_ms = 110.0 * ratio;
    m.runtime.baseline.as_mut().expect("a baseline").ratio = ratio;
    m.cost.params = params;
    m
}

fn ranked(board: &Board) -> Vec<(u32, &str)> {
    board.ranked.iter().map(|r| (r.rank, r.team.as_str())).collect()
}

fn unranked(board: &Board) -> Vec<(&str, &str, &str)> {
    board.unranked.iter().map(|u| (u.team.as_str(), u.reason.code.as_ref(), u.reason.message.as_str())).collect()
}

#[tokio::test]
async fn entries_that_pass_the_gate_rank_by_runtime_and_ties_share_a_rank() {
    let app = App::start().await;
    let phase = app.phase().await;
    for (team, psnr, ratio, params) in [
        ("slow", 29.30, 0.9, 100),
        ("tie one", 29.04, 0.5, 300),
        ("tie two", 29.10, 0.5, 200),
        ("fast", 29.00, 0.3, 300),
        ("below", 28.914, 0.1, 50),
        ("just below", 28.998, 0.1, 50),
    ] {
        let team = app.team(&phase, team).await;
        app.enter_as(&phase, team, measured(psnr, ratio, params)).await;
    }
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "fast"), (2, "tie one"), (2, "tie two"), (4, "slow")]);
    assert_eq!(
        unranked(&board),
        [
            ("just below", "below_baseline", "28.998 dB, 0.002 dB below the baseline's 29.000"),
            ("below", "below_baseline", "28.91 dB, 0.09 dB below the baseline's 29.00"),
        ]
    );
    // Ranks beside each value, among the ranked alone.
    let by = |team: &str| board.ranked.iter().find(|r| r.team == team).expect("ranked").ranks;
    assert_eq!(by("slow").params, Some(1));
    assert_eq!((by("fast").params, by("tie one").params), (Some(3), Some(3)));
    assert_eq!((by("slow").psnr, by("fast").psnr), (Some(1), Some(4)));
    assert_eq!(by("tie two").memory, Some(1), "equal memory is a tie for the first place");
    assert_eq!(board.protocol, "aim2020@1");
    let baseline = board.baseline.expect("a baseline");
    assert_eq!((baseline.team.as_str(), baseline.psnr, baseline.figures), ("MSRResNet", Some(29.0), None));
}

#[tokio::test]
async fn the_best_entry_of_a_team_stands_and_failed_ones_never_do() {
    let app = App::start().await;
    let phase = app.phase().await;
    let team = app.team(&phase, "a").await;
    app.enter_as(&phase, team, measured(29.5, 0.8, 1)).await;
    let best = app.enter_as(&phase, team, measured(29.1, 0.4, 1)).await;
    app.enter_as(&phase, team, measured(28.0, 0.1, 1)).await;
    let failed = app.team(&phase, "failed").await;
    let id = app.enter(&phase, failed).await;
    let fault = upscore::problem::Problem::new("output_shape", "x");
    app.evaluator.plan(&app.storage, id, crate::support::app::Plan::Fails(fault));
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "a")]);
    assert_eq!(board.ranked[0].submission, best);
    assert_eq!(unranked(&board), []);

    // Withdrawn, the next best stands.
    submission::withdraw(&mut *app.conn().await, best).await.expect("withdrawn");
    assert_eq!(app.board(&phase).await.ranked[0].figures.psnr, 29.5);
}

#[tokio::test]
async fn a_team_may_choose_where_the_protocol_lets_it() {
    let app = App::start().await;
    for (rule, expected) in [(EntryRule::Best, 29.1), (EntryRule::Chosen, 29.5)] {
        let phase = app.phase_with(|_| {}, |rules| rules.ranking.entry = rule).await;
        let team = app.team(&phase, "a").await;
        let chosen = app.enter_as(&phase, team, measured(29.5, 0.8, 1)).await;
        app.enter_as(&phase, team, measured(29.1, 0.4, 1)).await;
        app.drain_queue().await;
        submission::choose(&mut *app.conn().await, chosen).await.expect("chosen");
        assert_eq!(app.board(&phase).await.ranked[0].figures.psnr, expected, "{rule:?}");
    }
}

#[tokio::test]
async fn organizers_and_evidence_keep_entries_off_with_a_reason() {
    let app = App::start().await;
    let phase = app.phase_with(|_| {}, |rules| rules.reproduction = ReproductionRule::Required).await;
    let mut entries = Vec::new();
    for name in ["fine", "held", "disqualified", "other model", "untimed"] {
        let team = app.team(&phase, name).await;
        let mut m = measured(29.1, 0.4, 1);
        match name {
            "other model" => {
                m.reproduction.verdict = Verdict::Differs;
                m.reproduction.max_abs = 37;
            }
            "untimed" => m.runtime.baseline = None,
            _ => {}
        }
        entries.push(app.enter_as(&phase, team, m).await);
    }
    app.drain_queue().await;
    let mut conn = app.conn().await;
    submission::mark(&mut conn, entries[1], OrganizerStatus::Held, "same weights as X").await.expect("held");
    submission::mark(&mut conn, entries[2], OrganizerStatus::Disqualified, "trained on test images")
        .await
        .expect("out");
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "fine")]);
    assert_eq!(
        unranked(&board),
        [
            ("held", "held", "Held for review: same weights as X"),
            ("disqualified", "disqualified", "Disqualified: trained on test images"),
            (
                "other model",
                "not_reproduced",
                "The uploaded model does not make the uploaded images: up to 37 grey levels apart"
            ),
            ("untimed", "missing_figure", "The figure that this phase is ranked by was not measured"),
        ]
    );
    submission::mark(&mut conn, entries[1], OrganizerStatus::None, "").await.expect("released");
    assert_eq!(app.board(&phase).await.ranked.len(), 2);
}

/// Where the protocol says so, an entry whose images are not its model's waits for an organizer, whose word then holds.
#[tokio::test]
async fn differing_images_are_held_until_an_organizer_decides() {
    let app = App::start().await;
    let phase = app.phase_with(|_| {}, |rules| rules.reproduction = ReproductionRule::Held).await;
    let mut m = measured(29.1, 0.4, 1);
    (m.reproduction.verdict, m.reproduction.max_abs) = (Verdict::Differs, 9);
    let id = app.enter_as(&phase, app.team(&phase, "other images").await, m.clone()).await;
    app.enter_as(&phase, app.team(&phase, "fine").await, measured(29.2, 0.5, 1)).await;
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "fine")]);
    let reason = "Held for review: the uploaded model does not make the uploaded images, up to 9 grey levels apart";
    assert_eq!(unranked(&board), [("other images", "held", reason)]);

    submission::mark(&mut *app.conn().await, id, OrganizerStatus::None, "").await.expect("released");
    app.evaluator.plan(&app.storage, id, crate::support::app::Plan::Measures(Box::new(m)));
    queue::enqueue(&mut *app.conn().await, id, 0).await.expect("queued");
    app.drain_queue().await;
    assert_eq!(app.board(&phase).await.ranked.len(), 2, "a re-run does not hold again what was released");
}

/// Rules written before there was a choice mean the uploaded images, and are still the same version.
#[test]
fn old_rules_are_readable_and_equal() {
    let rules = upscore::challenge::protocol::Rules::aim2020(4);
    let mut written = serde_json::to_value(&rules).expect("JSON");
    assert!(written.get("ranked_images").is_none(), "{written}");
    written.as_object_mut().expect("an object").remove("operators");
    let read: upscore::challenge::protocol::Rules = serde_json::from_value(written).expect("it reads");
    assert_eq!(read, rules);
}

#[tokio::test]
async fn the_gate_can_follow_the_baseline_entry_which_takes_no_rank() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.gate_psnr = None, |_| {}).await;
    let organizers = app.team(&phase, "organizers").await;
    let baseline = app.enter_as(&phase, organizers, measured(29.0, 1.0, 1_517_571)).await;
    let team = app.team(&phase, "a").await;
    app.enter_as(&phase, team, measured(28.9, 0.4, 1)).await;
    app.drain_queue().await;
    assert_eq!(app.board(&phase).await.ranked.len(), 2, "no gate and no baseline entry yet");

    phase::set_baseline(&mut *app.conn().await, phase.id, baseline, "MSRResNet").await.expect("set");
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), []);
    assert_eq!(unranked(&board), [("a", "below_baseline", "28.90 dB, 0.10 dB below the baseline's 29.00")]);
    let row = board.baseline.as_ref().expect("a baseline");
    assert_eq!((row.team.as_str(), row.submission), ("MSRResNet", Some(baseline)));
    assert!(board.gate.expect("a gate").follows_baseline);
    let json = serde_json::to_value(&board).expect("JSON");
    assert_eq!(json["baseline"]["psnr"], 29.0);
    assert_eq!(json["baseline"]["params"], 1_517_571);

    // Not measured yet: nothing is ranked, and the reason says so.
    sqlx::query("update evaluation set state = 'cancelled' where submission_id = $1")
        .bind(baseline)
        .execute(&app.pool)
        .await
        .expect("undone");
    assert_eq!(unranked(&app.board(&phase).await)[0].1, "gate_pending");
}

#[tokio::test]
async fn a_board_shows_only_figures_of_its_protocol() {
    let app = App::start().await;
    let phase = app.phase().await;
    let id = app.enter(&phase, app.team(&phase, "a").await).await;
    app.drain_queue().await;
    let other = app.phase_with(|_| {}, |rules| rules.timing.runs += 1).await;
    sqlx::query("update phase set protocol_id = $2 where id = $1")
        .bind(phase.id)
        .bind(other.protocol.id)
        .execute(&app.pool)
        .await
        .expect("new rules");
    assert_eq!(app.board(&phase).await.ranked.len(), 0);
    queue::enqueue(&mut *app.conn().await, id, 0).await.expect("queued");
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert_eq!((board.protocol.as_str(), board.ranked.len()), ("aim2020@2", 1));
}

/// `ranking` refuses to answer where the query and `scoring` disagree; this walks the combinations.
#[tokio::test]
async fn the_query_and_the_words_take_the_same_decision() {
    let app = App::start().await;
    for comparison in [Comparison::Exact, Comparison::Rounded { decimals: 2 }] {
        let rules = [ReproductionRule::Required, ReproductionRule::Shown, ReproductionRule::Held];
        for (metric, reproduction) in Metric::ALL.into_iter().zip(rules.into_iter().cycle()) {
            let phase = app
                .phase_with(
                    |_| {},
                    |rules| {
                        rules.gate = comparison;
                        rules.ranking.metric = metric;
                        rules.reproduction = reproduction;
                    },
                )
                .await;
            let mut n = 0;
            for psnr in [28.99, 28.9949999, 28.995, 28.9950001, 29.0, 100.0] {
                for verdict in [Verdict::WithinRounding, Verdict::Differs] {
                    for mark in [OrganizerStatus::None, OrganizerStatus::Held] {
                        n += 1;
                        let team = app.team(&phase, &format!("team {n}")).await;
                        let mut m = measured(psnr, 0.5, n);
                        m.reproduction.verdict = verdict;
                        let id = app.enter_as(&phase, team, m).await;
                        submission::mark(&mut *app.conn().await, id, mark, "why").await.expect("marked");
                    }
                }
            }
            app.drain_queue().await;
            let board = app.board(&phase).await;
            let passing = if comparison == Comparison::Exact { 2 } else { 4 };
            let verdicts = if reproduction == ReproductionRule::Shown { 2 } else { 1 };
            assert_eq!(board.ranked.len(), passing * verdicts, "{comparison:?} {metric:?}");
            assert_eq!(board.ranked.len() + board.unranked.len(), n as usize);
        }
    }
}

#[tokio::test]
async fn every_format_tells_the_same() {
    let app = App::start().await;
    let phase = app.phase().await;
    for (team, psnr, ratio) in [("=cmd|' /C calc'!A0", 29.04, 0.336), ("B & B_1", 29.1, 0.5), ("Low", 28.91, 0.2)] {
        let team = app.team(&phase, team).await;
        app.enter_as(&phase, team, measured(psnr, ratio, 433_448)).await;
    }
    app.drain_queue().await;
    let board = app.board(&phase).await;

    let json = serde_json::to_value(&board).expect("JSON");
    let first = &json["ranked"][0];
    for field in [
        "rank",
        "team",
        "submission",
        "psnr",
        "ssim",
        "params",
        "flops",
        "activations",
        "convs",
        "memory_mib",
        "runtime_ms",
        "runtime_ratio",
        "ranks",
    ] {
        assert!(!first[field].is_null(), "{field}");
    }
    assert_eq!((first["flops"].as_u64(), first["ranks"]["runtime"].as_u64()), (Some(27_102_622_560), Some(1)));
    let reason = &json["unranked"][0]["reason"];
    assert_eq!(reason["message"], "28.91 dB, 0.09 dB below the baseline's 29.00");

    let csv = board.to_csv();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines.len(), 1 + 4 + 1);
    assert!(lines[1].starts_with("1,\"'=cmd|' /C calc'!A0\","), "{}", lines[1]);
    assert!(lines[1].ends_with(",reproduced,ranked,\"\",kair,\"aim2020@1\""), "{}", lines[1]);
    assert!(lines[3].starts_with(",\"MSRResNet\",,29,"), "{}", lines[3]);
    assert!(lines[4].contains(",below_baseline,\"28.91 dB, 0.09 dB below the baseline's 29.00\","));
    assert!(lines.iter().skip(1).take(4).all(|l| l.ends_with("\"aim2020@1\"")));

    let md = board.to_markdown();
    assert!(md.contains("| 2 | B &amp; B\\_1 | 29.10<sup>1</sup> |"), "{md}");
    assert!(md.contains("*MSRResNet* (baseline)") && md.contains("Protocol aim2020@1"), "{md}");

    let tex = board.to_latex();
    assert!(tex.contains("2 & B \\& B\\_1 & \\textbf{29.10$^{1}$} &"), "{tex}");
    assert!(tex.contains("\\toprule") && tex.contains("\\bottomrule") && tex.contains("aim2020@1"), "{tex}");
}
