//! Copied data (COPY … TO STDOUT) on its way to the client.
//!
//! The data is read as a stream: a message need not hold one row, though PostgreSQL's own do.
use super::columns::{Became, Columns};
use super::row::set_length;
use crate::error::Error;
use crate::interpret::flow::{CopyFormat, NULL_TEXT};
use gateway_core::Masker;

/// What a binary copy begins with (`COPY`, file header).
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The signature, the flags, and the length of what may follow.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// A copy to the client.
#[derive(Debug)]
pub(crate) struct CopyStream {
    format: CopyFormat,
    columns: Columns,
    /// A row that is not whole.
    held: Vec<u8>,
    /// The header, if there is one, has passed.
    begun: bool,
    /// The end was said (binary).
    ended: bool,
    row_bytes_max: usize,
    made: Vec<u8>,
}

/// The stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFault {
    /// A row is longer than is held.
    TooLong,
    /// It is not what was announced.
    Malformed,
}

impl From<Error> for CopyFault {
    fn from(_: Error) -> CopyFault {
        CopyFault::Malformed
    }
}

impl CopyStream {
    pub(crate) fn new(format: CopyFormat, columns: Columns, row_bytes_max: usize) -> CopyStream {
        let binary = format == CopyFormat::Binary;
        let begun = match &format {
            CopyFormat::Text { header, .. } | CopyFormat::Csv { header, .. } => !header,
            CopyFormat::Binary | CopyFormat::Other => false,
        };
        CopyStream {
            format,
            columns: columns.formatted(binary),
            held: Vec::new(),
            begun,
            ended: false,
            row_bytes_max,
            made: Vec::new(),
        }
    }

    /// Whether it is understood.
    pub(crate) fn is_readable(&self) -> bool {
        self.format != CopyFormat::Other
    }

    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Takes the data of one message and appends what it becomes, as a message (`d`), or nothing
    /// when no row is whole.
    pub(crate) fn take(
        &mut self,
        data: &[u8],
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Result<(), CopyFault> {
        let start = out.len();
        out.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        let used = if self.held.is_empty() {
            self.rows(data, masker, out)?
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(data);
            let used = self.rows(&held, masker, out)?;
            held.drain(..used);
            self.held = held;
            data.len()
        };
        self.held
            .extend_from_slice(data.get(used..).unwrap_or_default());
        if self.held.len() > self.row_bytes_max {
            return Err(CopyFault::TooLong);
        }
        if out.len() == start + 5 {
            out.truncate(start);
        } else {
            set_length(out, start + 1, start + 1);
        }
        Ok(())
    }

    /// All has been sent.
    pub(crate) fn finish(&self) -> Result<(), CopyFault> {
        if self.held.is_empty() {
            Ok(())
        } else {
            Err(CopyFault::Malformed)
        }
    }

    /// Appends whole rows and says how much of the data they were.
    fn rows(
        &mut self,
        data: &[u8],
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Result<usize, CopyFault> {
        let mut used = 0;
        loop {
            let rest = data.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(used);
            }
            let row = match &self.format {
                CopyFormat::Text { .. } => line(rest, None),
                CopyFormat::Csv { quote, escape, .. } => line(rest, Some((*quote, *escape))),
                CopyFormat::Binary => self.binary_row(rest)?,
                CopyFormat::Other => return Err(CopyFault::Malformed),
            };
            let Some(row) = row.and_then(|length| rest.get(..length)) else {
                return Ok(used);
            };
            used += row.len();
            if !self.begun {
                self.begun = true;
                out.extend_from_slice(row);
                continue;
            }
            match self.format {
                CopyFormat::Text { delimiter, .. } => {
                    self.delimited_row(row, Style::text(delimiter), masker, out)?;
                }
                CopyFormat::Csv {
                    delimiter,
                    quote,
                    escape,
                    ..
                } => {
                    let style = Style::csv(delimiter, quote, escape);
                    self.delimited_row(row, style, masker, out)?;
                }
                CopyFormat::Binary => self.binary_values(row, masker, out)?,
                CopyFormat::Other => return Err(CopyFault::Malformed),
            }
        }
    }

    fn delimited_row(
        &mut self,
        row: &[u8],
        style: Style,
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Result<(), CopyFault> {
        let (row, end) = without_end(row);
        let mut index = 0;
        let mut at = 0;
        let mut raw = Vec::new();
        loop {
            let rest = row.get(at..).unwrap_or_default();
            let length = style.read(rest, &mut raw);
            let field = rest.get(..length).unwrap_or_default();
            if index > 0 {
                out.push(style.delimiter);
            }
            self.made.clear();
            // A quoted text is never NULL.
            let became = if field == style.null {
                self.columns.null(index, masker, &mut self.made)
            } else {
                self.columns.value(index, &raw, masker, &mut self.made)
            };
            match became {
                Became::Same => out.extend_from_slice(field),
                Became::Null => out.extend_from_slice(style.null),
                Became::Written => style.write(&self.made, out),
            }
            index += 1;
            at += length;
            if at >= row.len() {
                break;
            }
            at += 1;
        }
        out.extend_from_slice(end);
        self.check_count(index)
    }

    /// A row has as many values as there are columns; a table without any has empty lines.
    fn check_count(&self, count: usize) -> Result<(), CopyFault> {
        match self.columns.len() {
            0 => Ok(()),
            known if known == count => Ok(()),
            _ => Err(CopyFault::Malformed),
        }
    }

    /// How long the first row, or the header, or the end is; `None`: it is not whole.
    fn binary_row(&self, data: &[u8]) -> Result<Option<usize>, CopyFault> {
        if self.ended {
            return Err(CopyFault::Malformed);
        }
        if !self.begun {
            let Some(header) = data.get(..HEADER_BYTES) else {
                return Ok(None);
            };
            let more = header
                .last_chunk::<4>()
                .map_or(0, |bytes| u32::from_be_bytes(*bytes));
            let whole = HEADER_BYTES.saturating_add(more as usize);
            return match header.starts_with(SIGNATURE) {
                true if whole > self.row_bytes_max => Err(CopyFault::TooLong),
                true => Ok((data.len() >= whole).then_some(whole)),
                false => Err(CopyFault::Malformed),
            };
        }
        let Some(count) = data.first_chunk::<2>() else {
            return Ok(None);
        };
        let mut at = 2_usize;
        for _ in 0..i16::from_be_bytes(*count).max(0) {
            let Some(length) = data
                .get(at..at + 4)
                .and_then(|bytes| bytes.first_chunk::<4>())
            else {
                return Ok(None);
            };
            let length = i32::from_be_bytes(*length);
            at = at
                .saturating_add(4)
                .saturating_add(usize::try_from(length).unwrap_or(0));
            if length < -1 {
                return Err(CopyFault::Malformed);
            }
            if at > self.row_bytes_max {
                return Err(CopyFault::TooLong);
            }
        }
        Ok((data.len() >= at).then_some(at))
    }

    fn binary_values(
        &mut self,
        row: &[u8],
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Result<(), CopyFault> {
        let mut reader = crate::codec::Reader::new(row);
        let count = reader.u16()?;
        out.extend_from_slice(&count.to_be_bytes());
        if count.cast_signed() < 0 {
            self.ended = true;
            return Ok(());
        }
        self.check_count(usize::from(count))?;
        for index in 0..usize::from(count) {
            let value = reader.value()?;
            let length = out.len();
            out.extend_from_slice(&NULL);
            let became = match value {
                Some(value) => self.columns.value(index, value, masker, out),
                None => self.columns.null(index, masker, out),
            };
            match (became, value) {
                (Became::Null, _) | (Became::Same, None) => continue,
                (Became::Same, Some(value)) => out.extend_from_slice(value),
                (Became::Written, _) => {}
            }
            set_length(out, length, length + NULL.len());
        }
        Ok(())
    }
}

/// How the fields of a line are written.
#[derive(Clone, Copy)]
struct Style {
    delimiter: u8,
    null: &'static [u8],
    /// What quotes a field, and what stands before a quote in it. `None`: backslashes.
    quoting: Option<(u8, u8)>,
}

impl Style {
    const fn text(delimiter: u8) -> Style {
        Style {
            delimiter,
            null: NULL_TEXT.as_bytes(),
            quoting: None,
        }
    }

    const fn csv(delimiter: u8, quote: u8, escape: u8) -> Style {
        Style {
            delimiter,
            null: b"",
            quoting: Some((quote, escape)),
        }
    }

    /// How long the first field is; its value is in `raw`.
    fn read(self, data: &[u8], raw: &mut Vec<u8>) -> usize {
        match self.quoting {
            Some((quote, escape)) => csv_field(data, self.delimiter, quote, escape, raw),
            None => {
                let length = text_field(data, self.delimiter);
                unescape(data.get(..length).unwrap_or_default(), raw);
                length
            }
        }
    }

    fn write(self, value: &[u8], out: &mut Vec<u8>) {
        let Some((quote, escape)) = self.quoting else {
            return escape_text(value, self.delimiter, out);
        };
        out.push(quote);
        for byte in value {
            if *byte == quote || *byte == escape {
                out.push(escape);
            }
            out.push(*byte);
        }
        out.push(quote);
    }
}

/// How long the first line is, with its end.
fn line(data: &[u8], quoting: Option<(u8, u8)>) -> Option<usize> {
    let Some((quote, escape)) = quoting else {
        // What is special is written with a backslash and a letter, so this ends the line.
        return memchr::memchr(b'\n', data).map(|end| end + 1);
    };
    let mut quoted = false;
    let mut at = 0;
    while let Some(byte) = data.get(at) {
        if quoted && *byte == escape && escape != quote {
            at += 1;
        } else if *byte == quote {
            quoted = !quoted;
        } else if *byte == b'\n' && !quoted {
            return Some(at + 1);
        }
        at += 1;
    }
    None
}

fn without_end(row: &[u8]) -> (&[u8], &[u8]) {
    let length = match row {
        [.., b'\r', b'\n'] => row.len() - 2,
        [.., b'\n'] => row.len() - 1,
        _ => row.len(),
    };
    row.split_at_checked(length).unwrap_or((row, &[]))
}

fn text_field(data: &[u8], delimiter: u8) -> usize {
    let mut at = 0;
    while let Some(byte) = data.get(at) {
        if *byte == delimiter {
            return at;
        }
        at += if *byte == b'\\' { 2 } else { 1 };
    }
    data.len()
}

/// The value of a field of the text format (`CopyAttributeOutText`).
fn unescape(field: &[u8], raw: &mut Vec<u8>) {
    raw.clear();
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            raw.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => raw.push(0x08),
            Some(b'f') => raw.push(0x0c),
            Some(b'n') => raw.push(b'\n'),
            Some(b'r') => raw.push(b'\r'),
            Some(b't') => raw.push(b'\t'),
            Some(b'v') => raw.push(0x0b),
            Some(other) => raw.push(*other),
            None => {}
        }
    }
}

fn escape_text(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for byte in value {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            byte if *byte == delimiter => *byte,
            byte => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// How long the first field is; its value is in `raw`.
fn csv_field(data: &[u8], delimiter: u8, quote: u8, escape: u8, raw: &mut Vec<u8>) -> usize {
    raw.clear();
    let mut quoted = false;
    let mut at = 0;
    while let Some(byte) = data.get(at) {
        let next = data.get(at + 1);
        if quoted && *byte == escape && next.is_some_and(|next| *next == quote || *next == escape) {
            raw.extend(next);
            at += 2;
            continue;
        }
        if *byte == quote {
            quoted = !quoted;
        } else if *byte == delimiter && !quoted {
            return at;
        } else {
            raw.push(*byte);
        }
        at += 1;
    }
    data.len()
}
