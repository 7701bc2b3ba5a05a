//! The study: its figures on a published table, and its page.

use upscore::{
    analysis::{kendall, spearman},
    challenge::{
        phase::Visibility,
        protocol::{Metric, Rule, Term},
    },
    evaluation::{Db, ImageScore, Measurement},
};

use crate::{
    fidelity::shared,
    support::{app::measurement, web::Web},
};

/// The report's Table 2: average time with parameters, FLOPs, activations, memory, over the 35 ranked teams.
#[test]
fn correlations_of_ntire2022_are_the_reports() {
    let Some(path) = shared("reference/ntire2022_table.csv") else { return };
    let text = std::fs::read_to_string(path).expect("the table");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let at = |name: &str| head.iter().position(|h| *h == name).expect(name);
    let rows: Vec<Vec<&str>> = lines.filter(|row| row[at("ranked")] == "1").collect();
    assert_eq!(rows.len(), 35);
    // The printed ranks, as the printed values are rounded and tie where the measured ones did not.
    let column = |name: &str| -> Vec<f64> { rows.iter().map(|r| r[at(name)].parse().expect(name)).collect() };
    let time = column("time_rank");
    for (name, expected) in [("params", 0.3249), ("flops", 0.4504), ("acts", 0.5697), ("mem", 0.7157)] {
        let other = column(&format!("{name}_rank"));
        let rho = spearman(&time, &other).expect("defined");
        assert!((rho.value - expected).abs() < 5e-5, "{name}: {rho:?}, printed {expected}");
        assert!(rho.ci95[0] < rho.value && rho.value < rho.ci95[1], "{name}: {rho:?}");
        assert!(kendall(&time, &other).expect("defined").value > 0.2);
    }
}

/// Faster is smaller; the second image sets the entries apart.
fn entry(ratio: f64, psnr: [f64; 2]) -> Measurement {
    let mut m = measurement();
    let image = |name: &str, psnr| ImageScore { name: name.into(), psnr: Db(psnr), ssim: 0.8 };
    m.fidelity.images = vec![image("0901", psnr[0]), image("0902", psnr[1])];
    m.fidelity.psnr = (psnr[0] + psnr[1]) / 2.0;
    let base = m.runtime.baseline.as_mut().expect("a baseline");
    (base.ratio, base.ratio_ci95) = (ratio, [ratio * 0.98, ratio * 1.02]);
    m.cost.params = (ratio * 1e6) as u64;
    m
}

#[tokio::test]
async fn a_phase_shows_its_study_and_a_hidden_one_does_not() {
    let web = Web::start().await;
    let phase = web.app.phase().await;
    let page = format!("/challenges/{}/{}/study", phase.challenge_slug, phase.slug);
    let api = format!("/api/v1/challenges/{}/phases/{}/study", phase.challenge_slug, phase.slug);
    assert!(web.get(&page).await.text.contains("Too few entries for a study"));

    let entries =
        [("a", 0.2, [29.0, 29.1]), ("b", 0.4, [29.1, 29.5]), ("c", 0.6, [29.2, 29.2]), ("d", 0.8, [29.3, 29.9])];
    for (name, ratio, psnr) in entries {
        let team = web.app.team(&phase, name).await;
        web.app.enter_as(&phase, team, entry(ratio, psnr)).await;
    }
    web.app.drain_queue().await;
    let study = web.get(&api).await.json();
    assert_eq!(study["entries"], 4);
    assert_eq!(study["correlations"][0]["with"], "params");
    assert_eq!(study["correlations"][0]["spearman"]["value"], 1.0);
    assert!(study["correlations"][1]["spearman"].is_null(), "equal FLOPs say nothing: {study}");
    let names = |front: usize| -> Vec<&str> {
        let members = study["fronts"][front]["members"].as_array().expect("members");
        members.iter().map(|m| m["team"].as_str().expect("a team")).collect()
    };
    assert_eq!(names(0), ["a", "b", "d"], "c is slower than b and no better");
    assert_eq!(study["stability"][0]["held"], 1.0, "the ratios are far apart: {study}");
    assert_eq!(study["images"][0]["name"], "0902");
    assert_eq!(study["images"][0]["turned_pairs"], 1, "without it c is before b");

    let shown = web.get(&page).await;
    assert_eq!(shown.status, 200);
    for words in ["What does runtime go with?", "1.0000", "on front", "Which images decide?", "0902"] {
        assert!(shown.text.contains(words), "{words} is not shown");
    }
    // It follows the board.
    let team = web.app.team(&phase, "e").await;
    web.app.enter_as(&phase, team, entry(0.1, [29.4, 30.0])).await;
    web.app.drain_queue().await;
    assert_eq!(web.get(&api).await.json()["entries"], 5);

    let hidden = web.app.phase_with(|p| p.visibility = Visibility::Hidden, |_| {}).await;
    for path in [
        format!("/challenges/{}/{}/study", hidden.challenge_slug, hidden.slug),
        format!("/api/v1/challenges/{}/phases/{}/study", hidden.challenge_slug, hidden.slug),
    ] {
        assert_eq!(web.get(&path).await.status, 403, "{path}");
    }
}

/// A board by a sum of ranks or by a score has its draws, too; and a closed phase shows how its images differ.
#[tokio::test]
async fn the_ranks_of_sums_and_scores_are_drawn_and_plots_are_there() {
    let web = Web::start().await;
    let score = [Metric::Runtime, Metric::Params].map(|metric| Term { metric, weight: 0.5 }).to_vec();
    for rule in [Rule::RankSum(vec![Metric::Runtime, Metric::Params]), Rule::Score(score)] {
        let phase = web.app.phase_with(|_| {}, |rules| rules.ranking.rule = rule.clone()).await;
        let mut teams = Vec::new();
        for (name, ratio, psnr) in
            [("a", 0.2, [29.0, 29.1]), ("b", 0.4, [29.1, 29.5]), ("c", 0.41, [29.2, 29.2]), ("d", 0.8, [29.3, 29.9])]
        {
            let team = web.app.team(&phase, name).await;
            teams.push(web.app.enter_as(&phase, team, entry(ratio, psnr)).await);
        }
        let base = web.app.team(&phase, "organizers").await;
        let base = web.app.enter_as(&phase, base, entry(1.0, [29.0, 29.0])).await;
        web.app.drain_queue().await;
        web.app.set_baseline(&phase, base, "MSRResNet").await;
        let path = format!("/challenges/{}/{}/study", phase.challenge_slug, phase.slug);
        let study = web.get(&format!("/api/v1/challenges/{}/phases/{}/study", phase.challenge_slug, phase.slug)).await;
        let held: Vec<f64> = study.json()["stability"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["held"].as_f64().expect("a share"))
            .collect();
        assert_eq!(held.len(), 4, "{rule:?}");
        assert!(held[0] > 0.95, "{held:?}");
        let near = matches!(rule, Rule::RankSum(_));
        assert_eq!(held[2] < 1.0, near, "a race decides the sum of two ranks, and not the score: {held:?}");
        let open = web.get(&path).await.text;
        assert!(open.contains("How did the best come about?") && open.contains("class=\"scatter timeline large\""));
        assert!(!open.contains("How do the images differ?"), "while the phase is open, images are kept back");
        sqlx::query("update phase set closes_at = now() where id = $1")
            .bind(phase.id)
            .execute(&web.app.pool)
            .await
            .expect("closed");
        let closed = web.get(&path).await.text;
        assert!(closed.contains("How do the images differ?") && closed.contains("MSRResNet (baseline)"), "{closed}");
        let compare =
            format!("/challenges/{}/{}/compare?a={}&b={}", phase.challenge_slug, phase.slug, teams[0], teams[3]);
        let compared = web.get(&compare).await.text;
        assert_eq!(compared.matches("class=\"series ").count(), 2, "{compared}");
    }
}
