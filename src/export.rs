//! Everything that a challenge has come to, as one zip: entries with fact sheets and figures, the boards in all formats,
//! announcements, the audit log, and the teams' files where they are asked for. HR images and what decodes to them are not
//! in it. Rows are read in pages while it is written, so that memory stays flat.

use std::io::{self, BufWriter, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, types::Json};
use tokio::runtime::Handle;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    audit,
    challenge::{Challenge, announcement, phase},
    csv,
    ids::{ChallengeId, SubmissionId, TeamId},
    leaderboard,
    queue::State,
    storage::{BlobHash, Storage},
    submission::{FactSheet, OrganizerStatus, fact_sheet},
};

/// Rows in memory at once.
const PAGE: i64 = 200;

/// An entry with what was measured last by an official evaluation.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    submission: SubmissionId,
    phase: String,
    team: String,
    team_id: TeamId,
    /// Who sent it in; `null`: the server made it of the phase's baseline.
    account: Option<String>,
    created_at: DateTime<Utc>,
    state: State,
    withdrawn_at: Option<DateTime<Utc>>,
    chosen: bool,
    mark: OrganizerStatus,
    mark_reason: Option<String>,
    results_sha256: BlobHash,
    model_sha256: BlobHash,
    /// By which the figures were measured.
    protocol: Option<String>,
    /// dB.
    psnr: Option<f64>,
    ssim: Option<f64>,
    params: Option<i64>,
    flops_kair: Option<i64>,
    flops_fvcore: Option<i64>,
    activations: Option<i64>,
    convs: Option<i64>,
    memory_bytes: Option<i64>,
    runtime_ms: Option<f64>,
    runtime_ratio: Option<f64>,
    reproduction: Option<String>,
    fact_sheet: Json<FactSheet>,
    readme: Option<serde_json::Value>,
}

async fn page(conn: &mut PgConnection, challenge: ChallengeId, after: SubmissionId) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"select s.id as "submission: _", p.slug as phase, t.name as team, t.id as "team_id: _", a.name as "account?",
                  s.created_at, e.state as "state: _", s.withdrawn_at, s.chosen, s.organizer_status as "mark: _",
                  s.organizer_reason as mark_reason, s.results_sha256 as "results_sha256: _",
                  s.model_sha256 as "model_sha256: _", r.name as "protocol?", c.psnr as "psnr?", c.ssim as "ssim?",
                  c.params as "params?", c.flops_kair as "flops_kair?", c.flops_fvcore as "flops_fvcore?",
                  c.activations as "activations?", c.convs as "convs?", c.memory_bytes as "memory_bytes?",
                  c.runtime_ms as "runtime_ms?", c.ratio as runtime_ratio, c.verdict as "reproduction?",
                  s.fact_sheet as "fact_sheet: _", s.readme
           from submission s join phase p on p.id = s.phase_id join team t on t.id = s.team_id
           left join account a on a.id = s.account_id
           cross join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e
           left join lateral
               (select id, protocol_id from evaluation where submission_id = s.id and official and state = 'scored'
                order by number desc limit 1) m on true
           left join protocol r on r.id = m.protocol_id left join score c on c.evaluation_id = m.id
           where p.challenge_id = $1 and s.id > $2 order by s.id limit $3"#,
        challenge.0,
        after.0,
        PAGE
    )
    .fetch_all(conn)
    .await
}

/// Writes the zip; blocks, so call it on a thread of its own. `files`: with every results zip and model.
pub fn write(
    pool: &PgPool,
    storage: &Storage,
    runtime: &Handle,
    challenge: &Challenge,
    files: bool,
    to: impl Write,
) -> anyhow::Result<()> {
    let text = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    // Zips and weights do not shrink.
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    let mut zip = ZipWriter::new_stream(BufWriter::with_capacity(64 << 10, to));
    let rows = Rows { pool, runtime, challenge: challenge.id };

    zip.start_file("README.txt", text)?;
    zip.write_all(about(challenge, files).as_bytes())?;

    let fields = rows.with(async |conn| fact_sheet::fields(conn, challenge.id).await)?;
    let keys: Vec<&str> = fields.iter().map(|field| field.key.as_str()).collect();
    zip.start_file("submissions.csv", text)?;
    zip.write_all(header(&keys).as_bytes())?;
    rows.entries(|entry| zip.write_all(entry.to_csv(&keys).as_bytes()))?;
    zip.start_file("submissions.json", text)?;
    let mut first = true;
    rows.entries(|entry| {
        zip.write_all(if std::mem::take(&mut first) { b"[\n" } else { b",\n" })?;
        Ok(serde_json::to_writer(&mut zip, entry)?)
    })?;
    zip.write_all(if first { b"[]\n" } else { b"\n]\n" })?;

    for phase in rows.with(async |conn| phase::of_challenge(conn, challenge.id).await)? {
        let phase = phase.whole();
        let board = rows.with(async |conn| leaderboard::ranking(conn, &phase).await)?;
        let (json, now) = (serde_json::to_string_pretty(&board)?, Utc::now());
        let formats =
            [("json", json), ("csv", board.to_csv()), ("md", board.to_markdown()?), ("tex", board.to_latex(now)?)];
        for (ending, board) in formats {
            zip.start_file(format!("boards/{}.{ending}", phase.slug), text)?;
            zip.write_all(board.as_bytes())?;
        }
    }

    let announced = rows.with(async |conn| announcement::list(conn, challenge.id, true).await)?;
    zip.start_file("announcements.json", text)?;
    serde_json::to_writer_pretty(&mut zip, &announced)?;

    zip.start_file("audit.csv", text)?;
    zip.write_all(audit::CSV.as_bytes())?;
    rows.acts(|act| zip.write_all(act.to_csv().as_bytes()))?;

    if files {
        rows.entries(|entry| {
            let of = format!("files/{}/{}", entry.phase, entry.submission);
            for (name, hash) in [("results.zip", &entry.results_sha256), ("model.onnx", &entry.model_sha256)] {
                match std::fs::File::open(storage.path(hash)) {
                    Ok(mut file) => {
                        zip.start_file(format!("{of}/{name}"), stored)?;
                        io::copy(&mut file, &mut zip)?;
                    }
                    // Named, rather than left out without a word.
                    Err(error) => {
                        zip.start_file(format!("{of}/{name}.missing.txt"), text)?;
                        writeln!(zip, "{hash}: {}", error.kind(), hash = hash.as_str())?;
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(zip.finish()?.into_inner().flush()?)
}

/// Reads rows from a thread that may block.
struct Rows<'a> {
    pool: &'a PgPool,
    runtime: &'a Handle,
    challenge: ChallengeId,
}

impl Rows<'_> {
    /// A connection is held for one query, not while a slow client reads.
    fn with<T, E: Into<anyhow::Error>>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            let mut conn = self.pool.acquire().await?;
            query(&mut conn).await.map_err(Into::into)
        })
    }

    /// Every entry, oldest first.
    fn entries(&self, mut each: impl FnMut(&Entry) -> io::Result<()>) -> anyhow::Result<()> {
        let mut after = SubmissionId(uuid::Uuid::nil());
        loop {
            let entries = self.with(async |conn| page(conn, self.challenge, after).await)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = last.submission;
            entries.iter().try_for_each(&mut each)?;
        }
    }

    /// Every act, newest first.
    fn acts(&self, mut each: impl FnMut(&audit::Entry) -> io::Result<()>) -> anyhow::Result<()> {
        let mut before = None;
        loop {
            let acts = self.with(async |conn| audit::list(conn, Some(self.challenge), before, PAGE as u32).await)?;
            let Some(last) = acts.last() else { return Ok(()) };
            before = Some(last.id);
            acts.iter().try_for_each(&mut each)?;
        }
    }
}

fn about(challenge: &Challenge, files: bool) -> String {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let more = if files { "files/            each entry's results zip and model, as they were measured\n" } else { "" };
    format!(
        "{} ({}), exported {now} by Upscore {}\n\n\
         submissions.*     every entry: fact sheet, marks, and the figures of its newest official result\n\
         boards/           each phase's board in JSON, CSV, Markdown and LaTeX, each naming its protocol\n\
         announcements.json\n\
         audit.csv         what organizers did, newest first\n{more}\n\
         It holds hidden figures and the teams' words: for the organizers alone.\n",
        challenge.title,
        challenge.slug,
        env!("CARGO_PKG_VERSION")
    )
}

const COLUMNS: &str = "submission,phase,team,account,created_at,state,withdrawn_at,chosen,mark,mark_reason,results_sha256,\
                       model_sha256,protocol,psnr_db,ssim,params,flops_kair,flops_fvcore,activations,convs,memory_bytes,\
                       runtime_ms,runtime_ratio,reproduction";

fn header(keys: &[&str]) -> String {
    let facts: String = keys.iter().map(|key| format!(",{}", csv::text(&format!("fact {key}")))).collect();
    format!("{COLUMNS}{facts},other_facts\r\n")
}

impl Entry {
    /// In the order of [`header`]; what the team said under keys that no field has stands together in the last cell.
    fn to_csv(&self, keys: &[&str]) -> String {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mark = match self.mark {
            OrganizerStatus::None => "none",
            OrganizerStatus::Held => "held",
            OrganizerStatus::Disqualified => "disqualified",
        };
        let mut cells = vec![
            self.submission.to_string(),
            self.phase.clone(),
            csv::text(&self.team),
            csv::text(self.account.as_deref().unwrap_or_default()),
            time(self.created_at),
            self.state.as_str().to_owned(),
            csv::cell(self.withdrawn_at.map(time)),
            self.chosen.to_string(),
            mark.to_owned(),
            csv::text(self.mark_reason.as_deref().unwrap_or_default()),
            self.results_sha256.as_str().to_owned(),
            self.model_sha256.as_str().to_owned(),
            csv::cell(self.protocol.as_ref()),
            csv::cell(self.psnr),
            csv::cell(self.ssim),
            csv::cell(self.params),
            csv::cell(self.flops_kair),
            csv::cell(self.flops_fvcore),
            csv::cell(self.activations),
            csv::cell(self.convs),
            csv::cell(self.memory_bytes),
            csv::cell(self.runtime_ms),
            csv::cell(self.runtime_ratio),
            csv::cell(self.reproduction.as_ref()),
        ];
        cells.extend(keys.iter().map(|key| csv::text(self.fact_sheet.get(*key).map_or("", String::as_str))));
        let others: FactSheet = self
            .fact_sheet
            .iter()
            .filter(|(key, _)| !keys.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        cells.push(if others.is_empty() { String::new() } else { csv::text(&serde_json::json!(others).to_string()) });
        csv::line(&cells)
    }
}
