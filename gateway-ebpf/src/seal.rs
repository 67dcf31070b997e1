//! What the programs of BPF LSM have in common. They run for the whole host, at hooks that the kernel
//! calls in the context of the process that asks, before it does anything.
//!
//! 0 goes on, a negative errno refuses. Whoever is not governed is not looked at any further.
use crate::governed::{self, Process, Standing};
use crate::report;
use gateway_common::event::Refused;
use gateway_common::tag::Tag;

/// The kernel goes on.
pub(crate) const PASS: i32 = 0;
pub(crate) const EPERM: i32 = 1;

/// The governed process that runs, or what the hook returns at once.
#[inline(always)]
pub(crate) fn caller() -> Result<(Process, Tag), i32> {
    match governed::standing() {
        Standing::Free | Standing::Daemon => Err(PASS),
        Standing::Unsure => Err(-EPERM),
        Standing::Governed(process, tag) => Ok((process, tag)),
    }
}

/// Refuses what the process asks for with this verdict, unless its policy does not enforce; reported in
/// any case. The verdict is negative already: of a negation at run time the verifier of 6.12 knows
/// nothing. `numbers` say what it was: domain, type and protocol of a socket.
#[inline(always)]
pub(crate) fn refuse(
    (process, tag): &(Process, Tag),
    reason: u32,
    numbers: [u32; 3],
    verdict: i32,
) -> i32 {
    let [family, socket_type, protocol] = numbers;
    let what = Refused {
        destination: [0; 16],
        port: 0,
        socket_type,
        protocol,
        family,
    };
    report::refused(*process, tag, reason, what);
    if governed::refuses(tag.slot) {
        verdict
    } else {
        PASS
    }
}

/// The same with EPERM, of what has no numbers.
#[inline(always)]
pub(crate) fn deny(caller: &(Process, Tag), reason: u32) -> i32 {
    refuse(caller, reason, [0; 3], -EPERM)
}
