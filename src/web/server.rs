//! Connections: an accept loop with a time limit on headers, caps on connections in all and of one address, an end to answers
//! that nobody reads, and a graceful stop. `axum::serve` sets no timer, so that its header timeout never fires and a slow client
//! holds its connection for ever.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::{
    App,
    doors::{AtOnce, network},
    extract::is_ours,
    pace::Paced,
    router,
};

/// Bytes of a request's headers in all, and of the buffer that a connection reads into.
const HEADERS: usize = 16 << 10;
const BUFFER: usize = 64 << 10;
/// After an accept that failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer that the system takes before they are on their way. So we see soon that a reader is slow, and it costs
/// little memory; how fast an answer goes is not bound by it.
const UNSENT: u32 = 64 << 10;
/// How long a connection may have been idle without being the first to make room.
const FRESH: Duration = Duration::from_secs(1);
/// To a connection that finds no room.
const FULL: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: text/plain\r\n\
    Content-Length: 54\r\n\r\nToo many connections. Try again in a couple of moments";

/// Serves until `app.stop` is cancelled, then lets open requests finish for a while.
pub async fn serve(app: App, listener: TcpListener) -> anyhow::Result<()> {
    let address = listener.local_addr().context("reading the address we listen at")?;
    let stop = app.stop.clone();
    let settings = app.settings.clone();
    let router = router(app);
    let crowd = Crowd::new(settings.connections);
    let open = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_header_size(HEADERS)
        .max_buf_size(BUFFER)
        .half_close(false);
    info!(%address, "listening");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
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
        // All connections of a proxy are its own; its clients are told apart by request.
        let from = (!is_ours(&peer.ip(), &settings.trusted_proxies)).then(|| network(peer.ip()));
        let Some(seat) = crowd.admit(from) else {
            metrics::counter!("upscore_connections_refused_total").increment(1);
            // Into the system's buffer, which is empty: nothing is waited for.
            let _ = stream.try_write(FULL);
            continue;
        };
        let paced = Paced::new(tuned(stream), settings.read_window, settings.read_min_rate);
        let (leave, busy) = (seat.leave.clone(), seat.busy.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(paced), service(&router, peer, busy)));
        tokio::spawn(async move {
            let _seat = seat;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    debug!(%error, %peer, "a connection ended early");
                },
                () = leave.cancelled() => debug!(%peer, "an idle connection made room"),
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

/// Without the first, small answers to a client that pipelines wait for its acknowledgement.
fn tuned(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
    stream
}

/// The router, told who asks.
fn service(
    router: &Router,
    peer: SocketAddr,
    busy: Busy,
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
    let at_work = busy.clone();
    let router = router
        .clone()
        .map_request(move |request: Request<Incoming>| {
            at_work.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        })
        .map_response(move |response| busy.until_sent(response));
    TowerToHyperService::new(router)
}

/// Everybody who is connected. Who comes when it is full takes the place of the connection that has been idle longest: of one that
/// has sent no whole request, or waits for the next. What is at work is never cut off.
struct Crowd {
    most: AtOnce,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// By age.
    seats: BTreeMap<u64, (Option<IpAddr>, Busy, CancellationToken)>,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, until it is dropped.
struct Seat {
    inside: Arc<Mutex<Inside>>,
    number: u64,
    busy: Busy,
    /// Cancelled when it makes room.
    leave: CancellationToken,
}

/// Whether a connection is at work on a request, and else since when it is not.
#[derive(Clone)]
struct Busy(Arc<Mutex<Work>>);

#[derive(Clone, Copy)]
enum Work {
    /// Nothing was asked yet.
    New,
    Going,
    DoneAt(Instant),
}

impl Crowd {
    fn new(most: AtOnce) -> Crowd {
        Crowd { most, inside: Arc::default() }
    }

    /// A place for a connection; of no address: one of a proxy of ours.
    fn admit(&self, from: Option<IpAddr>) -> Option<Seat> {
        let mut inside = lock(&self.inside);
        let here = from.and_then(|from| inside.by_address.get(&from)).copied().unwrap_or(0);
        if here >= self.most.an_address && !inside.make_room(|of| of == from) {
            return None;
        }
        if inside.seats.len() >= self.most.in_all && !inside.make_room(|_| true) {
            return None;
        }
        let number = inside.next;
        inside.next += 1;
        let (busy, leave) = (Busy(Arc::new(Mutex::new(Work::New))), CancellationToken::new());
        inside.seats.insert(number, (from, busy.clone(), leave.clone()));
        if let Some(from) = from {
            *inside.by_address.entry(from).or_default() += 1;
        }
        metrics::gauge!("upscore_connections").set(inside.seats.len() as f64);
        Some(Seat { inside: self.inside.clone(), number, busy, leave })
    }
}

impl Inside {
    /// Sends the oldest idle connection away; false: all are at work.
    fn make_room(&mut self, of: impl Fn(Option<IpAddr>) -> bool) -> bool {
        let idle =
            self.seats.iter().find(|(_, (from, busy, _))| of(*from) && busy.is_idle()).map(|(number, _)| *number);
        let Some(number) = idle else { return false };
        if let Some(leave) = self.remove(number) {
            leave.cancel();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<CancellationToken> {
        let (from, _, leave) = self.seats.remove(&number)?;
        if let Some(from) = from {
            match self.by_address.get_mut(&from) {
                Some(here) if *here > 1 => *here -= 1,
                _ => drop(self.by_address.remove(&from)),
            }
        }
        Some(leave)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        // One that made room is gone already.
        inside.remove(self.number);
        metrics::gauge!("upscore_connections").set(inside.seats.len() as f64);
    }
}

impl Busy {
    fn begin(&self) {
        *lock(&self.0) = Work::Going;
    }

    fn is_idle(&self) -> bool {
        match *lock(&self.0) {
            Work::New => true,
            Work::Going => false,
            // The last of an answer may still be on its way.
            Work::DoneAt(at) => at.elapsed() > FRESH,
        }
    }

    /// The answer, which is at work until its body has been taken whole, or given up.
    fn until_sent(&self, response: axum::response::Response) -> axum::response::Response {
        let done = Done(self.clone());
        response.map(|body| super::doors::holding(body, done))
    }
}

/// Notes when an answer is done.
struct Done(Busy);

impl Drop for Done {
    fn drop(&mut self) {
        *lock(&self.0.0) = Work::DoneAt(Instant::now());
    }
}

fn lock<T>(inside: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole whatever panicked beside it.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_takes_the_place_of_the_oldest_that_is_idle() {
        let crowd = Crowd::new(AtOnce { an_address: 2, in_all: 3 });
        let at = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let (first, second) = (crowd.admit(at(1)).expect("in"), crowd.admit(at(1)).expect("in"));
        first.busy.begin();
        let third = crowd.admit(at(1)).expect("in the place of the second");
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled());
        third.busy.begin();
        assert!(crowd.admit(at(1)).is_none(), "all of this address are at work");
        let other = crowd.admit(at(2)).expect("in");
        let newest = crowd.admit(at(3)).expect("in the place of the other");
        assert!(other.leave.is_cancelled());
        newest.busy.begin();
        assert!(crowd.admit(None).is_none(), "all are at work");
        drop(newest);
        drop(second);
        assert!(crowd.admit(None).is_some());
    }

    #[test]
    fn the_answer_to_who_finds_no_room_has_the_length_it_says() {
        let text = std::str::from_utf8(FULL).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
