//! Services that run many jobs: what one of them forks is the root of a new tree.
use crate::error::CaptureError;
use crate::events::ProcessKey;
use crate::load::Capture;
use aya::maps::MapError;

impl Capture {
    /// The children of this process begin trees of their own from now on, under its policy. It
    /// ends with the process.
    ///
    /// # Errors
    /// The map cannot be written, or is full.
    pub fn mark_boundary(&self, process: ProcessKey) -> Result<(), CaptureError> {
        self.write()
            .boundaries
            .insert(process.pid, process.start, 0)
            .map_err(|error| CaptureError::new("write the map BOUNDARIES", &error))
    }

    /// The children of this process, and of any earlier one with its pid, stay in its tree.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn unmark_boundary(&self, pid: u32) -> Result<(), CaptureError> {
        let mut maps = self.write();
        let removed = maps.boundaries.remove(&pid);
        // What is not there cannot be removed, and does not have to be.
        match maps.boundaries.get(&pid, 0) {
            Err(MapError::KeyNotFound) => Ok(()),
            _ => removed.map_err(|error| CaptureError::new("write the map BOUNDARIES", &error)),
        }
    }

    /// All processes that are marked, those that have exited too.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn boundaries(&self) -> Result<Vec<ProcessKey>, CaptureError> {
        let maps = self.read();
        let marked = maps.boundaries.iter().map(|entry| {
            let (pid, start) = entry?;
            Ok(ProcessKey { pid, start })
        });
        marked
            .collect::<Result<_, MapError>>()
            .map_err(|error| CaptureError::new("read the map BOUNDARIES", &error))
    }
}
