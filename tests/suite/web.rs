//! Pages: what they say, to whom, and what every answer carries.

use crate::support::{showcase, web::Web};

/// Serves the furnished challenge until it is stopped: `UPSCORE_SHOWCASE=127.0.0.1:8099 cargo test showcase -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves until it is stopped"]
async fn showcase() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let at = std::env::var("UPSCORE_SHOWCASE").unwrap_or_else(|_| "127.0.0.1:8099".into());
    println!("{}", web.listen_at(&at).await);
    println!("token {}\nscored {}\nfailed {}\nqueued {}", shown.token, shown.scored, shown.failed, shown.queued);
    std::future::pending::<()>().await;
}
