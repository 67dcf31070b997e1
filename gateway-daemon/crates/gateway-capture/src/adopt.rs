//! Listeners that outlive a daemon: somebody kept them open, so what connects while no daemon is there
//! waits to be accepted. Only sockets that the last daemon opened are taken, by their mark, and only
//! all of a network namespace: half of them would leave ports on which nobody answers.
use crate::error::CaptureError;
use crate::listen::{Listeners, Unclaimed, netns_cookie};
use crate::load::Capture;
use crate::wire::Wire;
use aya::maps::MapError;
use gateway_common::config::Listeners as Ports;
use socket2::{Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How a listener is told from the others of its network namespace.
type Door = (bool, bool, u32);

impl Capture {
    /// The listeners of each network namespace of which all are here, among sockets that were kept.
    /// Others are closed.
    pub(crate) fn adopt(&self, kept: Vec<OwnedFd>) -> Result<Unclaimed, CaptureError> {
        let generation = self.read().configuration()?.generation;
        let mut places: HashMap<u64, HashMap<Door, Socket>> = HashMap::new();
        for socket in kept.into_iter().map(Socket::from) {
            if self.mark_of(&socket)? != Some(generation) {
                tracing::warn!("a socket that was kept is none of the last daemon's: it is closed");
                continue;
            }
            let named = named(&socket);
            let named =
                named.map_err(|error| CaptureError::new("look at a kept socket", &error))?;
            if let Some((netns, door)) = named {
                places.entry(netns).or_default().insert(door, socket);
            }
        }
        let mut adopted = HashMap::new();
        for (netns, found) in places {
            let Some(ports) = self.published(netns)? else {
                continue;
            };
            if let Some(listeners) = assemble(found, netns, &ports) {
                adopted.insert(netns, (listeners, ports));
            }
        }
        Ok(adopted)
    }

    /// Where the kernel half sends what is governed in a network namespace.
    pub(crate) fn published(&self, netns: u64) -> Result<Option<Ports>, CaptureError> {
        match self.read().listeners.get(&netns, 0) {
            Ok(Wire(ports)) => Ok(Some(ports)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(CaptureError::new("read the map LISTENERS", &error)),
        }
    }

    /// Which daemon marked this socket as its listener; `None`: none did.
    fn mark_of(&self, socket: &Socket) -> Result<Option<u64>, CaptureError> {
        match self.read().marks.get(&socket.as_raw_fd(), 0) {
            Ok(Wire(mark)) => Ok(Some(mark.generation)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(CaptureError::new("read the map MARKS", &error)),
        }
    }
}

/// The network namespace of a listener, and which of the listeners there it is.
fn named(socket: &Socket) -> io::Result<Option<(u64, Door)>> {
    let address = socket.local_addr()?.as_socket();
    let Some(address) = address.filter(|address| address.ip().is_loopback()) else {
        return Ok(None);
    };
    let stream = socket.r#type()? == Type::STREAM;
    let v4 = matches!(address.ip(), IpAddr::V4(_));
    let door = (stream, v4, u32::from(address.port()));
    Ok(Some((netns_cookie(socket)?, door)))
}

/// All that the kernel half sends connections and questions to, in the order in which
/// they are opened.
fn assemble(mut found: HashMap<Door, Socket>, netns: u64, ports: &Ports) -> Option<Listeners> {
    let mut listeners = Listeners {
        netns,
        streams: Vec::new(),
        questions: Vec::new(),
    };
    for (v4, stream, questions) in [(true, ports.v4, ports.dns4), (false, ports.v6, ports.dns6)] {
        // Where the host has no IPv6, there is none of both.
        if stream == 0 && !v4 {
            continue;
        }
        listeners
            .streams
            .push(found.remove(&(true, v4, stream))?.into());
        for port in questions {
            listeners
                .questions
                .push(found.remove(&(false, v4, port))?.into());
        }
    }
    Some(listeners)
}
