//! Measuring entries again, and what becomes of it.

use clap::{Args, Subcommand};
use sqlx::{Acquire, PgPool};

use super::{Done, Made, account::refused};
use crate::{
    audit::Actor,
    challenge::{
        self,
        phase::{self, Phase},
    },
    ids::{RerunId, SubmissionId},
    problem::Problem,
    queue::rerun::{self, Decision, Rerun, RerunError, Which},
    review::{self, drift},
};

/// Batches that are listed.
const LISTED: i64 = 100;

#[derive(Debug, Args)]
pub struct Of {
    /// Slug of the challenge.
    #[arg(long)]
    challenge: String,
    /// Slug of the phase.
    #[arg(long)]
    phase: String,
}

#[derive(Debug, Subcommand)]
pub enum RerunCommand {
    /// Queues entries again; what comes out counts for nothing until the batch is decided.
    Start {
        #[command(flatten)]
        of: Of,
        /// These entries, by id; without any, every scored one.
        #[arg(long = "submission", value_name = "ID")]
        submissions: Vec<SubmissionId>,
        /// For the audit log.
        #[arg(long)]
        reason: String,
    },
    /// The batches of a phase, newest first.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// A batch's drift report: old against new, and what would become of the ranks.
    Show {
        #[command(flatten)]
        of: Of,
        batch: RerunId,
    },
    /// Makes a batch count.
    MakeOfficial {
        #[command(flatten)]
        of: Of,
        batch: RerunId,
        /// For the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Sets a batch aside; what of it still waits or runs is cancelled.
    Discard {
        #[command(flatten)]
        of: Of,
        batch: RerunId,
        /// For the audit log.
        #[arg(long)]
        reason: String,
    },
}

pub async fn run(command: RerunCommand, pool: &PgPool) -> Done {
    let of = match &command {
        RerunCommand::Start { of, .. } | RerunCommand::List { of } | RerunCommand::Show { of, .. } => of,
        RerunCommand::MakeOfficial { of, .. } | RerunCommand::Discard { of, .. } => of,
    };
    let mut conn = pool.acquire().await?;
    let Some(challenge) = challenge::by_slug(&mut conn, &of.challenge).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(&of.challenge)]));
    };
    let Some(phase) = phase::by_slug(&mut conn, &challenge.slug, &of.phase).await? else {
        return Ok(Err(vec![Problem::new("phase_not_found", "the challenge has no such phase").at(&of.phase)]));
    };
    match command {
        RerunCommand::Start { submissions, reason, .. } => {
            let Some(reason) = review::reason(&reason) else { return no_reason() };
            let which = if submissions.is_empty() { Which::All } else { Which::These(&submissions) };
            let mut tx = conn.begin().await?;
            match rerun::start(&mut tx, (phase.challenge, phase.id), which, &Actor::Shell, reason).await {
                Ok((id, queued)) => {
                    tx.commit().await?;
                    let entries = if queued.len() == 1 { "entry" } else { "entries" };
                    let sentence = format!("{id}: {} {entries} queued.", queued.len());
                    let document = serde_json::json!({ "id": id, "queued": queued });
                    Ok(Ok(Made::new(sentence, document)?))
                }
                Err(error) => refused(error.code(), error),
            }
        }
        RerunCommand::List { .. } => {
            let batches = rerun::of_phase(&mut conn, phase.id, LISTED).await?;
            let lines: Vec<String> = batches.iter().map(line).collect();
            let sentence = if lines.is_empty() { "There are no batches.".into() } else { lines.join("\n") };
            Ok(Ok(Made::new(sentence, &batches)?))
        }
        RerunCommand::Show { batch, .. } => {
            let Some(batch) = rerun::get(&mut conn, phase.id, batch).await? else { return not_found() };
            let report = drift::report(&mut conn, &phase, batch).await?;
            Ok(Ok(Made::new(words(&report), &report)?))
        }
        RerunCommand::MakeOfficial { batch, reason, .. } => {
            decide(pool, &phase, batch, Decision::Official, &reason).await
        }
        RerunCommand::Discard { batch, reason, .. } => decide(pool, &phase, batch, Decision::Discarded, &reason).await,
    }
}

async fn decide(pool: &PgPool, phase: &Phase, batch: RerunId, decision: Decision, reason: &str) -> Done {
    let Some(reason) = review::reason(reason) else { return no_reason() };
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if rerun::get(&mut tx, phase.id, batch).await?.is_none() {
        return not_found();
    }
    match drift::decide(&mut tx, phase, batch, decision, &Actor::Shell, reason).await? {
        Ok(changed) => {
            tx.commit().await?;
            let already = if changed { "" } else { " already" };
            let sentence = format!("{batch} is {}{already}.", decision.as_str());
            Ok(Ok(Made::new(sentence, serde_json::json!({ "id": batch, "decision": decision, "changed": changed }))?))
        }
        Err(error) => refused(error.code(), error),
    }
}

fn no_reason() -> Done {
    Ok(Err(vec![Problem::new("bad_reason", "a reason has 1 to 2000 characters").at("--reason")]))
}

fn not_found() -> Done {
    refused(RerunError::NotFound.code(), RerunError::NotFound)
}

fn line(batch: &Rerun) -> String {
    let state = match batch.decision {
        Some(decision) => decision.as_str().to_owned(),
        None if batch.live > 0 => format!("{} of {} still to measure", batch.live, batch.total),
        None => "waits for a decision".into(),
    };
    format!("{}  {} entries  {state}  {}: {}", batch.id, batch.total, batch.asked_by, batch.reason)
}

/// A line for each entry, and below it the figures that moved by more than chance.
fn words(report: &drift::Report) -> String {
    let rank = |rank: Option<u32>| rank.map_or("not ranked".to_owned(), |rank| format!("rank {rank}"));
    let mut lines = vec![line(&report.batch)];
    for row in &report.rows {
        let (now, then) = (rank(row.rank), rank(row.rank_then));
        let moves = if now == then { now } else { format!("{now} → {then}") };
        lines.push(format!("{}: {}, {moves}", row.team, row.state.as_str()));
        for figure in row.figures.iter().filter(|figure| figure.moved) {
            let value = |value: Option<f64>| value.map_or("–".to_owned(), |value| value.to_string());
            lines.push(format!("    {}: {} → {}", figure.id, value(figure.old), value(figure.new)));
        }
    }
    for other in &report.others {
        lines.push(format!("{}: not in the batch, {} → {}", other.team, rank(other.rank), rank(other.rank_then)));
    }
    lines.join("\n")
}
