//! Connections: an accept loop with a time limit on headers, a cap on connections, and a graceful stop. `axum::serve` sets
//! no timer, so that its header timeout never fires and a slow client holds its connection for ever.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::{App, router};

/// Bytes of a request's headers in all, and of the buffer that a connection reads into.
const HEADERS: usize = 16 << 10;
const BUFFER: usize = 64 << 10;
/// After an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `app.stop` is cancelled, then lets open requests finish for a while.
pub async fn serve(app: App, listener: TcpListener) -> anyhow::Result<()> {
    let address = listener.local_addr().context("reading the address we listen at")?;
    let stop = app.stop.clone();
    let settings = app.settings.clone();
    let router = router(app);
    let slots = Arc::new(Semaphore::new(settings.connections));
    let open = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_header_size(HEADERS)
        .max_buf_size(BUFFER)
        .half_close(false);
    info!(%address, "listening");
    loop {
        // The slot first: what we cannot serve waits in the system's backlog.
        let accepted = async { (slots.clone().acquire_owned().await, listener.accept().await) };
        let (slot, accepted) = tokio::select! {
            both = accepted => both,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(both) => both,
            Err(error) => {
                warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = open.watch(http.serve_connection(TokioIo::new(no_delay(stream)), service(&router, peer)));
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.await {
                debug!(%error, %peer, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(settings.grace, open.shutdown()).await.is_err() {
        warn!("some requests were still open after the grace time and are cut off");
    }
    info!("the server stopped");
    Ok(())
}

/// Without this, small answers to a client that pipelines wait for its acknowledgement.
fn no_delay(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}

/// The router, told who asks.
fn service(
    router: &Router,
    peer: SocketAddr,
) -> TowerToHyperService<
    impl tower::Service<
        Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<>,
> {
    let router = router.clone().map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    TowerToHyperService::new(router)
}
