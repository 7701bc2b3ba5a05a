//! Why an upload was not accepted, as situations; page and API render the same one.

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::{quota::Bound, uploads::Allowance};
use crate::{
    db,
    ids::UploadId,
    problem::{Problem, printable},
    storage::StorageError,
};

/// An upload that was not accepted. But for `Ours` it is final and the client's to mend, left nothing on disk and cost
/// nothing.
#[derive(Debug, Error)]
pub enum Rejection {
    #[error("there is no such phase")]
    NoSuchPhase,
    #[error("this account is not in this team")]
    NotAMember,
    #[error("the organizers banned this account: {reason}")]
    Banned { reason: String },
    #[error("this phase opens at {opens_at}")]
    PhaseNotOpen { opens_at: DateTime<Utc> },
    #[error("this phase closed at {closed_at}")]
    PhaseClosed { closed_at: DateTime<Utc> },
    #[error("{used} of {limit} are used")]
    QuotaUsed {
        bound: Bound,
        used: u32,
        limit: u32,
        /// When there is room again; `None`: not in this phase.
        resets_at: Option<DateTime<Utc>>,
    },
    /// `results` or `model`.
    #[error("the upload has no {0}")]
    ArtifactMissing(&'static str),
    /// The two files of the model cannot be told apart by their names, folders left out.
    #[error("both files of the model are called {0} and {1}")]
    SameName(String, String),
    #[error("the fact sheet is too long")]
    FactSheetTooLarge,
    #[error("this idempotency key was used for another upload")]
    KeyReused,
    #[error("an idempotency key has 1 to 200 characters")]
    BadKey,
    #[error("the upload is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    /// Every problem of the zip and of the model.
    #[error("{} problems in the files", .0.len())]
    Vetting(Vec<Problem>),
    /// Not there, of somebody else, expired, or for another phase or part.
    #[error("there is no upload {0}")]
    NoSuchUpload(UploadId),
    #[error("{have} of {length} bytes of the upload {id} are here")]
    UploadIncomplete { id: UploadId, have: u64, length: u64 },
    /// Somebody has it and does not let go.
    #[error("another request has the upload {0}")]
    UploadBusy(UploadId),
    /// Its bytes are not those that the client announced.
    #[error("the upload {id} has another SHA-256 than was announced")]
    UploadCorrupt { id: UploadId },
    #[error("{open} uploads are open")]
    TooManyUploads { open: u64, allowance: Allowance },
    #[error("the storage is nearly full")]
    StorageFull,
    #[error(transparent)]
    Ours(#[from] anyhow::Error),
}

/// The kind of answer that a rejection is, with the HTTP status that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 400
    Malformed,
    /// 404
    NotFound,
    /// 403
    Forbidden,
    /// 409
    Conflict,
    /// 423
    Locked,
    /// 413
    TooLarge,
    /// 422
    Unprocessable,
    /// 429, with `Retry-After`.
    TooMany,
    /// 507
    StorageFull,
    /// 503, with `Retry-After`: the database is away.
    Unavailable,
    /// 500
    Ours,
}

impl Class {
    pub fn status(self) -> u16 {
        match self {
            Class::Malformed => 400,
            Class::NotFound => 404,
            Class::Forbidden => 403,
            Class::Conflict => 409,
            Class::Locked => 423,
            Class::TooLarge => 413,
            Class::Unprocessable => 422,
            Class::TooMany => 429,
            Class::StorageFull => 507,
            Class::Unavailable => 503,
            Class::Ours => 500,
        }
    }
}

impl Rejection {
    pub fn class(&self) -> Class {
        match self {
            Rejection::SameName(..) => Class::Malformed,
            Rejection::NoSuchPhase => Class::NotFound,
            Rejection::UploadIncomplete { .. } => Class::Conflict,
            Rejection::UploadBusy(_) => Class::Locked,
            Rejection::TooManyUploads { .. } => Class::TooMany,
            Rejection::NotAMember
            | Rejection::Banned { .. }
            | Rejection::PhaseNotOpen { .. }
            | Rejection::PhaseClosed { .. } => Class::Forbidden,
            Rejection::QuotaUsed { .. } => Class::TooMany,
            Rejection::KeyReused => Class::Conflict,
            Rejection::TooLarge { .. } => Class::TooLarge,
            Rejection::ArtifactMissing(_)
            | Rejection::FactSheetTooLarge
            | Rejection::BadKey
            | Rejection::NoSuchUpload(_)
            | Rejection::UploadCorrupt { .. }
            | Rejection::Vetting(_) => Class::Unprocessable,
            Rejection::StorageFull => Class::StorageFull,
            Rejection::Ours(error) if db::is_away(error) => Class::Unavailable,
            Rejection::Ours(_) => Class::Ours,
        }
    }

    /// What to show, never empty. Of a fault of ours it tells nothing: the log has it.
    pub fn problems(&self) -> Vec<Problem> {
        let time = |at: &DateTime<Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
        let problem = match self {
            Rejection::Vetting(problems) if !problems.is_empty() => return problems.clone(),
            Rejection::Vetting(_) => Problem::new("unreadable", "The files could not be read."),
            Rejection::NoSuchPhase => Problem::new("phase_not_found", "There is no such phase."),
            Rejection::NotAMember => Problem::new("not_a_member", "This account is not in this team.")
                .hint("Join or make a team of this challenge first."),
            Rejection::Banned { reason } => {
                Problem::new("banned_here", format!("The organizers banned this account from the challenge: {reason}"))
                    .hint("Ask them.")
            }
            Rejection::PhaseNotOpen { opens_at } => {
                Problem::new("phase_not_open", format!("This phase opens at {}.", time(opens_at)))
            }
            Rejection::PhaseClosed { closed_at } => {
                Problem::new("phase_closed", format!("This phase closed at {}.", time(closed_at)))
            }
            Rejection::QuotaUsed { bound: Bound::Unfinished, used, limit, .. } => Problem::new(
                "too_many_unfinished",
                format!("Your team has {used} entries that wait or run, and {limit} at once are allowed."),
            )
            .hint("Send in the next one when one of them has ended."),
            Rejection::QuotaUsed { bound, used, limit, resets_at } => {
                let (code, what) = match bound {
                    Bound::Daily => ("quota_used", "evaluations of today"),
                    Bound::Total => ("quota_used", "evaluations of this phase"),
                    Bound::Attempts => ("attempts_used", "failed runs of today"),
                    Bound::Uploads | Bound::Unfinished => ("uploads_used", "uploads of today"),
                };
                let problem = Problem::new(code, format!("Your team has used {used} of its {limit} {what}."));
                match resets_at {
                    Some(at) => problem.hint(format!("There is room again from {}.", time(at))),
                    None => problem,
                }
            }
            Rejection::ArtifactMissing(name) => {
                Problem::new("artifact_missing", format!("The upload has no {name} file.")).at(name)
            }
            Rejection::SameName(first, second) => {
                let (first, second) = (printable(first), printable(second));
                let message = format!("The two files of the model have one name: {first} and {second}.");
                Problem::new("duplicate_part", message).at("model").hint(
                    "Send each file once, under its own name, as model.onnx and model.onnx.data; one without a name counts as model.onnx.",
                )
            }
            Rejection::FactSheetTooLarge => Problem::new(
                "fact_sheet_too_large",
                "A fact sheet has at most 50 fields with names of 100 and 20,000 characters in all.",
            ),
            Rejection::KeyReused => {
                Problem::new("idempotency_key_reused", "This idempotency key was used for an upload of other files.")
                    .hint("Take a new key for each new upload.")
            }
            Rejection::BadKey => Problem::new("bad_idempotency_key", "An idempotency key has 1 to 200 characters."),
            Rejection::TooLarge { limit } => {
                Problem::new("too_large", format!("The upload is larger than the {limit} bytes that are allowed."))
            }
            Rejection::NoSuchUpload(id) => {
                Problem::new("upload_not_found", "There is no such upload of yours for this part of this phase.")
                    .at(id.to_string())
                    .hint("It may have expired or been used already; upload the file again.")
            }
            Rejection::UploadIncomplete { id, have, length } => {
                Problem::new("upload_incomplete", format!("{have} of {length} bytes of this upload are here."))
                    .at(id.to_string())
                    .hint("Send the rest first.")
            }
            Rejection::UploadBusy(id) => Problem::new("upload_busy", "Another request is using this upload.")
                .at(id.to_string())
                .hint("Try again in seconds."),
            Rejection::UploadCorrupt { id } => {
                Problem::new("upload_corrupt", "The bytes that arrived have another SHA-256 than was announced.")
                    .at(id.to_string())
                    .hint("Delete this upload and send the file again; it may have changed while it was sent.")
            }
            Rejection::TooManyUploads { open, allowance } => Problem::new(
                "too_many_uploads",
                format!(
                    "You have {open} open uploads; {} with {} bytes in all are allowed.",
                    allowance.uploads, allowance.bytes
                ),
            )
            .hint("Submit or delete one; an upload that nothing happens to expires after a day."),
            Rejection::StorageFull => Problem::new("storage_full", "The server's storage is nearly full.")
                .hint("Try again later; the organizers have been told."),
            Rejection::Ours(_) => Problem::new("internal", "Something went wrong on our side; nothing was charged."),
        };
        vec![problem]
    }
}

impl From<sqlx::Error> for Rejection {
    fn from(error: sqlx::Error) -> Self {
        Rejection::Ours(error.into())
    }
}

impl From<StorageError> for Rejection {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::TooLarge { limit } => Rejection::TooLarge { limit },
            StorageError::Full => Rejection::StorageFull,
            StorageError::Io(error) => Rejection::Ours(error.into()),
        }
    }
}
