//! Keeps the last good set of policy files, so that a start with a bad directory has something to hold on to.
//!
//! Below the directory, each set is a directory of its own with a number for a name. A set is
//! written beside them and renamed into place when it is on disk, so the one with the greatest
//! number is always whole; older ones are removed after that.
use crate::diagnostic::{Diagnostic, Source};
use crate::directory;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a set is written before it counts. Not a number, so never taken for a set.
const UNFINISHED: &str = "unfinished";

/// Texts of policy files, by file name.
pub(crate) type Texts = BTreeMap<Arc<str>, Arc<str>>;

#[derive(Debug)]
pub(crate) struct LastGood {
    root: PathBuf,
}

impl LastGood {
    pub(crate) fn new(root: PathBuf) -> LastGood {
        LastGood { root }
    }

    /// The set that was kept last; empty when there is none.
    pub(crate) fn read(&self) -> io::Result<Texts> {
        let Some(number) = self.numbers()?.last().copied() else {
            return Ok(Texts::new());
        };
        let files = directory::read(&self.set(number)).map_err(|error| error.source)?;
        let text = |(name, source): (Arc<str>, Result<Source, Diagnostic>)| match source {
            Ok(source) => Ok((name, source.text().into())),
            Err(diagnostic) => Err(io::Error::other(diagnostic.to_string())),
        };
        files.into_iter().map(text).collect()
    }

    /// Keeps a set in place of the one before. When this returns `Ok`, it survives a power loss.
    pub(crate) fn write(&self, texts: &Texts) -> io::Result<()> {
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        private(&self.root)?;
        let unfinished = self.root.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => private(&unfinished)?,
        }
        for (name, text) in texts {
            let path = unfinished.join(&**name);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        sync(&unfinished)?;
        let older = self.numbers()?;
        let number = older.last().map_or(1, |number| number.saturating_add(1));
        fs::rename(&unfinished, self.set(number))?;
        sync(&self.root)?;
        for number in older {
            fs::remove_dir_all(self.set(number))?;
        }
        Ok(())
    }

    fn set(&self, number: u64) -> PathBuf {
        self.root.join(format!("{number:020}"))
    }

    /// The numbers of all sets, in order.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            numbers.extend(number.filter(|number| name == *format!("{number:020}")));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> Texts {
        files
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect()
    }

    #[test]
    fn a_set_is_kept_until_the_next_one_is_whole() {
        let state = tempfile::tempdir().unwrap();
        let store = LastGood::new(state.path().join("a/kept"));
        assert_eq!(store.read().unwrap(), Texts::new());
        let first = texts(&[("a.toml", "x = 1"), ("b.toml", "")]);
        store.write(&first).unwrap();
        assert_eq!(store.read().unwrap(), first);
        // A crash in the middle of the next one.
        fs::create_dir(store.root.join(UNFINISHED)).unwrap();
        fs::write(store.root.join(UNFINISHED).join("a.toml"), "torn").unwrap();
        assert_eq!(store.read().unwrap(), first);
        // A crash before the older one was removed.
        let second = texts(&[("a.toml", "x = 2")]);
        store.write(&second).unwrap();
        fs::create_dir(store.root.join(format!("{:020}", 1))).unwrap();
        assert_eq!(store.read().unwrap(), second);
        store.write(&Texts::new()).unwrap();
        assert_eq!(store.read().unwrap(), Texts::new());
        assert_eq!(store.numbers().unwrap(), [3], "older sets are gone");
    }

    #[test]
    fn a_set_that_cannot_be_read_is_an_error_and_not_an_empty_set() {
        let state = tempfile::tempdir().unwrap();
        let store = LastGood::new(state.path().into());
        store.write(&texts(&[("a.toml", "x = 1")])).unwrap();
        fs::write(store.set(1).join("a.toml"), [0xff]).unwrap();
        assert!(store.read().is_err());
    }
}
