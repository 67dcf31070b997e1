//! Masks: which columns of an answer may show what they hold, and what the others show instead.
//!
//! - [`catalogue`]: what the database knows of its tables, types and views, and how it is asked.
//! - [`outlook`]: what a policy says about that: the columns that are sensitive, through renames,
//!   inheritance, partitions, composite types and views.
//! - [`telling`]: what the server's own relations and functions show of values, and [`ties`]: what
//!   it says of them when something else is written.
//! - [`marks`]: the columns that were found so, in this database and before.
//! - [`flow`](crate::interpret::flow): where the values in the answer to a statement come from, and
//!   what else the statement does with them.
//! - [`columns`], [`value`], [`row`], [`copy`]: what becomes of the values on their way to the
//!   client; [`binary`]: what is looked for in them.
//! - [`words`]: what becomes of error texts, statements and bind values.
//! - [`veil`]: what may be written down of an answer that is recorded.
//!
//! The server itself says which column of which table a result column is (RowDescription), through
//! aliases, sub-queries, joins and cursors. Where it says nothing, the column is an expression, and
//! it is covered whole unless the statement shows that nothing sensitive is in it. What cannot be
//! shown is covered; what cannot be covered is refused.
pub(crate) mod binary;
pub(crate) mod catalogue;
pub(crate) mod columns;
pub(crate) mod copy;
pub(crate) mod marks;
pub(crate) mod outlook;
pub(crate) mod row;
pub(crate) mod store;
pub(crate) mod telling;
pub(crate) mod ties;
pub(crate) mod value;
pub(crate) mod veil;
pub(crate) mod words;
