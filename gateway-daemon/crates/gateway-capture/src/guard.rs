//! Files that governed processes leave alone, where BPF LSM is active.
use crate::error::CaptureError;
use crate::load::Capture;
use crate::wire::Wire;
use gateway_common::guard::{FileId, Lesson, guarded};
use nix::unistd::gettid;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How a file is guarded, with all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing in it is changed.
    Closed,
    /// Nothing in it is read either.
    Secret,
}

impl Guard {
    const fn bits(self) -> u64 {
        match self {
            Guard::Closed => guarded::CLOSED,
            Guard::Secret => guarded::CLOSED | guarded::SECRET,
        }
    }
}

impl Capture {
    /// Has governed processes leave these files alone, and no others from now on. One that is not there is
    /// left out; what is above them stays in its place. Does nothing where the tier is not `seal`.
    ///
    /// # Errors
    /// A file is there and cannot be opened, or a map cannot be written.
    pub fn guard(&self, files: &[(PathBuf, Guard)]) -> Result<(), CaptureError> {
        if self.sealed.is_err() {
            return Ok(());
        }
        let taught = self.teach(files);
        // Whatever came of it, nothing that is opened later is meant.
        self.say(Lesson::default())?;
        taught?;
        self.forget_guarded()
    }

    fn teach(&self, files: &[(PathBuf, Guard)]) -> Result<(), CaptureError> {
        let mut wanted: Vec<(PathBuf, u64)> = Vec::new();
        for (path, guard) in files {
            let path = match path.canonicalize() {
                Ok(path) => path,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(path, &error)),
            };
            let above = path.ancestors().skip(1);
            wanted.extend(above.map(|above| (above.to_owned(), guarded::ABOVE)));
            wanted.push((path, guard.bits()));
        }
        wanted.sort();
        // A file that is named more than once is guarded in all ways.
        let mut merged: Vec<(PathBuf, u64)> = Vec::new();
        for (path, how) in wanted {
            match merged.last_mut() {
                Some((last, all)) if *last == path => *all |= how,
                _ => merged.push((path, how)),
            }
        }
        merged
            .iter()
            .try_for_each(|(path, how)| self.teach_one(path, *how))
    }

    fn teach_one(&self, path: &Path, how: u64) -> Result<(), CaptureError> {
        let value = how | self.own_generation() << guarded::GENERATION_SHIFT;
        self.say(Lesson {
            thread: u64::from(gettid().as_raw().unsigned_abs()),
            value,
        })?;
        let opened = OpenOptions::new()
            .read(true)
            // What is no file or directory is not waited for.
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path);
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(path, &error)),
            Ok(_) => Ok(()),
        }
    }

    fn say(&self, lesson: Lesson) -> Result<(), CaptureError> {
        self.write()
            .lesson
            .set(0, Wire(lesson), 0)
            .map_err(|error| CaptureError::new("write the map LESSON", &error))
    }

    /// What an earlier daemon guarded: a file that is gone, whose number may be another's by now.
    fn forget_guarded(&self) -> Result<(), CaptureError> {
        let fail = |error| CaptureError::new("read the map GUARDED", &error);
        let own = self.own_generation();
        let mut maps = self.write();
        let there: Vec<(Wire<FileId>, u64)> = maps
            .guarded
            .iter()
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        let is_own = |value: u64| value >> guarded::GENERATION_SHIFT == own;
        if !there.iter().any(|(_, value)| is_own(*value)) {
            return Err(CaptureError::System {
                what: "guard the gateway's files".to_owned(),
                detail: "the program judge_open did not see them opened".to_owned(),
            });
        }
        for (file, value) in there {
            if !is_own(value) {
                maps.guarded.remove(&file).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Which daemon this is, as far as there is room for it.
    const fn own_generation(&self) -> u64 {
        // A daemon lives longer than a millisecond, more or less.
        self.began >> 20 & (u64::MAX >> guarded::GENERATION_SHIFT)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> CaptureError {
    CaptureError::new(format!("guard {}", path.display()), error)
}
