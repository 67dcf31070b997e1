//! Columns that were found to be sensitive. They stay so when they are renamed, detached or computed
//! no more, and beyond the life of a daemon.
use super::outlook::Remembered;
use super::store::Database;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sensitive columns of so many databases are remembered.
const DATABASES_MAX: usize = 4096;

/// The columns of a database that were found to be sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensitiveColumns {
    /// Where sessions reach the server.
    pub address: SocketAddr,
    /// The name of the database, in the server's encoding.
    pub database: Box<[u8]>,
    /// Ordered by relation and number.
    pub columns: Vec<SensitiveColumn>,
}

/// A column that was found to be sensitive, with one of the fields that it is or is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensitiveColumn {
    /// `pg_class.oid` of its relation.
    pub relation: u32,
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// The field that it was found by, as policies name it: `public.users.email`.
    pub field: Arc<str>,
    /// It is that field, and not something made of it.
    pub itself: bool,
}

/// Keeps what was found for the next daemon.
pub trait ColumnKeeper: Send + Sync {
    /// What is known of a database now; takes the place of what was known of it before. Called from
    /// the threads of sessions: it must not wait.
    fn keep(&self, columns: SensitiveColumns);
}

/// For who has no next daemon.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl ColumnKeeper for Nowhere {
    fn keep(&self, _: SensitiveColumns) {}
}

/// What was found, by database.
pub(crate) struct Marks {
    known: Mutex<FxHashMap<Database, Remembered>>,
    keeper: Arc<dyn ColumnKeeper>,
    /// How often something has changed.
    version: AtomicU64,
}

/// What is known of a database, as of a version.
pub(crate) struct Known {
    pub(crate) remembered: Remembered,
    pub(crate) version: u64,
}

/// Which version a change has found, and which it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Updated {
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Marks {
    /// Begins with what was found before.
    pub(crate) fn new(before: Vec<SensitiveColumns>, keeper: Arc<dyn ColumnKeeper>) -> Marks {
        let known = before.into_iter().map(|found| {
            let database = Database {
                address: found.address,
                name: found.database,
            };
            let mut remembered = Remembered::default();
            for column in found.columns {
                let key = (column.relation, column.number);
                let found = remembered.entry(key).or_default();
                found.add(&column.field, column.itself);
            }
            (database, remembered)
        });
        Marks {
            known: Mutex::new(known.collect()),
            keeper,
            version: AtomicU64::new(0),
        }
    }

    /// The version of what is known, of any database.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is known of a database.
    pub(crate) fn of(&self, database: &Database) -> Known {
        let known = self.known.lock();
        Known {
            remembered: known.get(database).cloned().unwrap_or_default(),
            version: self.version(),
        }
    }

    /// Changes what is known of a database.
    pub(crate) fn update(
        &self,
        database: &Database,
        change: impl FnOnce(&mut Remembered),
    ) -> Updated {
        let mut known = self.known.lock();
        let version = self.version();
        let same = Updated {
            before: version,
            after: version,
        };
        let before = known.get(database);
        if before.is_none() && known.len() >= DATABASES_MAX {
            return same;
        }
        let mut now = before.cloned().unwrap_or_default();
        change(&mut now);
        if before.unwrap_or(&Remembered::default()) == &now {
            return same;
        }
        // Under the lock: what is kept last is what is known.
        self.keeper.keep(written(database, &now));
        match now.is_empty() {
            true => known.remove(database),
            false => known.insert(database.clone(), now),
        };
        let after = version + 1;
        self.version.store(after, Ordering::Release);
        Updated { after, ..same }
    }
}

fn written(database: &Database, remembered: &Remembered) -> SensitiveColumns {
    let columns = remembered.iter();
    let each = columns.flat_map(|((relation, number), found)| {
        found.fields.iter().map(|field| SensitiveColumn {
            relation: *relation,
            number: *number,
            field: Arc::clone(field),
            itself: found.itself,
        })
    });
    let mut columns: Vec<_> = each.collect();
    columns.sort_by_key(|column| (column.relation, column.number));
    SensitiveColumns {
        address: database.address,
        database: database.name.clone(),
        columns,
    }
}

#[cfg(test)]
mod tests {
    use super::super::outlook::Found;
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<SensitiveColumns>>);

    impl ColumnKeeper for Kept {
        fn keep(&self, columns: SensitiveColumns) {
            self.0.lock().push(columns);
        }
    }

    fn orders() -> Database {
        Database {
            address: ([10, 0, 0, 7], 5432).into(),
            name: (*b"orders").into(),
        }
    }

    #[test]
    fn what_changes_is_kept_and_known_to_the_next() {
        let kept = Arc::new(Kept::default());
        let marks = Marks::new(Vec::new(), kept.clone());
        let mut email = Found::default();
        email.add(&Arc::from("public.users.email"), true);
        email.add(&Arc::from("public.users.ssn"), false);
        marks.update(&orders(), |_| {});
        assert_eq!(*kept.0.lock(), [], "nothing is known");
        marks.update(&orders(), |known| {
            _ = known.insert((20_000, 2), email.clone())
        });
        marks.update(&orders(), |known| {
            _ = known.insert((20_000, 2), email.clone())
        });
        let before = kept.0.lock().clone();
        assert_eq!(before.len(), 1, "the same is not kept again");
        let each = |column: &SensitiveColumn| (column.relation, column.itself);
        let kept: Vec<_> = before[0].columns.iter().map(each).collect();
        assert_eq!(kept, [(20_000, true); 2], "one for each field");

        let kept = Arc::new(Kept::default());
        let next = Marks::new(before, kept.clone());
        let known = next.of(&orders());
        assert_eq!(known.remembered.get(&(20_000, 2)), Some(&email));
        let cleared = next.update(&orders(), Remembered::clear);
        assert!(cleared.before == known.version && cleared.after != known.version);
        assert_eq!(kept.0.lock()[0].columns, []);
        let same = next.update(&orders(), Remembered::clear);
        assert_eq!(same.before, same.after);
        assert!(next.of(&orders()).remembered.is_empty());
    }
}
