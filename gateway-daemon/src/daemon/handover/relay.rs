//! The records of sessions that go on in the predecessor: each goes over a stream to the successor,
//! which writes the journal, and is kept when its answer comes. Without an answer it is not, and the
//! operation is refused.
//!
//! ```text
//! to the successor      length: u32, the encoded record
//! to the predecessor    length: u32, why it is not kept; 0 when it is
//! ```
use super::Open;
use crate::terminal::moment;
use gateway_core::{Recorder, SessionClosed, SessionEnd, SessionId};
use gateway_recording::{Heir, Journal, Passed};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a record may wait: for a successor that accepts, and for its answer.
const SUCCESSOR_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// The longest record and the longest reason, in bytes: a journal's segment is no longer.
const LENGTH_MAX: u32 = 1 << 30;

/// The way of records to whoever writes the journal now.
#[derive(Default)]
pub(super) struct Relay {
    to: Mutex<To>,
    found: Condvar,
}

#[derive(Default)]
enum To {
    /// Nobody yet: what is recorded waits. None of it has left here, so it does not matter how many
    /// successors fail.
    #[default]
    Nobody,
    Successor(UnixStream),
    /// It is gone, and perhaps has the last record, perhaps not.
    Gone,
}

impl Relay {
    /// From now on records go to the process at the other end.
    pub(super) fn lead_to(&self, stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        *self.to.lock() = To::Successor(stream);
        self.found.notify_all();
        Ok(())
    }

    /// There will be none.
    pub(super) fn lead_nowhere(&self) {
        *self.to.lock() = To::Gone;
        self.found.notify_all();
    }
}

impl Heir for Relay {
    fn append(&self, body: &[u8]) -> Result<(), Arc<str>> {
        let deadline = Instant::now() + SUCCESSOR_MAX;
        let mut to = self.to.lock();
        loop {
            let stream = match &*to {
                To::Successor(stream) => stream,
                To::Gone => return Err("the gateway that writes the journal is gone".into()),
                To::Nobody => {
                    if self.found.wait_until(&mut to, deadline).timed_out() {
                        return Err("no gateway writes the journal".into());
                    }
                    continue;
                }
            };
            return match ask(stream, body) {
                Ok(None) => Ok(()),
                Ok(Some(reason)) => Err(reason.into()),
                Err(error) => {
                    // What would come next would be the answer to this one.
                    *to = To::Gone;
                    let text = "the gateway that writes the journal does not answer";
                    Err(format!("{text}: {error}").into())
                }
            };
        }
    }
}

fn ask(mut stream: &UnixStream, body: &[u8]) -> io::Result<Option<String>> {
    say(stream, body)?;
    stream.flush()?;
    let reason = hear(stream)?;
    Ok((!reason.is_empty()).then(|| String::from_utf8_lossy(&reason).into_owned()))
}

fn say(mut stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok();
    let length = length.filter(|length| *length <= LENGTH_MAX);
    let length = length.ok_or_else(|| io::Error::other("it is too long"))?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(bytes)
}

fn hear(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LENGTH_MAX {
        return Err(io::Error::other("it is too long"));
    }
    // As much memory as comes, not as much as is said.
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes)?;
    match bytes.len() == length as usize {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Keeps what comes, until the predecessor is gone. Sessions that it did not end are over then, and
/// get their last record here.
pub(super) fn keep(stream: &UnixStream, journal: &Journal, sessions: Vec<Open>) {
    let mut open: HashMap<SessionId, Open> = HashMap::new();
    open.extend(sessions.into_iter().map(|open| (open.session, open)));
    while let Ok(body) = hear(stream) {
        let kept = journal.append_encoded(&body);
        let reason = kept.as_ref().err().map(ToString::to_string);
        if let Ok(passed) = kept {
            follow(&mut open, passed);
        }
        if say(stream, reason.unwrap_or_default().as_bytes()).is_err() {
            break;
        }
    }
    for session in open.into_values() {
        let id = session.session;
        if let Err(error) = journal.session_closed(&closed(session)) {
            tracing::error!(session = %id, %error, "the end of a session is lost");
        }
    }
}

fn follow(open: &mut HashMap<SessionId, Open>, passed: Passed) {
    match passed {
        Passed::Opened(session) => {
            open.entry(session).or_insert_with(|| Open {
                session,
                protocol: String::new(),
                resource: String::new(),
                operations: 0,
                denied: 0,
                held: 0,
                masked: 0,
            });
        }
        Passed::Asked(session) => {
            if let Some(open) = open.get_mut(&session) {
                open.operations += 1;
            }
        }
        Passed::Closed(session) => {
            open.remove(&session);
        }
        Passed::Other => {}
    }
}

fn closed(open: Open) -> SessionClosed {
    SessionClosed {
        session: open.session,
        time: moment::now(),
        protocol: open.protocol.into(),
        resource: open.resource.into(),
        operations: open.operations,
        denied: open.denied,
        held: open.held,
        masked: open.masked,
        bytes_up: 0,
        bytes_down: 0,
        end: SessionEnd::Error,
        error: Some("the gateway that served it died".into()),
    }
}
