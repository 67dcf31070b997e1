//! Listeners that outlive a daemon: somebody kept them open, so what connects while no daemon is there
//! waits to be accepted. Only sockets that the last daemon opened are taken, by their mark, and only
//! all of a network namespace: half of them would leave ports on which nobody answers.
use crate::error::CaptureError;
use crate::listen::{Listeners, netns_cookie};
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
    /// The listeners of the network namespace of this process, from sockets that were kept for it.
    /// `None` when they are not all there; those that are, are closed.
    pub(crate) fn adopt(
        &self,
        kept: Vec<OwnedFd>,
        netns: u64,
    ) -> Result<Option<(Listeners, Ports)>, CaptureError> {
        let generation = self.read().configuration()?.generation;
        let published = match self.read().listeners.get(&netns, 0) {
            Ok(Wire(ports)) => ports,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(CaptureError::new("read the map LISTENERS", &error)),
        };
        let mut found = HashMap::new();
        for socket in kept.into_iter().map(Socket::from) {
            if self.mark_of(&socket)? != Some(generation) {
                tracing::warn!("a socket that was kept is none of the last daemon's: it is closed");
                continue;
            }
            let door = named(&socket, netns);
            let door = door.map_err(|error| CaptureError::new("look at a kept socket", &error))?;
            if let Some(door) = door {
                found.insert(door, socket);
            }
        }
        Ok(assemble(found, netns, &published).map(|listeners| (listeners, published)))
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

/// `None` for one of another network namespace.
fn named(socket: &Socket, netns: u64) -> io::Result<Option<Door>> {
    let address = socket.local_addr()?.as_socket();
    let Some(address) = address.filter(|address| address.ip().is_loopback()) else {
        return Ok(None);
    };
    if netns_cookie(socket)? != netns {
        return Ok(None);
    }
    let stream = socket.r#type()? == Type::STREAM;
    let v4 = matches!(address.ip(), IpAddr::V4(_));
    Ok(Some((stream, v4, u32::from(address.port()))))
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
