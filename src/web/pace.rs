//! How slow the other side may be. Only the time that we wait for it counts: a body that does not come, an answer that is not
//! read. Both are cut off, as each holds a connection, and what its handler holds, for as long as somebody likes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{App, Error};

/// Looks whether in each `window` of waiting at least `least` bytes moved.
struct Pace {
    window: Duration,
    least: u64,
    /// In this window.
    waited: Duration,
    moved: u64,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// At `rate` bytes a second.
    fn new(window: Duration, rate: u64) -> Pace {
        let least = rate.saturating_mul(window.as_millis() as u64) / 1000;
        Pace { window, least: least.max(1), waited: Duration::ZERO, moved: 0, since: None, timer: None }
    }

    fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.moved += bytes as u64;
    }

    /// Ask when there is nothing but to wait: ready when it has been too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            self.wake_at(now + self.window.saturating_sub(self.waited));
        }
        while let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
            if self.moved < self.least {
                return Poll::Ready(());
            }
            (self.waited, self.moved) = (Duration::ZERO, 0);
            let now = Instant::now();
            self.since = Some(now);
            self.wake_at(now + self.window);
        }
        Poll::Pending
    }

    fn wake_at(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(sleep_until(at))),
        }
    }
}

/// A connection whose reader must keep reading: a write that moves too little for too long fails.
pub struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub fn new(stream: S, window: Duration, rate: u64) -> Paced<S> {
        Paced { stream, pace: Pace::new(window, rate) }
    }

    fn judge(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.pace.moved(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.pace.poll_too_slow(cx));
                metrics::counter!("upscore_slow_readers_total").increment(1);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not read")));
            }
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body that must keep coming and be whole in time.
struct Coming {
    body: Body,
    pace: Pace,
    deadline: Pin<Box<Sleep>>,
    slow: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let bytes = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref().map(Bytes::len));
            self.pace.moved(bytes.unwrap_or(0));
            return Poll::Ready(frame);
        }
        if self.deadline.as_mut().poll(cx).is_pending() {
            ready!(self.pace.poll_too_slow(cx));
        }
        self.slow.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Holds every body to its time, whoever reads it: a form or a document to a short one, a file to a steady pace.
pub async fn bodies(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let settings = &app.settings;
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let words = [&b"application/x-www-form-urlencoded"[..], b"application/json", b"text/"];
    let (window, rate, whole) = match words.iter().any(|words| kind.starts_with(words)) {
        true => (settings.form_deadline, 0, settings.form_deadline),
        false => (settings.upload_window, settings.upload_min_rate, settings.upload_deadline),
    };
    let slow = Arc::<AtomicBool>::default();
    let request = request.map(|body| {
        Body::new(Coming {
            body,
            pace: Pace::new(window, rate),
            deadline: Box::pin(sleep_until(Instant::now() + whole)),
            slow: slow.clone(),
        })
    });
    let response = next.run(request).await;
    // Whatever its reader made of it.
    if slow.load(Ordering::Relaxed) { Error::UploadTooSlow.into_response() } else { response }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const WINDOW: Duration = Duration::from_millis(300);
    /// Bytes a second.
    const RATE: u64 = 1000;

    #[tokio::test]
    async fn a_reader_that_stalls_is_cut_off() {
        let (ours, theirs) = duplex(1000);
        let mut ours = Paced::new(ours, WINDOW, RATE);
        let began = Instant::now();
        let written = ours.write_all(&[0; 5000]).await;
        assert_eq!(written.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        // What its buffer took counted for the first window.
        assert!(began.elapsed() < 10 * WINDOW, "{:?}", began.elapsed());
        drop(theirs);
    }

    #[tokio::test]
    async fn a_reader_that_drips_is_cut_off_and_a_slow_one_is_not() {
        for (bytes, fails) in [(1usize, true), (150, false)] {
            let (ours, mut theirs) = duplex(1000);
            let mut ours = Paced::new(ours, WINDOW, RATE);
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; bytes];
                while theirs.read_exact(&mut buffer).await.is_ok() {
                    tokio::time::sleep(WINDOW / 10).await;
                }
            });
            assert_eq!(ours.write_all(&[0; 6000]).await.is_err(), fails, "{bytes} bytes at a time");
            drop(ours);
            reading.await.expect("read");
        }
    }
}
