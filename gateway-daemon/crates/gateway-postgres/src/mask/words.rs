//! Texts in which a masked value could stand: errors and notices, statements, bind values.
use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::literals;
use crate::mask::binary;
use gateway_core::mask::Treatment;
use gateway_core::{Masker, Masks, Parameter};
use std::ops::Range;

/// Classes of SQLSTATE whose primary message is made of names and not of values, where no value is
/// given to what looks names up. Details, hints and contexts are never that.
const NAMES_ONLY: &[&[u8]] = &[
    b"08", b"0A", b"23", b"25", b"26", b"34", b"40", b"42", b"53", b"55", b"57",
];

/// The fields of a message that hold names and numbers: severity, SQLSTATE, the message, the place
/// in the statement, schema, table, column, type and constraint, and the place in the server's code.
const NAMES: &[u8] = b"SVCMPstcdnFLR";

/// Those of [`NAMES`] that RAISE says as it likes, besides the message.
const RAISED: &[u8] = b"stcdn";
/// The SQLSTATEs that PostgreSQL has (`errcodes.txt`). RAISE can say any.
const KNOWN_CODES: &str =
    "00000 01000 01003 01004 01006 01007 01008 0100C 01P01 02000 02001 03000 08000 08001 08003
    08004 08006 08007 08P01 09000 0A000 0B000 0F000 0F001 0L000 0LP01 0P000 0Z000 0Z002 20000
    21000 22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G
    2200H 2200L 2200M 2200N 2200S 2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019
    2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024 22025 22026 22027 2202E 2202G
    2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D
    2203E 2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 23000 23001 23502 23503 23505 23514
    23P01 24000 25000 25001 25002 25003 25004 25005 25006 25007 25008 25P01 25P02 25P03 26000
    27000 28000 28P01 2B000 2BP01 2D000 2F000 2F002 2F003 2F004 2F005 34000 38000 38001 38002
    38003 38004 39000 39001 39004 39P01 39P02 39P03 3B000 3B001 3D000 3F000 40000 40001 40002
    40003 40P01 42000 42501 42601 42602 42611 42622 42701 42702 42703 42704 42710 42712 42723
    42725 42803 42804 42809 42830 42846 42883 428C9 42939 42P01 42P02 42P03 42P04 42P05 42P06
    42P07 42P08 42P09 42P10 42P11 42P12 42P13 42P14 42P15 42P16 42P17 42P18 42P19 42P20 42P21
    42P22 44000 53000 53100 53200 53300 53400 54000 54001 54011 54023 55000 55006 55P02 55P03
    55P04 57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 58P01 58P02 72000 F0000 F0001
    HV000 HV001 HV002 HV004 HV005 HV006 HV007 HV008 HV009 HV00A HV00B HV00C HV00D HV00J HV00K
    HV00L HV00M HV00N HV00P HV00Q HV00R HV010 HV014 HV021 HV024 HV090 HV091 P0000 P0001 P0002
    P0003 P0004 XX000 XX001 XX002";
/// What any other becomes: "raise exception".
const RAISED_CODE: &[u8] = b"P0001";

/// Where the words of a message may be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The server's own words about names.
    Names,
    /// They can be made of values, whatever the class.
    Values,
    /// What raised it is not known: it can be made of values in all of its fields.
    Code,
}

/// What stands in a message's place.
const COVERED: &[u8] = b"[masked: the message could quote a masked value]";

/// What an ErrorResponse (`E`) or a NoticeResponse (`N`) becomes, as a frame.
///
/// # Errors
/// The body is malformed.
pub(crate) fn cover_message(kind: u8, body: &[u8], source: Source) -> Result<Vec<u8>, Error> {
    let mut fields = Vec::new();
    let mut reader = Reader::new(body);
    loop {
        match reader.byte()? {
            0 => break,
            field => fields.push((field, reader.text()?)),
        }
    }
    reader.end()?;
    let code = fields.iter().find(|(field, _)| *field == b'C');
    let names_only = source == Source::Names
        && code.is_some_and(|(_, code)| NAMES_ONLY.iter().any(|class| code.starts_with(class)));
    Ok(frame(kind, |bytes| {
        for (field, text) in fields {
            match field {
                b'M' if !names_only => {
                    bytes.push(field);
                    push_text(bytes, COVERED);
                }
                field if source == Source::Code && RAISED.contains(&field) => {}
                b'C' if source == Source::Code && !is_known_code(text) => {
                    bytes.push(field);
                    push_text(bytes, RAISED_CODE);
                }
                field if NAMES.contains(&field) => {
                    bytes.push(field);
                    push_text(bytes, text);
                }
                // Detail, hint, context, the query of a function and the place in it.
                _ => {}
            }
        }
        bytes.push(0);
    }))
}

fn is_known_code(code: &[u8]) -> bool {
    KNOWN_CODES
        .split_whitespace()
        .any(|known| known.as_bytes() == code)
}

/// A table by its schema and its name.
pub(crate) type TableName<'a> = (&'a [u8], &'a [u8]);

/// The table that an ErrorResponse or NoticeResponse is about; `None`: it names none.
///
/// # Errors
/// The body is malformed.
pub(crate) fn table_of(body: &[u8]) -> Result<Option<TableName<'_>>, Error> {
    let (mut schema, mut table) = (&[][..], None);
    let mut reader = Reader::new(body);
    loop {
        match reader.byte()? {
            0 => return Ok(table.map(|table| (schema, table))),
            b's' => schema = reader.text()?,
            b't' => table = Some(reader.text()?),
            _ => _ = reader.text()?,
        }
    }
}

/// The same for what the detectors find in any of its fields. `None`: it stays.
pub(crate) fn search_message(
    kind: u8,
    body: &[u8],
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> Option<Vec<u8>> {
    let mut reader = Reader::new(body);
    let (mut fields, mut found) = (Vec::new(), false);
    while let Ok(field) = reader.byte()
        && field != 0
    {
        let text = reader.text().ok()?;
        let ends = if field == b'D' {
            cut_values(text)
        } else {
            Vec::new()
        };
        let covered = search_beside(text, ends, masks, masker);
        found |= covered.is_some();
        fields.push((field, covered.unwrap_or_else(|| text.to_vec())));
    }
    found.then(|| {
        frame(kind, |bytes| {
            for (field, text) in fields {
                bytes.push(field);
                push_text(bytes, &text);
            }
            bytes.push(0);
        })
    })
}

/// The values in a detail that the server has cut (`Failing row contains (1, 4111111…)`,
/// `ExecBuildSlotValueDescription`). What they began with, nobody can find any more.
fn cut_values(detail: &[u8]) -> Vec<Range<usize>> {
    const CUT: &[u8] = b"...";
    let ends = memchr::memmem::find_iter(detail, CUT).map(|at| at + CUT.len());
    let begins = |end: usize| {
        let before = detail.get(..end).unwrap_or_default();
        let comma = memchr::memmem::rfind(before, b", ").map(|at| at + 2);
        let bracket = memchr::memrchr(b'(', before).map(|at| at + 1);
        comma.max(bracket).unwrap_or(0)
    };
    ends.map(|end| begins(end)..end).collect()
}

/// What a message becomes that is so many bytes and then texts (ParameterStatus, NotificationResponse);
/// `None`: it stays.
pub(crate) fn search_texts(
    kind: u8,
    bytes: usize,
    body: &[u8],
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> Option<Vec<u8>> {
    let covers = masks.detectors().iter().any(|(_, found)| found.covered);
    let (head, texts) = body.split_at_checked(bytes).filter(|_| covers)?;
    search(texts, masks, masker)?;
    let texts = texts.strip_suffix(b"\0").unwrap_or(texts);
    Some(frame(kind, |out| {
        out.extend_from_slice(head);
        for text in texts.split(|byte| *byte == 0) {
            let covered = search(text, masks, masker);
            push_text(out, covered.as_deref().unwrap_or(text));
        }
    }))
}

/// A text without what the detectors find in it; `None`: they find nothing. What the policy calls
/// sensitive is not written down, whoever may see it.
pub(crate) fn search(text: &[u8], masks: &dyn Masks, masker: &dyn Masker) -> Option<Vec<u8>> {
    search_beside(text, Vec::new(), masks, masker)
}

/// The same, with these parts covered as well, where there are detectors at all.
fn search_beside(
    text: &[u8],
    also: Vec<Range<usize>>,
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> Option<Vec<u8>> {
    if masks.detectors().is_empty() {
        return None;
    }
    let mut ranges = also;
    masker.find(masks.detectors(), text, &mut |range, _| ranges.push(range));
    if ranges.is_empty() {
        return None;
    }
    ranges.sort_by_key(|range| range.start);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        if range.start >= at {
            out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            masker.cover(Treatment::Redact, &[], &mut out);
        }
        at = at.max(range.end);
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Some(out)
}

/// Does a value hold something that the detectors find only when it is decoded: numbers with an exponent,
/// and what is in a value in binary format?
pub(crate) fn hides(raw: &[u8], masks: &dyn Masks, masker: &dyn Masker) -> bool {
    if masks.detectors().is_empty() {
        return false;
    }
    let mut found = false;
    let mut look = |text: &[u8]| {
        masker.find(masks.detectors(), text, &mut |_, _| found = true);
    };
    binary::texts(raw, &mut look);
    binary::plain_numbers(raw, &mut look);
    found
}

/// What is looked for is not longer, unless it is one word.
const TAIL_BYTES: usize = 64;

/// The end of a text that was cut: it could be the beginning of something that nobody finds any more.
fn open_end(text: &[u8]) -> Range<usize> {
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || !byte.is_ascii()
            || matches!(
                byte,
                b'.' | b'_' | b'%' | b'+' | b'-' | b'@' | b'/' | b'=' | b'~'
            )
    };
    let start = text.len().saturating_sub(TAIL_BYTES);
    let head = text.get(..start).unwrap_or_default();
    let word = head.iter().rev().take_while(|byte| is_part(byte)).count();
    start - word..text.len()
}

/// What covers a value, where it is a constant.
pub(crate) fn constant(masker: &dyn Masker) -> Vec<u8> {
    let mut text = Vec::new();
    masker.cover(Treatment::Redact, &[], &mut text);
    text
}

/// A statement as it may be written down: its literals are covered, and its comments left out.
/// `read`: it is known how its strings were read.
pub(crate) fn cover_statement(sql: &str, read: bool, masker: &dyn Masker) -> String {
    let word = String::from_utf8_lossy(&constant(masker)).into_owned();
    let Some(literals) = literals(sql, read) else {
        return format!("{word}: {} bytes", sql.len());
    };
    let mut covered = String::with_capacity(sql.len());
    let mut at = 0;
    for (literal, is_comment) in literals {
        covered.push_str(sql.get(at..literal.start).unwrap_or_default());
        if is_comment {
            // What stands before it and behind it does not become one word.
            covered.push(' ');
        } else {
            covered.push('\'');
            covered.push_str(&word);
            covered.push('\'');
        }
        at = literal.end;
    }
    covered.push_str(sql.get(at..).unwrap_or_default());
    covered
}

/// Does a statement hold the text that a mask puts in a value's place?
pub(crate) fn holds_constant(sql: &str, masker: &dyn Masker) -> bool {
    let constant = constant(masker);
    !constant.is_empty() && memchr::memmem::find(sql.as_bytes(), &constant).is_some()
}

/// Is a bind value, as it was recorded, the text that a mask puts in a value's place?
pub(crate) fn is_constant(parameter: &Parameter, masker: &dyn Masker) -> bool {
    let constant = constant(masker);
    let Some(value) = parameter.value.as_deref().filter(|_| !constant.is_empty()) else {
        return false;
    };
    if value.as_bytes() == constant {
        return true;
    }
    // A binary one of a type that was not said.
    let hex: String = constant.iter().map(|byte| format!("{byte:02x}")).collect();
    value
        .strip_prefix("\\x")
        .is_some_and(|digits| digits == hex)
}

/// Bind values as they may be written down.
pub(crate) fn cover_parameters(parameters: &[Parameter], masker: &dyn Masker) -> Vec<Parameter> {
    let word = String::from_utf8_lossy(&constant(masker)).into_owned();
    let cover = |parameter: &Parameter| Parameter {
        kind: parameter.kind.clone(),
        value: parameter.value.as_ref().map(|_| word.clone()),
        cut_from: None,
    };
    parameters.iter().map(cover).collect()
}

/// The same for what the detectors find. `None`: they stay.
pub(crate) fn search_parameters(
    parameters: &[Parameter],
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> Option<Vec<Parameter>> {
    if masks.detectors().is_empty() {
        return None;
    }
    let mut found = false;
    let mut searched = parameters.to_vec();
    for parameter in &mut searched {
        let covered = search_parameter(parameter, masks, masker);
        found |= covered.is_some();
        parameter.value = covered.or(parameter.value.take());
    }
    found.then_some(searched)
}

/// One that was cut is searched as far as it is there.
fn search_parameter(
    parameter: &Parameter,
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> Option<String> {
    let text = parameter.value.as_deref()?.as_bytes();
    // What is not decoded is recorded in hexadecimal.
    let raw = binary::hex(text);
    let covered = if hides(raw.as_deref().unwrap_or(text), masks, masker) {
        constant(masker)
    } else {
        let cut = parameter.cut_from.map(|_| open_end(text));
        search_beside(text, cut.into_iter().collect(), masks, masker)?
    };
    Some(String::from_utf8_lossy(&covered).into_owned())
}
