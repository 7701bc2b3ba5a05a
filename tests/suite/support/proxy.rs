//! A network between browser and server that can be slow and can break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

pub struct Proxy {
    /// Where the browser finds the server.
    pub url: String,
    pub wire: Arc<Wire>,
}

#[derive(Default)]
pub struct Wire {
    /// Bytes that went to the server.
    pub up: AtomicU64,
    /// Breaks the connection that carries this byte; 0: none.
    pub cut_at: AtomicU64,
    pub cuts: AtomicUsize,
    /// Milliseconds that each 16 KiB take on their way up.
    pub delay: AtomicU64,
}

impl Proxy {
    pub async fn before(server: &str) -> Proxy {
        // Small buffers: else loopback takes megabytes before the wire is slow.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 << 10).expect("a small buffer");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(64).expect("listening");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (server, wire) = (server.trim_start_matches("http://").to_owned(), Arc::<Wire>::default());
        let carrier = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), carrier.clone()));
            }
        });
        Proxy { url, wire }
    }
}

async fn carry(client: TcpStream, server: String, wire: Arc<Wire>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = async move {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
            let total = wire.up.fetch_add(read as u64, SeqCst) + read as u64;
            let at = wire.cut_at.load(SeqCst);
            if at > 0 && total >= at && wire.cut_at.compare_exchange(at, 0, SeqCst, SeqCst).is_ok() {
                wire.cuts.fetch_add(1, SeqCst);
                return;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wire.delay.load(SeqCst))).await;
        }
    };
    let down = async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    // Whichever ends first takes the whole connection with it.
    tokio::select! { () = up => {}, () = down => {} }
}
