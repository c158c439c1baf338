//! From a socket to a request: connections, TLS, HTTP, and the end of it all.

use crate::api::Peer;
use anyhow::{Context, Result};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Until a client has sent the head of a request, or has agreed on keys.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client may leave an answer unread for so long, milliseconds: then the connection is given to somebody else.
const UNREAD: u32 = 20_000;

/// The greatest head of a request, bytes.
const HEAD: usize = 32 << 10;

/// Somewhere that clients connect to.
pub struct Listener {
    socket: TcpListener,
    /// The certificate and key that are in use at the moment.
    tls: Option<watch::Receiver<TlsAcceptor>>,
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// If it is taken, or not ours.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<watch::Receiver<TlsAcceptor>>,
    ) -> Result<Listener> {
        let socket = TcpListener::bind(address).await;
        let socket = socket.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Listener { socket, tls })
    }

    /// What it is reached by.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.socket.local_addr() {
            Ok(address) => format!("{scheme}://{address}"),
            Err(_) => scheme.to_owned(),
        }
    }

    /// Serves until the shutdown, and then until the requests that came before it are answered.
    pub async fn serve(
        self,
        router: Router,
        room: Arc<Semaphore>,
        shutdown: CancellationToken,
        grace: Duration,
    ) {
        let graceful = GracefulShutdown::new();
        // Which of the two a client speaks, TLS tells: finding it out from the first bytes would wait for them for ever.
        let http1 = Arc::new(builder().http1_only());
        let http2 = Arc::new(builder().http2_only());
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, self.socket.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = shutdown.cancelled() => break,
            };
            let Ok(permit) = permit else { break };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, perhaps: that passes.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            stream.set_nodelay(true).ok();
            setsockopt(&stream, TcpUserTimeout, &UNREAD).ok();
            let router = router.clone();
            let tls = self.tls.as_ref().map(|tls| tls.borrow().clone());
            let (http1, http2) = (Arc::clone(&http1), Arc::clone(&http2));
            let watcher = graceful.watcher();
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let peer = Peer {
                    address,
                    secure: tls.is_some(),
                };
                match tls {
                    None => connection(stream, peer, router, &http1, watcher).await,
                    Some(tls) => {
                        let agreed = tokio::select! {
                            agreed = tokio::time::timeout(PATIENCE, tls.accept(stream)) => agreed,
                            () = shutdown.cancelled() => return,
                        };
                        if let Ok(Ok(stream)) = agreed {
                            let builder = match stream.get_ref().1.alpn_protocol() {
                                Some(b"h2") => http2,
                                _ => http1,
                            };
                            connection(stream, peer, router, &builder, watcher).await;
                        }
                    }
                }
            });
        }
        drop(self.socket);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = tokio::time::sleep(grace) => tracing::warn!("some requests were not answered in time"),
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD as u32)
        .max_concurrent_streams(64)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(PATIENCE);
    builder
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(axum::body::Body::new)
    });
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(from = %peer.address, "connection: {error}");
    }
}
