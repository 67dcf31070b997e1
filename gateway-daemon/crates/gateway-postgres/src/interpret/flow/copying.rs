//! COPY to the client: what is copied, and how it is written.
use crate::interpret::parse::scan;
use crate::interpret::tree::{Tree, Value};
use pg_query::protobuf::Token;

/// A COPY to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOut {
    /// What is copied.
    pub(crate) source: CopySource,
    pub(crate) format: CopyFormat,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopySource {
    /// The named columns of a table, or all of them.
    Table {
        schema: Box<str>,
        name: Box<str>,
        columns: Vec<Box<str>>,
    },
    /// The answer to a query of this text.
    Query(Box<str>),
}

/// What stands for NULL in the text format; in CSV it is nothing.
pub(crate) const NULL_TEXT: &str = "\\N";

/// How the copied data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    /// A line for a row, with backslashes before what is special.
    Text { delimiter: u8, header: bool },
    /// Values in quotes where needed.
    Csv {
        delimiter: u8,
        header: bool,
        quote: u8,
        escape: u8,
    },
    /// Values with their lengths.
    Binary,
    /// One that is not known.
    Other,
}

pub(super) fn copy_out(text: &str, tree: &Tree) -> CopyOut {
    let source = match tree.tree("relation") {
        Some(range) => CopySource::Table {
            schema: range.text("schemaname").into(),
            name: range.text("relname").into(),
            columns: tree
                .strings("attlist")
                .into_iter()
                .map(Into::into)
                .collect(),
        },
        None => CopySource::Query(copied_query(text).unwrap_or_default().into()),
    };
    CopyOut {
        source,
        format: known_format(tree).unwrap_or(CopyFormat::Other),
    }
}

/// The text between the first pair of parentheses.
fn copied_query(text: &str) -> Option<&str> {
    let mut depth = 0_i32;
    let mut start = None;
    for token in scan(text)? {
        match token.token() {
            Token::Ascii40 => {
                depth += 1;
                if depth == 1 {
                    start = Some(usize::try_from(token.end).ok()?);
                }
            }
            Token::Ascii41 => {
                depth -= 1;
                if depth == 0 {
                    return text.get(start?..usize::try_from(token.start).ok()?);
                }
            }
            _ => {}
        }
    }
    None
}

/// What is written after an option of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word<'a> {
    Nothing,
    Text(&'a str),
    /// Something that the server makes a text of in a way that is not followed here: `(csv)`, `5`.
    Other,
}

impl<'a> Word<'a> {
    fn of(option: &'a Tree) -> Word<'a> {
        let Some(argument) = option.tree("arg") else {
            return match option.get("arg") {
                Value::Nothing => Word::Nothing,
                _ => Word::Other,
            };
        };
        match argument.kind() {
            "String" => Word::Text(argument.text("sval")),
            "Boolean" if argument.flag("boolval") => Word::Text("true"),
            "Boolean" => Word::Text("false"),
            _ => Word::Other,
        }
    }

    /// The one byte that it is; `default` where there is nothing.
    fn byte(self, default: u8) -> Option<u8> {
        match self {
            Word::Nothing => Some(default),
            Word::Text(text) => match text.as_bytes() {
                [byte] if !matches!(byte, b'\n' | b'\r') => Some(*byte),
                _ => None,
            },
            Word::Other => None,
        }
    }
}

/// `None`: one that is not known.
fn known_format(tree: &Tree) -> Option<CopyFormat> {
    let mut format = Word::Text("text");
    let (mut delimiter, mut quote, mut escape) = (Word::Nothing, Word::Nothing, Word::Nothing);
    let mut header = false;
    let mut null = Word::Nothing;
    for option in tree.trees("options") {
        let word = Word::of(option);
        match option.text("defname") {
            "format" => format = word,
            "delimiter" => delimiter = word,
            "null" => null = word,
            "quote" => quote = word,
            "escape" => escape = word,
            "header" => header = is_on(option)?,
            "force_quote" | "freeze" | "force_not_null" | "force_null" => {}
            _ => return None,
        }
    }
    let Word::Text(format) = format else {
        return None;
    };
    // A value that equals another marker could not be told from NULL, and would be shown.
    let plain = if format == "csv" { "" } else { NULL_TEXT };
    if !matches!(null, Word::Nothing) && null != Word::Text(plain) {
        return None;
    }
    match format {
        "text" => Some(CopyFormat::Text {
            delimiter: delimiter.byte(b'\t')?,
            header,
        }),
        "csv" => {
            let quote = quote.byte(b'"')?;
            Some(CopyFormat::Csv {
                delimiter: delimiter.byte(b',')?,
                header,
                quote,
                escape: escape.byte(quote)?,
            })
        }
        "binary" => Some(CopyFormat::Binary),
        _ => None,
    }
}

/// Is a switch on? `None`: that is not known here, and the server may take it for either.
fn is_on(option: &Tree) -> Option<bool> {
    let argument = option.tree("arg");
    if let Some(number) = argument.filter(|argument| argument.kind() == "Integer") {
        return match number.get("ival") {
            Value::Number(0) => Some(false),
            Value::Number(1) => Some(true),
            _ => None,
        };
    }
    match Word::of(option) {
        Word::Nothing => Some(true),
        Word::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Word::Text(text) if text.eq_ignore_ascii_case("on") => Some(true),
        Word::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Word::Text(text) if text.eq_ignore_ascii_case("off") => Some(false),
        Word::Text(_) | Word::Other => None,
    }
}
