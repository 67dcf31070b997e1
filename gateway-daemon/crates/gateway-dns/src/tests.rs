//! Messages as they are on the wire, and what comes of them.
mod messages;
mod tcp;

use crate::{Dns, Limits, NameTable};
use gateway_core::{Timestamp, TreeId};
use gateway_protocol::Asker;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) const TREE: TreeId = TreeId(1);
/// A server that is trusted; `samples::context` has a connection go there.
pub(crate) const SERVER: [u8; 4] = [10, 0, 0, 7];

pub(crate) fn clock() -> Timestamp {
    Timestamp(1_700_000_000_000_000_000)
}

/// The protocol, and the names that it learns.
pub(crate) fn dns(limits: Limits) -> (Dns, Arc<NameTable>) {
    let names = Arc::<NameTable>::default();
    let servers = [IpAddr::from(SERVER)];
    (Dns::new(limits, servers, Arc::clone(&names), clock), names)
}

pub(crate) fn asker(server: [u8; 4]) -> Asker {
    Asker {
        tree: TREE,
        server: (server, 53).into(),
        abroad: false,
    }
}

/// A name on the wire.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A header with these counts.
pub(crate) fn head(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [&[id, flags][..], &counts].concat();
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A question for this name and type.
pub(crate) fn query(id: u16, text: &str, kind: u16) -> Vec<u8> {
    let mut bytes = head(id, 0x0100, [1, 0, 0, 0]);
    bytes.extend(name(text));
    bytes.extend([kind.to_be_bytes(), 1u16.to_be_bytes()].concat());
    bytes
}

/// A record.
pub(crate) fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = name(owner);
    bytes.extend([kind.to_be_bytes(), 1u16.to_be_bytes()].concat());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// The answer to a question, with these records.
pub(crate) fn answer(question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2..4].copy_from_slice(&0x8180u16.to_be_bytes());
    let count = u16::try_from(records.len()).unwrap();
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes.extend(records.concat());
    bytes
}
