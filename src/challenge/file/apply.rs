//! A file made true: what it changes is said, and then done in one transaction, or not at all.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{Acquire, PgConnection, PgPool};
use utoipa::ToSchema;

use super::{
    format::ChallengeFile,
    plan::{Change, plan},
    resolve::resolve,
    setup::{Current, Images, PhaseSetup, Setup},
    source::{Reach, Source},
};
use crate::{
    audit::{self, Act, Actor},
    challenge::{
        self, Challenge, baseline,
        create::problem,
        dataset, joining, page,
        phase::{self, NewPhase},
        protocol,
    },
    ids::{ChallengeId, DatasetId},
    problem::Problem,
    queue,
    storage::Storage,
    submission::fact_sheet,
};

/// How a file is applied.
#[derive(Debug, Clone)]
pub struct How<'a> {
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Queue the entries of phases whose present rules or images have not measured them.
    pub measure_again: bool,
    pub actor: &'a Actor,
    /// In the organizer's words, for the audit log.
    pub reason: &'a str,
    pub reach: Reach,
    pub of: Of,
}

/// Which challenge a file must be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// That of its slug, or a new one.
    Any,
    /// One that is not there yet.
    New,
    This(ChallengeId),
}

/// What applying a file does, or did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Applied {
    /// The challenge's slug.
    pub challenge: String,
    /// Nothing was changed: these are the changes that the file asks for.
    pub dry_run: bool,
    /// Whether the challenge is new.
    pub created: bool,
    pub changes: Vec<Change>,
    /// Entries that were queued to be measured again.
    pub measured_again: u64,
}

impl Applied {
    /// In lines for a terminal.
    pub fn words(&self) -> String {
        let mut lines: Vec<String> = self.changes.iter().map(Change::to_string).collect();
        match self.measured_again {
            0 => {}
            1 => lines.push("1 entry is measured again.".into()),
            n => lines.push(format!("{n} entries are measured again.")),
        }
        match (lines.is_empty(), self.dry_run, self.changes.len()) {
            (true, ..) => return "Nothing to change.".into(),
            (_, true, _) => lines.push("Nothing was changed: this is what the file asks for.".into()),
            (_, false, 1) => lines.push(format!("1 change made to {}.", self.challenge)),
            (_, false, n) => lines.push(format!("{n} changes made to {}.", self.challenge)),
        }
        lines.join("\n")
    }
}

/// Makes the challenge what the file says. Doing it again changes nothing. `Ok(Err(problems))` is the file's fault; then nothing
/// was changed.
pub async fn apply(
    pool: &PgPool,
    storage: &Storage,
    file: &ChallengeFile,
    source: &Source,
    how: How<'_>,
) -> anyhow::Result<Result<Applied, Vec<Problem>>> {
    let done = apply_and_look(pool, storage, file, source, how, async |_: &mut PgConnection, _| ()).await?;
    Ok(done.map(|(applied, ())| applied))
}

/// As [`apply`]; `look` sees the challenge as it is after the changes, before they are kept or, in a dry run, forgotten.
pub async fn apply_and_look<T>(
    pool: &PgPool,
    storage: &Storage,
    file: &ChallengeFile,
    source: &Source,
    how: How<'_>,
    look: impl AsyncFnOnce(&mut PgConnection, &Challenge) -> T,
) -> anyhow::Result<Result<(Applied, T), Vec<Problem>>> {
    let mut conn = pool.acquire().await?;
    // What takes long, reading images, comes before the transaction; what is decided by, is read again in it.
    let found = challenge::by_slug(&mut conn, &file.slug).await?;
    if let Err(problem) = allowed(found.as_ref(), &how, file) {
        return Ok(Err(vec![problem]));
    }
    let before = match &found {
        Some(found) => Some(Current::load(&mut conn, found).await?),
        None => None,
    };
    drop(conn);
    let wanted = match resolve(pool, storage, file, source, &how.reach, before.as_ref()).await? {
        Ok(wanted) => wanted,
        Err(problems) => return Ok(Err(problems)),
    };
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let found = locked(&mut tx, &file.slug).await?;
    // Somebody may have made or removed it meanwhile.
    if let Err(problem) = allowed(found.as_ref(), &how, file) {
        return Ok(Err(vec![problem]));
    }
    let current = match found {
        Some(found) => Some(Current::load(&mut tx, &found).await?),
        None => None,
    };
    let changes = match plan(current.as_ref(), &wanted) {
        Ok(changes) => changes,
        Err(problems) => return Ok(Err(problems)),
    };
    let measured_again = match change(&mut tx, current.as_ref(), &wanted, &changes, &how).await {
        Ok(measured_again) => measured_again,
        Err(Refused::Problems(problems)) => return Ok(Err(problems)),
        Err(Refused::Database(error)) => return problem(error).map(|problem| Err(vec![problem])),
        Err(Refused::Other(error)) => return Err(error),
    };
    let created = current.is_none();
    let made = challenge::by_slug(&mut tx, &wanted.slug).await?.ok_or(sqlx::Error::RowNotFound)?;
    let seen = look(&mut tx, &made).await;
    if how.dry_run {
        // All of it was tried, so that what the database refuses is said now and not at the second try.
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(Ok((Applied { challenge: wanted.slug, dry_run: how.dry_run, created, changes, measured_again }, seen)))
}

/// Whether the file is of a challenge that whoever applies it may change, or make. Codes: `slug_taken`, `another_challenge`.
fn allowed(found: Option<&Challenge>, how: &How<'_>, file: &ChallengeFile) -> Result<(), Problem> {
    let may = match (found, how.of) {
        // To those who make any challenge, that there is one is no secret.
        (Some(_), Of::New) if matches!(how.reach, Reach::All) => {
            let problem = Problem::new("slug_taken", "there is a challenge with this slug").at(&file.slug);
            return Err(problem.hint("Take another, or change that challenge."));
        }
        (Some(_), Of::New) | (None, Of::This(_)) => false,
        (Some(found), Of::This(id)) => found.id == id && how.reach.covers(id),
        (Some(found), Of::Any) => how.reach.covers(found.id),
        (None, Of::Any | Of::New) => matches!(how.reach, Reach::All),
    };
    if may {
        return Ok(());
    }
    let problem = Problem::new("another_challenge", "the file is of another challenge than this one").at(&file.slug);
    Err(problem.hint("Its `slug` names the challenge, and cannot be changed."))
}

/// The challenge of a slug, for this transaction alone to change.
async fn locked(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Option<Challenge>> {
    sqlx::query!("select id from challenge where slug = $1 for update", slug).fetch_optional(&mut *conn).await?;
    challenge::by_slug(conn, slug).await
}

enum Refused {
    Problems(Vec<Problem>),
    Database(sqlx::Error),
    Other(anyhow::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Refused::Database(error)
    }
}

impl From<queue::EnqueueError> for Refused {
    fn from(error: queue::EnqueueError) -> Self {
        Refused::Other(error.into())
    }
}

/// Does what the plan says; gives how many entries are measured again.
async fn change(
    conn: &mut PgConnection,
    current: Option<&Current>,
    wanted: &Setup,
    changes: &[Change],
    how: &How<'_>,
) -> Result<u64, Refused> {
    let id = match current {
        Some(current) => {
            if !changes.is_empty() {
                challenge::rename(conn, current.id, &wanted.title, &wanted.description).await?;
            }
            current.id
        }
        None => challenge::insert(conn, &wanted.slug, &wanted.title, &wanted.description).await?,
    };
    if !changes.is_empty() {
        joining::set(conn, id, &wanted.joining).await?;
        page::replace(conn, id, &wanted.pages).await?;
        if let Some(fields) = &wanted.fact_sheet
            && let Err(problems) = fact_sheet::define(conn, id, fields).await?
        {
            return Err(Refused::Problems(problems));
        }
        phases(conn, id, current, wanted).await?;
    }
    let mut measured_again = 0;
    if how.measure_again {
        for phase in phase::of_challenge(conn, id).await? {
            measured_again += queue::measure_again(conn, phase.id).await?;
        }
    }
    if !changes.is_empty() || measured_again > 0 {
        let mut details: Map<String, Value> =
            changes.iter().map(|c| (c.what.clone(), Value::from(vec![c.before.clone(), c.after.clone()]))).collect();
        if measured_again > 0 {
            details.insert("measured_again".into(), measured_again.into());
        }
        let act = Act {
            challenge: Some(id),
            action: if current.is_some() { "challenge.change" } else { "challenge.create" },
            object: &wanted.slug,
            reason: how.reason,
            details: details.into(),
        };
        audit::note(conn, how.actor, act).await?;
    }
    Ok(measured_again)
}

async fn phases(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    current: Option<&Current>,
    wanted: &Setup,
) -> Result<(), Refused> {
    for (setup, about) in current.iter().flat_map(|c| c.setup.phases.iter().zip(&c.phases)) {
        if !wanted.phases.iter().any(|phase| phase.slug == setup.slug) {
            phase::remove(conn, about.id).await?;
        }
    }
    for setup in &wanted.phases {
        let before = current.and_then(|current| current.phase(&setup.slug));
        let dataset = dataset_id(conn, setup).await?;
        // The version that is the phase's already stays, also where another has the same rules.
        let protocol = match before {
            Some((before, about)) if before.protocol == setup.protocol && before.rules == setup.rules => {
                about.protocol_id
            }
            _ => protocol::ensure(conn, &setup.protocol, &setup.rules).await?.id,
        };
        let new = NewPhase {
            challenge,
            slug: setup.slug.clone(),
            title: setup.title.clone(),
            dataset,
            protocol,
            opens_at: setup.opens_at,
            closes_at: setup.closes_at,
            limits: setup.limits,
            visibility: setup.visibility,
            frozen_at: setup.frozen_at,
            gate_psnr: setup.gate_psnr,
            gate_rule: setup.gate_rule,
            baseline_name: setup.baseline_name.clone(),
            baseline_model: setup.baseline_model.clone(),
        };
        let id = match before {
            Some((_, about)) => {
                phase::change(conn, about.id, &new).await?;
                about.id
            }
            None => phase::insert(conn, &new).await?,
        };
        // The gate does not wait for an organizer's word.
        baseline::ensure(conn, id).await?;
    }
    let slugs: Vec<String> = wanted.phases.iter().map(|phase| phase.slug.clone()).collect();
    phase::order(conn, challenge, &slugs).await?;
    Ok(())
}

async fn dataset_id(conn: &mut PgConnection, setup: &PhaseSetup) -> sqlx::Result<DatasetId> {
    let chosen = &setup.dataset;
    match &chosen.images {
        Images::Stored { id, .. } => Ok(*id),
        Images::New(images) => dataset::ensure(conn, &chosen.name, chosen.scale, images).await,
    }
}
