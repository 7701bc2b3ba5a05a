//! A [`Measurement`] as rows, and back. Both directions name every field, so that a new one breaks the build.

use anyhow::Context;
use sqlx::{PgConnection, types::Json};

use crate::{
    evaluation::{
        Cost, Db, Fidelity, Flops, ImageReproduction, ImageScore, Measurement, Memory, OperatorCost, Provenance,
        RankedImages, Reproduction, Runtime, RuntimeRatio, TimingRecord, Verdict,
    },
    ids::EvaluationId,
};

/// Stores what an evaluation measured; once, by its key.
pub(super) async fn insert(conn: &mut PgConnection, id: EvaluationId, measurement: &Measurement) -> anyhow::Result<()> {
    let Measurement { fidelity, reproduction, cost, runtime, memory, provenance } = measurement;
    let Fidelity { psnr, ssim, images } = fidelity;
    let Reproduction {
        verdict,
        max_abs,
        identical_fraction,
        input_range,
        ranked,
        model_psnr,
        uploaded_psnr,
        images: reproduction_images,
    } = reproduction;
    let Cost { input, scale, params, convs, activations, flops: Flops { kair, fvcore }, macs, operators } = cost;
    let Runtime {
        device,
        input: runtime_input,
        threads,
        median_ms,
        ci95_ms: [ci_low, ci_high],
        runs,
        baseline,
        samples_ms,
        record,
    } = runtime;
    let (baseline_ms, ratio, ratio_low, ratio_high, baseline_samples) = match baseline {
        Some(RuntimeRatio { median_ms, ratio, ratio_ci95: [low, high], samples_ms }) => {
            (Some(*median_ms), Some(*ratio), Some(*low), Some(*high), Some(Json(samples_ms)))
        }
        None => (None, None, None, None, None),
    };
    let Memory { peak_bytes, method, baseline_peak_bytes, process_bytes, baseline_process_bytes } = memory;
    sqlx::query!(
        "insert into score (evaluation_id, psnr, ssim, cost_input, cost_scale, params, convs, activations, flops_kair,
             flops_fvcore, macs, operators, runtime_device, runtime_input, runtime_threads, runtime_ms, runtime_ci_low,
             runtime_ci_high, runtime_runs, runtime_samples, baseline_ms, ratio, ratio_ci_low, ratio_ci_high,
             baseline_samples, memory_bytes, memory_method, baseline_memory_bytes, verdict, max_abs,
             identical_fraction, input_range, model_psnr, reproduction_images, provenance, ranked_images, uploaded_psnr,
             runtime_noisy, timing_record, process_bytes, baseline_process_bytes)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41)",
        id.0,
        *psnr,
        *ssim,
        Json(input) as _,
        int(*scale)?,
        big(*params)?,
        big(*convs)?,
        big(*activations)?,
        big(*kair)?,
        big(*fvcore)?,
        big(*macs)?,
        Json(operators) as _,
        device,
        runtime_input,
        int(*threads)?,
        *median_ms,
        *ci_low,
        *ci_high,
        int(*runs)?,
        Json(samples_ms) as _,
        baseline_ms,
        ratio,
        ratio_low,
        ratio_high,
        baseline_samples as _,
        big(*peak_bytes)?,
        method,
        baseline_peak_bytes.map(big).transpose()?,
        verdict.as_str(),
        i16::from(*max_abs),
        *identical_fraction,
        int(*input_range)?,
        *model_psnr,
        Json(reproduction_images) as _,
        Json(provenance) as _,
        ranked.as_str(),
        *uploaded_psnr,
        record.noisy,
        Json(record) as _,
        process_bytes.map(big).transpose()?,
        baseline_process_bytes.map(big).transpose()?
    )
    .execute(&mut *conn)
    .await
    .context("storing the score")?;

    let mut columns: (Vec<String>, Vec<f64>, Vec<f64>) = Default::default();
    for ImageScore { name, psnr: Db(psnr), ssim } in images {
        columns.0.push(name.clone());
        columns.1.push(*psnr);
        columns.2.push(*ssim);
    }
    sqlx::query!(
        "insert into image_score (evaluation_id, name, psnr, ssim)
         select $1, * from unnest($2::text[], $3::float8[], $4::float8[])",
        id.0,
        &columns.0,
        &columns.1,
        &columns.2
    )
    .execute(conn)
    .await
    .context("storing the images' scores")?;
    Ok(())
}

/// What an evaluation measured; `None`: it is not scored.
pub async fn get(conn: &mut PgConnection, id: EvaluationId) -> anyhow::Result<Option<Measurement>> {
    let row = sqlx::query!(
        r#"select psnr, ssim, cost_input as "cost_input: Json<[u64; 4]>", cost_scale, params, convs, activations,
                  flops_kair, flops_fvcore, macs, operators as "operators: Json<Vec<OperatorCost>>", runtime_device,
                  runtime_input, runtime_threads, runtime_ms, runtime_ci_low, runtime_ci_high, runtime_runs,
                  runtime_samples as "runtime_samples: Json<Vec<f64>>", baseline_ms, ratio, ratio_ci_low, ratio_ci_high,
                  baseline_samples as "baseline_samples: Json<Vec<f64>>", memory_bytes, memory_method,
                  baseline_memory_bytes, verdict, max_abs, identical_fraction, input_range, model_psnr,
                  ranked_images, uploaded_psnr, reproduction_images as "reproduction_images: Json<Vec<ImageReproduction>>",
                  provenance as "provenance: Json<Provenance>",
                  timing_record as "timing_record: Json<TimingRecord>", process_bytes, baseline_process_bytes
           from score where evaluation_id = $1"#,
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(r) = row else { return Ok(None) };
    let images = sqlx::query!("select name, psnr, ssim from image_score where evaluation_id = $1 order by name", id.0)
        .fetch_all(conn)
        .await?;
    let images = images.into_iter().map(|i| ImageScore { name: i.name, psnr: Db(i.psnr), ssim: i.ssim }).collect();
    let baseline = match (r.baseline_ms, r.ratio, r.ratio_ci_low, r.ratio_ci_high, r.baseline_samples) {
        (Some(median_ms), Some(ratio), Some(low), Some(high), Some(Json(samples_ms))) => {
            Some(RuntimeRatio { median_ms, ratio, ratio_ci95: [low, high], samples_ms })
        }
        _ => None,
    };
    Ok(Some(Measurement {
        fidelity: Fidelity { psnr: r.psnr, ssim: r.ssim, images },
        reproduction: Reproduction {
            verdict: verdict(&r.verdict)?,
            max_abs: u8::try_from(r.max_abs)?,
            identical_fraction: r.identical_fraction,
            input_range: u32::try_from(r.input_range)?,
            ranked: match r.ranked_images.as_str() {
                "model" => RankedImages::Model,
                _ => RankedImages::Uploaded,
            },
            model_psnr: r.model_psnr,
            uploaded_psnr: r.uploaded_psnr,
            images: r.reproduction_images.0,
        },
        cost: Cost {
            input: r.cost_input.0,
            scale: u32::try_from(r.cost_scale)?,
            params: u64::try_from(r.params)?,
            convs: u64::try_from(r.convs)?,
            activations: u64::try_from(r.activations)?,
            flops: Flops { kair: u64::try_from(r.flops_kair)?, fvcore: u64::try_from(r.flops_fvcore)? },
            macs: u64::try_from(r.macs)?,
            operators: r.operators.0,
        },
        runtime: Runtime {
            device: r.runtime_device,
            input: r.runtime_input,
            threads: usize::try_from(r.runtime_threads)?,
            median_ms: r.runtime_ms,
            ci95_ms: [r.runtime_ci_low, r.runtime_ci_high],
            runs: usize::try_from(r.runtime_runs)?,
            baseline,
            samples_ms: r.runtime_samples.0,
            record: r.timing_record.0,
        },
        memory: Memory {
            peak_bytes: u64::try_from(r.memory_bytes)?,
            method: r.memory_method,
            baseline_peak_bytes: r.baseline_memory_bytes.map(u64::try_from).transpose()?,
            process_bytes: r.process_bytes.map(u64::try_from).transpose()?,
            baseline_process_bytes: r.baseline_process_bytes.map(u64::try_from).transpose()?,
        },
        provenance: r.provenance.0,
    }))
}

/// Whether the model made the images, without the figures.
pub async fn verdict_of(conn: &mut PgConnection, id: EvaluationId) -> anyhow::Result<Option<Verdict>> {
    let word = sqlx::query_scalar!("select verdict from score where evaluation_id = $1", id.0);
    word.fetch_optional(conn).await?.map(|word| verdict(&word)).transpose()
}

pub(crate) fn verdict(word: &str) -> anyhow::Result<Verdict> {
    let all = [Verdict::Reproduced, Verdict::WithinRounding, Verdict::Differs];
    all.into_iter().find(|v| v.as_str() == word).with_context(|| format!("no such verdict: {word}"))
}

/// A count as Postgres holds it.
fn big(n: u64) -> anyhow::Result<i64> {
    i64::try_from(n).with_context(|| format!("{n} is too large to store"))
}

fn int<N: TryInto<i32> + std::fmt::Display + Copy>(n: N) -> anyhow::Result<i32> {
    n.try_into().ok().with_context(|| format!("{n} is too large to store"))
}
