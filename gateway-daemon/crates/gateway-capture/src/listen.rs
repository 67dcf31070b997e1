//! The gateway's listeners: on loopback, on ports that the kernel chose, with a mark that nobody
//! else can give to a socket. In each network namespace where governed processes live.
use crate::error::CaptureError;
use crate::load::{Capture, lock};
use crate::maps::keys;
use crate::space::Space;
use crate::wire::Wire;
use gateway_common::config::{Config, DNS_PORTS, Listeners as Ports};
use gateway_common::flow::Mark;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// How many connections may wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How many bytes of questions may wait at one port.
const QUEUE_BYTES: usize = 1 << 20;

/// The gateway's sockets in one network namespace.
#[derive(Debug)]
pub struct Listeners {
    /// The namespace's cookie: what the kernel half calls it.
    pub netns: u64,
    /// For connections.
    pub streams: Vec<TcpListener>,
    /// For questions to name servers.
    pub questions: Vec<UdpSocket>,
}

impl Listeners {
    /// The sockets once more.
    fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let streams = self.streams.iter().map(AsFd::as_fd);
        let all = streams.chain(self.questions.iter().map(AsFd::as_fd));
        all.map(|socket| socket.try_clone_to_owned()).collect()
    }
}

/// The listeners of the daemon's own network namespace.
#[derive(Debug)]
pub struct Opened {
    /// The sockets.
    pub listeners: Listeners,
    /// They are those of the daemon before this one, which somebody kept open.
    pub kept: bool,
}

/// Where else the gateway listens, by the namespace's cookie.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(HashMap<u64, Place>);

/// Listeners of an earlier daemon in network namespaces that were not entered yet, by the
/// namespace's cookie.
pub(crate) type Unclaimed = HashMap<u64, (Listeners, Ports)>;

#[derive(Debug)]
struct Place {
    space: Space,
    ports: Ports,
    /// Its sockets once more, for a daemon that takes over.
    copies: Vec<OwnedFd>,
}

impl Capture {
    /// Opens the listeners of this network namespace, and opens the gate: from now on governed
    /// connections and questions arrive. Those of an earlier daemon are forgotten, in all
    /// namespaces, unless `kept` has all of this one: then they go on, with what waits at them.
    /// Where the host has no IPv6 on loopback, there is none for it, and governed IPv6
    /// connections are refused.
    ///
    /// # Errors
    /// A listener on 127.0.0.1 cannot be opened, or a map cannot be written.
    pub fn listen(&self, kept: Vec<OwnedFd>) -> Result<Opened, CaptureError> {
        let opened = self.open_here(kept)?;
        *lock(&self.home) = copied(&opened.listeners)?;
        Ok(opened)
    }

    fn open_here(&self, kept: Vec<OwnedFd>) -> Result<Opened, CaptureError> {
        let asked = |error| CaptureError::new("ask for the network namespace", &error);
        let any = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(asked)?;
        let netns = netns_cookie(&any).map_err(asked)?;
        self.netns.store(netns, Ordering::Relaxed);
        let mut kept = self.adopt(kept)?;
        if let Some((listeners, _)) = kept.remove(&netns) {
            let ports = kept.iter().map(|(netns, (_, ports))| (*netns, *ports));
            let own = self.published(netns)?.map(|ports| (netns, ports));
            self.forget_earlier(&ports.chain(own).collect())?;
            *lock(&self.unclaimed) = kept;
            return Ok(Opened {
                listeners,
                kept: true,
            });
        }
        self.next_generation()?;
        let open = open_all(false);
        let open = open.map_err(|error| CaptureError::new("listen on 127.0.0.1", &error))?;
        let (listeners, ports) = self.put_in_place(open)?;
        self.forget_earlier(&HashMap::new())?;
        self.publish(netns, &ports)?;
        Ok(Opened {
            listeners,
            kept: false,
        })
    }

    /// From now on the listeners of earlier daemons count no more, whoever has them.
    fn next_generation(&self) -> Result<(), CaptureError> {
        let mut maps = self.write();
        let config = maps.configuration()?;
        let generation = config.generation.wrapping_add(1).max(1);
        maps.configure(Config {
            generation,
            ..config
        })
    }

    /// Opens listeners in another network namespace. Where the gateway listens there already,
    /// those stay, and there are none here.
    ///
    /// # Errors
    /// The namespace cannot be entered, there are too many, or a map cannot be written.
    pub fn listen_in(&self, space: &Space) -> Result<Option<Listeners>, CaptureError> {
        let failed = |error| CaptureError::new("listen in a network namespace", &error);
        // Its loopback may be down for now.
        let open = self.visitor.within(space, || {
            let any = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            Ok((netns_cookie(&any)?, open_all(true)?))
        });
        let (netns, open) = open.map_err(failed)?;
        let mut elsewhere = lock(&self.elsewhere);
        if netns == self.netns.load(Ordering::Relaxed) || elsewhere.0.contains_key(&netns) {
            return Ok(None);
        }
        let kept = lock(&self.unclaimed).remove(&netns);
        let (listeners, ports) = match kept {
            Some(kept) => kept,
            None => self.put_in_place(open)?,
        };
        let place = Place {
            space: space.clone(),
            ports,
            copies: copied(&listeners)?,
        };
        elsewhere.0.insert(netns, place);
        if let Err(error) = self.publish(netns, &ports) {
            elsewhere.0.remove(&netns);
            return Err(error);
        }
        Ok(Some(listeners))
    }

    /// Forgets a network namespace: whoever connects there is refused from now on.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn leave(&self, netns: u64) -> Result<(), CaptureError> {
        let mut elsewhere = lock(&self.elsewhere);
        let Some(place) = elsewhere.0.remove(&netns) else {
            return Ok(());
        };
        self.forget(netns, place.ports, &elsewhere);
        Ok(())
    }

    fn forget(&self, netns: u64, ports: Ports, elsewhere: &Elsewhere) {
        let mut maps = self.write();
        let _ = maps.listeners.remove(&netns);
        // The same port may be one of ours in another namespace too.
        let own = maps.listeners.get(&self.netns.load(Ordering::Relaxed), 0);
        let own = own.map(|Wire(ports)| ports).unwrap_or_default();
        let others = elsewhere.0.values().map(|place| place.ports);
        let kept: HashSet<u32> = others.chain([own]).flat_map(doors).collect();
        for port in doors(ports).filter(|port| !kept.contains(port)) {
            let _ = maps.dns_doors.remove(&port);
        }
    }

    /// A socket in the network namespace with this cookie.
    pub(crate) fn socket_in(
        &self,
        netns: u64,
        make: impl FnOnce() -> io::Result<Socket> + Send + 'static,
    ) -> io::Result<Socket> {
        if netns == self.netns.load(Ordering::Relaxed) {
            return make();
        }
        let space = lock(&self.elsewhere)
            .0
            .get(&netns)
            .map(|place| place.space.clone());
        let gone = || io::Error::other("the gateway has left this network namespace");
        self.visitor.within(&space.ok_or_else(gone)?, make)
    }

    /// Is this the network namespace of the daemon?
    #[must_use]
    pub fn is_home(&self, netns: u64) -> bool {
        netns == self.netns.load(Ordering::Relaxed)
    }

    /// Marks the sockets of one namespace.
    fn put_in_place(&self, open: Vec<Sockets>) -> Result<(Listeners, Ports), CaptureError> {
        let mut ports = Ports::default();
        let mut listeners = Listeners {
            netns: 0,
            streams: Vec::new(),
            questions: Vec::new(),
        };
        for sockets in open {
            sockets
                .name(&mut ports)
                .map_err(|error| CaptureError::new("look at a listener", &error))?;
            self.mark(sockets.stream.as_raw_fd())?;
            for socket in &sockets.questions {
                self.mark(socket.as_raw_fd())?;
            }
            listeners.streams.push(sockets.stream);
            listeners.questions.extend(sockets.questions);
        }
        let first = listeners.streams.first();
        let first = first.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        listeners.netns = first
            .and_then(netns_cookie)
            .map_err(|error| CaptureError::new("ask for the network namespace", &error))?;
        Ok((listeners, ports))
    }

    /// Forgets where earlier daemons listened, but for these network namespaces.
    fn forget_earlier(&self, but: &HashMap<u64, Ports>) -> Result<(), CaptureError> {
        let kept: HashSet<u32> = but.values().flat_map(|ports| doors(*ports)).collect();
        let mut maps = self.write();
        for old in keys(&maps.listeners, "LISTENERS")? {
            if !but.contains_key(&old) {
                let _ = maps.listeners.remove(&old);
            }
        }
        for old in keys(&maps.dns_doors, "DNS_DOORS")? {
            if !kept.contains(&old) {
                let _ = maps.dns_doors.remove(&old);
            }
        }
        Ok(())
    }

    /// Closes the listeners of an earlier daemon in network namespaces in which no governed process was
    /// found.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn leave_unclaimed(&self) -> Result<(), CaptureError> {
        let unclaimed = std::mem::take(&mut *lock(&self.unclaimed));
        for (netns, (_, ports)) in unclaimed {
            self.forget(netns, ports, &lock(&self.elsewhere));
        }
        Ok(())
    }

    /// The listeners of all network namespaces once more, for a daemon that takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let home = lock(&self.home);
        let elsewhere = lock(&self.elsewhere);
        let others = elsewhere.0.values().flat_map(|place| &place.copies);
        home.iter().chain(others).map(OwnedFd::try_clone).collect()
    }

    /// The same of this network namespace only.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn copies_here(&self) -> io::Result<Vec<OwnedFd>> {
        lock(&self.home).iter().map(OwnedFd::try_clone).collect()
    }

    /// Lets go of what [`Capture::copies`] gives, so that whoever takes connections from the
    /// listeners is the last to have them.
    pub fn close_copies(&self) {
        lock(&self.home).clear();
        for place in lock(&self.elsewhere).0.values_mut() {
            place.copies.clear();
        }
    }

    /// Tells the kernel half where to send what is governed.
    fn publish(&self, netns: u64, ports: &Ports) -> Result<(), CaptureError> {
        let mut maps = self.write();
        for port in doors(*ports) {
            let written = maps.dns_doors.insert(port, 1, 0);
            written.map_err(|error| CaptureError::new("write the map DNS_DOORS", &error))?;
        }
        maps.listeners
            .insert(netns, Wire(*ports), 0)
            .map_err(|error| CaptureError::new("write the map LISTENERS", &error))
    }

    fn mark(&self, socket: RawFd) -> Result<(), CaptureError> {
        let mut maps = self.write();
        let mark = Mark {
            generation: maps.configuration()?.generation,
        };
        maps.marks
            .insert(&socket, Wire(mark), 0)
            .map_err(|error| CaptureError::new("write the map MARKS", &error))
    }
}

fn copied(listeners: &Listeners) -> Result<Vec<OwnedFd>, CaptureError> {
    let copies = listeners.copies();
    copies.map_err(|error| CaptureError::new("have a listener twice", &error))
}

/// The ports that take questions.
fn doors(ports: Ports) -> impl Iterator<Item = u32> {
    let all = ports.dns4.into_iter().chain(ports.dns6);
    all.filter(|port| *port != 0)
}

/// Opens the listeners of the network namespace of this thread. Where it has no IPv6 on loopback, there
/// are none for it.
fn open_all(early: bool) -> io::Result<Vec<Sockets>> {
    let mut open = vec![Sockets::open(Ipv4Addr::LOCALHOST.into(), early)?];
    match Sockets::open(Ipv6Addr::LOCALHOST.into(), early) {
        Ok(sockets) => open.push(sockets),
        Err(error) => tracing::warn!(%error, "no listener on ::1: IPv6 will be refused"),
    }
    Ok(open)
}

/// The listeners on one address of loopback.
struct Sockets {
    stream: TcpListener,
    questions: Vec<UdpSocket>,
}

impl Sockets {
    /// `early`: also where loopback does not have the address yet.
    fn open(ip: IpAddr, early: bool) -> io::Result<Sockets> {
        let address = SocketAddr::new(ip, 0);
        let questions = (0..DNS_PORTS).map(|_| open_datagrams(address, early));
        Ok(Sockets {
            stream: open(address, early)?,
            questions: questions.collect::<io::Result<_>>()?,
        })
    }

    /// Writes down which ports they have.
    fn name(&self, ports: &mut Ports) -> io::Result<()> {
        let address = self.stream.local_addr()?;
        let (of_stream, of_questions) = match address {
            SocketAddr::V4(_) => (&mut ports.v4, &mut ports.dns4),
            SocketAddr::V6(_) => (&mut ports.v6, &mut ports.dns6),
        };
        *of_stream = u32::from(address.port());
        for (place, socket) in of_questions.iter_mut().zip(&self.questions) {
            *place = u32::from(socket.local_addr()?.port());
        }
        Ok(())
    }
}

/// A socket that is to be bound to an address of loopback.
fn unbound(address: SocketAddr, kind: Type, protocol: Protocol, early: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(early)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(early)?;
        }
    }
    Ok(socket)
}

/// A socket for datagrams. Nobody else can bind its address, which would need SO_REUSEADDR or
/// SO_REUSEPORT on both.
fn open_datagrams(address: SocketAddr, early: bool) -> io::Result<UdpSocket> {
    let socket = unbound(address, Type::DGRAM, Protocol::UDP, early)?;
    // Root may have more than net.core.rmem_max; without it less waits, and what is over is lost
    // as on any network.
    let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, early: bool) -> io::Result<TcpListener> {
    // Never SO_REUSEPORT: a process of the same uid could join.
    let socket = unbound(address, Type::STREAM, Protocol::TCP, early)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// `SO_NETNS_COOKIE` (5.14): what the programs call the network namespace of a socket.
pub(crate) fn netns_cookie(socket: &impl AsFd) -> std::io::Result<u64> {
    Ok(nix::sys::socket::getsockopt(socket, option::NetnsCookie)?)
}

#[allow(unsafe_code, missing_docs)] // the macro of nix for an option that it does not have
mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    /// include/uapi/asm-generic/socket.h
    const SO_NETNS_COOKIE: libc::c_int = 71;
    sockopt_impl!(NetnsCookie, GetOnly, libc::SOL_SOCKET, SO_NETNS_COOKIE, u64);
}
