//! Rows on their way to the client.
use super::columns::{Became, Columns};
use crate::codec::Reader;
use crate::error::Error;
use gateway_core::Masker;

const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Appends what a DataRow (`D`) becomes, as a frame. False: it stays as it is, and `out` too.
///
/// # Errors
/// The body is malformed.
pub(crate) fn rewrite(
    body: &[u8],
    columns: &mut Columns,
    masker: &dyn Masker,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let start = out.len();
    let mut reader = Reader::new(body);
    let count = usize::from(reader.u16()?);
    // Up to here it is copied; nothing is, until something changes.
    let mut copied = 0;
    let mut made = Vec::new();
    for index in 0..count {
        let begin = body.len() - reader.rest().len();
        let value = reader.value()?;
        made.clear();
        let became = match value {
            Some(value) => columns.value(index, value, masker, &mut made),
            None => columns.null(index, masker, &mut made),
        };
        if became == Became::Same {
            continue;
        }
        if copied == 0 {
            out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
        }
        out.extend_from_slice(body.get(copied..begin).unwrap_or_default());
        copied = body.len() - reader.rest().len();
        if became == Became::Null {
            out.extend_from_slice(&NULL);
            continue;
        }
        let length = out.len();
        out.extend_from_slice(&NULL);
        out.extend_from_slice(&made);
        set_length(out, length, length + NULL.len());
    }
    reader.end()?;
    if copied == 0 {
        return Ok(false);
    }
    out.extend_from_slice(body.get(copied..).unwrap_or_default());
    set_length(out, start + 1, start + 1);
    Ok(true)
}

/// Appends a DataRow of so many columns without a value of the one that came, as a frame.
pub(crate) fn cut(count: u16, columns: &mut Columns, masker: &dyn Masker, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[b'D', 0, 0, 0, 0]);
    out.extend_from_slice(&count.to_be_bytes());
    for index in 0..usize::from(count) {
        let length = out.len();
        out.extend_from_slice(&NULL);
        if columns.cut(index, masker, out) {
            set_length(out, length, length + NULL.len());
        }
    }
    columns.tell_cut();
    set_length(out, start + 1, start + 1);
}

/// Writes how much there is from `from` on, as four bytes at `at`.
pub(crate) fn set_length(out: &mut [u8], at: usize, from: usize) {
    let length = u32::try_from(out.len() - from).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
