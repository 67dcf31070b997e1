//! The value of a credential: from standard input, whole and unseen.
use crate::exit::Failure;
use gateway_credentials::{Kind, Name};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// A line break of either kind.
const LINE_END_MAX: usize = 2;

/// Reads the value. Of passwords and secrets one line break at the end is taken off, which is the
/// editor's or `echo`'s and not theirs.
pub(super) fn read(name: &Name, kind: Kind) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return ask(name, kind);
    }
    // Not through the buffer of the standard library, which keeps what passed it.
    let input = File::from(stdin.as_fd().try_clone_to_owned()?);
    // One byte more than a value may have, so that too long a one is seen to be; never more, so
    // that the buffer does not grow and leave a copy behind.
    let most = kind.bytes_max() + LINE_END_MAX + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    input.take(most as u64).read_to_end(&mut bytes)?;
    if kind != Kind::Certificate {
        take_line_end(&mut bytes);
    }
    Ok(bytes)
}

/// On a terminal: not shown, and asked for twice.
fn ask(name: &Name, kind: Kind) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if kind == Kind::Certificate {
        return Err(Failure::usage(format!(
            "credentials add: a certificate is not typed (expected it on standard input: `cat \
             client.crt client.key | gateway credentials add {name} --kind certificate`)"
        )));
    }
    let prompt = |text: String| rpassword::prompt_password(text).map(Zeroizing::new);
    let first = prompt(format!("{kind} for {name}: "))?;
    let again = prompt(format!("{kind} for {name}, again: "))?;
    if *first != *again {
        return Err(Failure::usage("credentials add: the two are not the same"));
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

fn take_line_end(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_taken_off() {
        for (given, expected) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r", "a\r"),
            (" a \n", " a "),
            ("\n", ""),
            ("", ""),
        ] {
            let mut bytes = given.as_bytes().to_vec();
            take_line_end(&mut bytes);
            assert_eq!(bytes, expected.as_bytes(), "{given:?}");
        }
    }
}
