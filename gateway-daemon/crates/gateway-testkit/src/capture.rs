//! What stands behind the proxy's ports when there is no kernel to ask.
use crate::samples;
use gateway_core::{Timestamp, TreeId};
use gateway_proxy::{
    Attributed, Attribution, Behind, Capture, CaptureError, Clock, Flow, Transport,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Says of every connection that it goes to the same destination.
#[derive(Debug)]
pub struct FixedCapture {
    answer: Mutex<Result<Option<Flow>, CaptureError>>,
}

impl FixedCapture {
    /// All connections go to `destination`, from tree 1.
    #[must_use]
    pub fn to(destination: SocketAddr) -> FixedCapture {
        FixedCapture::answering(Ok(Some(flow(destination, TreeId(1)))))
    }

    /// Answers so from the start.
    #[must_use]
    pub const fn answering(answer: Result<Option<Flow>, CaptureError>) -> FixedCapture {
        FixedCapture {
            answer: Mutex::new(answer),
        }
    }

    /// Answers so from now on.
    pub fn set(&self, answer: Result<Option<Flow>, CaptureError>) {
        *self.answer.lock().unwrap() = answer;
    }
}

/// A flow to `destination` from a process of `tree`.
#[must_use]
pub const fn flow(destination: SocketAddr, tree: TreeId) -> Flow {
    Flow {
        destination,
        tree,
        pid: 101,
        start: 101_000,
        policy_slot: 1,
        bound_source: None::<IpAddr>,
        cookie: 1,
        netns: 1,
        abroad: false,
    }
}

impl Capture for FixedCapture {
    fn flow(&self, _: BorrowedFd<'_>) -> Result<Option<Flow>, CaptureError> {
        self.answer.lock().unwrap().clone()
    }

    fn question(&self, _: u64, _: u16, _: SocketAddr) -> Result<Option<Flow>, CaptureError> {
        self.answer.lock().unwrap().clone()
    }

    fn socket(&self, flow: &Flow, transport: Transport) -> io::Result<OwnedFd> {
        let family = match flow.destination {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let kind = match transport {
            Transport::Stream => SockType::Stream,
            Transport::Datagram => SockType::Datagram,
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        Ok(socket(family, kind, flags, None)?)
    }
}

/// Knows every process as [`samples::subject`] of its tree, but for those of tree 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedAttribution;

impl Attribution for FixedAttribution {
    fn subject(&self, flow: &Flow) -> Behind {
        match flow.tree {
            TreeId(0) => Behind::Nobody,
            UNSETTLED => Behind::Unsettled,
            tree => Behind::Known(attributed(tree)),
        }
    }

    fn settle(&self, flow: &Flow) -> Option<Attributed> {
        Some(attributed(flow.tree))
    }
}

/// The tree that is not settled when it is asked for the first time.
pub const UNSETTLED: TreeId = TreeId(u64::MAX);

fn attributed(tree: TreeId) -> Attributed {
    Attributed {
        subject: Arc::new(samples::subject(tree)),
        policy: "test".into(),
    }
}

/// A clock that moves by one microsecond whenever it is read.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at `nanoseconds` since the Unix epoch.
    #[must_use]
    pub const fn at(nanoseconds: u64) -> ManualClock {
        ManualClock(AtomicU64::new(nanoseconds))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}
