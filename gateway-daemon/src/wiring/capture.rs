//! What the kernel half says, in the words of those who ask.
use gateway_capture::{Capture, RootedBy, TagEntry};
use gateway_lineage::{ProcessKey, Tag};
use gateway_proxy::{CaptureError, Flow, Transport};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The kernel half as the proxy knows it.
pub(crate) struct KernelFlows(pub(crate) Arc<Capture>);

impl gateway_proxy::Capture for KernelFlows {
    fn flow(&self, accepted: BorrowedFd<'_>) -> Result<Option<Flow>, CaptureError> {
        let flow = self
            .0
            .flow(accepted)
            .map_err(|error| CaptureError(error.to_string().into()))?;
        Ok(flow.map(|flow| self.of_kernel(flow)))
    }

    fn question(
        &self,
        netns: u64,
        port: u16,
        source: SocketAddr,
    ) -> Result<Option<Flow>, CaptureError> {
        let flow = self
            .0
            .question(netns, port, source)
            .map_err(|error| CaptureError(error.to_string().into()))?;
        Ok(flow.map(|flow| self.of_kernel(flow)))
    }

    fn socket(&self, flow: &Flow, transport: Transport) -> io::Result<OwnedFd> {
        match transport {
            Transport::Stream => self.0.dial(flow.netns, flow.tree, flow.destination),
            Transport::Datagram => self.0.ask(flow.netns, flow.destination),
        }
    }
}

impl KernelFlows {
    fn of_kernel(&self, flow: gateway_capture::Flow) -> Flow {
        Flow {
            destination: flow.destination,
            tree: flow.tree,
            pid: flow.pid,
            start: flow.start,
            policy_slot: flow.slot,
            bound_source: flow.bound_source,
            cookie: flow.cookie,
            netns: flow.netns,
            abroad: !self.0.is_home(flow.netns),
        }
    }
}

/// A process, as the lineage names it.
pub(crate) const fn key(process: gateway_capture::ProcessKey) -> ProcessKey {
    ProcessKey::new(process.pid, process.start)
}

/// A tag, as the lineage takes it.
pub(crate) fn tag(entry: &TagEntry) -> Tag {
    Tag {
        key: ProcessKey::new(entry.pid, entry.start),
        tree: entry.tree,
        policy_slot: entry.slot,
        parent: entry.parent.map(|(pid, start)| ProcessKey::new(pid, start)),
    }
}

/// What made a process a root.
pub(crate) const fn rooted(by: RootedBy) -> gateway_lineage::RootedBy {
    match by {
        RootedBy::Fork => gateway_lineage::RootedBy::CgroupAtFork,
        RootedBy::Exec => gateway_lineage::RootedBy::CgroupAtExec,
        RootedBy::Connect => gateway_lineage::RootedBy::CgroupAtConnect,
        RootedBy::Boundary => gateway_lineage::RootedBy::Boundary,
    }
}
