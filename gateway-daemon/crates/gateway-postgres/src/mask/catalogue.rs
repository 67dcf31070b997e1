//! What a database knows of its own tables, types and views, and how it is asked.
//!
//! The questions go over the client's own session, as one batch of the extended protocol with
//! names of its own: it leaves the client's unnamed statement, its portals and its transaction as
//! they are. Every table, function, type and operator is named with its schema, so that nothing in
//! the session's search path stands in for them.
mod calls;
mod questions;

use calls::Call;
use questions::question;

use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::flow::{only_computes, passes_for_known};
use rustc_hash::{FxHashMap, FxHashSet};
use std::borrow::Cow;

/// The object ids below this one are PostgreSQL's own (`FirstNormalObjectId`).
pub(crate) const FIRST_USER_OID: u32 = 16_384;
/// Rows of more bytes than this, in all, are more than is kept: the catalogue counts as not known.
const BYTES_MAX: usize = 128 << 20;

/// How many questions there are.
pub(crate) const QUESTIONS: usize = 11;
/// The requests of one question, in their order.
/// Within a transaction a portal stays until it is closed.
pub(crate) const REQUESTS: [Ask; 7] = [
    Ask::ClosePortal,
    Ask::Close,
    Ask::Parse,
    Ask::Bind,
    Ask::Execute,
    Ask::ClosePortal,
    Ask::Close,
];

/// A request of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    ClosePortal,
    Close,
    Parse,
    Bind,
    Execute,
}

/// The messages that ask for the whole catalogue, with a Sync behind them.
pub(crate) fn questions() -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in 0..QUESTIONS {
        let name = format!("gateway_catalogue_{index}");
        for ask in REQUESTS {
            bytes.extend(message(ask, name.as_bytes(), &question(index)));
        }
    }
    bytes.extend(frame(b'S', |_| {}));
    bytes
}

/// One request about a statement and a portal of this name.
pub(crate) fn message(ask: Ask, name: &[u8], text: &str) -> Vec<u8> {
    match ask {
        Ask::ClosePortal => frame(b'C', |body| {
            body.push(b'P');
            push_text(body, name);
        }),
        Ask::Close => frame(b'C', |body| {
            body.push(b'S');
            push_text(body, name);
        }),
        Ask::Parse => frame(b'P', |body| {
            push_text(body, name);
            push_text(body, text.as_bytes());
            body.extend_from_slice(&[0; 2]);
        }),
        Ask::Bind => frame(b'B', |body| {
            push_text(body, name);
            push_text(body, name);
            body.extend_from_slice(&[0; 6]);
        }),
        Ask::Execute => frame(b'E', |body| {
            push_text(body, name);
            body.extend_from_slice(&[0; 4]);
        }),
    }
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) number: i16,
    pub(crate) name: Box<str>,
    pub(crate) type_oid: u32,
    pub(crate) not_null: bool,
    /// It is computed from other columns of its row.
    pub(crate) generated: bool,
    /// It is in the primary key.
    pub(crate) primary: bool,
}

/// A table, a view, a composite type or a sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) schema: Box<str>,
    pub(crate) name: Box<str>,
    /// `relkind`.
    pub(crate) kind: u8,
    /// In the order of their numbers; dropped ones are left out.
    pub(crate) columns: Vec<Column>,
    /// The query of a view.
    pub(crate) definition: Option<Box<str>>,
    /// Changing it runs a trigger or a rule of the database's own, on it or on what is changed with it.
    pub(crate) runs_code: bool,
    /// Reading it can call functions of the database's own.
    pub(crate) calls_when_read: bool,
    /// Defaults or computed columns of it call such.
    pub(crate) calls_for_columns: bool,
}

/// What a type of the database's own is made of; 0 where it is not of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeParts {
    /// The relation whose row it is.
    pub(crate) relation: u32,
    /// The type of its elements.
    pub(crate) element: u32,
    /// The type that a domain restricts.
    pub(crate) base: u32,
}

/// A snapshot of a database's catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalogue {
    pub(crate) relations: FxHashMap<u32, Relation>,
    /// The relations of a name, in any schema.
    pub(crate) by_name: FxHashMap<Box<str>, Vec<u32>>,
    pub(crate) types: FxHashMap<u32, TypeParts>,
    /// What types of the database's own are called: a cast to one can fail, and so can a call of its
    /// name.
    pub(crate) type_names: FxHashSet<Box<str>>,
    /// The types of which to make a value calls functions of the database's own.
    pub(crate) calling_types: FxHashSet<u32>,
    /// What they are called.
    pub(crate) calling_names: FxHashSet<Box<str>>,
    /// Child and parent, for inheritance and for partitions.
    pub(crate) parents: Vec<(u32, u32)>,
    /// Functions that `(x).name` may call where there is no such column, and that may do more than
    /// compute.
    pub(crate) functions: FxHashSet<Box<str>>,
    /// The names of the relations that came with the server, by schema.
    pub(crate) own: FxHashMap<Box<str>, FxHashSet<Box<str>>>,
    /// Changing the catalogue runs code of the database's own.
    pub(crate) event_triggers: bool,
    /// Columns that no policy can name: their names, or those of their relations, are not UTF-8.
    pub(crate) unnamed: Vec<(u32, i16)>,
    /// Columns that somebody's functions compute.
    pub(crate) unproven: Vec<(u32, i16)>,
    /// Columns that hold values of others: referencing and referenced relation and column.
    pub(crate) references: Vec<[(u32, i16); 2]>,
    /// Columns of a relation that the server looks at together; with 0 among them, all.
    pub(crate) together: Vec<(u32, Vec<i16>)>,
    /// Which relation is changed with which: by a view, or by what a foreign key does.
    pub(crate) changed_with: Vec<(u32, u32)>,
}

impl Catalogue {
    /// The column of another relation that has the name of this one.
    pub(crate) fn same_column(&self, from: u32, number: i16, to: u32) -> Option<i16> {
        let mut columns = self.relations.get(&from)?.columns.iter();
        let column = columns.find(|column| column.number == number)?;
        let mut others = self.relations.get(&to)?.columns.iter();
        let same = others.find(|other| other.name == column.name)?;
        Some(same.number)
    }

    /// The relations that a name can mean. Without a schema: in any, since the search path may be
    /// another by the time the statement runs.
    pub(crate) fn named<'a>(
        &'a self,
        schema: &'a str,
        name: &str,
    ) -> impl Iterator<Item = (u32, &'a Relation)> + use<'a> {
        let oids = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        oids.iter()
            .filter_map(|oid| Some((*oid, self.relations.get(oid)?)))
            .filter(move |(_, relation)| {
                schema.is_empty()
                    || *relation.schema == *schema
                    || schema == "pg_temp" && relation.schema.starts_with("pg_temp_")
            })
    }
}

/// Reads the answers to [`questions`].
#[derive(Debug, Default)]
pub(crate) struct Loading {
    catalogue: Catalogue,
    question: usize,
    bytes: usize,
    failed: bool,
    is_snapshot: bool,
    /// Relations that run code when they are written.
    code: FxHashSet<u32>,
    calls: Vec<Call>,
    /// What types are called.
    names: Vec<(u32, Box<str>)>,
}

impl Loading {
    /// Were the questions answered from a snapshot that an open transaction keeps to?
    pub(crate) fn is_snapshot(&self) -> bool {
        self.is_snapshot
    }

    /// A DataRow.
    pub(crate) fn row(&mut self, body: &[u8]) {
        self.bytes = self.bytes.saturating_add(body.len());
        if self.bytes > BYTES_MAX || self.take(body).is_err() {
            self.failed = true;
            self.catalogue = Catalogue::default();
        }
    }

    fn take(&mut self, body: &[u8]) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        let mut row = Row::begin(body)?;
        match self.question {
            0 => self.column(&mut row),
            1 => {
                let oid = row.number()?;
                let parts = TypeParts {
                    relation: row.number()?,
                    element: row.number()?,
                    base: row.number()?,
                };
                let (name, _) = row.name()?;
                self.catalogue.types.insert(oid, parts);
                self.catalogue.type_names.insert((&*name).into());
                self.names.push((oid, name.into()));
                Ok(())
            }
            2 => {
                let pair = (row.number()?, row.number()?);
                self.catalogue.parents.push(pair);
                Ok(())
            }
            3 => {
                let oid: u32 = row.number()?;
                match row.text_or_null()? {
                    None => _ = self.code.insert(oid),
                    Some(other) => {
                        let other = other.parse().map_err(|_| Error::Value)?;
                        self.catalogue.changed_with.push((oid, other));
                    }
                }
                Ok(())
            }
            4 => {
                let ((name, _), is_somebodys) = (row.name()?, row.text()? == "t");
                if is_somebodys || !only_computes(&name) {
                    self.catalogue.functions.insert(name.into());
                }
                Ok(())
            }
            5 => self.foreign_key(&mut row),
            6 => {
                self.is_snapshot = row.text()? != "read committed";
                Ok(())
            }
            7 => {
                let own = self.catalogue.own.entry(row.name()?.0.into());
                own.or_default().insert(row.name()?.0.into());
                Ok(())
            }
            8 => {
                let pair = (row.number()?, numbers(row.text()?)?);
                self.catalogue.together.push(pair);
                Ok(())
            }
            9 => {
                self.calls.push(Call {
                    relation: row.number()?,
                    type_oid: row.number()?,
                    by: row.number()?,
                    reads: row.text()? == "t",
                    column: row.number()?,
                });
                Ok(())
            }
            _ => {
                let oid = row.number()?;
                let definition = row.definition()?;
                let names = row.name_or_null()?.unwrap_or_default();
                // Without a definition a view counts as one that cannot be read. So does one with a function
                // of somebody's own that would pass for one of PostgreSQL's without its schema.
                let is_certain = !names.split_whitespace().any(passes_for_known);
                let definition = definition.filter(|_| is_certain);
                if let Some(relation) = self.catalogue.relations.get_mut(&oid) {
                    relation.definition = definition.map(Into::into);
                }
                Ok(())
            }
        }
    }

    fn column(&mut self, row: &mut Row<'_>) -> Result<(), Error> {
        let oid = row.number()?;
        let ((schema, known), (name, is_named)) = (row.name()?, row.name()?);
        let kind = row.text()?.bytes().next().unwrap_or_default();
        let relations = &mut self.catalogue.relations;
        let relation = relations.entry(oid).or_insert_with(|| Relation {
            schema: schema.into(),
            name: name.into(),
            kind,
            ..Relation::default()
        });
        let number = row.number()?;
        let (name, is_known) = row.name()?;
        if !(known && is_named && is_known) {
            self.catalogue.unnamed.push((oid, number));
        }
        relation.columns.push(Column {
            number,
            name: name.into(),
            type_oid: row.number()?,
            not_null: row.text()? == "t",
            generated: !row.text()?.is_empty(),
            primary: row.text()? == "t",
        });
        Ok(())
    }

    fn foreign_key(&mut self, row: &mut Row<'_>) -> Result<(), Error> {
        let (from, from_columns) = (row.number()?, numbers(row.text()?)?);
        let (to, to_columns) = (row.number()?, numbers(row.text()?)?);
        if from_columns.len() != to_columns.len() {
            return Err(Error::Value);
        }
        let pairs = from_columns.into_iter().zip(to_columns);
        let references = pairs.map(|(one, other)| [(from, one), (to, other)]);
        self.catalogue.references.extend(references);
        Ok(())
    }

    /// The rows of one question are all there.
    pub(crate) fn answered(&mut self) {
        self.question += 1;
    }

    /// The upstream did not answer one.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    /// The catalogue; `None` when it could not be read whole.
    pub(crate) fn finish(self) -> Option<Catalogue> {
        if self.failed || self.question != QUESTIONS {
            return None;
        }
        let (mut catalogue, mut code) = (self.catalogue, self.code);
        calls::note(&self.calls, &self.names, &mut catalogue, &mut code);
        // So are the rows of children and partitions with those of their parents.
        let children = catalogue
            .parents
            .iter()
            .map(|(child, parent)| (*parent, *child));
        let together = catalogue.changed_with.iter().copied().chain(children);
        let code = with_others(code, together);
        catalogue.event_triggers = code.contains(&0);
        for oid in code {
            if let Some(relation) = catalogue.relations.get_mut(&oid) {
                relation.runs_code = true;
            }
        }
        for (oid, relation) in &catalogue.relations {
            let named = catalogue.by_name.entry(relation.name.clone()).or_default();
            named.push(*oid);
        }
        Some(catalogue)
    }
}

/// The relations with which one of these is changed.
fn with_others(
    mut code: FxHashSet<u32>,
    together: impl Iterator<Item = (u32, u32)>,
) -> FxHashSet<u32> {
    let mut by_other: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (relation, other) in together {
        by_other.entry(other).or_default().push(relation);
    }
    let mut found: Vec<u32> = code.iter().copied().collect();
    while let Some(other) = found.pop() {
        for relation in by_other.get(&other).into_iter().flatten() {
            if code.insert(*relation) {
                found.push(*relation);
            }
        }
    }
    code
}

/// An array as text: `{1,2}`.
fn numbers<N: std::str::FromStr>(text: &str) -> Result<Vec<N>, Error> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let numbers = inner.ok_or(Error::Value)?.split(',');
    let numbers = numbers.filter(|number| !number.is_empty());
    let numbers = numbers.map(|number| number.parse().map_err(|_| Error::Value));
    numbers.collect()
}

/// A row of texts.
struct Row<'a>(Reader<'a>);

impl<'a> Row<'a> {
    fn begin(body: &'a [u8]) -> Result<Row<'a>, Error> {
        let mut reader = Reader::new(body);
        reader.u16()?;
        Ok(Row(reader))
    }

    /// A name, and whether it is UTF-8. What is not, as it can be in a database of SQL_ASCII, cannot be
    /// compared with what a statement or a policy says.
    fn name(&mut self) -> Result<(Cow<'a, str>, bool), Error> {
        let name = self.name_or_null()?.ok_or(Error::Value)?;
        let is_known = matches!(name, Cow::Borrowed(_));
        Ok((name, is_known))
    }

    fn name_or_null(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        Ok(self.0.value()?.map(String::from_utf8_lossy))
    }

    fn definition(&mut self) -> Result<Option<&'a str>, Error> {
        Ok(self
            .0
            .value()?
            .and_then(|value| std::str::from_utf8(value).ok()))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        self.text_or_null()?.ok_or(Error::Value)
    }

    fn text_or_null(&mut self) -> Result<Option<&'a str>, Error> {
        let value = self.0.value()?.map(std::str::from_utf8);
        value.transpose().map_err(|_| Error::Value)
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, Error> {
        self.text()?.parse().map_err(|_| Error::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_with_a_table_runs_its_triggers() {
        // A view of a partitioned table, whose partition refers by a foreign key to what has one.
        let together = [(1, 2), (2, 3), (3, 4), (4, 3), (5, 1), (6, 7)];
        let code = FxHashSet::from_iter([3]);
        let mut all: Vec<u32> = with_others(code, together.into_iter())
            .into_iter()
            .collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn arrays_of_numbers_are_read() {
        assert_eq!(numbers::<i16>("{1,-2}").unwrap(), [1, -2]);
        assert_eq!(numbers::<u32>("{}").unwrap(), [0; 0]);
        assert!(numbers::<u32>("1").is_err());
    }
}
