//! A lexer that takes the literals out of a statement, so that statements that differ in nothing
//! else are read once.
//!
//! It knows the tokens of PostgreSQL's scanner (`scan.l`) well enough to tell where a plain string
//! or a number begins and ends. Whatever it is not sure of makes the whole statement doubtful, and
//! a doubtful statement has no shape: it is parsed, and remembered by its exact text.
use memchr::{memchr, memchr2};

/// What stands for a whole number, a number with a fraction or an exponent, and a string. Each is
/// a literal itself, so a shape is SQL, and it is never longer than the statement.
const INTEGER: &[u8] = b"0";
const DECIMAL: &[u8] = b"0.0";
const STRING: &[u8] = b"''";
/// Longest number that stays where it may be that of a column.
const POSITION_DIGITS_MAX: usize = 3;

/// Deepest nesting of block comments.
const COMMENT_DEPTH_MAX: u32 = 64;

/// What the lexer says of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The whole statement was understood and its shape written.
    pub(super) certain: bool,
    /// A plain string holds a backslash: it ends somewhere else when
    /// `standard_conforming_strings` is off. Only told of what was understood.
    pub(super) plain_backslash: bool,
}

/// What the lexer tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Number,
    String,
    /// It stays where it is.
    Comment,
}

/// A literal that the lexer took out, or a comment. What the lexer is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    pub(super) what: What,
    /// It stays in the shape: `ORDER BY 2` is not what `ORDER BY 1` is.
    pub(super) is_kept: bool,
}

/// Writes the shape of a statement. What was written is worth something only when the scan is
/// certain.
pub(super) fn write_shape(sql: &str, shape: &mut Vec<u8>) -> Scan {
    write_shape_and(sql, shape, |_| {})
}

/// As [`write_shape`], and tells of each literal and each comment.
pub(super) fn write_shape_and(
    sql: &str,
    shape: &mut Vec<u8>,
    mut literal: impl FnMut(Literal),
) -> Scan {
    shape.clear();
    let mut lexer = Lexer {
        bytes: sql.as_bytes(),
        at: 0,
        written: 0,
        plain_backslash: false,
        position: None,
    };
    let certain = lexer.run(shape, &mut literal).is_some();
    Scan {
        certain,
        plain_backslash: lexer.plain_backslash,
    }
}

/// What a byte may be at the beginning of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Doubtful,
    /// White space, punctuation and operators that stand for themselves.
    Plain,
    /// Begins an identifier or a keyword: letters, `_`, and all beyond ASCII.
    Letter,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Minus,
    Slash,
    Dot,
}

const fn class_of(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b'\'' => Class::Quote,
        b'"' => Class::DoubleQuote,
        b'$' => Class::Dollar,
        b'-' => Class::Minus,
        b'/' => Class::Slash,
        b'.' => Class::Dot,
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => Class::Plain,
        b',' | b'(' | b')' | b'[' | b']' | b';' | b':' => Class::Plain,
        b'+' | b'*' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&'
        | b'|' | b'`' | b'?' => Class::Plain,
        _ => Class::Doubtful,
    }
}

#[allow(clippy::indexing_slicing)] // in a constant: an index too large would not compile
const CLASSES: [Class; 256] = {
    let mut classes = [Class::Doubtful; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
};

#[inline]
fn class(byte: u8) -> Class {
    CLASSES
        .get(usize::from(byte))
        .copied()
        .unwrap_or(Class::Doubtful)
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Up to here the shape is written.
    written: usize,
    plain_backslash: bool,
    /// Where the word BY has ended, or a number that stayed behind it.
    position: Option<Position>,
}

/// Behind BY a number can be that of a column of the result, and behind such a number and a comma
/// another.
#[derive(Clone, Copy)]
struct Position {
    end: usize,
    is_number: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// `None` when in doubt.
    fn run(&mut self, shape: &mut Vec<u8>, tell: &mut impl FnMut(Literal)) -> Option<()> {
        while let Some(byte) = self.peek(0) {
            match class(byte) {
                Class::Plain => self.at += self.run_length(|byte| class(byte) == Class::Plain),
                Class::Letter => self.identifier()?,
                Class::Digit => {
                    let start = self.at;
                    let placeholder = self.number()?;
                    let is_kept = self.is_position(start);
                    if !is_kept {
                        self.replace(start, placeholder, shape)?;
                    }
                    tell(Literal {
                        start,
                        end: self.at,
                        what: What::Number,
                        is_kept,
                    });
                }
                Class::Quote => {
                    let start = self.at;
                    self.string()?;
                    self.replace(start, STRING, shape)?;
                    tell(Literal {
                        start,
                        end: self.at,
                        what: What::String,
                        is_kept: false,
                    });
                }
                Class::DoubleQuote => self.quoted_identifier()?,
                Class::Dollar => self.parameter()?,
                Class::Minus | Class::Slash if self.begins_comment(byte) => {
                    let start = self.at;
                    match byte {
                        b'-' => self.line_comment(),
                        _ => self.block_comment()?,
                    }
                    tell(Literal {
                        start,
                        end: self.at,
                        what: What::Comment,
                        is_kept: false,
                    });
                }
                Class::Minus | Class::Slash => self.at += 1,
                // `.5` is a number and `1..2` is two.
                Class::Dot if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => {
                    return None;
                }
                Class::Dot => self.at += 1,
                Class::Doubtful => return None,
            }
        }
        shape.extend_from_slice(self.bytes.get(self.written..)?);
        Some(())
    }

    /// Writes what stands before a literal that began at `start`, and its placeholder.
    fn replace(&mut self, start: usize, placeholder: &[u8], shape: &mut Vec<u8>) -> Option<()> {
        shape.extend_from_slice(self.bytes.get(self.written..start)?);
        shape.extend_from_slice(placeholder);
        self.written = self.at;
        Some(())
    }

    /// An identifier or a keyword. One letter can also be the prefix of another kind of string:
    /// `E''`, `B''`, `X''`, `N''`, `U&''`, `U&""`.
    fn identifier(&mut self) -> Option<()> {
        let start = self.at;
        self.at += self
            .run_length(|byte| matches!(class(byte), Class::Letter | Class::Digit | Class::Dollar));
        let word = self.bytes.get(start..self.at).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"by") {
            self.position = Some(Position {
                end: self.at,
                is_number: false,
            });
        }
        if self.at - start == 1 {
            let special = match self.bytes.get(start)? {
                b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N' => {
                    self.peek(0) == Some(b'\'')
                }
                b'u' | b'U' => {
                    self.peek(0) == Some(b'&') && matches!(self.peek(1), Some(b'\'' | b'"'))
                }
                _ => false,
            };
            if special {
                return None;
            }
        }
        Some(())
    }

    /// Could the number that was just read be that of a column? Then the shape keeps it.
    fn is_position(&mut self, start: usize) -> bool {
        let Some(before) = self.position else {
            return false;
        };
        let gap = self.bytes.get(before.end..start).unwrap_or_default();
        let digits = self.bytes.get(start..self.at).unwrap_or_default();
        let is_behind = match gap.trim_ascii() {
            b"" => !before.is_number,
            b"," => before.is_number,
            _ => false,
        };
        let is_position = is_behind
            && digits.len() <= POSITION_DIGITS_MAX
            && digits.first() != Some(&b'0')
            && digits.iter().all(u8::is_ascii_digit);
        self.position = is_position.then_some(Position {
            end: self.at,
            is_number: true,
        });
        is_position
    }

    /// `12`, `1.5`, `1e9`, `1.5E-3`. What could be anything else is doubtful: `1.`, `0x1F`, `1_000`,
    /// `12abc`, `1e`, `1..2`, `1.5.5`.
    fn number(&mut self) -> Option<&'static [u8]> {
        let mut placeholder = INTEGER;
        self.digits();
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            self.digits_or_doubt()?;
            placeholder = DECIMAL;
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(0), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits_or_doubt()?;
            placeholder = DECIMAL;
        }
        match self.peek(0).map(class) {
            Some(Class::Letter | Class::Digit | Class::Dollar | Class::Dot | Class::Doubtful) => {
                None
            }
            _ => Some(placeholder),
        }
    }

    fn digits_or_doubt(&mut self) -> Option<()> {
        let start = self.at;
        self.digits();
        (self.at > start).then_some(())
    }

    fn digits(&mut self) {
        self.at += self.run_length(|byte| byte.is_ascii_digit());
    }

    /// How many bytes from here on are such.
    #[inline]
    fn run_length(&self, is_such: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        rest.iter()
            .position(|byte| !is_such(*byte))
            .unwrap_or(rest.len())
    }

    /// A string in which only `''` is special. A second one on the next line continues it and is
    /// read as another, which changes nothing: both are plain.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let found = memchr2(b'\'', b'\\', rest)?;
            let byte = rest.get(found)?;
            self.at += found + 1;
            if *byte == b'\\' {
                self.plain_backslash = true;
            } else if self.peek(0) == Some(b'\'') {
                self.at += 1;
            } else {
                return Some(());
            }
        }
    }

    fn quoted_identifier(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let found = memchr(b'"', self.bytes.get(self.at..)?)?;
            self.at += found + 1;
            if self.peek(0) != Some(b'"') {
                return Some(());
            }
            self.at += 1;
        }
    }

    /// `$1`. Anything else that begins with a dollar is a dollar-quoted string or no SQL.
    fn parameter(&mut self) -> Option<()> {
        self.at += 1;
        self.digits_or_doubt()?;
        match self.peek(0).map(class) {
            Some(Class::Letter | Class::Dollar) => None,
            _ => Some(()),
        }
    }

    fn begins_comment(&self, byte: u8) -> bool {
        matches!(
            (byte, self.peek(1)),
            (b'-', Some(b'-')) | (b'/', Some(b'*'))
        )
    }

    fn line_comment(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    fn block_comment(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
            if depth == 0 {
                return Some(());
            }
            if depth > COMMENT_DEPTH_MAX {
                return None;
            }
        }
    }
}
