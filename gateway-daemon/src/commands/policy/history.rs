//! What was recorded, as it lies in the journal: the daemon is not asked, alive or dead.
use crate::exit::Failure;
use gateway_core::SessionOpened;
use gateway_recording::{OperationView, Query, ReadError, Reader, operations};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holes {
    /// Parts of the journal that are damaged or missing. Each is said on stderr.
    pub(super) parts: u64,
    /// Operations of sessions whose beginning is lost: nobody knows whose they are.
    pub(super) orphans: u64,
}

/// Takes an operation with its session, and says whether more is wanted.
pub(super) type Each<'a> =
    &'a mut dyn FnMut(&OperationView, &Arc<SessionOpened>) -> Result<ControlFlow<()>, Failure>;

/// Hands over every operation that the query finds, with its session, from the oldest on.
pub(super) fn read(journal: &Path, query: &Query, each: Each<'_>) -> Result<Holes, Failure> {
    let reader = Reader::open(journal).map_err(unreadable)?;
    let mut holes = Holes::default();
    for found in operations(&reader, query).map_err(unreadable)? {
        let view = match found {
            Ok(view) => view,
            Err(error) => {
                eprintln!("gateway: a part of the journal: {error}");
                holes.parts += 1;
                continue;
            }
        };
        let Some(session) = &view.session else {
            holes.orphans += 1;
            continue;
        };
        if each(&view, session)?.is_break() {
            break;
        }
    }
    Ok(holes)
}

fn unreadable(error: ReadError) -> Failure {
    let message = format!("the journal cannot be read: {error}");
    match &error {
        ReadError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Failure::not_permitted(message)
        }
        _ => Failure::no(message),
    }
}
