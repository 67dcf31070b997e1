//! A daemon gives way to another one while its sessions go on (docs/decisions/0023).
//!
//! The running daemon starts its successor, with a socket as its standard input that nobody else has:
//! whoever is to take over is known by having been started. The words that go over it, in order:
//!
//! ```text
//! successor    Hello        its configuration is good, and it knows the form of the records
//! predecessor               stops accepting and writing; what connects waits at the listeners
//!              Locks        of the state directory and of the journal, and where records come from
//!              Sessions …   those that go on in the predecessor
//!              Listeners …  of all network namespaces
//!              All
//! successor    Ready        it accepts
//! predecessor  Number       the service manager knows; records go to the successor
//! successor    Kill …       and so on, until the predecessor has drained and is gone
//! ```
mod predecessor;
mod relay;
mod successor;

pub(crate) use predecessor::Predecessor;
pub(super) use predecessor::{Held, Inheritance};
pub(super) use successor::{Estate, Successor};

use gateway_core::{SessionId, TreeId};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Says to a daemon that its standard input is the socket.
pub(super) const ENVIRONMENT: &str = "GATEWAY_TAKES_OVER";
/// How many descriptors one word takes along (the kernel's limit is 253, `SCM_MAX_FD`).
const DESCRIPTORS_MAX: usize = 128;
/// How many sessions are told in one word.
const SESSIONS_MAX: usize = 256;
/// The longest word, in bytes.
const WORD_MAX: usize = 128 << 10;

/// What the two say.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Word {
    /// The version of the records that the successor knows.
    Hello { records: u32 },
    /// With the locks of the state directory and of the journal, and the end of the relay.
    Locks,
    /// Some of the sessions that go on.
    Sessions(Vec<Open>),
    /// With some of the listeners.
    Listeners,
    /// That was all.
    All,
    /// The successor accepts.
    Ready,
    /// End a session.
    Kill(SessionId),
    /// End all sessions of a tree.
    KillTree(TreeId),
    /// How many sessions are there still?
    Count,
    /// End them all.
    End,
    /// So many.
    Number(u64),
}

/// A session that goes on in the predecessor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    session: SessionId,
    protocol: String,
    resource: String,
    operations: u64,
    denied: u64,
    held: u64,
    masked: u64,
}

/// One end of the socket: each word arrives whole, or not at all (`SOCK_SEQPACKET`).
#[derive(Debug)]
struct Wire(OwnedFd);

impl Wire {
    fn say(&self, word: &Word, along: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(word)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut more = SendAncillaryBuffer::new(&mut space);
        if !along.is_empty() && !more.push(SendAncillaryMessage::ScmRights(along)) {
            return Err(io::Error::other("too many descriptors for one word"));
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(&text)],
            &mut more,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The next word; an error when the other one is gone.
    fn hear(&self) -> io::Result<(Word, Vec<OwnedFd>)> {
        let mut text = vec![0; WORD_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut more = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut text)];
        let heard = loop {
            match recvmsg(&self.0, &mut into, &mut more, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                heard => break heard?,
            }
        };
        if heard.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut along = Vec::new();
        for message in more.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                along.extend(descriptors);
            }
        }
        let word = text.get(..heard.bytes).unwrap_or_default();
        Ok((serde_json::from_slice(word)?, along))
    }

    /// Waits for a word, but not for ever.
    fn hear_within(&self, time: std::time::Duration) -> io::Result<(Word, Vec<OwnedFd>)> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut waited = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        if poll(&mut waited, timeout)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.hear()
    }
}

/// A word that does not come where it came.
fn out_of_turn(word: &Word) -> io::Error {
    io::Error::other(format!("an unexpected word: {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    #[test]
    fn words_arrive_whole_and_with_their_descriptors() {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let (one, other) = (Wire(one), Wire(other));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"handed over").unwrap();
        let many = vec![file.as_fd(); DESCRIPTORS_MAX];
        one.say(&Word::Listeners, &many).unwrap();
        one.say(&Word::Kill(SessionId(7)), &[]).unwrap();
        let (word, along) = other.hear().unwrap();
        assert_eq!((word, along.len()), (Word::Listeners, DESCRIPTORS_MAX));
        let mut text = String::new();
        let mut same = File::from(along.into_iter().next().unwrap());
        same.rewind().unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "handed over");
        assert_eq!(other.hear().unwrap().0, Word::Kill(SessionId(7)));
        let late = other.hear_within(std::time::Duration::from_millis(1));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(one);
        let gone = other.hear().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }
}
