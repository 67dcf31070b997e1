//! `gateway credentials`: what the gateway logs in with upstream, and signs webhooks with. Works
//! on the sealed store itself, with the daemon dead or alive; values come in and never go out.
mod value;

use super::refuse_governed;
use crate::command::credentials::{AddCredential, Credentials};
use crate::config::Config;
use crate::daemon::state::make_directory;
use crate::exit::{Exit, Failure};
use crate::memory;
use crate::terminal::moment;
use crate::terminal::screen::{Screen, print, print_json};
use crate::terminal::table::{Cell, Column, Table};
use gateway_credentials::{
    Credential, Entry, FileError, KeyError, KeyPlace, Kind, Name, Store, StoreError, ValueError,
};
use serde::Serialize;

const COLUMNS: [Column; 5] = [
    Column::new("NAME", 4, 64),
    Column::new("KIND", 4, 11),
    Column::new("USER", 4, 64),
    Column::new("ADDED", 24, 24),
    Column::new("CHANGED", 24, 24),
];

/// Does one of the three.
pub(crate) fn credentials(config: &Config, what: &Credentials) -> Result<Exit, Failure> {
    // Who is governed has the gateway log in for them, and need not know with what.
    refuse_governed(config)?;
    memory::close()?;
    let store = Store::new(
        config.credentials.file.clone(),
        KeyPlace::of_process(config.credentials.key_file.clone()),
    );
    match what {
        Credentials::Add(wanted) => add(config, &store, wanted),
        Credentials::List { json } => list(&store, *json),
        Credentials::Remove { name } => remove(&store, name),
    }
}

fn add(config: &Config, store: &Store, wanted: &AddCredential) -> Result<Exit, Failure> {
    let name = &wanted.name;
    // Nobody types a password twice to be told afterwards that there is no place for it.
    let entries = store.entries().map_err(failure)?;
    if !wanted.replace && entries.iter().any(|entry| entry.name == *name) {
        return Err(failure(StoreError::Exists(name.clone())));
    }
    let value = value::read(name, wanted.kind)?;
    let credential = made(wanted, &value).map_err(|error| {
        // The value is not repeated, not even in part.
        Failure::usage(format!("credentials add: {error}"))
    })?;
    for (file, mode) in [
        (&config.credentials.file, 0o700),
        (&config.credentials.key_file, 0o755),
    ] {
        match file.parent() {
            Some(directory) if !directory.exists() => make_directory(directory, mode)?,
            _ => {}
        }
    }
    let now = moment::now();
    let replaced = if wanted.replace {
        store.replace(name.clone(), credential, now)
    } else {
        store.add(name.clone(), credential, now).map(|()| false)
    };
    let done = match replaced.map_err(failure)? {
        true => "replaced",
        false => "added",
    };
    print(&format!("{name} {done}"))?;
    Ok(Exit::Done)
}

fn made(wanted: &AddCredential, value: &[u8]) -> Result<Credential, ValueError> {
    let user = wanted.user.as_deref();
    match wanted.kind {
        Kind::Password => Credential::password(user, value),
        Kind::Certificate => Credential::client_certificate(user, value),
        Kind::Secret => Credential::secret(value),
    }
}

/// What is shown of a credential.
#[derive(Serialize)]
struct Shown {
    name: String,
    kind: &'static str,
    user: Option<Box<str>>,
    added: String,
    changed: String,
}

impl From<Entry> for Shown {
    fn from(entry: Entry) -> Shown {
        Shown {
            name: entry.name.to_string(),
            kind: entry.kind.name(),
            user: entry.user,
            added: moment::rfc3339(entry.added),
            changed: moment::rfc3339(entry.changed),
        }
    }
}

fn list(store: &Store, json: bool) -> Result<Exit, Failure> {
    let entries = store.entries().map_err(failure)?;
    let shown: Vec<Shown> = entries.into_iter().map(Shown::from).collect();
    if json {
        for credential in &shown {
            if !print_json(credential)? {
                break;
            }
        }
        return Ok(Exit::Done);
    }
    let row = |shown: Shown| {
        let user = shown.user.unwrap_or_default();
        let cells = [
            shown.name,
            shown.kind.into(),
            user.into(),
            shown.added,
            shown.changed,
        ];
        cells.map(Cell::new).to_vec()
    };
    let rows: Vec<Vec<Cell>> = shown.into_iter().map(row).collect();
    let table = Table::fitting(&COLUMNS, &rows, Screen::of_stdout());
    print(&table.head())?;
    for cells in &rows {
        if !print(&table.row(cells))? {
            break;
        }
    }
    Ok(Exit::Done)
}

fn remove(store: &Store, name: &Name) -> Result<Exit, Failure> {
    store.remove(name).map_err(failure)?;
    print(&format!("{name} removed"))?;
    Ok(Exit::Done)
}

fn failure(error: StoreError) -> Failure {
    let message = error.to_string();
    match error {
        StoreError::Exists(_) | StoreError::NotThere(_) => Failure::no(message),
        StoreError::File(FileError::NotPermitted { .. })
        | StoreError::Key(KeyError::File(FileError::NotPermitted { .. })) => {
            Failure::not_permitted(message)
        }
        StoreError::File(FileError::Io { .. })
        | StoreError::Key(KeyError::File(FileError::Io { .. }) | KeyError::Randomness)
        | StoreError::Sealing => Failure::no(message),
        // A store or a key that is not as it should be is the state's fault, as everywhere.
        _ => Failure::usage(message),
    }
}
