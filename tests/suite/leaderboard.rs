//! The board: who ranks, who does not and why, and the same in every format.

use upscore::{
    challenge::protocol::{
        self, Comparison, DeviceClass, EntryRule, FlopsProfile, Metric, Ranking, ReproductionRule, Rule, Rules,
        SubTrack, Term, Verification,
    },
    evaluation::{Measurement, RankedImages, Verdict},
    leaderboard::{self, Board},
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
    submission::mark(&mut conn, entries[1], OrganizerStatus::Held, "same weights as X", None).await.expect("held");
    let public = Some("trained on test images");
    submission::mark(&mut conn, entries[2], OrganizerStatus::Disqualified, "the logs that you sent", public)
        .await
        .expect("out");
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "fine")]);
    assert_eq!(
        unranked(&board),
        [
            ("held", "held", "Held for review"),
            ("disqualified", "disqualified", "Disqualified: trained on test images"),
            (
                "other model",
                "not_reproduced",
                "The uploaded model does not make the uploaded images: up to 37 grey levels apart"
            ),
            ("untimed", "missing_figure", "The figure that this phase is ranked by was not measured"),
        ]
    );
    submission::mark(&mut conn, entries[1], OrganizerStatus::None, "", None).await.expect("released");
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

    submission::mark(&mut *app.conn().await, id, OrganizerStatus::None, "", None).await.expect("released");
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
    let pending = app.board(&phase).await;
    assert_eq!(pending.ranked.len(), 0, "there is a model, and its PSNR is not known yet");
    assert!(unranked(&pending).iter().all(|(_, code, _)| *code == "gate_pending"));
    sqlx::query("update phase set gate_rule = 'none'").execute(&app.pool).await.expect("set");
    let open = app.board(&phase).await;
    assert_eq!((open.ranked.len(), open.gate), (2, None), "an organizer said so");
    sqlx::query("update phase set gate_rule = null").execute(&app.pool).await.expect("set");

    app.set_baseline(&phase, baseline, "MSRResNet").await;
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
                        rules.ranking.rule = Rule::Metric(metric);
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
                        submission::mark(&mut *app.conn().await, id, mark, "why", None).await.expect("marked");
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

/// Costs of one entry, in the units of the database but for the runtime, which is a ratio.
fn costs(ratio: f64, params: u64, flops: u64, activations: u64, memory: u64) -> Measurement {
    let mut m = measured(29.1, ratio, params);
    m.cost.flops.kair = flops;
    m.cost.flops.fvcore = flops;
    m.cost.activations = activations;
    m.memory.peak_bytes = memory;
    m
}

fn score(parts: &[(Metric, f64)]) -> Rule {
    Rule::Score(parts.iter().map(|&(metric, weight)| Term { metric, weight }).collect())
}

/// Also a page of the first versions, whose rules said less, is judged as it was.
#[tokio::test]
async fn rules_of_before_are_read_from_the_database_and_mean_the_same() {
    let app = App::start().await;
    let phase = app.phase().await;
    app.enter_as(&phase, app.team(&phase, "a").await, measured(29.1, 0.5, 1)).await;
    app.drain_queue().await;
    let mut old = serde_json::to_value(Rules::aim2020(4)).expect("JSON");
    old["ranking"] = serde_json::json!({"metric": "runtime", "entry": "best"});
    let fields = old.as_object_mut().expect("an object");
    assert!(!fields.contains_key("verification"), "what rules of before did not say is not written");
    sqlx::query("insert into protocol (id, name, rules) values ($1, 'aim2020@7', $2)")
        .bind(uuid::Uuid::now_v7())
        .bind(&old)
        .execute(&app.pool)
        .await
        .expect("a row");
    sqlx::query("update phase set protocol_id = (select id from protocol where name = 'aim2020@7')")
        .execute(&app.pool)
        .await
        .expect("set");
    let board = app.board(&phase).await;
    assert_eq!((board.protocol.as_str(), ranked(&board)), ("aim2020@7", vec![(1, "a")]));
    assert_eq!(board.ranking, Ranking::by(Metric::Runtime));
    let mut conn = app.conn().await;
    let same = protocol::ensure(&mut conn, "aim2020", &Rules::aim2020(4)).await.expect("the same");
    assert_eq!(same.name, "aim2020@7", "the newest version that says the same");
}

#[tokio::test]
async fn sums_of_ranks_are_competition_ranks_among_the_ranked() {
    let app = App::start().await;
    let edit = |rules: &mut Rules| {
        rules.ranking = Ranking {
            rule: Rule::RankSum(vec![Metric::Params, Metric::Flops]),
            sub_tracks: vec![SubTrack::new("quick", "Quick", Rule::Metric(Metric::Runtime))],
            ..Ranking::by(Metric::Runtime)
        }
    };
    let phase = app.phase_with(|_| {}, edit).await;
    // Params ranks 1, 2, 2, 4; FLOPs ranks 4, 1, 2, 2. The one below the gate has the best of both, and counts for none.
    for (name, params, flops, ratio) in [("a", 10, 90, 0.9), ("b", 20, 50, 0.8), ("c", 20, 60, 0.7), ("d", 40, 60, 0.6)]
    {
        app.enter_as(&phase, app.team(&phase, name).await, costs(ratio, params, flops, 1, 1)).await;
    }
    let mut below = costs(0.1, 1, 1, 1, 1);
    below.fidelity.psnr = 20.0;
    app.enter_as(&phase, app.team(&phase, "below").await, below).await;
    app.drain_queue().await;
    let board = app.board(&phase).await;
    assert_eq!(ranked(&board), [(1, "b"), (2, "c"), (3, "a"), (4, "d")]);
    let sums: Vec<_> = board.ranked.iter().map(|r| r.score).collect();
    assert_eq!(sums, [Some(3.0), Some(4.0), Some(5.0), Some(6.0)]);
    let quick: Vec<_> = board.ranked.iter().map(|r| r.tracks["quick"].rank).collect();
    assert_eq!(quick, [Some(3), Some(2), Some(4), Some(1)]);
    assert_eq!(board.ranked[0].tracks["quick"].value, Some(0.8));
    assert_eq!(board.metric, Metric::Params);

    // A team's entry: the newest that passes, whatever it costs, unless the team chose another.
    let team = app.team(&phase, "many").await;
    let first = app.enter_as(&phase, team, costs(0.2, 2, 2, 1, 1)).await;
    let second = app.enter_as(&phase, team, costs(0.9, 900, 900, 1, 1)).await;
    let mut failing = costs(0.1, 1, 1, 1, 1);
    failing.fidelity.psnr = 20.0;
    app.enter_as(&phase, team, failing).await;
    app.drain_queue().await;
    let stands = |board: &Board| board.ranked.iter().find(|r| r.team == "many").map(|r| (r.rank, r.submission));
    assert_eq!(stands(&app.board(&phase).await), Some((5, second)));
    submission::choose(&mut *app.conn().await, first).await.expect("chosen");
    assert_eq!(stands(&app.board(&phase).await), Some((1, first)));
}

#[tokio::test]
async fn the_baseline_of_every_ntire_score_has_e_squared() {
    let app = App::start().await;
    for name in ["ntire2024", "ntire2025", "ntire2026"] {
        let rules = Rules::preset(name, 4).expect("a preset");
        let phase = app.phase_with(|new| new.gate_psnr = Some(26.9), |r| *r = rules.clone()).await;
        let organizers = app.team(&phase, "organizers").await;
        // Timed against itself it is never quite itself.
        let baseline = app.enter_as(&phase, organizers, costs(1.003, 317_218, 19_674_859_520, 1, 1)).await;
        let same =
            app.enter_as(&phase, app.team(&phase, "same").await, costs(1.0, 317_218, 19_674_859_520, 1, 1)).await;
        app.enter_as(&phase, app.team(&phase, "half").await, costs(0.5, 317_218, 19_674_859_520, 1, 1)).await;
        app.drain_queue().await;
        let missing = "The baseline that this phase scores against was not measured";
        let board = app.board(&phase).await;
        assert_eq!(board.ranked.len(), 0);
        assert!(unranked(&board).iter().all(|u| (u.1, u.2) == ("missing_figure", missing)), "{:?}", unranked(&board));

        app.set_baseline(&phase, baseline, "RLFN").await;
        let board = app.board(&phase).await;
        let e2 = std::f64::consts::E.powi(2);
        let near = |score: Option<f64>, expected: f64| (score.expect("a score") - expected).abs() < 1e-12;
        assert_eq!(ranked(&board), [(1, "half"), (2, "same")], "{name}");
        assert!(near(board.baseline.as_ref().expect("a baseline").score, e2), "{board:?}");
        assert!(near(board.ranked[1].score, e2) && board.ranked[1].submission == same, "{board:?}");
        assert_eq!(format!("{:.4}", board.ranked[1].score.expect("a score")), "7.3891");
        let weight = if name == "ntire2026" { 0.8 } else { 0.7 };
        assert!(near(board.ranked[0].score, weight * std::f64::consts::E + (1.0 - weight) * e2), "{board:?}");
    }
}

/// exp(2x) is infinite in a double from x = 354.89 on, and Postgres' refuses to answer; the order holds on.
#[tokio::test]
async fn scores_beyond_a_doubles_range_still_sort() {
    let app = App::start().await;
    let rule = score(&[(Metric::Runtime, 0.7), (Metric::Params, 0.3)]);
    let phase = app.phase_with(|_| {}, |rules| rules.ranking.rule = rule).await;
    let organizers = app.team(&phase, "organizers").await;
    let baseline = app.enter_as(&phase, organizers, costs(1.0, 10, 1, 1, 1)).await;
    for (name, ratio, params) in [
        ("huge", 1e6, 1),
        ("over", 354.9, 1),
        ("under", 354.8, 1),
        ("params", 1.0, 4000),
        ("more params", 1.0, 400_000),
        ("best", 0.5, 1),
    ] {
        app.enter_as(&phase, app.team(&phase, name).await, costs(ratio, params, 1, 1, 1)).await;
    }
    app.drain_queue().await;
    app.set_baseline(&phase, baseline, "RLFN").await;
    let board = app.board(&phase).await;
    let order: Vec<_> = board.ranked.iter().map(|r| r.team.as_str()).collect();
    assert_eq!(order, ["best", "under", "over", "params", "more params", "huge"]);
    let by = |team: &str| board.ranked.iter().find(|r| r.team == team).expect("ranked");
    assert!(by("under").score.is_some() && by("params").score.is_none());
    assert!((by("huge").score_ln.expect("a logarithm") - (2e6 + 0.7f64.ln())).abs() < 1e-6);
    assert!((by("params").score_ln.expect("a logarithm") - (800.0 + 0.3f64.ln())).abs() < 1e-9);
    let json = serde_json::to_value(&board).expect("JSON");
    assert!(json["ranked"][5]["score"].is_null() && json["ranked"][5]["score_ln"].is_f64(), "{json}");
}

#[tokio::test]
async fn unverified_entries_wait_where_the_rules_say_so() {
    let app = App::start().await;
    let phase = app.phase_with(|_| {}, |rules| rules.verification = Verification::Required).await;
    let id = app.enter_as(&phase, app.team(&phase, "a").await, measured(29.1, 0.5, 1)).await;
    app.drain_queue().await;
    let mut conn = app.conn().await;
    let because = |board: &Board| unranked(board).first().map(|u| (u.1.to_owned(), u.2.to_owned()));
    let unverified = |why: &str| Some(("unverified".to_owned(), format!("Not verified: {why}")));
    assert_eq!(because(&app.board(&phase).await), unverified("the organizers have not confirmed the entry"));
    submission::set_verified(&mut conn, id, true, None).await.expect("verified");
    assert_eq!(ranked(&app.board(&phase).await), [(1, "a")]);

    // The fact sheet lacks a required field.
    sqlx::query("update challenge set fact_sheet = '[{\"key\": \"code\", \"label\": \"Code\", \"type\": \"text\", \"required\": true}]'")
        .execute(&app.pool)
        .await
        .expect("defined");
    assert_eq!(because(&app.board(&phase).await), unverified("the fact sheet does not say all that is required"));
    sqlx::query("update submission set fact_sheet = '{\"code\": \"x\"}'").execute(&app.pool).await.expect("told");
    assert_eq!(ranked(&app.board(&phase).await), [(1, "a")]);
    submission::set_verified(&mut conn, id, false, None).await.expect("taken back");
    assert_eq!(app.board(&phase).await.ranked.len(), 0);
    let other = app.phase().await;
    app.enter_as(&other, app.team(&other, "b").await, measured(29.1, 0.5, 1)).await;
    app.drain_queue().await;
    assert_eq!(app.board(&other).await.ranked.len(), 1, "where nobody need be verified, nobody is asked");
}

/// A change of the order or the gate keeps every score; a change of the measurement keeps none.
#[tokio::test]
async fn scores_outlive_a_change_of_what_judges_them() {
    let app = App::start().await;
    let phase = app.phase_with(|new| new.gate_psnr = None, |_| {}).await;
    let organizers = app.team(&phase, "organizers").await;
    let baseline = app.enter_as(&phase, organizers, measured(29.0, 1.0, 500)).await;
    app.enter_as(&phase, app.team(&phase, "small").await, measured(28.998, 0.9, 100)).await;
    app.enter_as(&phase, app.team(&phase, "fast").await, measured(29.1, 0.5, 400)).await;
    app.drain_queue().await;
    app.set_baseline(&phase, baseline, "MSRResNet").await;
    assert_eq!(ranked(&app.board(&phase).await), [(1, "fast")]);
    let moved = async |edit: fn(&mut Rules)| {
        let to = app.phase_with(|_| {}, edit).await.protocol;
        sqlx::query("update phase set protocol_id = $2 where id = $1")
            .bind(phase.id)
            .bind(to.id)
            .execute(&app.pool)
            .await
            .expect("new rules");
        (to, app.board(&phase).await)
    };
    let (judged, board) = moved(|rules| {
        rules.gate = Comparison::Rounded { decimals: 2 };
        rules.ranking = Ranking::by(Metric::Params);
        rules.reproduction = ReproductionRule::Required;
        rules.flops = FlopsProfile::Fvcore;
    })
    .await;
    assert_eq!((board.protocol.as_str(), ranked(&board)), ("aim2020@2", vec![(1, "small"), (2, "fast")]));
    assert_eq!(judged.measuring_sha256, phase.protocol.measuring_sha256);
    let phase_now = app.reload(phase.id).await;
    let mut conn = app.conn().await;
    assert_eq!(leaderboard::devices(&mut conn, &phase_now).await.expect("devices"), ["a CPU"]);
    let evaluation = upscore::queue::score::get(&mut conn, app.evaluation(baseline).await.id).await.expect("read");
    assert_eq!(evaluation.expect("a score").provenance.protocol.as_deref(), Some("aim2020@1"), "the record stays");

    for edit in [
        (|r: &mut Rules| r.fidelity.border = 0) as fn(&mut Rules),
        |r| r.timing.runs += 1,
        |r| r.limits.seconds += 1,
        |r| r.ranked_images = RankedImages::Model,
        |r| drop(r.operators.0.pop()),
        |r| r.device = DeviceClass::Cuda,
    ] {
        let (to, board) = moved(edit).await;
        assert_ne!(to.measuring_sha256, phase.protocol.measuring_sha256, "{}", to.name);
        assert!(board.ranked.is_empty() && board.unranked.is_empty(), "{board:?}");
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

    let md = board.to_markdown().expect("Markdown");
    assert!(md.contains(&board.sha256().expect("a hash")));
    assert!(md.contains("| 2 | B &amp; B\\_1 | 29.10<sup>1</sup> |"), "{md}");
    assert!(md.contains("*MSRResNet* (baseline)") && md.contains("Protocol aim2020@1"), "{md}");

    let at = "2026-11-25T12:00:00Z".parse().expect("a time");
    let tex = board.to_latex(at).expect("LaTeX");
    assert!(tex.contains("2 & B \\& B\\_1 & $\\mathbf{29.10}^{(1)}$ &"), "{tex}");
    assert!(tex.contains("\\toprule") && tex.contains("\\bottomrule"), "{tex}");
    assert!(tex.contains("protocol aim2020@1, 2026-11-25T12:00:00Z") && tex.contains("\\emph{Not ranked}"), "{tex}");
    assert!(tex.contains("28.91 dB, 0.09 dB below the baseline''s 29.00") || tex.contains("baseline's 29.00"), "{tex}");
    assert!(tex.contains(&format!("% SHA-256 of the board: {}", board.sha256().expect("a hash"))), "{tex}");
}

/// The table of a board with all that LaTeX trips over, set by a LaTeX engine.
#[tokio::test]
async fn the_table_compiles() {
    let app = App::start().await;
    let edit = |rules: &mut Rules| *rules = Rules::preset("ntire2022", 4).expect("a preset");
    let phase = app.phase_with(|_| {}, edit).await;
    for (team, psnr, ratio) in [
        (r"A_b & 50% #1 $x$ {c} \input{y} ~^", 29.04, 0.336),
        ("智能超分 Zoë Łódź Ðþ —“quoted”…", 29.1, 0.5),
        ("<script>|\"--''``[1]", 29.2, 0.7),
        ("Low", 27.91, 0.2),
    ] {
        let team = app.team(&phase, team).await;
        app.enter_as(&phase, team, measured(psnr, ratio, 433_448)).await;
    }
    app.drain_queue().await;
    typeset(&app.board(&phase).await.to_latex(chrono::Utc::now()).expect("LaTeX"));
}

/// A table as a page of a paper, in PDF; `None`: it was not checked, since what that needs is not here.
pub fn typeset(table: &str) -> Option<Vec<u8>> {
    let Some(engine) = ["pdflatex", "xelatex", "lualatex"].into_iter().find(|e| which(e)) else {
        eprintln!("SKIPPED: no LaTeX engine; that the exported table compiles was NOT checked");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let document = format!(
        "\\documentclass[twocolumn]{{article}}\n\\usepackage{{booktabs,graphicx}}\n\\begin{{document}}\n{table}\\end{{document}}\n"
    );
    std::fs::write(folder.path().join("board.tex"), document).expect("written");
    let mut command = std::process::Command::new(engine);
    command.args(["-interaction=nonstopmode", "-halt-on-error", "board.tex"]).current_dir(folder.path());
    let done = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    if said.contains(".sty' not found") {
        eprintln!("SKIPPED: {engine} has no booktabs or graphicx; that the exported table compiles was NOT checked");
        return None;
    }
    assert!(done.status.success(), "{said}\n{table}");
    if let Some(kept) = std::env::var_os("UPSCORE_TEST_PDF") {
        std::fs::copy(folder.path().join("board.pdf"), kept).expect("kept");
    }
    Some(std::fs::read(folder.path().join("board.pdf")).expect("the PDF"))
}

fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
