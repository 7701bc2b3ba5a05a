//! Changing the rules of a phase: page and API do it by the same function.

use sqlx::{Acquire, PgConnection};

use super::Error;
use crate::{
    audit::{self, Act, Actor},
    challenge::{
        phase::{self, Phase},
        protocol::{self, Comparison, Protocol, Rules},
    },
    evaluation::TimedInput,
    ids::SubmissionId,
    leaderboard::{self, Preview},
    problem::Problem,
    queue,
};

/// What an organizer wants a phase's rules to be.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Name of the rule set, without its version; `None`: the present one.
    pub name: Option<String>,
    pub rules: Rules,
    /// dB; `None`: the gate follows the baseline entry.
    pub gate_psnr: Option<f64>,
}

impl Proposal {
    /// What stands in the way of these rules in this phase.
    pub fn vet(&self, phase: &Phase) -> Result<(), Error> {
        let refused = |why: String| Err(Error::Rules(Problem::new("bad_rules", why)));
        let Rules { fidelity, gate, ranking, timing, limits, .. } = &self.rules;
        if let Err(why) = ranking.vet() {
            return refused(format!("The ranking: {why}."));
        }
        if fidelity.scale != phase.protocol.rules.fidelity.scale {
            return refused("The scale is that of the phase's images, and cannot change.".into());
        }
        if fidelity.border > 256 {
            return refused("A border is at most 256 pixels.".into());
        }
        if matches!(gate, Comparison::Rounded { decimals } if *decimals > 6) {
            return refused("The gate is rounded to at most 6 decimals.".into());
        }
        if self.gate_psnr.is_some_and(|psnr| !(0.0..=100.0).contains(&psnr)) {
            return refused("A gate is 0 to 100 dB.".into());
        }
        let tile = match timing.input {
            TimedInput::Tile(height, width) => (8..=4096).contains(&height) && (8..=4096).contains(&width),
            TimedInput::Whole(_) => true,
        };
        let positive = |value: f64, most: f64| value > 0.0 && value <= most;
        if !tile
            || !(1..=256).contains(&timing.threads)
            || !(1..=1_000_000).contains(&timing.runs)
            || timing.warmup > 10_000
            || !positive(timing.max_seconds, 86_400.0)
            || !positive(timing.half_width, 1.0)
        {
            return refused("The timing: threads, runs, seconds, half width or tile are out of range.".into());
        }
        if limits.seconds == 0 || limits.memory_bytes < 1 << 26 {
            return refused("The limits: at least 64 MiB of memory and one second.".into());
        }
        Ok(())
    }

    pub async fn preview(&self, conn: &mut PgConnection, phase: &Phase) -> Result<Preview, Error> {
        self.vet(phase)?;
        Ok(leaderboard::what_if(conn, phase, &self.rules, self.gate_psnr).await?)
    }

    /// Makes these the rules of the phase, noted with the reason. `measure_again`: entries whose scores do not count under them
    /// are queued anew; what is queued already is measured by the new rules then, what runs at the moment ends by the old
    /// ones. Gives the protocol and how many were queued.
    pub async fn save(
        &self,
        conn: &mut PgConnection,
        phase: &Phase,
        actor: &Actor,
        reason: &str,
        measure_again: bool,
    ) -> Result<(Protocol, u64), Error> {
        self.vet(phase)?;
        if reason.trim().is_empty() || reason.chars().count() > 2000 {
            return Err(Error::Rules(Problem::new(
                "bad_reason",
                "A change of rules needs a reason of 1 to 2000 characters.",
            )));
        }
        let mut tx = conn.begin().await?;
        sqlx::query!("select id from phase where id = $1 for update", phase.id.0).fetch_one(&mut *tx).await?;
        // As it is now: somebody else may have changed it since the page was made.
        let old = phase::get(&mut tx, phase.id).await?.ok_or(Error::PhaseNotFound)?;
        let family = self.name.as_deref().unwrap_or_else(|| old.protocol.name.split('@').next().unwrap_or("rules"));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if family.len() > 60 || !family.bytes().all(plain) || !family.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(Error::Rules(Problem::new(
                "bad_protocol",
                "A protocol's name has lower-case letters, digits, . and -.",
            )));
        }
        let new = protocol::ensure(&mut tx, family, &self.rules).await?;
        sqlx::query!(
            "update phase set protocol_id = $2, gate_psnr = $3 where id = $1",
            phase.id.0,
            new.id.0,
            self.gate_psnr
        )
        .execute(&mut *tx)
        .await?;
        let queued = if measure_again { requeue(&mut tx, phase, &new).await? } else { 0 };
        let details = serde_json::json!({
            "protocol": [old.protocol.name, new.name],
            "gate_psnr": [old.gate.stated, self.gate_psnr],
            "measured_again": queued,
        });
        let object = format!("{}/{}", old.challenge_slug, old.slug);
        let act = Act {
            challenge: Some(old.challenge),
            action: "phase.protocol",
            object: &object,
            reason: reason.trim(),
            details,
        };
        audit::note(&mut tx, actor, act).await?;
        tx.commit().await?;
        Ok((new, queued))
    }
}

/// Queues what has no official score that counts under `new`.
async fn requeue(conn: &mut PgConnection, phase: &Phase, new: &Protocol) -> Result<u64, Error> {
    sqlx::query!(
        "update evaluation e set protocol_id = $2, device_class = $3, device_name = $4
         from submission s where s.id = e.submission_id and s.phase_id = $1 and e.state = 'queued' and e.official",
        phase.id.0,
        new.id.0,
        new.rules.device.as_str(),
        new.rules.device_name
    )
    .execute(&mut *conn)
    .await?;
    let missing = sqlx::query_scalar!(
        r#"select s.id as "id: SubmissionId" from submission s
           where s.phase_id = $1 and s.withdrawn_at is null
             and exists (select from evaluation where submission_id = s.id and official and state = 'scored')
             and not exists (select from evaluation where submission_id = s.id and state in ('queued', 'running'))
             and not exists
                 (select from evaluation e join protocol p on p.id = e.protocol_id
                  where e.submission_id = s.id and e.official and e.state = 'scored' and p.measuring_sha256 = $2)
           order by s.id"#,
        phase.id.0,
        new.measuring_sha256
    )
    .fetch_all(&mut *conn)
    .await?;
    for id in &missing {
        queue::enqueue(conn, *id, 0).await.map_err(anyhow::Error::from)?;
    }
    Ok(missing.len() as u64)
}
