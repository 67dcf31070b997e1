//! A server on loopback that plays a script, connection by connection.
use crate::sockets::{self, EndOfStream};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads exactly these bytes.
    Expect(Vec<u8>),
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Says that nothing more comes; goes on reading.
    ShutdownWrite,
    /// Reads until the client's last byte, which must come without a reset.
    ExpectEnd,
    /// Ends with a reset.
    Reset,
}

/// A server that accepts one connection per script. Joins its thread when [`Upstream::join`] is
/// called, which is where its failures show.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Upstream {
    /// Plays `scripts` one after the other, one for each connection.
    #[must_use]
    pub fn play(scripts: Vec<Vec<Step>>) -> Upstream {
        Upstream::serve(scripts.len(), move |number, stream| {
            play(stream, &scripts[number])
        })
    }

    /// Sends back what it gets, for `connections` connections, each in a thread of its own.
    #[must_use]
    pub fn echo(connections: usize) -> Upstream {
        Upstream::serve_each(connections, |_, stream| {
            let mut reader = stream.try_clone().expect("a socket can be cloned");
            let mut writer = stream;
            // A client that goes away in the middle ends the copy; that is no failure of the echo.
            if std::io::copy(&mut reader, &mut writer).is_ok() {
                let _ = writer.shutdown(Shutdown::Write);
            }
        })
    }

    /// Serves `connections` connections one after the other.
    pub fn serve(
        connections: usize,
        mut serve: impl FnMut(usize, TcpStream) + Send + 'static,
    ) -> Upstream {
        let listener = sockets::listener();
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let thread = thread::spawn(move || {
            for number in 0..connections {
                let (stream, _) = listener.accept().expect("a connection");
                stream
                    .set_read_timeout(Some(sockets::PATIENCE))
                    .expect("not zero");
                serve(number, stream);
            }
        });
        Upstream { address, thread }
    }

    /// Serves `connections` connections at once.
    pub fn serve_each(
        connections: usize,
        serve: impl Fn(usize, TcpStream) + Clone + Send + 'static,
    ) -> Upstream {
        let listener = sockets::listener();
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let thread = thread::spawn(move || {
            let mut threads = Vec::new();
            for number in 0..connections {
                let (stream, _) = listener.accept().expect("a connection");
                let serve = serve.clone();
                threads.push(thread::spawn(move || serve(number, stream)));
            }
            for thread in threads {
                thread.join().expect("the server did its part");
            }
        });
        Upstream { address, thread }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all connections were served.
    ///
    /// # Panics
    /// When a script did not go as written.
    pub fn join(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Plays one script over a connected socket.
///
/// # Panics
/// When it does not go as written.
pub fn play(mut stream: TcpStream, script: &[Step]) {
    for step in script {
        match step {
            Step::Expect(bytes) => {
                let got = sockets::read_exactly(&mut stream, bytes.len());
                assert_eq!(&got, bytes, "what the client said");
            }
            Step::Send(bytes) => sockets::write_all(&mut stream, bytes).expect("the client reads"),
            Step::ShutdownWrite => stream.shutdown(Shutdown::Write).expect("connected"),
            Step::ExpectEnd => {
                let (rest, end) = sockets::read_to_end(&mut stream);
                assert_eq!((rest, end), (Vec::new(), EndOfStream::Clean));
            }
            Step::Reset => return sockets::reset(stream),
        }
    }
}
