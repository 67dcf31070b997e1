//! What a server asks to be shown at the login, and what a client shows (AuthenticationRequest,
//! SASLInitialResponse).
use super::{Reader, frame, push_text};
use crate::error::Error;

/// What the upstream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Nothing more: AuthenticationOk.
    Ok,
    /// The password itself.
    Cleartext,
    /// A hash with this salt.
    Md5([u8; 4]),
    /// One of these SASL mechanisms.
    Sasl(Mechanisms<'a>),
    /// The next step of the mechanism.
    SaslContinue(&'a [u8]),
    /// The last step of the mechanism.
    SaslFinal(&'a [u8]),
    /// GSSAPI, SSPI or Kerberos: a ticket for the server's host.
    Ticket,
    /// Something that the protocol does not define.
    Other,
}

/// Names of SASL mechanisms, each with its zero byte, and a zero byte behind them. Checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    fn read(bytes: &'a [u8]) -> Result<Mechanisms<'a>, Error> {
        let mut reader = Reader::new(bytes);
        while !reader.text()?.is_empty() {}
        reader.end()?;
        Ok(Mechanisms(bytes))
    }

    /// The names, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
    }
}

/// Reads the body of a message `R`.
///
/// # Errors
/// It is malformed.
pub fn request(body: &[u8]) -> Result<Request<'_>, Error> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or(Error::Truncated)?;
    let alone = |request| match rest.is_empty() {
        true => Ok(request),
        false => Err(Error::Trailing),
    };
    match u32::from_be_bytes(*code) {
        0 => alone(Request::Ok),
        3 => alone(Request::Cleartext),
        5 => {
            let salt = rest.try_into().map_err(|_| Error::Length)?;
            Ok(Request::Md5(salt))
        }
        2 | 7 | 8 | 9 => Ok(Request::Ticket),
        10 => Mechanisms::read(rest).map(Request::Sasl),
        11 => Ok(Request::SaslContinue(rest)),
        12 => Ok(Request::SaslFinal(rest)),
        _ => Ok(Request::Other),
    }
}

/// Makes an AuthenticationSASL with these mechanisms.
#[must_use]
pub fn make_sasl<'a>(mechanisms: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    frame(b'R', |body| {
        body.extend_from_slice(&10u32.to_be_bytes());
        for mechanism in mechanisms {
            push_text(body, mechanism);
        }
        body.push(0);
    })
}

/// A SASLInitialResponse: the mechanism, and what the client says first.
///
/// # Errors
/// It is malformed.
pub fn initial_response(body: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut reader = Reader::new(body);
    let mechanism = reader.text()?;
    let length = reader.u32()?;
    let said = reader.rest();
    // -1: the client says nothing yet.
    match (length, said.len()) {
        (u32::MAX, 0) => Ok((mechanism, said)),
        (length, size) if length as usize == size => Ok((mechanism, said)),
        _ => Err(Error::Length),
    }
}
