//! The way of one connection, from accept to its last record.
//!
//! Every way out of here is a refusal until the policy has cleared `connect`: nothing is dialled
//! before. A connection that cannot be attributed or recorded is reset.
use crate::accept::{Accepted, Slot};
use crate::counters::count;
use crate::dial::{DialError, dial};
use crate::hold::{self, Asked};
use crate::ports::{Attributed, Behind, Clock, Flow};
use crate::proxy::Shared;
use crate::recognise::{Openings, Recognised, Recogniser};
use crate::refuse::refuse;
use crate::registry::{Live, Registered};
use crate::secure::{self, Settled};
use crate::{opaque, ports::Ports};
use gateway_core::governor::{Ending, SessionContext};
use gateway_core::{
    Clearance, Destination, Effect, Governor, Operation, RecordError, Recorder, Refusal,
    SessionEnd, Verb,
};
use gateway_protocol::relay::reactor::Reactor;
use gateway_protocol::relay::{self, RelayLimits, Stream};
use gateway_protocol::{Answer, Closed, Link, Side, Stop, StopReason};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A session that was opened: its gate, and its place among the live ones.
pub(crate) struct Opened {
    pub(crate) governor: Governor,
    pub(crate) registered: Registered,
    pub(crate) flow: Flow,
}

/// What is left to do for a session whose link is ready.
enum Next {
    /// The protocol with this number serves it.
    Serve(usize, Link, Governor),
    /// It goes through without being understood.
    Opaque(Clearance, Link, Governor),
    /// It is over.
    Close(Governor, Ending),
}

/// Serves one connection on the worker whose task this is.
pub(crate) async fn serve(shared: Arc<Shared>, accepted: Accepted, slot: Slot) {
    let client = match accepted.into_stream().and_then(|client| {
        client.set_nodelay(true)?;
        Ok(client)
    }) {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "an accepted socket cannot be used"),
    };
    let opened = match flow_of(&shared, &client) {
        Some(flow) => attribute(&shared, &flow)
            .await
            .and_then(|behind| open(&shared, flow, behind)),
        None => None,
    };
    let Some(Opened {
        governor,
        registered,
        flow,
    }) = opened
    else {
        let _ = client.set_zero_linger();
        return;
    };
    // In a box that is gone when the link is ready: a session that waits costs what serving it
    // costs, not what dialling and recognising did.
    let next = Box::pin(prepare(
        &shared,
        client,
        governor,
        &registered.live,
        &flow,
        slot.reactor.clone(),
    ))
    .await;
    let (governor, ending) = match next {
        Next::Serve(number, link, governor) => {
            let Some(protocol) = shared.ports.protocols.get(number) else {
                return;
            };
            let Closed {
                governor, ending, ..
            } = protocol.serve(link, governor).await;
            (governor, ending)
        }
        Next::Opaque(clearance, link, governor) => {
            Box::pin(serve_opaque(&shared, clearance, link, governor)).await
        }
        Next::Close(governor, ending) => (governor, ending),
    };
    close(&shared, governor, ending);
    drop(registered);
    drop(slot);
}

/// Where did it mean to go? `None` when it is to be reset.
fn flow_of(shared: &Shared, client: &TcpStream) -> Option<Flow> {
    let now = shared.ports.clock.now();
    match shared.ports.capture.flow(client.as_fd()) {
        Ok(Some(flow)) => Some(flow),
        Ok(None) => {
            count(&shared.counters.orphans);
            if shared.orphan_pace.allows(now) {
                tracing::warn!("a connection that was not redirected here: reset");
            }
            None
        }
        Err(error) => {
            count(&shared.counters.capture_errors);
            if shared.orphan_pace.allows(now) {
                tracing::error!(%error, "a connection of unknown origin: reset");
            }
            None
        }
    }
}

/// Whose is it? `None` when it is to be reset. What takes time is waited for on another thread:
/// one job's slow issuer must not keep the sessions of others waiting.
pub(crate) async fn attribute(shared: &Arc<Shared>, flow: &Flow) -> Option<Attributed> {
    let behind = match shared.ports.attribution.subject(flow) {
        Behind::Known(behind) => Some(behind),
        Behind::Nobody => None,
        Behind::Unsettled => {
            let (attribution, flow) = (Arc::clone(&shared.ports.attribution), *flow);
            let settled = tokio::task::spawn_blocking(move || attribution.settle(&flow));
            settled.await.ok().flatten()
        }
    };
    if behind.is_none() {
        count(&shared.counters.unattributed);
        if shared.orphan_pace.allows(shared.ports.clock.now()) {
            tracing::warn!(pid = flow.pid, tree = %flow.tree, "an unknown process: reset");
        }
    }
    behind
}

/// Opens its session; `None` when it is to be reset.
pub(crate) fn open(shared: &Arc<Shared>, flow: Flow, behind: Attributed) -> Option<Opened> {
    let Ports {
        judge,
        recorder,
        approver,
        masker,
        clock,
        ..
    } = &shared.ports;
    let now = clock.now();
    let Attributed { subject, policy } = behind;
    let session = shared.ids.next(now);
    let mut destination = Destination::from_address(flow.destination);
    destination.abroad = flow.abroad;
    if !flow.abroad {
        destination.hosts = shared.ports.names.names(flow.tree, destination.ip, now);
    }
    let context = SessionContext {
        session,
        subject,
        destination,
        policy,
    };
    let live = Arc::new(Live::new(Arc::clone(recorder)));
    let watched: Arc<dyn Recorder> = Arc::<Live>::clone(&live);
    let (judge, approver) = (Arc::clone(judge), Arc::clone(approver));
    let masker = Arc::clone(masker);
    match Governor::open(context, judge, watched, approver, masker, now) {
        Ok(governor) => {
            let (registry, counters) = (Arc::clone(&shared.registry), Arc::clone(&shared.counters));
            let registered = Registered::new(session, live, registry, counters, Arc::clone(clock));
            Some(Opened {
                governor,
                registered,
                flow,
            })
        }
        Err(error) => {
            count(&shared.counters.recording_failures);
            if shared.orphan_pace.allows(now) {
                tracing::error!(%error, "a session cannot be recorded: reset");
            }
            None
        }
    }
}

/// Asks for `connect`, dials, and finds out what is spoken.
async fn prepare(
    shared: &Arc<Shared>,
    mut client: TcpStream,
    mut governor: Governor,
    live: &Arc<Live>,
    flow: &Flow,
    reactor: Option<Reactor>,
) -> Next {
    let clock = &*shared.ports.clock;
    let connected = match connect(&mut governor, clock, &client, &live.stop).await {
        Asked::Cleared(connected) => connected,
        Asked::Refused(refusal) => return refused(shared, client, governor, live, &refusal).await,
        Asked::Left => return left(governor, 0),
        Asked::Stopped(reason) => {
            let _ = client.set_zero_linger();
            return stopped(governor, reason, 0);
        }
    };
    let destination = governor.context().destination.clone();
    let limits = &shared.limits;
    let dialled = dial(&*shared.ports.capture, flow, limits.dial, &live.stop).await;
    let answered = answer(shared, &mut governor, &connected, dialled.as_ref().err());
    let mut upstream = match (dialled, answered) {
        (Ok(upstream), Ok(())) => upstream,
        (dialled, answered) => {
            // The client learns it as a reset: its own connect has long succeeded.
            let _ = client.set_zero_linger();
            return match (dialled, answered) {
                (Err(DialError::Stopped(reason)), _) => stopped(governor, reason, 0),
                (Err(DialError::Failed(error)), _) => {
                    count(&shared.counters.dial_errors);
                    failed(governor, error)
                }
                (Ok(_), answered) => {
                    count(&shared.counters.recording_failures);
                    let error = answered
                        .err()
                        .map_or_else(String::new, |error| error.to_string());
                    failed(governor, error)
                }
            };
        }
    };
    let recogniser = Recogniser {
        protocols: &shared.ports.protocols,
        destination: &destination,
        bytes_max: limits.opening_bytes_max,
        timeout: limits.recognise,
        stop: &live.stop,
    };
    let mut openings = Openings::default();
    let recognised = recogniser
        .listen(&mut client, &mut upstream, &mut openings)
        .await;
    let (from_client, from_upstream) = (openings.client.bytes, openings.upstream.bytes);
    let bytes_up = from_client.len() as u64;
    let stop = Arc::clone(&live.stop);
    let terms = shared
        .ports
        .judge
        .terms(&governor.context().policy, &destination);
    let link = Link {
        client: client.into(),
        upstream: upstream.into(),
        from_client,
        from_upstream,
        connected,
        terms,
        login: None,
        stop,
        meter: Arc::clone(&shared.ports.meter),
        // A flow that nobody takes apart is often over before handing it over would pay.
        reactor: None,
    };
    match recognised {
        Recognised::Protocol(number) => {
            let name = shared
                .ports
                .protocols
                .get(number)
                .map_or("", |protocol| protocol.name());
            governor.recognised(name);
            live.recognised(name);
            let link = Link { reactor, ..link };
            secured(shared, number, link, governor, live).await
        }
        Recognised::Nothing => begin_opaque(shared, link, governor, live).await,
        Recognised::Ended(side, error) => ended(link, governor, side, error),
        Recognised::Stopped(reason) => {
            link.client.abort();
            link.upstream.abort();
            stopped(governor, reason, bytes_up)
        }
    }
}

/// Settles who encrypts, and goes on as that came out.
async fn secured(
    shared: &Arc<Shared>,
    number: usize,
    link: Link,
    governor: Governor,
    live: &Arc<Live>,
) -> Next {
    let Some(protocol) = shared.ports.protocols.get(number) else {
        return failed(governor, "no such protocol".to_owned());
    };
    let bytes_up = link.from_client.len() as u64;
    let destination = governor.context().destination.clone();
    match secure::settle(shared, &**protocol, link, &destination).await {
        Settled::Ready(link) => Next::Serve(number, link, governor),
        Settled::Opaque(link) => begin_opaque(shared, link, governor, live).await,
        Settled::Failed { error, bytes_down } => {
            count(&shared.counters.tls_errors);
            Next::Close(
                governor,
                Ending {
                    end: SessionEnd::Error,
                    bytes_up,
                    bytes_down,
                    error: Some(error.into()),
                },
            )
        }
        Settled::Stopped(reason) => stopped(governor, reason, bytes_up),
    }
}

async fn connect(
    governor: &mut Governor,
    clock: &dyn Clock,
    client: &TcpStream,
    stop: &Stop,
) -> Asked {
    let effects = [Effect {
        verb: Verb::Connect,
        objects: Vec::new(),
    }];
    let operation = Operation::new("", Verb::Connect, &effects);
    hold::submit(governor, &operation, clock, client, stop).await
}

/// Records how `connect` was answered: by the upstream, or by what kept it from being reached.
fn answer(
    shared: &Arc<Shared>,
    governor: &mut Governor,
    connected: &Clearance,
    error: Option<&DialError>,
) -> Result<(), RecordError> {
    let answer = Answer {
        error: error.map(|error| error.to_string().into()),
        ..Answer::default()
    };
    governor.complete(&answer.outcome(connected.id(), shared.ports.clock.now()))
}

async fn refused(
    shared: &Arc<Shared>,
    client: TcpStream,
    mut governor: Governor,
    live: &Arc<Live>,
    refusal: &Refusal,
) -> Next {
    count(&shared.counters.refused);
    let destination = governor.context().destination.clone();
    let (protocols, limits) = (&shared.ports.protocols, &shared.limits);
    let told = refuse(client, refusal, &destination, protocols, limits, &live.stop).await;
    if let Some(protocol) = told.protocol {
        governor.recognised(protocol);
        live.recognised(protocol);
    }
    let (bytes_up, bytes_down) = (told.bytes_up, told.bytes_down);
    Next::Close(
        governor,
        Ending {
            end: SessionEnd::Denied,
            bytes_up,
            bytes_down,
            error: None,
        },
    )
}

/// Nobody knows what is spoken. The policy may let it through all the same.
async fn begin_opaque(
    shared: &Arc<Shared>,
    link: Link,
    mut governor: Governor,
    live: &Arc<Live>,
) -> Next {
    governor.recognised(opaque::NAME);
    live.recognised(opaque::NAME);
    let bytes_up = link.from_client.len() as u64;
    let clock = &*shared.ports.clock;
    let (client, opening) = (link.client.stream(), &link.from_client);
    match opaque::submit(&mut governor, clock, client, opening, &live.stop).await {
        Asked::Cleared(clearance) => {
            count(&shared.counters.opaque);
            Next::Opaque(clearance, link, governor)
        }
        Asked::Left => left(governor, bytes_up),
        Asked::Stopped(reason) => {
            link.client.abort();
            link.upstream.abort();
            stopped(governor, reason, bytes_up)
        }
        Asked::Refused(_) => {
            count(&shared.counters.refused);
            link.client.abort();
            let end = SessionEnd::Denied;
            Next::Close(
                governor,
                Ending {
                    end,
                    bytes_up,
                    bytes_down: 0,
                    error: None,
                },
            )
        }
    }
}

async fn serve_opaque(
    shared: &Arc<Shared>,
    clearance: Clearance,
    link: Link,
    governor: Governor,
) -> (Governor, Ending) {
    let id = clearance.id();
    let limits = RelayLimits {
        linger: shared.limits.linger,
        idle: shared.limits.opaque_idle,
        ..RelayLimits::default()
    };
    let session = Box::new(opaque::Opaque { clearance });
    let closed = relay::run_with(link, governor, session, limits).await;
    let Closed {
        mut governor,
        mut ending,
        ..
    } = closed;
    let answer = Answer {
        bytes_up: ending.bytes_up,
        bytes_down: ending.bytes_down,
        error: ending.error.clone(),
        ..Answer::default()
    };
    let outcome = answer.outcome(id, shared.ports.clock.now());
    if let Err(error) = governor.complete(&outcome) {
        count(&shared.counters.recording_failures);
        ending.end = SessionEnd::Error;
        ending.error = Some(error.to_string().into());
    }
    (governor, ending)
}

/// A side closed before anything was said, or failed. The other is told in the same way.
fn ended(link: Link, governor: Governor, side: Side, error: Option<io::Error>) -> Next {
    let end = match side {
        Side::Client => SessionEnd::Client,
        Side::Upstream => SessionEnd::Upstream,
    };
    if error.is_some() {
        let other = match side {
            Side::Client => &link.upstream,
            Side::Upstream => &link.client,
        };
        other.abort();
    }
    let error = error.map(|error| format!("{side:?}: {error}").into());
    let bytes_up = link.from_client.len() as u64;
    Next::Close(
        governor,
        Ending {
            end,
            bytes_up,
            bytes_down: 0,
            error,
        },
    )
}

/// The client did not wait for a human.
fn left(governor: Governor, bytes_up: u64) -> Next {
    Next::Close(
        governor,
        Ending {
            end: SessionEnd::Client,
            bytes_up,
            bytes_down: 0,
            error: None,
        },
    )
}

fn stopped(governor: Governor, reason: StopReason, bytes_up: u64) -> Next {
    let error = Some(reason.words().into());
    Next::Close(
        governor,
        Ending {
            end: SessionEnd::Killed,
            bytes_up,
            bytes_down: 0,
            error,
        },
    )
}

fn failed(governor: Governor, error: String) -> Next {
    let error = Some(error.into());
    let ending = Ending {
        end: SessionEnd::Error,
        bytes_up: 0,
        bytes_down: 0,
        error,
    };
    Next::Close(governor, ending)
}

pub(crate) fn close(shared: &Arc<Shared>, governor: Governor, ending: Ending) {
    let session = governor.session();
    if let Err(error) = governor.close(ending, shared.ports.clock.now()) {
        count(&shared.counters.recording_failures);
        if shared.orphan_pace.allows(shared.ports.clock.now()) {
            tracing::error!(%session, %error, "the end of a session is not recorded");
        }
    }
}
