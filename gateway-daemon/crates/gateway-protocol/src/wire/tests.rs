//! TLS over a stream that takes little at a time, and says "later" in between.
use super::{Tls, Wire};
use crate::relay::Stream;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A pipe in memory, which takes so many bytes in one write, and gives so many in one read.
#[derive(Debug)]
struct Pipe(DuplexStream, usize, usize);

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut part = buffer.take(self.2);
        let polled = Pin::new(&mut self.0).poll_read(context, &mut part);
        let read = part.filled().len();
        buffer.advance(read);
        polled
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(self.1)];
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Stream for Pipe {
    fn abort(&self) {}

    fn is_over(&self) -> bool {
        false
    }
}

/// Both ends of a connection over a pipe that holds so many bytes, and takes so many at once when
/// the handshake is done.
async fn ends(capacity: usize, at_once: usize) -> (Wire<Pipe>, Wire<Pipe>) {
    let certified = rcgen::generate_simple_self_signed(["db.internal".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (one, other) = tokio::io::duplex(capacity);
    let name = "db.internal".try_into().unwrap();
    let (server, client) = tokio::join!(
        TlsAcceptor::from(Arc::new(server)).accept(Pipe(one, usize::MAX, usize::MAX)),
        TlsConnector::from(Arc::new(client)).connect(name, Pipe(other, usize::MAX, usize::MAX)),
    );
    let (mut server, accepted) = server.unwrap().into_inner();
    let (mut client, connected) = client.unwrap().into_inner();
    (server.1, client.1) = (at_once, at_once);
    (
        Wire::Tls(Box::new(Tls::new(server, accepted.into()))),
        Wire::Tls(Box::new(Tls::new(client, connected.into()))),
    )
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn every_byte_arrives_through_a_narrow_pipe_in_both_directions() {
    for (capacity, at_once) in [
        (8192, 1),
        (8192, 700),
        (16 * 1024, 1 << 20),
        (1 << 20, 30_000),
    ] {
        let (mut one, mut other) = ends(capacity, at_once).await;
        assert_eq!(one.tls_version(), Some("TLSv1.3"));
        let length = if at_once == 1 { 50_000 } else { 700_000 };
        let sent = pattern(length);
        let (mut from_one, mut from_other) = (vec![0; length], vec![0; length]);
        // Each side answers before the next part, so neither waits for ever.
        for (start, end) in (0..length)
            .step_by(length / 5)
            .map(|at| (at, at + length / 5))
        {
            let (there, heard) = tokio::join!(
                async {
                    one.write_all(&sent[start..end]).await?;
                    one.flush().await
                },
                other.read_exact(&mut from_one[start..end]),
            );
            there.unwrap();
            heard.unwrap();
            let (back, heard) = tokio::join!(
                async {
                    other.write_all(&sent[start..end]).await?;
                    other.flush().await
                },
                one.read_exact(&mut from_other[start..end]),
            );
            back.unwrap();
            heard.unwrap();
        }
        assert!(
            from_one == sent && from_other == sent,
            "{capacity} {at_once}"
        );
        assert!(!one.has_unsent() && !other.has_unsent());
    }
}

#[tokio::test]
async fn what_the_pipe_does_not_take_is_kept_and_bounded() {
    let (mut one, mut other) = ends(8192, 1024).await;
    let sent = pattern(1 << 20);
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut taken = 0;
    while let Poll::Ready(count) = Pin::new(&mut one).poll_write(&mut context, &sent[taken..]) {
        taken += count.unwrap();
    }
    assert!(one.has_unsent());
    assert!((1..=128 * 1024).contains(&taken), "{taken}");
    let mut heard = vec![0; taken];
    let (flushed, read) = tokio::join!(one.flush(), other.read_exact(&mut heard));
    flushed.unwrap();
    read.unwrap();
    assert_eq!(heard, sent[..taken]);
}

#[tokio::test]
async fn small_reads_of_a_large_record_lose_nothing() {
    let (mut one, mut other) = ends(1 << 20, 1 << 20).await;
    let sent = pattern(100_000);
    one.write_all(&sent).await.unwrap();
    one.flush().await.unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 7];
    while heard.len() < sent.len() {
        let count = other.read(&mut piece).await.unwrap();
        assert!(count > 0);
        heard.extend_from_slice(&piece[..count]);
    }
    assert_eq!(heard, sent);
}

#[tokio::test]
async fn vectored_writes_keep_their_order_wherever_they_are_cut() {
    let (mut one, mut other) = ends(8192, 900).await;
    let sent = pattern(60_000);
    let parts = [&sent[..1], &sent[1..1], &sent[1..40_000], &sent[40_000..]];
    let writing = async {
        let mut at = 0;
        while at < sent.len() {
            // As the relay does: all of it again, behind what was taken.
            let mut skip = at;
            let slices: Vec<_> = parts
                .iter()
                .map(|part| {
                    let cut = skip.min(part.len());
                    skip -= cut;
                    io::IoSlice::new(&part[cut..])
                })
                .collect();
            at += one.write_vectored(&slices).await.unwrap();
        }
        one.flush().await.unwrap();
    };
    let mut heard = vec![0; sent.len()];
    let (_, read) = tokio::join!(writing, other.read_exact(&mut heard));
    read.unwrap();
    assert_eq!(heard, sent);
}

#[tokio::test]
async fn an_end_is_an_end_with_and_without_its_announcement() {
    let (mut one, mut other) = ends(8192, 1024).await;
    one.write_all(b"last").await.unwrap();
    one.shutdown().await.unwrap();
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last");

    let (one, mut other) = ends(8192, 1024).await;
    drop(one);
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn bytes_that_are_no_records_are_an_error() {
    let (mut one, mut other) = ends(1 << 16, 1 << 16).await;
    one.stream_mut().0.write_all(&[0x41; 300]).await.unwrap();
    let mut heard = Vec::new();
    let error = other.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(heard, b"");
}

/// A peer whose records bring nothing does not keep the thread, and not for long the connection.
#[tokio::test]
async fn records_without_plaintext_do_not_hold_up_others() {
    let (mut one, mut other) = ends(1 << 20, 1 << 20).await;
    let Wire::Tls(tls) = &mut other else {
        panic!("no TLS")
    };
    tls.stream_mut().2 = 10;
    one.write_all(&pattern(1000)).await.unwrap();
    one.flush().await.unwrap();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut bytes = [0; 2000];
    let (mut goes, mut heard) = (0, 0);
    while heard == 0 {
        let mut buffer = ReadBuf::new(&mut bytes);
        if let Poll::Ready(result) = Pin::new(&mut other).poll_read(&mut context, &mut buffer) {
            result.unwrap();
            heard = buffer.filled().len();
        }
        goes += 1;
    }
    assert_eq!(heard, 1000);
    assert!(goes > 10, "it gave way {goes} times");

    let (mut one, mut other) = ends(1 << 20, 1 << 20).await;
    let Wire::Tls(tls) = &mut one else {
        panic!("no TLS")
    };
    let flood = async {
        // The peer ends it: by its own bound, or by that of the library on changes of keys.
        while tls.refresh().is_ok() && one_flush(tls).await.is_ok() {}
    };
    let mut heard = Vec::new();
    let (_, ended) = tokio::join!(flood, async {
        let ended = other.read_to_end(&mut heard).await;
        drop(other);
        ended
    });
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

async fn one_flush(tls: &mut Tls<Pipe>) -> io::Result<()> {
    std::future::poll_fn(|context| tls.poll_flush(context)).await
}
