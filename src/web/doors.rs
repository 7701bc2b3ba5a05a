//! What one address may have of the server at once. Whatever is held for as long as a visitor likes, as a download or a live
//! page, or costs seconds of work, as a board of the past, is counted by where it was asked for, so that nobody can take all of it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{App, Error, Settings, extract::ClientAddress};

/// The doors of one server.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Requests of any kind, until their answers have been sent.
    requests: Door,
    /// Files and archives on their way out.
    downloads: Door,
    /// Live pages.
    followers: Door,
    /// Boards of the past, asked for and not yet ranked.
    past_boards: Door,
    /// Pages and documents that are being made.
    answers: Queues,
}

impl Doors {
    pub fn new(settings: &Settings) -> Doors {
        let Settings { requests, downloads, followers, past_boards, answers, .. } = settings;
        Doors {
            requests: Door::new(*requests),
            downloads: Door::new(*downloads),
            followers: Door::new(*followers),
            past_boards: Door::new(*past_boards),
            answers: Queues::new(*answers),
        }
    }

    /// For the metrics: what is there of each kind.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        [
            ("requests", self.requests.count()),
            ("downloads", self.downloads.count()),
            ("followers", self.followers.count()),
            ("past_boards", self.past_boards.count()),
        ]
    }

    /// Leave to ask for a board of the past.
    pub fn past_board(&self, from: ClientAddress) -> Result<Pass, Error> {
        self.past_boards.enter(from.0)
    }
}

/// How many of a kind there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtOnce {
    pub an_address: usize,
    pub in_all: usize,
}

#[derive(Debug, Clone)]
struct Door {
    most: AtOnce,
    inside: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of those that are let in, until it is dropped.
#[derive(Debug)]
pub struct Pass {
    inside: Arc<Mutex<HashMap<IpAddr, usize>>>,
    from: IpAddr,
}

/// A queue for each address: so many of its answers are made at once, the others wait their turn.
#[derive(Debug, Clone)]
struct Queues {
    at_once: usize,
    by_address: Arc<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
}

/// A turn in a queue, until it is dropped.
struct Turn {
    queues: Queues,
    from: IpAddr,
    queue: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Queues {
    fn new(at_once: usize) -> Queues {
        Queues { at_once, by_address: Arc::default() }
    }

    async fn turn(&self, from: IpAddr) -> Turn {
        let from = network(from);
        let queue =
            lock(&self.by_address).entry(from).or_insert_with(|| Arc::new(Semaphore::new(self.at_once))).clone();
        // Before it is waited for, so that a queue which somebody gives up is cleared away too.
        let mut turn = Turn { queues: self.clone(), from, queue: queue.clone(), permit: None };
        // An error would be a closed queue, and nobody closes them.
        turn.permit = queue.acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues.by_address);
        // The permit holds the queue as well.
        drop(self.permit.take());
        // The map's and this one: nobody else is in it, and nobody comes while the lock is held.
        if Arc::strong_count(&self.queue) == 2 {
            queues.remove(&self.from);
        }
    }
}

impl Door {
    fn new(most: AtOnce) -> Door {
        Door { most, inside: Arc::default() }
    }

    fn enter(&self, from: IpAddr) -> Result<Pass, Error> {
        let from = network(from);
        let mut inside = lock(&self.inside);
        let here = inside.get(&from).copied().unwrap_or(0);
        if here >= self.most.an_address || inside.values().sum::<usize>() >= self.most.in_all {
            return Err(Error::TooManyAtOnce);
        }
        inside.insert(from, here + 1);
        Ok(Pass { inside: self.inside.clone(), from })
    }

    fn count(&self) -> usize {
        lock(&self.inside).values().sum()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        match inside.get_mut(&self.from) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(inside.remove(&self.from)),
        }
    }
}

impl Pass {
    /// The answer, which has the pass until it is sent or given up.
    pub fn with(self, response: Response) -> Response {
        response.map(|body| holding(body, self))
    }
}

fn lock<T>(inside: &Mutex<HashMap<IpAddr, T>>) -> MutexGuard<'_, HashMap<IpAddr, T>> {
    // The map is whole whatever panicked beside them.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for: a household or an office gets an IPv6 network of 64 bits, and one IPv4 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// A body that holds something until it has been sent, or is given up.
pub fn holding(body: Body, held: impl Send + Unpin + 'static) -> Body {
    Body::new(Holding { body, _held: held })
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Leave to download a file; hand the answer to it.
pub struct Download(Pass);

impl Download {
    pub fn of(self, response: Response) -> Response {
        self.0.with(response)
    }
}

impl FromRequestParts<App> for Download {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(parts, app).await;
        app.doors.downloads.enter(from).map(Download)
    }
}

/// Leave to follow a live page.
pub struct Follow(pub Pass);

impl FromRequestParts<App> for Follow {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(parts, app).await;
        app.doors.followers.enter(from).map(Follow)
    }
}

/// Lets a request in, and out when its answer has been sent. Behind a proxy all connections are the proxy's: here each client is
/// known.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(&mut parts, &app).await;
    match app.doors.requests.enter(from) {
        Ok(pass) => {
            // What is sent to us takes as long as its client likes: only what we make for somebody waits its turn.
            let making = matches!(parts.method, Method::GET | Method::HEAD);
            let turn = if making { Some(app.doors.answers.turn(from).await) } else { None };
            let response = next.run(Request::from_parts(parts, body)).await;
            drop(turn);
            pass.with(response)
        }
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_all_together_theirs() {
        let door = Door::new(AtOnce { an_address: 2, in_all: 3 });
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let first = door.enter(at("192.0.2.1")).expect("in");
        let _second = door.enter(at("::ffff:192.0.2.1")).expect("in");
        assert!(door.enter(at("192.0.2.1")).is_err(), "its share");
        let _other = door.enter(at("2001:db8::1")).expect("in");
        assert!(door.enter(at("192.0.2.3")).is_err(), "all together");
        drop(first);
        let _again = door.enter(at("192.0.2.1")).expect("in");
        assert_eq!(door.count(), 3);
    }

    #[tokio::test]
    async fn an_address_waits_for_itself_and_for_nobody_else() {
        let queues = Queues::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().expect("an address"));
        let first = queues.turn(one).await;
        let _second = queues.turn(one).await;
        let third = tokio::spawn({
            let queues = queues.clone();
            async move { drop(queues.turn(one).await) }
        });
        drop(queues.turn(other).await);
        tokio::task::yield_now().await;
        assert!(!third.is_finished(), "it waits its turn");
        drop(first);
        third.await.expect("its turn came");
        // One that is given up leaves nothing behind, nor does one that is done.
        let _again = queues.turn(one).await;
        assert!(tokio::time::timeout(std::time::Duration::ZERO, queues.turn(one)).await.is_err());
        drop((_second, _again));
        assert!(lock(&queues.by_address).is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }
}
