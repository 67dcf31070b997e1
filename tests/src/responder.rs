//! A server that says what a test tells it to: for upstreams that misbehave, or that are many.
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// AuthenticationOk, the search path as PostgreSQL 18 reports it, then ReadyForQuery in idle: the
/// shortest greeting to which neither a client nor the gateway has a question.
pub const GREETING: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x17search_path\0public\0Z\0\0\0\x05I";

/// SSLRequest: the gateway asks each PostgreSQL server whether it offers TLS.
const TLS: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// How many bytes of one connection are kept for the test to look at.
const KEPT_MAX: usize = 1 << 20;

/// A TCP server on 127.0.0.1, one thread per connection. Dropping it closes the listener.
pub struct Responder {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    closing: Arc<AtomicBool>,
}

impl Responder {
    /// Answers the first bytes of each connection behind the question for TLS, to which it says no,
    /// with these bytes, and keeps the connection open
    /// until the other side closes.
    ///
    /// # Errors
    /// No socket can be made.
    pub fn start(answer: &'static [u8]) -> Result<Responder> {
        Responder::start_with(move |stream: &mut TcpStream| stream.write_all(answer).is_ok())
    }

    /// Calls `answer` once per connection, after its first bytes came. When it returns false, the
    /// connection is closed.
    ///
    /// # Errors
    /// No socket can be made.
    pub fn start_with(
        answer: impl Fn(&mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Result<Responder> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let closing = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let (kept, close) = (received.clone(), closing.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if close.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, kept) = (answer.clone(), kept.clone());
                // Thousands of idle connections are held: a small stack is enough for this.
                let _ = std::thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || serve(stream, answer.as_ref(), &kept));
            }
        });
        Ok(Responder {
            address,
            received,
            closing,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection sent so far but that question, at most a mebibyte of each, in the order of their coming.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // The listener wakes for a last connection.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&mut TcpStream) -> bool,
    received: &Mutex<Vec<Vec<u8>>>,
) {
    let index = {
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received.push(Vec::new());
        received.len() - 1
    };
    let mut answered = false;
    let mut buffer = [0; 4096];
    loop {
        let Ok(count @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        if !answered && buffer.get(..count) == Some(TLS) {
            if stream.write_all(b"N").is_err() {
                return;
            }
            continue;
        }
        {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = &mut received[index];
            let room = KEPT_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        if !answered && !answer(&mut stream) {
            return;
        }
        answered = true;
    }
}
