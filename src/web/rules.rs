//! Changing the rules of a phase: page and API do it by the same function.

use axum::http::StatusCode;
use sqlx::{Acquire, PgConnection};

use super::Error;
use crate::{
    audit::{self, Act, Actor},
    challenge::{
        baseline, dataset,
        phase::{self, GateRule, Phase},
        protocol::{self, Protocol, Rules},
        vet,
    },
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
    /// dB; `None`: `gate_rule` says.
    pub gate_psnr: Option<f64>,
    /// Only where no figure is stated.
    pub gate_rule: Option<GateRule>,
}

impl Proposal {
    /// What stands in the way of these rules in this phase.
    pub async fn vet(&self, conn: &mut PgConnection, phase: &Phase) -> Result<(), Error> {
        let smallest = dataset::smallest_side(conn, phase.dataset).await?;
        let mut problems = self.rules.vet(smallest);
        if self.rules.fidelity.scale != phase.protocol.rules.fidelity.scale {
            let why = "The scale is that of the phase's images, and cannot change.";
            problems.push(Problem::new("bad_rules", why).at("rules.fidelity.scale"));
        }
        problems.extend(vet::gate(self.gate_psnr, self.gate_rule, "gate"));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Problems(StatusCode::UNPROCESSABLE_ENTITY, problems)),
        }
    }

    pub async fn preview(&self, conn: &mut PgConnection, phase: &Phase) -> Result<Preview, Error> {
        self.vet(conn, phase).await?;
        Ok(leaderboard::what_if(conn, phase, &self.rules, (self.gate_psnr, self.gate_rule)).await?)
    }

    /// Makes these the rules of the phase, noted with the reason. `measure_again`: as [`queue::measure_again`]; without it, the
    /// baseline alone is measured where the board waits for it. Gives the protocol, how many were queued, and the baseline's entry
    /// if it was.
    pub async fn save(
        &self,
        conn: &mut PgConnection,
        phase: &Phase,
        actor: &Actor,
        reason: &str,
        measure_again: bool,
    ) -> Result<(Protocol, u64, Option<SubmissionId>), Error> {
        self.vet(conn, phase).await?;
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
        if !protocol::vet::is_family(family) {
            return Err(Error::Rules(Problem::new(
                "bad_protocol",
                "A protocol's name has lower-case letters, digits, . and -.",
            )));
        }
        let new = protocol::ensure(&mut tx, family, &self.rules).await?;
        sqlx::query!(
            "update phase set protocol_id = $2, gate_psnr = $3, gate_rule = $4 where id = $1",
            phase.id.0,
            new.id.0,
            self.gate_psnr,
            self.gate_rule as _
        )
        .execute(&mut *tx)
        .await?;
        let queued = match measure_again {
            true => queue::measure_again(&mut tx, phase.id).await.map_err(sqlx::Error::from)?,
            false => 0,
        };
        // The gate does not wait for an organizer's word.
        let baseline = baseline::ensure(&mut tx, phase.id).await.map_err(sqlx::Error::from)?;
        let details = serde_json::json!({
            "protocol": [old.protocol.name, new.name],
            "gate_psnr": [old.gate.stated, self.gate_psnr],
            "gate_rule": [old.gate.rule, self.gate_rule],
            "measured_again": queued,
            "baseline_measured": baseline,
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
        Ok((new, queued, baseline))
    }
}
