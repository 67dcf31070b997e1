//! `gateway sessions`, `log`, `show`, `replay` and `acts`: what was recorded, from the daemon or, when
//! it is dead and the caller is root, from the journal itself.
mod fields;
mod replay;
mod rows;

pub(crate) use replay::replay;

use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::{Screen, print};
use crate::wiring::archive::JournalArchive;
use fields::Fields;
use gateway_control::{ActFilter, Archive, Client, ClientError, Filter, Gone, LineSink, PortError};
use gateway_core::SessionId;
use rows::{ACTS, OPERATIONS, SESSIONS, act_row, operation_row, session_lines, session_row};
use serde_json::Value;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::terminal::table::{Cell, Column, Table};

/// What one question asks.
enum Question<'a> {
    Sessions(&'a Filter),
    Operations(&'a Filter, bool),
    Session(SessionId),
    /// With the record behind which it goes on.
    Replay(SessionId, Option<u64>),
    Acts(&'a ActFilter),
}

/// The sessions that match.
pub(crate) fn sessions(config: &Config, filter: &Filter, json: bool) -> Result<Exit, Failure> {
    show_lines(
        config,
        &Question::Sessions(filter),
        json,
        &SESSIONS,
        session_row,
    )
}

/// The operations that match.
pub(crate) fn log(
    config: &Config,
    filter: &Filter,
    follow: bool,
    json: bool,
) -> Result<Exit, Failure> {
    show_lines(
        config,
        &Question::Operations(filter, follow),
        json,
        &OPERATIONS,
        operation_row,
    )
}

/// What people did to the gateway itself.
pub(crate) fn acts(config: &Config, filter: &ActFilter, json: bool) -> Result<Exit, Failure> {
    show_lines(config, &Question::Acts(filter), json, &ACTS, act_row)
}

fn show_lines(
    config: &Config,
    question: &Question<'_>,
    json: bool,
    columns: &[Column],
    row: fn(&Value) -> Vec<Cell>,
) -> Result<Exit, Failure> {
    let table = Table::streaming(columns, Screen::of_stdout());
    let mut headed = false;
    answer(config, question, &mut |line| {
        if json {
            return print(&escape::json(&String::from_utf8_lossy(line)));
        }
        let value: Value = serde_json::from_slice(line).map_err(io::Error::other)?;
        if !headed {
            headed = true;
            if !print(&table.head())? {
                return Ok(false);
            }
        }
        print(&table.row(&row(&value)))
    })
}

/// One session whole.
pub(crate) fn show(config: &Config, session: SessionId, json: bool) -> Result<Exit, Failure> {
    let screen = Screen::of_stdout();
    let table = Table::streaming(&OPERATIONS, screen);
    let mut headed = false;
    let mut sums = Fields::default();
    let done = answer(config, &Question::Session(session), &mut |line| {
        if json {
            return print(&escape::json(&String::from_utf8_lossy(line)));
        }
        let value: Value = serde_json::from_slice(line).map_err(io::Error::other)?;
        if headed {
            let fields = Fields::of(&value);
            let row = table.row(&operation_row(&value));
            let below = fields.lines(&screen).into_iter().map(indented);
            let shown = print_all(std::iter::once(row).chain(below));
            sums.add(fields);
            return shown;
        }
        headed = true;
        let lines = session_lines(&value, &screen).into_iter();
        print_all(lines.chain([table.head()]))
    })?;
    let sums = sums.lines(&screen);
    if !sums.is_empty() {
        print_all(std::iter::once(String::new()).chain(sums))?;
    }
    Ok(done)
}

/// What belongs to the row above it.
fn indented(line: String) -> String {
    format!("    {line}")
}

/// As [`print`], until nobody reads any more.
fn print_all(lines: impl IntoIterator<Item = String>) -> io::Result<bool> {
    for line in lines {
        if !print(&line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a line; `Ok(false)` when nobody reads any more.
type Print<'a> = &'a mut (dyn FnMut(&[u8]) -> io::Result<bool> + Send);

fn answer(config: &Config, question: &Question<'_>, each: Print<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let mut failed: Option<io::Error> = None;
    let mut take = |line: &[u8]| match each(line) {
        Ok(true) => ControlFlow::Continue(()),
        Ok(false) => ControlFlow::Break(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    };
    let asked = ask(async {
        Ok(match question {
            Question::Sessions(filter) => client.sessions(filter, &mut take).await,
            Question::Operations(filter, follow) => {
                client.operations(filter, *follow, &mut take).await
            }
            Question::Session(session) => client.session(*session, &mut take).await,
            Question::Replay(session, after) => client.replay(*session, *after, &mut take).await,
            Question::Acts(filter) => client.acts(filter, &mut take).await,
        })
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    match asked {
        Ok(()) => Ok(Exit::Done),
        Err(unreachable @ ClientError::Unreachable { .. }) => {
            let follows = matches!(question, Question::Operations(_, true));
            if follows || !nix::unistd::geteuid().is_root() {
                return Err(unreachable.into());
            }
            from_journal(config, question, each, unreachable)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the journal of a dead daemon.
fn from_journal(
    config: &Config,
    question: &Question<'_>,
    each: Print<'_>,
    unreachable: ClientError,
) -> Result<Exit, Failure> {
    let Ok(archive) = JournalArchive::open(&config.journal_dir()) else {
        return Err(unreachable.into());
    };
    let goes_on = matches!(question, Question::Replay(_, Some(_)));
    if !goes_on {
        eprintln!("gateway: {unreachable}; reading the journal itself");
    }
    let mut sink = PrintSink { each, failed: None };
    let answered = match question {
        Question::Sessions(filter) => archive.sessions(filter, &mut sink).map(|()| true),
        Question::Operations(filter, _) => {
            archive.operations(filter, false, &mut sink).map(|()| true)
        }
        Question::Session(session) => archive.session(*session, &mut sink),
        Question::Replay(session, after) => archive.replay(*session, *after, &mut sink),
        Question::Acts(filter) => archive.acts(filter, &mut sink).map(|()| true),
    };
    if let Some(error) = sink.failed {
        return Err(error.into());
    }
    match answered {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => Err(Failure::no("nothing is known of it")),
        Err(PortError(reason)) => Err(Failure::no(reason)),
    }
}

struct PrintSink<'a> {
    each: Print<'a>,
    failed: Option<io::Error>,
}

impl LineSink for PrintSink<'_> {
    fn line(&mut self, json: Vec<u8>) -> Result<(), Gone> {
        match (self.each)(&json) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Gone),
            Err(error) => {
                self.failed = Some(error);
                Err(Gone)
            }
        }
    }

    fn pause(&mut self, time: Duration) -> Result<(), Gone> {
        std::thread::sleep(time);
        Ok(())
    }
}
