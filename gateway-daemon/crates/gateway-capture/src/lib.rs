//! Loads, attaches and pins the eBPF programs; the only crate that knows aya.
//!
//! [`Capture::start`] leaves the programs attached to the cgroup root and pinned: what is enforced
//! does not depend on this process. It holds no policy and no lineage: it is told which cgroups
//! are governed ([`Capture::govern_cgroups`]), gives the daemon its listeners and the [`Flow`]
//! behind each accepted socket, and reports [`Event`]s.
//!
//! ```text
//! let (capture, started) = Capture::start(&options)?;      // attached, or taken over from the pins
//! let mut events = capture.events()?;                      // once
//! let slots = capture.govern_cgroups(&[Governed { .. }])?; // at start, and at each reload
//! capture.judge_sockets(slots.unjudged())?;                // what they had open before
//! let opened = capture.listen(kept)?;                      // opens the gate: last
//! capture.flow(accepted_socket)?;                          // per connection
//! ```

mod adopt;
mod attach;
mod before;
pub mod beside;
mod boundary;
pub mod btf;
pub mod cgroup;
mod debug;
mod doom;
mod error;
pub mod events;
pub mod globs;
mod guard;
pub mod host;
pub mod inspect;
mod listen;
mod load;
mod maps;
mod missed;
mod object;
mod pins;
pub mod policies;
pub mod probe;
mod scan;
pub mod seal;
mod space;
mod syscall;
mod upstream;
mod wire;

pub use before::{Fate, FromBefore, Transport};
pub use debug::DebugLog;
pub use error::CaptureError;
pub use events::{Event, Events, Kind, ProcessKey, RootedBy};
pub use guard::Guard;
pub use listen::{Listeners, Opened};
pub use load::{Capture, CaptureOptions, Started};
pub use maps::{Counters, Flow, TagEntry};
pub use object::Object;
pub use pins::uninstall;
pub use policies::{Governed, Slots};
pub use space::Space;
