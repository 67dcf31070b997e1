//! Holds the lexer of shapes against PostgreSQL's own scanner and grammar: what fuzzing runs.
use super::abridge::abridge;
use super::context::SqlContext;
use super::parse::scan;
use super::script::interpret;
use super::shape::{Literal, What, write_shape_and};
use pg_query::protobuf::{ScanToken, Token};
use std::ops::Range;

/// The lexer was certain of a statement and wrong about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; statement {sql:?}, shape {shape:?}")]
pub struct ShapeDisagreement {
    /// What is wrong.
    pub what: String,
    /// The statement.
    pub sql: String,
    /// The shape that the lexer made of it.
    pub shape: String,
}

/// Checks what must hold of any text for which the lexer is certain:
///
/// - the literals that it took out are those that PostgreSQL's scanner finds;
/// - what remains are the same tokens in the same order;
/// - a statement whose effects do not depend on its literals has the effects of its shape, and of
///   the shape made short.
///
/// # Errors
///
/// The first of these that does not hold.
pub fn check_shape(sql: &str) -> Result<(), ShapeDisagreement> {
    let mut shape = Vec::new();
    let mut literals = Vec::new();
    let verdict = write_shape_and(sql, &mut shape, |literal| literals.push(literal));
    literals.retain(|literal| literal.what != What::Comment);
    if !verdict.certain {
        return Ok(());
    }
    let shape = String::from_utf8_lossy(&shape).into_owned();
    let disagree = |what: String| ShapeDisagreement {
        what,
        sql: sql.into(),
        shape: shape.clone(),
    };
    if shape.len() > sql.len() {
        return Err(disagree("the shape is longer than the statement".into()));
    }
    // What the scanner refuses, the server refuses too.
    let Some(tokens) = scan(sql) else {
        return Ok(());
    };
    check_literals(&tokens, &literals).map_err(disagree)?;
    let shaped = scan(&shape).ok_or_else(|| disagree("the shape does not scan".into()))?;
    let kinds = |tokens: &[ScanToken]| tokens.iter().map(kind).collect::<Vec<_>>();
    if kinds(&tokens) != kinds(&shaped) {
        return Err(disagree("the shape has other tokens".into()));
    }
    check_effects(sql, &shape).map_err(disagree)
}

/// The kind of a token, where a whole number may be too large to be an integer.
fn kind(token: &ScanToken) -> Token {
    match token.token() {
        Token::Fconst => Token::Iconst,
        other => other,
    }
}

fn check_literals(tokens: &[ScanToken], literals: &[Literal]) -> Result<(), String> {
    let mut rest = literals;
    for token in tokens {
        let is_string = match token.token() {
            Token::Sconst => true,
            Token::Iconst | Token::Fconst => false,
            _ => continue,
        };
        let range = range_of(token).ok_or("a token ends before it begins")?;
        // A string that goes on in the next line is one token and several literals.
        let inside = rest
            .iter()
            .take_while(|literal| literal.end <= range.end)
            .count();
        let (these, after) = rest.split_at(inside);
        let is_whole = these.first().map(|literal| literal.start) == Some(range.start)
            && these.last().map(|literal| literal.end) == Some(range.end)
            && these
                .iter()
                .all(|literal| (literal.what == What::String) == is_string)
            && (is_string || these.len() == 1);
        if !is_whole {
            return Err(format!("the literal at {range:?} was read as {these:?}"));
        }
        rest = after;
    }
    match rest {
        [] => Ok(()),
        [first, ..] => Err(format!("{first:?} is no literal")),
    }
}

fn range_of(token: &ScanToken) -> Option<Range<usize>> {
    Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
}

fn check_effects(sql: &str, shape: &str) -> Result<(), String> {
    let context = SqlContext::default();
    let whole = interpret(sql, &context);
    if whole.depends_on_literals {
        return Ok(());
    }
    for (what, text) in [("shape", shape), ("short shape", &abridge(shape))] {
        let other = interpret(text, &context);
        // Some literals are judged by the grammar: `float(0)` is an error. Then the statement
        // itself is parsed.
        if other.statements == 0 && whole.statements > 0 {
            continue;
        }
        if whole != other {
            return Err(format!(
                "the {what} has other effects: {whole:?} and {other:?}"
            ));
        }
    }
    Ok(())
}
