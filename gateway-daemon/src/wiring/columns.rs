//! The file in which a restarted daemon finds which columns of which databases are sensitive by
//! another name than the policies know them by.
//!
//! It is small, changes when a database is met for the first time or changes itself, and is
//! written whole by the housekeeping. What it says outlives a reboot, so it is synced to disk.
use gateway_files::{Lasting, PRIVATE};
use gateway_postgres::{ColumnKeeper, SensitiveColumns};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// To be raised with each change of what [`Contents`] looks like.
const VERSION: u32 = 1;

/// JSON, so that a responder can read it.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    databases: Vec<SensitiveColumns>,
}

/// Why there is no telling what was sensitive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ColumnsError {
    /// It cannot be read.
    #[error("the sensitive columns at {} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// It says something else.
    #[error(
        "{} does not list sensitive columns: {error}; without it columns that were renamed are \
         not masked any more: where no policy names a column by an old name, remove it",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        error: serde_json::Error,
    },
    /// It is of another version of the gateway.
    #[error("the sensitive columns at {} are of version {found}, this gateway reads {VERSION}", path.display())]
    AnotherVersion { path: PathBuf, found: u32 },
}

#[derive(Default)]
struct State {
    databases: Vec<SensitiveColumns>,
    /// It is not in the file yet.
    changed: bool,
}

/// What was found, and the file that it is kept in.
pub(crate) struct ColumnsFile {
    path: PathBuf,
    state: Mutex<State>,
}

impl ColumnsFile {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// What is there cannot be read or understood. To go on without it would show columns that
    /// were masked before.
    pub(crate) fn open(path: PathBuf) -> Result<ColumnsFile, ColumnsError> {
        let databases = read(&path)?;
        Ok(ColumnsFile {
            path,
            state: Mutex::new(State {
                databases,
                changed: false,
            }),
        })
    }

    /// What is known.
    pub(crate) fn databases(&self) -> Vec<SensitiveColumns> {
        self.state.lock().databases.clone()
    }

    /// Writes what has changed. What could not be written is tried again the next time.
    pub(crate) fn save(&self) -> io::Result<()> {
        let databases = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            state.databases.clone()
        };
        let written = self.write(databases);
        if written.is_err() {
            self.state.lock().changed = true;
        }
        written
    }

    fn write(&self, databases: Vec<SensitiveColumns>) -> io::Result<()> {
        let contents = serde_json::to_vec_pretty(&Contents {
            version: VERSION,
            databases,
        })?;
        gateway_files::replace(&self.path, PRIVATE, Lasting::Disk, &[&contents]).map(drop)
    }
}

impl ColumnKeeper for ColumnsFile {
    fn keep(&self, columns: SensitiveColumns) {
        let mut state = self.state.lock();
        let is_same = |known: &SensitiveColumns| {
            known.address == columns.address && known.database == columns.database
        };
        state.databases.retain(|known| !is_same(known));
        if !columns.columns.is_empty() {
            state.databases.push(columns);
        }
        state.changed = true;
    }
}

fn read(path: &Path) -> Result<Vec<SensitiveColumns>, ColumnsError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let path = path.to_owned();
            return Err(ColumnsError::Unreadable { path, error });
        }
    };
    let damaged = |error| ColumnsError::Damaged {
        path: path.to_owned(),
        error,
    };
    /// The version keeps its form, so that it can be told.
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
    if head.version != VERSION {
        return Err(ColumnsError::AnotherVersion {
            path: path.to_owned(),
            found: head.version,
        });
    }
    let contents: Contents = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(contents.databases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_postgres::SensitiveColumn;

    fn found(database: &str, field: &str) -> SensitiveColumns {
        SensitiveColumns {
            address: ([10, 0, 0, 7], 5432).into(),
            database: database.as_bytes().into(),
            columns: vec![SensitiveColumn {
                relation: 20_000,
                number: 2,
                field: field.into(),
                itself: true,
            }],
        }
    }

    #[test]
    fn what_is_kept_is_there_for_the_next_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("columns.json");
        let file = ColumnsFile::open(path.clone()).unwrap();
        assert_eq!(file.databases(), []);
        file.save().unwrap();
        assert!(!path.exists(), "nothing was found");
        file.keep(found("orders", "public.users.email"));
        file.keep(found("people", "public.people.name"));
        file.keep(found("orders", "public.users.mail"));
        file.save().unwrap();
        let next = ColumnsFile::open(path.clone()).unwrap();
        let both = [
            found("people", "public.people.name"),
            found("orders", "public.users.mail"),
        ];
        assert_eq!(next.databases(), both);
        next.keep(SensitiveColumns {
            columns: Vec::new(),
            ..found("orders", "")
        });
        next.save().unwrap();
        assert_eq!(ColumnsFile::open(path).unwrap().databases(), both[..1]);
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/columns.json");
        let file = ColumnsFile::open(path.clone()).unwrap();
        file.keep(found("orders", "public.users.email"));
        assert!(file.save().is_err());
        fs::create_dir(directory.path().join("state")).unwrap();
        file.save().unwrap();
        assert_eq!(ColumnsFile::open(path).unwrap().databases().len(), 1);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("columns.json");
        for (contents, says) in [
            ("", "remove it"),
            ("{\"version\": 1}", "databases"),
            ("{\"version\": 2, \"other\": []}", "of version 2"),
        ] {
            fs::write(&path, contents).unwrap();
            let error = ColumnsFile::open(path.clone()).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.contains("columns.json"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(
            ColumnsFile::open(path),
            Err(ColumnsError::Unreadable { .. })
        ));
    }
}
