//! The messages of a client, once it is logged in. Each is read whole and checked to its end.
use super::{Reader, frame, push_text};
use crate::error::Error;

/// What Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// `P`: prepare a statement.
#[derive(Clone, Copy, Debug)]
pub struct Parse<'a> {
    /// Its name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub text: &'a [u8],
    types: &'a [u8],
}

impl Parse<'_> {
    /// The types that the client gave for the parameters; 0 where it left that open.
    pub fn types(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.types
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// `B`: bind values to a statement, which makes a portal.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
    /// The values.
    pub values: Values<'a>,
}

/// Values with their formats, as Bind and FunctionCall carry them. Checked before it is made.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    formats: &'a [u8],
    count: u16,
    values: &'a [u8],
}

impl<'a> Values<'a> {
    /// Reads the formats and the values, and checks both.
    fn read(reader: &mut Reader<'a>) -> Result<Values<'a>, Error> {
        let format_count = usize::from(reader.u16()?);
        let formats = reader.take(format_count * 2)?;
        if formats
            .as_chunks::<2>()
            .0
            .iter()
            .any(|format| !matches!(format, [0, 0 | 1]))
        {
            return Err(Error::Value);
        }
        let count = reader.u16()?;
        if format_count > 1 && format_count != usize::from(count) {
            return Err(Error::Value);
        }
        let begin = reader.rest();
        for _ in 0..count {
            reader.value()?;
        }
        let length = begin.len() - reader.rest().len();
        Ok(Values {
            formats,
            count,
            values: begin.get(..length).unwrap_or_default(),
        })
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// Each value, with true when it is in binary format; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = (bool, Option<&'a [u8]>)> + use<'a> {
        let formats = self.formats.as_chunks::<2>().0;
        let all = match formats {
            [one] => *one,
            _ => [0, 0],
        };
        let each = if formats.len() > 1 { formats } else { &[] };
        let mut reader = Reader::new(self.values);
        (0..usize::from(self.count)).map_while(move |index| {
            let format = each.get(index).copied().unwrap_or(all);
            Some((format == [0, 1], reader.value().ok()?))
        })
    }
}

/// `F`: call a function by its number.
#[derive(Clone, Copy, Debug)]
pub struct FunctionCall<'a> {
    /// The function's object id.
    pub function: u32,
    /// Its arguments.
    pub values: Values<'a>,
}

/// Reads the text of a Query (`Q`).
///
/// # Errors
/// The body is not exactly one terminated text.
pub fn query(body: &[u8]) -> Result<&[u8], Error> {
    let mut reader = Reader::new(body);
    let text = reader.text()?;
    reader.end()?;
    Ok(text)
}

/// Reads a Parse.
///
/// # Errors
/// The body is malformed.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Error> {
    let mut reader = Reader::new(body);
    let name = reader.text()?;
    let text = reader.text()?;
    let count = usize::from(reader.u16()?);
    let types = reader.take(count * 4)?;
    reader.end()?;
    Ok(Parse { name, text, types })
}

/// Reads a Bind.
///
/// # Errors
/// The body is malformed.
pub fn bind(body: &[u8]) -> Result<Bind<'_>, Error> {
    let mut reader = Reader::new(body);
    let portal = reader.text()?;
    let statement = reader.text()?;
    let values = Values::read(&mut reader)?;
    let result_formats = usize::from(reader.u16()?);
    reader.take(result_formats * 2)?;
    reader.end()?;
    Ok(Bind {
        portal,
        statement,
        values,
    })
}

/// The body of an Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The name of the portal.
    pub portal: &'a [u8],
    /// It is not executed to its end: so many rows are returned at most.
    pub is_limited: bool,
}

/// Reads an Execute (`E`).
///
/// # Errors
/// The body is malformed.
pub fn execute(body: &[u8]) -> Result<Execute<'_>, Error> {
    let mut reader = Reader::new(body);
    let execute = Execute {
        portal: reader.text()?,
        is_limited: reader.i32()? > 0,
    };
    reader.end()?;
    Ok(execute)
}

/// Reads what a Describe (`D`) or a Close (`C`) names.
///
/// # Errors
/// The body is malformed.
pub fn target(body: &[u8]) -> Result<Target<'_>, Error> {
    let mut reader = Reader::new(body);
    let kind = reader.byte()?;
    let name = reader.text()?;
    reader.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Error::Value),
    }
}

/// Reads a FunctionCall.
///
/// # Errors
/// The body is malformed.
pub fn function_call(body: &[u8]) -> Result<FunctionCall<'_>, Error> {
    let mut reader = Reader::new(body);
    let function = reader.u32()?;
    let values = Values::read(&mut reader)?;
    reader.u16()?;
    reader.end()?;
    Ok(FunctionCall { function, values })
}

/// A Query that no PostgreSQL can run: its text is not SQL in any state of a transaction, since
/// the grammar is asked before anything else.
#[must_use]
pub fn failing_query(words: &str) -> Vec<u8> {
    frame(b'Q', |body| push_text(body, words.as_bytes()))
}

/// A Parse that no PostgreSQL can take. The grammar refuses the text before the name is looked
/// at, and since the statement is a named one, the unnamed statement of the client survives.
#[must_use]
pub fn failing_parse(words: &str) -> Vec<u8> {
    frame(b'P', |body| {
        push_text(body, b"gateway_refused");
        push_text(body, words.as_bytes());
        body.extend_from_slice(&[0, 0]);
    })
}

/// A call of the function with the number 0, which no PostgreSQL has.
#[must_use]
pub fn failing_function_call() -> Vec<u8> {
    frame(b'F', |body| body.extend_from_slice(&[0; 10]))
}

/// A CancelRequest with the upstream's own key.
#[must_use]
pub fn cancel_request(process: u32, secret: &[u8]) -> Vec<u8> {
    let length = u32::try_from(12 + secret.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&super::startup::CANCEL.to_be_bytes());
    bytes.extend_from_slice(&process.to_be_bytes());
    bytes.extend_from_slice(secret);
    bytes
}
