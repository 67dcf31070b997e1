//! Real sockets on loopback.
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a blocking call of a test may take before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A listener on a free port of 127.0.0.1. A blocking accept that nobody answers fails after
/// [`PATIENCE`].
///
/// # Panics
/// When there is none.
#[must_use]
pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let patience = TimeVal::seconds(PATIENCE.as_secs().cast_signed());
    setsockopt(&listener, sockopt::ReceiveTimeout, &patience).expect("a socket");
    listener
}

/// A port of 127.0.0.1 on which nobody listens, at least at this moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn closed_port() -> SocketAddr {
    listener()
        .local_addr()
        .expect("a bound socket has an address")
}

/// Connects, with time limits that make a hang a failure.
///
/// # Panics
/// When nobody accepts.
#[must_use]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    limit(&stream);
    stream
}

fn limit(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
}

/// Two connected, blocking sockets.
///
/// # Panics
/// When loopback is not there.
#[must_use]
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let near = connect(address);
    let (far, _) = listener.accept().expect("it is connected");
    limit(&far);
    (near, far)
}

/// Makes a socket one of tokio's. To be called inside of a runtime.
///
/// # Panics
/// Outside of one.
#[must_use]
pub fn into_tokio(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).expect("a socket");
    tokio::net::TcpStream::from_std(stream).expect("inside of a runtime")
}

/// How a peer ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfStream {
    /// A FIN.
    Clean,
    /// A reset.
    Reset,
}

/// Reads until the stream ends, and says how.
///
/// # Panics
/// When it fails in any other way, or does not end in time.
pub fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, EndOfStream) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, EndOfStream::Clean),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return (bytes, EndOfStream::Reset);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("after {} bytes: {error}", bytes.len()),
        }
    }
}

/// Reads exactly `length` bytes.
///
/// # Panics
/// When the stream ends before.
pub fn read_exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("as many bytes");
    bytes
}

/// Writes all of it.
///
/// # Errors
/// Those of the socket.
pub fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    stream.set_nonblocking(true).expect("a socket");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime for one socket");
    let _inside = runtime.enter();
    let stream = tokio::net::TcpStream::from_std(stream).expect("inside of a runtime");
    stream.set_zero_linger().expect("a TCP socket");
}
