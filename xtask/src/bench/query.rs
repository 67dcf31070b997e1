//! A client of PostgreSQL that counts and forgets: it costs less than what it measures.
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// ReadyForQuery outside of a transaction: an answer is over.
const READY: &[u8] = b"Z\0\0\0\x05I";
const BLOCK: usize = 256 * 1024;
/// How much of an answer's end is kept: more than its last message takes.
const KEPT: usize = 4096;
/// Longer than any answer is silent.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Asks for this and reads the answer to its end: seconds.
pub(super) fn read(port: u16, sql: &str) -> Result<f64> {
    let mut session = Session::open(port)?;
    let start = Instant::now();
    let end = session.ask(sql)?;
    let seconds = start.elapsed().as_secs_f64();
    is_whole(&end, sql)?;
    Ok(seconds)
}

/// Asks for this, is refused with this code, and is answered as ever after that: the seconds that
/// the refusal took.
pub(super) fn refused(port: u16, code: &str, sql: &str) -> Result<f64> {
    let mut session = Session::open(port)?;
    let start = Instant::now();
    let end = session.ask(sql)?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        has_code(&end, code),
        "{sql}: no error {code} but {}",
        shown(&end)
    );
    let next = "select 1";
    is_whole(&session.ask(next)?, next).context("the same session, after the refusal")?;
    Ok(seconds)
}

struct Session {
    stream: TcpStream,
    block: Vec<u8>,
}

impl Session {
    fn open(port: u16) -> Result<Session> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend(b"user\0postgres\0database\0postgres\0\0");
        stream.write_all(&length_of(&body)?)?;
        stream.write_all(&body)?;
        let block = vec![0; BLOCK];
        let mut session = Session { stream, block };
        session.read_end().context("the start of a session")?;
        Ok(session)
    }

    /// The end of the answer to a simple query.
    fn ask(&mut self, sql: &str) -> Result<Vec<u8>> {
        let body = [sql.as_bytes(), b"\0"].concat();
        let message = [b"Q", length_of(&body)?.as_slice(), &body].concat();
        self.stream.write_all(&message)?;
        self.read_end().with_context(|| sql.to_owned())
    }

    /// Messages are not told apart: that the bytes at hand end as an answer does is enough, since
    /// nobody sends any until the next question, and no text has zeros in it.
    fn read_end(&mut self) -> Result<Vec<u8>> {
        let mut end = Vec::new();
        while !end.ends_with(READY) {
            let count = self.stream.read(&mut self.block)?;
            ensure!(count > 0, "the session ended after {}", shown(&end));
            end.extend_from_slice(&self.block[count.saturating_sub(KEPT)..count]);
            end.drain(..end.len().saturating_sub(KEPT));
        }
        Ok(end)
    }
}

fn length_of(body: &[u8]) -> Result<[u8; 4]> {
    Ok(u32::try_from(body.len() + 4)?.to_be_bytes())
}

/// Does an answer end with the tag of what was asked for, and not with an error?
fn is_whole(end: &[u8], sql: &str) -> Result<()> {
    let tag = end
        .strip_suffix(READY)
        .and_then(|end| end.strip_suffix(b"\0"))
        .and_then(|end| end.rsplit(|byte| *byte == 0).next())
        // The last byte of its length comes first.
        .and_then(|end| end.get(1..))
        .unwrap_or_default();
    if !tag.starts_with(b"COPY ") && !tag.starts_with(b"SELECT ") {
        bail!("{sql}: it ends with {}", shown(end));
    }
    Ok(())
}

/// An ErrorResponse says its SQLSTATE in the field `C`.
fn has_code(end: &[u8], code: &str) -> bool {
    let field = format!("\0C{code}\0");
    end.windows(field.len())
        .any(|window| window == field.as_bytes())
}

fn shown(end: &[u8]) -> String {
    let start = end.len().saturating_sub(300);
    format!("{:?}", String::from_utf8_lossy(&end[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_told_from_a_refused_one() {
        let whole = b"d\0\0\0\x061\nc\0\0\0\x04C\0\0\0\x0cCOPY 10\0Z\0\0\0\x05I";
        assert!(is_whole(whole, "").is_ok());
        assert!(!has_code(whole, "54000"));
        let refused = b"E\0\0\0\x1eSERROR\0VERROR\0C54000\0MCOPY 1\0\0Z\0\0\0\x05I";
        assert!(is_whole(refused, "").is_err());
        assert!(has_code(refused, "54000"));
        assert!(is_whole(READY, "").is_err());
    }
}
