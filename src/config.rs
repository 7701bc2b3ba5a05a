//! Configuration: option groups that subcommands flatten, limits with their reasons, and where `make setup` put things.
//!
//! A flag wins over its environment variable, which wins over the default.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use crate::evaluation::installation::{find_onnxruntime, runtime_dirs};
use crate::{submission::uploads::Allowance, telemetry::LogFormat};

/// Where everything is kept that must outlive the process: blobs, and the private Postgres cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct DataOptions {
    /// Folder of the uploads and of the private database.
    #[arg(long, env = "UPSCORE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Which database to use.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseOptions {
    /// Postgres to use. Unset: a private cluster in the data folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
}

impl DatabaseOptions {
    /// The URL, where one is given; an empty variable counts as unset.
    pub fn url(&self) -> Option<&str> {
        self.database_url.as_deref().filter(|url| !url.is_empty())
    }
}

/// Where the web server is found.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenOptions {
    /// Address and port to listen on.
    #[arg(long, env = "UPSCORE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
}

/// What is logged, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// What to log: a level, or levels by module as in `info,upscore::worker=debug`.
    #[arg(long = "log", env = "UPSCORE_LOG", default_value = "info", value_name = "FILTER")]
    pub filter: String,
    /// Lines for people or for machines.
    #[arg(long = "log-format", env = "UPSCORE_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: LogFormat,
}

/// Every limit of the installation. Those of a challenge (quota, time, memory of a model) are in its protocol.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a results zip. A hundred 2K images as PNG are about 600 MB; 2 GiB leaves room for larger test sets.
    pub results_bytes: u64,
    /// Bytes of a model upload. Efficient networks are a few MB, yet entries that cost too much should get their rank too.
    pub model_bytes: u64,
    /// Bytes that a dataset's zip, or a challenge's, may unpack to: a thousand 2K images are about 6 GB.
    pub dataset_bytes: u64,
    /// Files in it.
    pub dataset_files: u64,
    /// Bytes of one field of the fact sheet: a page of text.
    pub field_bytes: usize,
    /// Bytes that stay free on the data folder's disk: an upload is refused rather than Postgres stopped by a full disk.
    pub free_bytes: u64,
    /// How long a job stays a worker's without a heartbeat: a killed worker's job waits so long. Several missed beats.
    pub lease: Duration,
    /// Between heartbeats: how soon a cancellation is seen.
    pub heartbeat: Duration,
    /// Claims of one job before it is given up: a model that takes the worker with it must not do so for ever.
    pub attempts: i32,
    /// Between looks at the queue when no NOTIFY wakes us; a missed one costs no more than this.
    pub poll: Duration,
    /// Connections that a server's pool opens. Pages and uploads hold one for milliseconds.
    pub connections: u32,
    /// Connections that a worker's pool opens: the job, its heartbeat, the listener, the sweep, the sign of life.
    pub worker_connections: u32,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            results_bytes: 2 * GIB,
            model_bytes: 512 * MIB,
            dataset_bytes: 32 * GIB,
            dataset_files: 20_000,
            field_bytes: 4096,
            free_bytes: GIB,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            attempts: 3,
            poll: Duration::from_secs(2),
            connections: 20,
            worker_connections: 5,
        }
    }
}

impl Limits {
    /// What an account may have open of resumable uploads: two entries of the largest size, in pieces.
    pub fn uploads(&self) -> Allowance {
        Allowance { uploads: 12, bytes: 2 * (self.results_bytes + self.model_bytes) }
    }

    /// Small enough that a test can exceed them, short enough that it need not wait.
    pub fn for_tests() -> Limits {
        Limits {
            results_bytes: 8 * MIB,
            model_bytes: 4 * MIB,
            field_bytes: 256,
            free_bytes: 0,
            lease: Duration::from_millis(1500),
            heartbeat: Duration::from_millis(200),
            poll: Duration::from_millis(200),
            connections: 8,
            ..Limits::default()
        }
    }
}
