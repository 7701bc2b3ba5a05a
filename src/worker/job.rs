//! From a claimed row to the files and rules that the evaluator needs.

use anyhow::Context;
use sqlx::{PgConnection, types::Json};

use super::Worker;
use crate::{
    challenge::{dataset, protocol::Rules},
    evaluation::{EvalImage, Job, Origin},
    ids::{DatasetId, EvaluationId, SubmissionId},
    storage::BlobHash,
};

impl Worker {
    /// The job of an evaluation, by the protocol and on the images it was queued for; and its entry, where its own model makes
    /// the results.
    pub(super) async fn load(
        &self,
        conn: &mut PgConnection,
        evaluation: EvaluationId,
    ) -> anyhow::Result<(Job, Option<SubmissionId>)> {
        let row = sqlx::query!(
            r#"select s.model_sha256 as "model: BlobHash", s.results_sha256 as "results: BlobHash",
                      p.baseline_model_sha256 as "baseline: BlobHash", e.dataset_id as "dataset: DatasetId",
                      r.rules as "rules: Json<Rules>", r.name as protocol, s.id as "submission: SubmissionId", s.own_images
               from evaluation e join submission s on s.id = e.submission_id join phase p on p.id = s.phase_id
               join protocol r on r.id = e.protocol_id where e.id = $1"#,
            evaluation.0
        )
        .fetch_one(&mut *conn)
        .await
        .context("loading the job")?;
        let dataset = dataset::get(conn, row.dataset).await.context("loading the dataset")?;
        let hashes = dataset.hashes();
        let images = dataset.images.into_iter().map(|image| EvalImage {
            name: image.name,
            lr: self.storage.path(&image.lr),
            hr: Some(self.storage.path(&image.hr)),
        });
        let Rules {
            fidelity,
            timing,
            limits,
            ranked_images,
            operators,
            gate: _,
            ranking: _,
            reproduction: _,
            verification: _,
            flops: _,
            device: _,
            device_name: _,
        } = row.rules.0;
        let job = Job {
            model: self.storage.path(&row.model),
            results: self.storage.path(&row.results),
            baseline: row.baseline.map(|hash| self.storage.path(&hash)),
            images: images.collect(),
            fidelity,
            operators,
            ranked: ranked_images,
            input_range: None,
            timing,
            timed: true,
            limits: limits.into(),
            device: self.settings.device.clone(),
            tools: self.settings.tools.clone(),
            origin: Origin { protocol: Some(row.protocol), dataset: Some(hashes) },
        };
        Ok((job, row.own_images.then_some(row.submission)))
    }
}
