//! Where output goes: is it a terminal, how wide, with colours?
use std::io::{self, IsTerminal, Write};

/// The colour of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Notable,
    Bad,
    Faint,
    Strong,
}

/// Standard output, as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Columns of the terminal; `None` when it is none, and nothing is cut.
    pub(crate) width: Option<usize>,
    pub(crate) colours: bool,
}

impl Screen {
    /// Looks at standard output. `NO_COLOR` (no-color.org) and dumb terminals mean no colours.
    pub(crate) fn of_stdout() -> Screen {
        if !io::stdout().is_terminal() {
            return Screen {
                width: None,
                colours: false,
            };
        }
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            width: Some(width.max(40)),
            colours: !unwanted && !dumb,
        }
    }

    /// The text in a colour. It must be escaped before.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Notable => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Writes a line to standard output. `false`: nobody reads any more (`gateway log | head`).
pub(crate) fn print(line: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out
        .write_all(line.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes an object as one line of JSON.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> io::Result<bool> {
    let json = serde_json::to_string(value).map_err(io::Error::other)?;
    print(&super::escape::json(&json))
}
