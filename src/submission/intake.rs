//! The only way in: an upload becomes a submission, or leaves no trace.
//!
//! Rules, then vetting, then one transaction that locks the team's row, counts the quota again, and writes submission and
//! queue entry. The files are whole and synced in a temporary place before; the transaction renames them just before it
//! commits, so that no row ever names a missing blob and no rejection leaves one behind.

use std::{fs, io};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool, types::Json};
use utoipa::ToSchema;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    FactSheet, Rejection,
    fact_sheet::{self, Field},
    files, fingerprint, quota, vetting,
};
use crate::{
    challenge::{
        dataset::{self, Dataset},
        phase::{self, Phase, PhaseState},
    },
    evaluation::{
        fingerprint::{Fingerprint, Outputs},
        model,
        results::{Depth, ResultsZip},
    },
    ids::{AccountId, ChallengeId, PhaseId, SubmissionId, TeamId},
    problem::Problem,
    queue,
    storage::{BlobHash, Storage, TempBlob},
    team::participant,
};

/// An upload that has arrived whole.
#[derive(Debug)]
pub struct Upload {
    pub phase: PhaseId,
    pub team: TeamId,
    pub account: AccountId,
    pub results: Option<TempBlob>,
    pub model: Option<TempBlob>,
    pub fact_sheet: FactSheet,
    /// The client's name for this request.
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Accepted {
    pub submission: SubmissionId,
    /// The same upload was accepted before; this is that submission, and nothing more was charged.
    pub repeated: bool,
}

/// Characters of a fact sheet in all, of a field's name, and its fields.
const FACT_SHEET: (usize, usize, usize) = (20_000, 100, 50);

/// Accepts an upload and queues its evaluation.
///
/// One moment decides whether the phase is open, and which day's quota it costs: when the last byte is in, that is, when this is
/// called, by the database's clock. All that was decided before the files were vetted is decided again, by that moment, in the
/// transaction that writes the rows. A repetition of an upload (the same key; or the same files in the same phase while they have
/// not failed) gives the first result again, also after the phase closed or the quota is used up.
pub async fn accept(pool: &PgPool, storage: &Storage, upload: Upload) -> Result<Accepted, Rejection> {
    let Upload { phase, team, account, results, model, fact_sheet, idempotency_key } = upload;
    let results = results.ok_or(Rejection::ArtifactMissing("results"))?;
    let model = model.ok_or(Rejection::ArtifactMissing("model"))?;
    check_text(&fact_sheet, idempotency_key.as_deref())?;

    // No connection is held while the files are vetted.
    let (arrived, dataset, operators, fields) = {
        let mut conn = pool.acquire().await?;
        let phase = phase::get(&mut conn, phase).await?.ok_or(Rejection::NoSuchPhase)?;
        check_sender(&mut conn, team, account).await?;
        check_ban(&mut conn, phase.challenge, account).await?;
        let arrived = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&mut *conn).await?;
        let allowed = match check_open_at(&phase, arrived) {
            Ok(()) => quota::usage_at(&mut conn, phase.id, team, phase.limits, Some(arrived)).await?.check(),
            closed => closed,
        };
        // Looked for after the count: the first of two equal uploads may have used the last of the quota just now, and
        // the second is to hear of it, not of the quota.
        let files = Files { team, phase: phase.id, results: &results.sha256, model: &model.sha256 };
        if let Some(first) = earlier(&mut conn, &files, idempotency_key.as_deref()).await? {
            return Ok(Accepted { submission: first, repeated: true });
        }
        allowed?;
        let dataset = dataset::get(&mut conn, phase.dataset).await?;
        let fields = fact_sheet::fields(&mut conn, phase.challenge).await?;
        (arrived, dataset, phase.protocol.rules.operators, fields)
    };

    let uploaded_model = model.sha256.clone();
    let share = vetting::share(vetting::of_entry(model.bytes, &dataset)).await?;
    let Vetted { results, model, merged, readme, fact_sheet, print, share } =
        vet((results, model), dataset, operators, (fields, fact_sheet), share).await?;
    let model = match merged {
        Some(bytes) => storage.stage(&bytes).await?,
        None => model,
    };
    // Before the database is waited for.
    drop(share);

    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    // No sweep removes a blob of these bytes before the row that names it is in.
    files::hold(&mut tx).await?;
    // Every upload of this team waits here, so that the count below stays true until the row is in; so does whoever is taken out
    // of the team.
    let member = sqlx::query_scalar!("select challenge_id from team where id = $1 for update", team.0)
        .fetch_optional(&mut *tx)
        .await?;
    let phase = phase::get(&mut tx, phase).await?.ok_or(Rejection::NoSuchPhase)?;
    if member != Some(phase.challenge.0) {
        return Err(Rejection::NotAMember);
    }
    check_sender(&mut tx, team, account).await?;
    check_ban(&mut tx, phase.challenge, account).await?;
    let files = Files { team, phase: phase.id, results: &results.sha256, model: &uploaded_model };
    if let Some(first) = earlier(&mut tx, &files, idempotency_key.as_deref()).await? {
        return Ok(Accepted { submission: first, repeated: true });
    }
    check_open_at(&phase, arrived)?;
    quota::usage_at(&mut tx, phase.id, team, phase.limits, Some(arrived)).await?.check()?;

    let id = SubmissionId::new();
    sqlx::query!(
        "insert into submission (id, phase_id, team_id, account_id, results_sha256, results_bytes, model_sha256,
             model_bytes, uploaded_model_sha256, fact_sheet, readme, idempotency_key, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        id.0,
        phase.id.0,
        team.0,
        account.0,
        results.sha256.as_str(),
        results.bytes as i64,
        model.sha256.as_str(),
        model.bytes as i64,
        uploaded_model.as_str(),
        Json(&fact_sheet) as _,
        readme,
        idempotency_key,
        arrived
    )
    .execute(&mut *tx)
    .await?;
    if let Some(print) = print {
        fingerprint::store(&mut tx, id, &print).await?;
    }
    queue::enqueue(&mut tx, id, 0).await.map_err(anyhow::Error::from)?;
    storage.keep(results).await?;
    storage.keep(model).await?;
    tx.commit().await?;
    tracing::info!(submission = %id, team = %team, phase = %phase.slug, "accepted a submission");
    Ok(Accepted { submission: id, repeated: false })
}

/// The model as one file: the one that came, or a zip of the graph and its data file, which came apart.
pub async fn one_model(storage: &Storage, mut files: Vec<(String, TempBlob)>) -> Result<Option<TempBlob>, Rejection> {
    if files.len() < 2 {
        return Ok(files.pop().map(|(_, file)| file));
    }
    // A graph names its data file without a folder.
    let plain = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    for (at, (name, _)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..at].iter().find(|(other, _)| plain(other) == plain(name)) {
            return Err(Rejection::SameName(other.clone(), name.clone()));
        }
    }
    let zip = storage.stage_with(move |to| {
        let mut zip = ZipWriter::new(to);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, file) in &files {
            zip.start_file(plain(name), options)?;
            io::copy(&mut fs::File::open(file.path())?, &mut zip)?;
        }
        zip.finish()?;
        Ok(())
    });
    Ok(Some(zip.await?))
}

fn check_text(fact_sheet: &FactSheet, key: Option<&str>) -> Result<(), Rejection> {
    check_sheet(fact_sheet)?;
    match key {
        Some(key) if key.is_empty() || key.chars().count() > 200 => Err(Rejection::BadKey),
        _ => Ok(()),
    }
}

/// Whether a sheet is short enough to be kept.
pub fn check_sheet(fact_sheet: &FactSheet) -> Result<(), Rejection> {
    let (characters, name, fields) = FACT_SHEET;
    let length: usize = fact_sheet.iter().map(|(k, v)| k.chars().count() + v.chars().count()).sum();
    if length > characters || fact_sheet.len() > fields || fact_sheet.keys().any(|k| k.chars().count() > name) {
        return Err(Rejection::FactSheetTooLarge);
    }
    // Postgres stores no NUL.
    if fact_sheet.iter().any(|(k, v)| k.contains('\0') || v.contains('\0')) {
        return Err(Rejection::Vetting(vec![Problem::new("bad_text", "A fact sheet holds no NUL.")]));
    }
    Ok(())
}

/// Whether an account is in the team, and not shut out.
async fn check_sender(conn: &mut PgConnection, team: TeamId, account: AccountId) -> Result<(), Rejection> {
    let may = sqlx::query_scalar!(
        r#"select exists (select from membership m join account a on a.id = m.account_id
                          where m.team_id = $1 and m.account_id = $2 and a.disabled_at is null) as "may!""#,
        team.0,
        account.0
    );
    if may.fetch_one(conn).await? { Ok(()) } else { Err(Rejection::NotAMember) }
}

async fn check_ban(conn: &mut PgConnection, challenge: ChallengeId, account: AccountId) -> Result<(), Rejection> {
    match participant::ban(conn, challenge, account).await? {
        Some(reason) => Err(Rejection::Banned { reason }),
        None => Ok(()),
    }
}

/// Whether a phase is open, by the clock that read it.
pub fn check_open(phase: &Phase) -> Result<(), Rejection> {
    let at = |time: Option<DateTime<Utc>>| time.unwrap_or_default();
    match phase.state {
        PhaseState::Open => Ok(()),
        PhaseState::Upcoming => Err(Rejection::PhaseNotOpen { opens_at: at(phase.opens_at) }),
        PhaseState::Closed => Err(Rejection::PhaseClosed { closed_at: at(phase.closes_at) }),
    }
}

/// Whether a phase was open at a moment, by the times that it has now.
fn check_open_at(phase: &Phase, at: DateTime<Utc>) -> Result<(), Rejection> {
    let state = match (phase.opens_at, phase.closes_at) {
        (Some(opens), _) if at < opens => PhaseState::Upcoming,
        (_, Some(closes)) if at >= closes => PhaseState::Closed,
        _ => PhaseState::Open,
    };
    check_open(&Phase { state, ..phase.clone() })
}

/// What makes two uploads the same.
struct Files<'a> {
    team: TeamId,
    phase: PhaseId,
    results: &'a BlobHash,
    /// As uploaded.
    model: &'a BlobHash,
}

/// The submission that this upload repeats.
async fn earlier(
    conn: &mut PgConnection,
    files: &Files<'_>,
    key: Option<&str>,
) -> Result<Option<SubmissionId>, Rejection> {
    let Files { team, phase, results, model } = files;
    let by_key = sqlx::query!(
        r#"select id as "id: SubmissionId",
                  (phase_id = $3 and results_sha256 = $4 and uploaded_model_sha256 = $5) as "same!"
           from submission where team_id = $1 and idempotency_key = $2"#,
        team.0,
        key,
        phase.0,
        results.as_str(),
        model.as_str()
    )
    .fetch_optional(&mut *conn)
    .await?;
    match by_key {
        Some(first) if first.same => return Ok(Some(first.id)),
        Some(_) => return Err(Rejection::KeyReused),
        None => {}
    }
    let by_files = sqlx::query_scalar!(
        r#"select s.id as "id: SubmissionId" from submission s
           cross join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e
           where s.team_id = $1 and s.phase_id = $2 and s.results_sha256 = $3 and s.uploaded_model_sha256 = $4
             and s.withdrawn_at is null and e.state in ('queued', 'running', 'scored')
           order by s.id limit 1"#,
        team.0,
        phase.0,
        results.as_str(),
        model.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(by_files)
}

/// Both files, found in order.
struct Vetted {
    results: TempBlob,
    model: TempBlob,
    /// The self-contained model, where the upload was not.
    merged: Option<tokio_util::bytes::Bytes>,
    readme: Option<serde_json::Value>,
    fact_sheet: FactSheet,
    print: Option<Fingerprint>,
    /// The memory of what is above.
    share: vetting::Share<'static>,
}

/// Reads both files and the fact sheet, and lists the problems of all at once.
async fn vet(
    (results, model): (TempBlob, TempBlob),
    dataset: Dataset,
    operators: model::Operators,
    (fields, said): (Vec<Field>, FactSheet),
    share: vetting::Share<'static>,
) -> Result<Vetted, Rejection> {
    // The share goes along: a client that goes away does not stop the thread.
    let vetting = move || -> anyhow::Result<Result<Vetted, Vec<Problem>>> {
        let expected = dataset.expected();
        let outputs = Outputs::new(expected.len());
        let see = |at: usize, image: &_| outputs.see(at, image);
        let (zip, loaded) = (
            ResultsZip::vet_seeing(results.path(), &expected, dataset.scale, Depth::Pixels, &see)?,
            model::load_entry(model.path(), false).and_then(|model| {
                model.keeps_to(&operators)?;
                Ok(model)
            }),
        );
        let readme = zip.as_ref().ok().and_then(|zip| zip.readme.as_ref());
        let sheet = fact_sheet::complete(&fields, &said, readme);
        Ok(match (zip, loaded, sheet) {
            (Ok(zip), Ok(loaded), Ok(fact_sheet)) => {
                let print = Fingerprint::new(&loaded, outputs);
                let merged = loaded.merged.then_some(loaded.bytes);
                // Self-reported and never needed: what cannot be written down is left out.
                let readme = zip.readme.as_ref().and_then(|readme| serde_json::to_value(readme).ok());
                Ok(Vetted { results, model, merged, readme, fact_sheet, print, share })
            }
            (zip, loaded, sheet) => {
                let mut problems = zip.err().unwrap_or_default();
                problems.extend(loaded.err().unwrap_or_default());
                problems.extend(sheet.err().unwrap_or_default());
                Err(problems)
            }
        })
    };
    tokio::task::spawn_blocking(vetting).await.map_err(anyhow::Error::from)??.map_err(Rejection::Vetting)
}
