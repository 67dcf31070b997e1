//! Texts in which a masked value could stand: errors and notices, statements, bind values.
use crate::codec::{Reader, frame, push_text};
use crate::error::Error;
use crate::interpret::literals;
use gateway_core::mask::Treatment;
use gateway_core::{Masker, Masks, Parameter};
use std::ops::Range;

/// Classes of SQLSTATE whose primary message is made of names and not of values, where no value is
/// given to what looks names up. Details, hints and contexts are never that.
const NAMES_ONLY: &[&[u8]] = &[
    b"08", b"0A", b"23", b"25", b"26", b"34", b"40", b"42", b"53", b"54", b"55", b"57",
];

/// The fields of a message that hold names and numbers: severity, SQLSTATE, the message, the place
/// in the statement, schema, table, column, type and constraint, and the place in the server's code.
const NAMES: &[u8] = b"SVCMPstcdnFLR";

/// What stands in a message's place.
const COVERED: &[u8] = b"[masked: the message could quote a masked value]";

/// What an ErrorResponse (`E`) or a NoticeResponse (`N`) becomes, as a frame. `quotes`: its message
/// may be made of values, whatever its class.
///
/// # Errors
/// The body is malformed.
pub(crate) fn cover_message(kind: u8, body: &[u8], quotes: bool) -> Result<Vec<u8>, Error> {
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
    let names_only = !quotes
        && code.is_some_and(|(_, code)| NAMES_ONLY.iter().any(|class| code.starts_with(class)));
    Ok(frame(kind, |bytes| {
        for (field, text) in fields {
            match field {
                b'M' if !names_only => {
                    bytes.push(field);
                    push_text(bytes, COVERED);
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
    search(body, masks, masker)?;
    let mut reader = Reader::new(body);
    let mut fields = Vec::new();
    while let Ok(field) = reader.byte()
        && field != 0
    {
        let text = reader.text().ok()?;
        let covered = search(text, masks, masker);
        fields.push((field, covered.unwrap_or_else(|| text.to_vec())));
    }
    Some(frame(kind, |bytes| {
        for (field, text) in fields {
            bytes.push(field);
            push_text(bytes, &text);
        }
        bytes.push(0);
    }))
}

/// A text without what the detectors find in it; `None`: they find nothing. What the policy calls
/// sensitive is not written down, whoever may see it.
pub(crate) fn search(text: &[u8], masks: &dyn Masks, masker: &dyn Masker) -> Option<Vec<u8>> {
    if masks.detectors().is_empty() {
        return None;
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    masker.find(masks.detectors(), text, &mut |range, _| ranges.push(range));
    if ranges.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
        masker.cover(Treatment::Redact, &[], &mut out);
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Some(out)
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
        let Some(value) = &parameter.value else {
            continue;
        };
        if let Some(covered) = search(value.as_bytes(), masks, masker) {
            parameter.value = Some(String::from_utf8_lossy(&covered).into_owned());
            found = true;
        }
    }
    found.then_some(searched)
}
