//! Sockets that a process had before it was governed. No hook has seen them connect, so they are
//! looked for: each is taken from its process for a moment, asked what it is, and dealt with.
//!
//! What has storage was made, or connected, while governed. Of the rest, connections that were
//! accepted stay, as do those within a tree; outbound ones are ended where everybody who holds
//! them is governed by a policy that enforces, and are only said where not: to end them would end
//! them for an ungoverned process too. What has no peer gets storage, as if it had been made now,
//! and is the hooks' and the backstop's from then on. Nothing is frozen meanwhile
//! (docs/decisions/0017). Closes rows 26 and 27.
mod descriptors;
mod holders;
mod listening;
mod socket;

pub use socket::Transport;

use crate::error::CaptureError;
use crate::events::ProcessKey;
use crate::load::{Capture, lock};
use crate::maps::{TagEntry, ip_for};
use crate::missed::now_ns;
use crate::wire::Wire;
use aya::maps::MapError;
use descriptors::{Held, Place};
use gateway_common::flow::{Flow, state};
use gateway_core::TreeId;
use holders::Holders;
use listening::Listening;
use nix::errno::Errno;
use socket::{Inet, Kind, end, examine, is_loopback};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// A socket can go from a process that was not looked at yet to one that was. After so many looks
/// that each found something it is left at that.
const PASSES_MAX: usize = 5;
/// Processes that are held at once, each by a descriptor of the daemon's.
const HELD_MAX: usize = 256;
/// Sockets that one look deals with.
const SOCKETS_MAX: usize = 1 << 16;
/// `BPF_NOEXIST`: what a hook wrote meanwhile is the better one.
const NO_EXIST: u64 = 1;

const NO_ACCESS: &str = "the kernel does not let the gateway look at its sockets";
const TOO_MANY: &str = "it has more sockets than are looked at";
const FOREIGN: &str = "a socket of a family that the gateway does not see";
const NO_STORAGE: &str = "no memory to remember a socket";
const NOT_ENDED: &str = "a connection could not be ended; the backstop has it";

/// Something from before, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromBefore {
    /// Who has it; one of them, where governed processes share it.
    pub process: ProcessKey,
    /// Its tree.
    pub tree: TreeId,
    /// What it is; `None` when it is none over IP, or could not be looked at.
    pub transport: Option<Transport>,
    /// Its own end.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of something from before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was ended; the peer got a reset.
    Ended,
    /// It has no peer, or one within its tree: it is known from now on.
    Marked,
    /// It goes on, since processes share it that nothing forbids that: these. None are named when
    /// there were too many to ask.
    Shared(Vec<u32>),
    /// It goes on, since its policy does not enforce.
    Observed,
    /// It cannot be judged, or not be ended, for this reason.
    Gap(&'static str),
}

/// A socket without storage.
struct Candidate {
    owner: Owner,
    place: Place,
    socket: Inet,
}

#[derive(Clone, Copy)]
struct Owner {
    process: ProcessKey,
    tree: TreeId,
    slot: u32,
}

impl Owner {
    const fn of(tag: &TagEntry) -> Owner {
        Owner {
            process: ProcessKey {
                pid: tag.pid,
                start: tag.start,
            },
            tree: tag.tree,
            slot: tag.slot,
        }
    }

    const fn gap(&self, why: &'static str) -> FromBefore {
        FromBefore {
            process: self.process,
            tree: self.tree,
            transport: None,
            local: None,
            peer: None,
            fate: Fate::Gap(why),
        }
    }
}

/// Both ends of a TCP connection on a network namespace's loopback, from one of them.
type Ends = (u64, SocketAddr, SocketAddr);

/// What one look found.
#[derive(Default)]
struct Survey {
    /// By the number of their files: what is shared counts once.
    candidates: HashMap<u64, Candidate>,
    /// Whose the ends of TCP connections on loopback are.
    ends: HashMap<Ends, TreeId>,
    gaps: Vec<FromBefore>,
}

impl Survey {
    /// Is the other end of this one, on loopback, held by the same tree?
    fn within_tree(&self, candidate: &Candidate) -> bool {
        let socket = &candidate.socket;
        let (Some(local), Some(peer)) = (socket.local, socket.peer) else {
            return false;
        };
        self.ends.get(&(socket.netns, peer, local)) == Some(&candidate.owner.tree)
    }

    fn gap(&mut self, owner: Owner, why: &'static str) {
        let gap = owner.gap(why);
        if self.gaps.last() != Some(&gap) {
            self.gaps.push(gap);
        }
    }
}

/// What counts for a socket without storage that was not accepted.
#[derive(Clone, Copy, Debug)]
struct Case {
    connected: bool,
    within_tree: bool,
    /// Somebody who is not governed, or not by a policy that enforces, holds it too.
    shared: bool,
    enforced: bool,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Leave,
    SayObserved,
    SayShared,
    Mark(u32),
    End,
}

const fn decide(case: Case) -> Verdict {
    match case {
        Case {
            connected: false,
            enforced,
            shared,
            ..
        } => match enforced && !shared {
            true => Verdict::Mark(state::CREATED),
            false => Verdict::Leave,
        },
        Case {
            enforced: false, ..
        } => Verdict::SayObserved,
        Case {
            within_tree: true,
            shared,
            ..
        } => match shared {
            true => Verdict::Leave,
            false => Verdict::Mark(state::ACCEPTED),
        },
        Case { shared: true, .. } => Verdict::SayShared,
        _ => Verdict::End,
    }
}

impl Capture {
    /// Deals with the sockets that processes of these trees have from before they were governed,
    /// and says which there were. Looks again until a look finds nothing to do: a socket may pass
    /// from one process to another meanwhile.
    ///
    /// # Errors
    /// The processes cannot be listed, or a map cannot be read.
    pub fn judge_sockets(&self, trees: &HashSet<TreeId>) -> Result<Vec<FromBefore>, CaptureError> {
        if trees.is_empty() {
            return Ok(Vec::new());
        }
        let _one_at_a_time = lock(&self.judging);
        let mut all: Vec<FromBefore> = Vec::new();
        let mut said = HashSet::new();
        for pass in 0..PASSES_MAX {
            let mut survey = self.survey(trees)?;
            if pass == 0 {
                all.append(&mut survey.gaps);
            }
            // What goes on as it is is found in each look.
            survey.candidates.retain(|inode, _| !said.contains(inode));
            let found = self.judge_all(&survey)?;
            let done = found
                .iter()
                .filter(|(_, found)| matches!(found.fate, Fate::Ended | Fate::Marked))
                .count();
            for (inode, found) in found {
                said.insert(inode);
                all.push(found);
            }
            if done == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Looks at every process of these trees.
    fn survey(&self, trees: &HashSet<TreeId>) -> Result<Survey, CaptureError> {
        let mut members = self.tags()?;
        members.retain(|tag| trees.contains(&tag.tree));
        let mut survey = Survey::default();
        for some in members.chunks(HELD_MAX) {
            // Held first, identified then: what is looked at is what was tagged, or nothing.
            let held: Vec<_> = some
                .iter()
                .filter_map(|tag| Some((Owner::of(tag), Held::hold(tag.pid)?)))
                .collect();
            let alive = self.starts()?;
            for (owner, mut held) in held {
                if alive.get(&held.pid) == Some(&owner.process.start) {
                    held.find_tables();
                    self.survey_process(owner, &held, &mut survey)?;
                }
            }
        }
        Ok(survey)
    }

    /// When each process of the host started.
    fn starts(&self) -> Result<HashMap<u32, u64>, CaptureError> {
        let processes = self.processes()?.into_iter();
        Ok(processes
            .map(|process| (process.tgid, process.start))
            .collect())
    }

    fn survey_process(
        &self,
        owner: Owner,
        held: &Held,
        survey: &mut Survey,
    ) -> Result<(), CaptureError> {
        for gap in &held.gaps {
            survey.gap(owner, gap);
        }
        for place in held.sockets() {
            if survey.candidates.contains_key(&place.inode) {
                continue;
            }
            let taken = match held.take(&place) {
                Ok(taken) => taken,
                Err(Errno::EPERM) => {
                    survey.gap(owner, NO_ACCESS);
                    return Ok(());
                }
                // Closed, or another by now.
                Err(_) => continue,
            };
            let socket = match examine(&taken) {
                Ok(Kind::Inet(socket)) => socket,
                Ok(Kind::Foreign(_)) => {
                    survey.gap(owner, FOREIGN);
                    continue;
                }
                Ok(Kind::Local) | Err(_) => continue,
            };
            if let (Transport::Tcp, Some(local), Some(peer)) =
                (socket.transport, socket.local, socket.peer)
                && is_loopback(local)
                && is_loopback(peer)
            {
                let ends = (socket.netns, local, peer);
                survey.ends.insert(ends, owner.tree);
            }
            if self.has_storage(&taken)? {
                continue;
            }
            if survey.candidates.len() >= SOCKETS_MAX {
                survey.gap(owner, TOO_MANY);
                return Ok(());
            }
            let candidate = Candidate {
                owner,
                place,
                socket,
            };
            survey.candidates.insert(place.inode, candidate);
        }
        Ok(())
    }

    fn has_storage(&self, socket: &OwnedFd) -> Result<bool, CaptureError> {
        match self.read().sockets.get(socket, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(CaptureError::new("read the map SOCKETS", &error)),
        }
    }

    fn judge_all(&self, survey: &Survey) -> Result<Vec<(u64, FromBefore)>, CaptureError> {
        let mut listening = Listening::default();
        let mut outbound: Vec<&Candidate> = survey.candidates.values().collect();
        outbound.retain(|candidate| !candidate.is_accepted(&mut listening));
        // Most have none.
        if outbound.is_empty() {
            return Ok(Vec::new());
        }
        let inodes = outbound.iter().map(|candidate| candidate.place.inode);
        let holders = Holders::search(&inodes.collect(), &self.enforced()?);
        let outsiders = self.outsiders(&holders)?;
        let mut found = Vec::new();
        for candidate in outbound {
            let inode = candidate.place.inode;
            let mut others = holders.of(inode).to_vec();
            others.retain(|pid| outsiders.contains(pid));
            let verdict = decide(Case {
                connected: candidate.socket.connected,
                within_tree: survey.within_tree(candidate),
                shared: !others.is_empty() || !holders.complete,
                enforced: self.enforces(candidate.owner.slot)?,
            });
            let fate = match verdict {
                Verdict::Leave => None,
                Verdict::SayObserved => Some(Fate::Observed),
                Verdict::SayShared => Some(Fate::Shared(others)),
                Verdict::Mark(state) => self.deal_with(candidate, state, false)?,
                Verdict::End => self.deal_with(candidate, state::CREATED, true)?,
            };
            if let Some(fate) = fate {
                found.push((inode, candidate.met(fate)));
            }
        }
        Ok(found)
    }

    /// The processes that a policy governs which enforces: however many descriptors they have, they
    /// do not lengthen the search for others.
    fn enforced(&self) -> Result<HashSet<u32>, CaptureError> {
        let tags = self.tags()?;
        let alive = self.starts()?;
        let mut enforced = HashSet::new();
        for tag in tags {
            if alive.get(&tag.pid) == Some(&tag.start) && self.enforces(tag.slot)? {
                enforced.insert(tag.pid);
            }
        }
        Ok(enforced)
    }

    /// Those holders that are not governed, or by a policy that does not enforce.
    fn outsiders(&self, holders: &Holders) -> Result<HashSet<u32>, CaptureError> {
        let alive = self.starts()?;
        let mut outsiders = HashSet::new();
        for pid in holders.all() {
            // Who has exited meanwhile holds nothing any more.
            let Some(start) = alive.get(&pid) else {
                continue;
            };
            let tag = self.tag(pid, *start)?;
            let enforced = match tag {
                Some(tag) => self.enforces(tag.slot)?,
                None => false,
            };
            if !enforced {
                outsiders.insert(pid);
            }
        }
        Ok(outsiders)
    }

    /// Takes it once more, ends its connection where that is asked for, and gives it storage.
    /// `None`: it is gone, or somebody has connected it through the hooks meanwhile.
    fn deal_with(
        &self,
        candidate: &Candidate,
        state: u32,
        ends: bool,
    ) -> Result<Option<Fate>, CaptureError> {
        let Some(taken) = candidate.take_again() else {
            return Ok(None);
        };
        if self.has_storage(&taken)? {
            return Ok(None);
        }
        // The reset first: with storage the backstop would drop it.
        let ended = if ends { end(&taken) } else { Ok(()) };
        let marked = self.mark_socket(&taken, candidate, state);
        Ok(Some(match (ended, marked) {
            (_, Err(_)) => Fate::Gap(NO_STORAGE),
            (Err(_), Ok(())) => Fate::Gap(NOT_ENDED),
            (Ok(()), Ok(())) if ends => Fate::Ended,
            (Ok(()), Ok(())) => Fate::Marked,
        }))
    }

    /// Writes what `sock_create` would have written, or the connect hook.
    fn mark_socket(
        &self,
        taken: &OwnedFd,
        candidate: &Candidate,
        state: u32,
    ) -> Result<(), CaptureError> {
        let Candidate { owner, socket, .. } = candidate;
        let peer = socket.peer.filter(|_| state == state::ACCEPTED);
        let flow = Flow {
            destination: peer.map_or([0; 16], |peer| ip_for(peer.ip())),
            source: [0; 16],
            start: owner.process.start,
            tree: owner.tree.0,
            cookie: socket.cookie,
            netns: socket.netns,
            at: now_ns()?,
            tgid: owner.process.pid,
            slot: owner.slot,
            state,
            port: peer.map_or(0, |peer| peer.port()),
            family: socket.family,
        };
        let written = self.write().sockets.insert(taken, Wire(flow), NO_EXIST);
        // A hook may have been quicker.
        match written {
            Err(_) if self.has_storage(taken)? => Ok(()),
            written => written.map_err(|error| CaptureError::new("write the map SOCKETS", &error)),
        }
    }
}

impl Candidate {
    fn is_accepted(&self, listening: &mut Listening) -> bool {
        let socket = &self.socket;
        socket.transport == Transport::Tcp
            && socket.connected
            && listening.accepts(socket, self.owner.process.pid)
    }

    /// The socket, if it is still where it was found. Its cookie is unique, whoever has the number
    /// of the process by now.
    fn take_again(&self) -> Option<OwnedFd> {
        let taken = Held::take_from(&self.place).ok()?;
        match examine(&taken) {
            Ok(Kind::Inet(now)) if now.cookie == self.socket.cookie => Some(taken),
            _ => None,
        }
    }

    fn met(&self, fate: Fate) -> FromBefore {
        FromBefore {
            process: self.owner.process,
            tree: self.owner.tree,
            transport: Some(self.socket.transport),
            local: self.socket.local,
            peer: self.socket.peer,
            fate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTBOUND: Case = Case {
        connected: true,
        within_tree: false,
        shared: false,
        enforced: true,
    };

    #[test]
    fn only_outbound_connections_that_nobody_else_has_are_ended() {
        assert_eq!(decide(OUTBOUND), Verdict::End);
        let cases = [
            (
                Case {
                    shared: true,
                    ..OUTBOUND
                },
                Verdict::SayShared,
            ),
            (
                Case {
                    enforced: false,
                    ..OUTBOUND
                },
                Verdict::SayObserved,
            ),
            (
                Case {
                    within_tree: true,
                    ..OUTBOUND
                },
                Verdict::Mark(state::ACCEPTED),
            ),
            (
                Case {
                    connected: false,
                    ..OUTBOUND
                },
                Verdict::Mark(state::CREATED),
            ),
        ];
        for (case, verdict) in cases {
            assert_eq!(decide(case), verdict, "{case:?}");
        }
    }

    /// Whatever else holds: what others hold, or no policy enforces, is neither ended nor marked.
    #[test]
    fn nothing_changes_for_others() {
        for bits in 0..16 {
            let bit = |number: u32| bits >> number & 1 == 1;
            let case = Case {
                connected: bit(0),
                within_tree: bit(1),
                shared: bit(2),
                enforced: bit(3),
            };
            let verdict = decide(case);
            if case.shared || !case.enforced {
                let acts = matches!(verdict, Verdict::End | Verdict::Mark(_));
                assert!(!acts, "{case:?}");
            } else if case.connected {
                assert_ne!(verdict, Verdict::Leave, "{case:?}");
            }
        }
    }
}
