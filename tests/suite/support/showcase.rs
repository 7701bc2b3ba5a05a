//! A challenge as it might look after a season, with figures in the manner of the AIM2020 table: for looking at pages.

use chrono::{Duration, Utc};
use upscore::{
    challenge::{
        phase::{Phase, QuotaLimits},
        protocol::ReproductionRule,
    },
    evaluation::{Db, Flops, ImageReproduction, ImageScore, Measurement, OperatorCost, RuntimeRatio, Verdict},
    ids::SubmissionId,
    problem::Problem,
};

use super::{
    app::{App, Plan, measurement},
    web::Web,
};

/// Team, PSNR, SSIM, ms, params k, GFLOPs, M activations, MiB, convs, verdict.
type Entry = (&'static str, f64, f64, f64, f64, f64, f64, f64, u64, Verdict);

use Verdict::{Differs, Reproduced, WithinRounding};

const BASELINE: Entry = ("Organizers", 29.00, 0.8274, 110.0, 1517.571, 166.36, 292.55, 610.0, 37, Reproduced);
const ENTRIES: [Entry; 12] = [
    ("NJU_MCG", 29.04, 0.8281, 37.0, 433.448, 27.10, 112.03, 200.0, 64, Reproduced),
    ("AiriA_CG", 29.00, 0.8275, 37.9, 687.087, 44.98, 118.49, 168.0, 33, Reproduced),
    ("UESTC-MediaLab", 29.01, 0.8276, 47.5, 461.180, 30.06, 219.61, 146.0, 57, WithinRounding),
    ("XPixel", 29.01, 0.8277, 71.3, 271.931, 16.76, 65.10, 225.0, 64, Reproduced),
    ("HaiYun", 29.09, 0.8286, 76.2, 777.450, 49.67, 132.31, 230.0, 104, Reproduced),
    ("IPCV_IITM", 29.10, 0.8289, 83.0, 761.000, 50.85, 130.41, 229.0, 59, Reproduced),
    ("404NotFound", 29.01, 0.8278, 87.3, 599.000, 39.36, 170.06, 271.0, 90, WithinRounding),
    ("MDISL-lab", 29.01, 0.8275, 94.1, 660.000, 42.40, 149.09, 274.0, 67, Reproduced),
    ("MLVC & friends of efficient networks", 28.72, 0.8201, 24.3, 84.000, 5.41, 38.02, 92.0, 21, Reproduced),
    ("Bicubic", 26.31, 0.7412, 1.9, 0.048, 0.05, 0.79, 12.0, 1, Reproduced),
    ("XMUlab", 29.05, 0.8280, 31.0, 691.000, 53.62, 184.74, 186.0, 70, Differs),
    ("MCML-Yonsei", 29.03, 0.8279, 210.0, 1289.000, 84.43, 188.74, 798.0, 68, Reproduced),
];

pub struct Showcase {
    pub phase: Phase,
    /// A token of `team`.
    pub token: String,
    pub scored: SubmissionId,
    pub failed: SubmissionId,
    /// In the order it is told; nobody works the queue.
    pub queued: SubmissionId,
}

pub async fn furnish(web: &Web) -> Showcase {
    let app = &web.app;
    let phase = app
        .phase_with(
            |new| {
                new.closes_at = Some(Utc::now() + Duration::hours(76));
                new.limits = QuotaLimits { daily: 5, total: Some(40), daily_attempts: 20 };
            },
            |rules| rules.reproduction = ReproductionRule::Required,
        )
        .await;
    name_it(app, &phase).await;
    let organizers = app.team(&phase, BASELINE.0).await;
    let base = app.enter_as(&phase, organizers, measured(&BASELINE)).await;
    app.set_baseline(&phase, base, "MSRResNet").await;
    let mut teams = Vec::new();
    for entry in &ENTRIES {
        let team = app.team(&phase, entry.0).await;
        teams.push((team, app.enter_as(&phase, team, measured(entry)).await));
    }
    let (team, scored) = teams[3];
    app.drain_queue().await;
    let failed = app.enter(&phase, team).await;
    let problem =
        Problem::new("onnx_runtime_error", "the model failed while it ran: Conv: input channels 64, weight expects 48")
            .at("/body/block_3/conv_2 (Conv)")
            .hint("Run it once with onnxruntime on one LR image before exporting the results.");
    app.evaluator.plan(&app.storage, failed, Plan::Fails(problem));
    app.drain_queue().await;
    let queued = app.enter(&phase, teams[4].0).await;
    app.enter(&phase, teams[0].0).await;
    let token = web.token(team).await;
    let phase = app.reload(phase.id).await;
    Showcase { phase, token, scored, failed, queued }
}

async fn name_it(app: &App, phase: &Phase) {
    let about = "Super-resolve ×4 with as little as possible, and be at least as good as **MSRResNet**.\n\n\
                 - Training data: DIV2K and Flickr2K; more is allowed, say which.\n\
                 - The final phase measures the same models on hidden images.\n";
    sqlx::query("update challenge set slug = 'aim2020-esr', title = 'Efficient Super-Resolution ×4', description = $2 where id = $1")
        .bind(phase.challenge)
        .bind(about)
        .execute(&app.pool)
        .await
        .expect("named");
}

/// A whole measurement round the figures of a table's row.
fn measured(entry: &Entry) -> Measurement {
    let &(_, psnr, ssim, ms, params, flops, activations, mib, convs, verdict) = entry;
    let mut m = measurement();
    m.fidelity.psnr = psnr;
    m.fidelity.ssim = ssim;
    let spread = |i: usize| ((i * 37 % 100) as f64 / 100.0 - 0.5) * 9.0;
    // No two entries are alike in where they are good.
    let taste = |i: usize| (i * (13 + convs as usize) % 11) as f64 / 80.0;
    let taste_mean = (0..40).map(taste).sum::<f64>() / 40.0;
    m.fidelity.images = (0..40)
        .map(|i| ImageScore {
            name: format!("{:04}", 801 + i),
            psnr: Db(psnr + spread(i) + taste(i) - taste_mean),
            ssim: ssim + spread(i) / 60.0,
        })
        .collect();
    m.reproduction.verdict = verdict;
    (m.reproduction.max_abs, m.reproduction.identical_fraction) = match verdict {
        Reproduced => (0, 1.0),
        WithinRounding => (1, 0.999_87),
        Differs => (23, 0.41),
    };
    m.reproduction.images = m
        .fidelity
        .images
        .iter()
        .map(|i| ImageReproduction { name: i.name.clone(), max_abs: m.reproduction.max_abs, psnr_between: Db(60.0) })
        .collect();
    let macs = (flops * 1e9) as u64;
    m.cost.params = (params * 1e3) as u64;
    m.cost.flops = Flops { kair: macs, fvcore: macs };
    m.cost.macs = macs;
    m.cost.activations = (activations * 1e6) as u64;
    m.cost.convs = convs;
    let operator = |op: &str, calls, share: f64| OperatorCost {
        op: op.into(),
        calls,
        macs: (macs as f64 * share) as u64,
        params: (params * 1e3 * share) as u64,
        output_elements: (activations * 1e6 * share.max(0.2)) as u64,
        ..OperatorCost::default()
    };
    m.cost.operators =
        vec![operator("Conv", convs, 0.96), operator("ConvTranspose", 1, 0.04), operator("Relu", 33, 0.0)];
    m.runtime.median_ms = ms;
    m.runtime.ci95_ms = [ms * 0.985, ms * 1.015];
    m.runtime.runs = 20;
    m.runtime.baseline = Some(RuntimeRatio {
        median_ms: 110.0,
        ratio: ms / 110.0,
        ratio_ci95: [ms / 110.0 * 0.98, ms / 110.0 * 1.02],
        samples_ms: vec![110.0; 20],
    });
    m.memory.peak_bytes = (mib * f64::from(1 << 20)) as u64;
    m.provenance.device_name = "AMD EPYC 7B13, 2 threads".into();
    m.provenance.sandbox = "landlock 7, seccomp, uid 65534".into();
    m
}
