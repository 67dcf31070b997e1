//! `gateway trees`: the governed trees.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::{Screen, print, print_json};
use crate::terminal::table::{Cell, Column, Table};
use gateway_control::Client;
use gateway_control::view::TreeView;

const COLUMNS: [Column; 8] = [
    Column {
        title: "TREE",
        width_min: 14,
        width_max: 14,
    },
    Column {
        title: "POLICY",
        width_min: 6,
        width_max: 24,
    },
    Column {
        title: "PRINCIPAL",
        width_min: 9,
        width_max: 32,
    },
    Column {
        title: "WHY",
        width_min: 3,
        width_max: 24,
    },
    Column {
        title: "PROCESSES",
        width_min: 9,
        width_max: 9,
    },
    Column {
        title: "SESSIONS",
        width_min: 8,
        width_max: 8,
    },
    Column {
        title: "CGROUP",
        width_min: 6,
        width_max: 40,
    },
    Column {
        title: "ROOT",
        width_min: 4,
        width_max: 200,
    },
];

/// Shows them.
pub(crate) fn trees(config: &Config, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let trees = ask(async { client.trees().await.map_err(Failure::from) })?;
    if json {
        for tree in &trees {
            if !print_json(tree)? {
                break;
            }
        }
        return Ok(Exit::Done);
    }
    if trees.is_empty() {
        print("no governed trees")?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<Cell>> = trees.iter().map(row).collect();
    let table = Table::fitting(&COLUMNS, &rows, Screen::of_stdout());
    let lines = std::iter::once(table.head()).chain(rows.iter().map(|row| table.row(row)));
    for line in lines {
        if !print(&line)? {
            break;
        }
    }
    Ok(Exit::Done)
}

fn row(tree: &TreeView) -> Vec<Cell> {
    let root = tree.root.as_ref().map_or_else(String::new, |root| {
        let command = if root.argv.is_empty() {
            root.exe.to_string()
        } else {
            root.argv.join(" ")
        };
        format!("{} {command}", root.pid)
    });
    vec![
        Cell::new(tree.tree.to_string()),
        Cell::new(&tree.policy),
        Cell::new(&tree.principal.id),
        Cell::new(&tree.why),
        Cell::new(tree.processes.to_string()),
        Cell::new(tree.sessions.to_string()),
        Cell::new(&tree.cgroup),
        Cell::new(root),
    ]
}
