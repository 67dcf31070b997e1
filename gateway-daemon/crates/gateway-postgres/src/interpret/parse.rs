//! PostgreSQL's own grammar, called with care: it is C, and the text comes from the wire.
use super::tree::Tree;
use pg_query::protobuf::{ScanToken, Token};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest text that is parsed, in bytes. A kilobyte of the densest SQL takes about a millisecond
/// and half a megabyte of memory to parse.
pub(crate) const PARSED_BYTES_MAX: usize = 128 * 1024;

/// Parses a text into its statements, each with its text. `None` when it does not parse.
///
/// Deep nesting is no danger: the parser's stack is on the heap and bounded, its tree walkers
/// measure the thread's stack, and trees deeper than a hundred levels are refused by the decoder
/// of the tree. All of that ends here, in `None`. A panic of the library ends here too.
pub(super) fn parse_each(sql: &str) -> Option<Vec<(&str, Tree)>> {
    if sql.len() > PARSED_BYTES_MAX {
        return None;
    }
    let result = catch_unwind(AssertUnwindSafe(|| pg_query::parse(sql, 0)))
        .ok()?
        .ok()?;
    let mut statements = Vec::with_capacity(result.protobuf.stmts.len());
    for raw in &result.protobuf.stmts {
        let start = usize::try_from(raw.stmt_location).ok()?;
        let end = match usize::try_from(raw.stmt_len).ok()? {
            0 => sql.len(),
            length => start.checked_add(length)?,
        };
        statements.push((sql.get(start..end)?, Tree::of(raw.stmt.as_deref()?)?));
    }
    Some(statements)
}

/// The text of the statement that `PREPARE name (types) AS statement` prepares.
///
/// `AS` is a reserved word, so the first one that stands outside of parentheses is the one.
pub(super) fn prepared_text(prepare: &str) -> Option<&str> {
    let mut depth = 0i32;
    for token in scan(prepare)? {
        match token.token() {
            Token::Ascii40 => depth += 1,
            Token::Ascii41 => depth -= 1,
            Token::As if depth == 0 => return prepare.get(usize::try_from(token.end).ok()?..),
            _ => {}
        }
    }
    None
}

/// Where the literals and the comments of a text are, each with whether it is a comment. `read`: its
/// plain strings were read by the standard.
pub(super) fn literals(sql: &str, read: bool) -> Option<Vec<(Range<usize>, bool)>> {
    if sql.len() > PARSED_BYTES_MAX {
        return None;
    }
    let mut found = Vec::new();
    for token in scan(sql)? {
        let is_comment = match token.token() {
            Token::SqlComment | Token::CComment => true,
            Token::Sconst
            | Token::Usconst
            | Token::Bconst
            | Token::Xconst
            | Token::Iconst
            | Token::Fconst => false,
            _ => continue,
        };
        let range = usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?;
        let text = sql.get(range.clone())?;
        if !read && text.starts_with('\'') && text.contains('\\') {
            return None;
        }
        found.push((range, is_comment));
    }
    Some(found)
}

/// The tokens of a text, comments among them. `None` when it holds what is none.
pub(super) fn scan(sql: &str) -> Option<Vec<ScanToken>> {
    // Not `scan_tokens`: of a text without tokens it makes a slice from a null pointer.
    let result = catch_unwind(AssertUnwindSafe(|| pg_query::scan(sql)))
        .ok()?
        .ok()?;
    Some(result.tokens)
}
