//! `gateway approvals`: what waits for a human, and the answers.
use super::ask;
use crate::command::Answer;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::{Screen, print, print_json};
use crate::terminal::table::{Cell, Column, Table};
use gateway_control::Client;
use serde_json::Value;
use std::io;
use std::ops::ControlFlow;

const COLUMNS: [Column; 8] = [
    Column::new("ID", 18, 24),
    Column::new("EXPIRES", 19, 19),
    Column::new("STATE", 8, 8),
    Column::new("PRINCIPAL", 9, 32),
    Column::new("RESOURCE", 8, 24),
    Column::new("VERB", 4, 12),
    Column::new("RULES", 5, 40),
    Column::new("STATEMENT", 9, 400),
];

/// Shows what waits.
pub(crate) fn approvals(config: &Config, watch: bool, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let table = Table::streaming(&COLUMNS, Screen::of_stdout());
    let mut headed = false;
    let mut show = |line: &[u8]| -> io::Result<bool> {
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
    };
    let mut broken = None;
    ask(async {
        let mut each = |line: &[u8]| match show(line) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        };
        client
            .approvals(watch, &mut each)
            .await
            .map_err(Failure::from)
    })?;
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(Exit::Done),
    }
}

fn row(question: &Value) -> Vec<Cell> {
    let text = |key: &str| question[key].as_str().unwrap_or_default().to_owned();
    let rules = question["rules"].as_array().into_iter().flatten();
    let rules: Vec<&str> = rules.filter_map(Value::as_str).collect();
    let principal = question["principal"]["id"].as_str().unwrap_or_default();
    [
        text("id"),
        // Without the letters between, down to seconds.
        text("expires")
            .replacen('T', " ", 1)
            .chars()
            .take(19)
            .collect(),
        text("state"),
        principal.to_owned(),
        text("resource"),
        text("verb"),
        rules.join(", "),
        text("statement"),
    ]
    .map(Cell::new)
    .into()
}

/// Approves or denies.
pub(crate) fn answer(config: &Config, answer: &Answer) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let asked = client.answer(&answer.id, answer.approve, answer.reason.as_deref());
    let view = ask(async { asked.await.map_err(Failure::from) })?;
    if answer.json {
        print_json(&view)?;
    } else {
        print(&format!(
            "{} {} by {}",
            view.id, view.verdict, view.approver
        ))?;
    }
    Ok(Exit::Done)
}
