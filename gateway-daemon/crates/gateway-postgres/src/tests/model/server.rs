//! A model of a PostgreSQL backend: the order of messages, names, transactions and COPY, as
//! `PostgresMain` keeps them. It runs no SQL; it knows the texts that the tests use.
use super::super::messages::{
    bare, complete, copy_response, data_row, error, function_result, parameter_description, ready,
    row_description,
};
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    Simple,
    Extended,
}

/// The state of a backend.
#[derive(Debug)]
pub(super) struct Server {
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Answers that are kept until the client asks for them, or something else has to be told.
    kept: Vec<u8>,
    /// Every text that came to be parsed.
    pub(super) seen: Vec<String>,
    /// Every text that ran, and what ran in the end when it was an EXECUTE.
    pub(super) ran: Vec<(String, String)>,
    pub(super) transaction: char,
    /// It refuses DROP, as the policy of the tests does.
    pub(super) refuses_drop: bool,
    skipping: bool,
    copying: Option<Copying>,
    /// A timeout can run out: something of the extended protocol came, and no Sync yet.
    timed: bool,
    /// `doing_extended_query_message`: an error has the server skip up to the next Sync.
    extended: bool,
    dead: bool,
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            input: Vec::new(),
            output: Vec::new(),
            kept: Vec::new(),
            seen: Vec::new(),
            ran: Vec::new(),
            transaction: 'I',
            refuses_drop: false,
            skipping: false,
            copying: None,
            timed: false,
            extended: false,
            dead: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
        }
    }
}

type Failure = (&'static str, &'static str);

fn texts(body: &[u8]) -> Vec<String> {
    body.split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}

fn ends_transaction(text: &str) -> bool {
    matches!(text, "COMMIT" | "ROLLBACK")
}

impl Server {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.skipping && self.copying.is_none() && self.input.is_empty() && self.kept.is_empty()
    }

    /// Takes one message; false when there is none.
    pub(super) fn step(&mut self) -> bool {
        if self.input.is_empty() || self.dead {
            return false;
        }
        let size = 1 + u32::from_be_bytes(self.input[1..5].try_into().unwrap()) as usize;
        let message: Vec<u8> = self.input.drain(..size).collect();
        let (kind, body) = (message[0], &message[5..]);
        if self.copying.is_none() {
            self.extended = matches!(kind, b'P' | b'B' | b'E' | b'D' | b'C' | b'H');
            self.timed |= self.extended && kind != b'H' && !self.skipping;
            self.timed &= !matches!(kind, b'S' | b'Q' | b'F') || self.skipping && kind != b'S';
        }
        if let Some(copying) = self.copying {
            self.copy(copying, kind, body);
        } else if kind == b'S' {
            self.skipping = false;
            if self.transaction == 'I' {
                self.portals.clear();
            }
            self.ready();
        } else if !self.skipping {
            self.take(kind, body);
        }
        true
    }

    /// A timeout runs out while nothing runs (`statement_timeout` since the first Parse).
    pub(super) fn time_out(&mut self) {
        if self.timed && !self.skipping && self.copying.is_none() && !self.dead {
            self.timed = false;
            self.fail(("57014", "canceling statement due to statement timeout"));
            match self.extended {
                true => self.skipping = true,
                false => self.ready(),
            }
        }
    }

    fn flush(&mut self) {
        self.output.append(&mut self.kept);
    }

    fn ready(&mut self) {
        self.kept.extend(ready(self.transaction));
        self.flush();
    }

    fn fail(&mut self, failure: Failure) {
        self.kept.extend(error(failure.0, failure.1));
        self.flush();
        if self.transaction == 'T' {
            self.transaction = 'E';
        }
        if self.transaction == 'I' {
            self.portals.clear();
        }
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        let result = match kind {
            b'Q' => return self.query(body),
            b'F' => return self.call(body),
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body),
            b'C' => self.close(body),
            b'H' => {
                self.flush();
                Ok(())
            }
            b'd' | b'c' | b'f' => {
                // What was on its way when a copy failed comes behind a ReadyForQuery, or is skipped.
                assert!(
                    self.refuses_drop || !self.timed,
                    "the gateway sent copy data where nothing has copied"
                );
                Ok(())
            }
            _ => panic!("the gateway sent a message of type {kind}"),
        };
        if let Err(failure) = result {
            self.fail(failure);
            self.skipping = true;
        }
    }

    /// What the grammar says, before anything else is looked at.
    fn read(&mut self, text: &str) -> Result<(), Failure> {
        if text.starts_with("gateway refused") {
            return Err(("42601", "syntax error at or near \"gateway\""));
        }
        if self.refuses_drop && text.contains("DROP") {
            return Err(("42501", "refused"));
        }
        self.seen.push(text.into());
        Ok(())
    }

    fn check_transaction(&self, text: &str) -> Result<(), Failure> {
        if self.transaction == 'E' && !ends_transaction(text) {
            return Err(("25P02", "current transaction is aborted"));
        }
        Ok(())
    }

    fn query(&mut self, body: &[u8]) {
        let text = texts(body).swap_remove(0);
        self.statements.remove("");
        let result = self.read(&text).and_then(|()| self.run_all(&text));
        match result {
            Ok(true) => {}
            Ok(false) => self.end_query(),
            Err(failure) => {
                self.fail(failure);
                self.end_query();
            }
        }
    }

    fn end_query(&mut self) {
        if self.transaction == 'I' {
            self.portals.clear();
        }
        self.ready();
    }

    /// True when it waits for copy data.
    fn run_all(&mut self, text: &str) -> Result<bool, Failure> {
        if text.is_empty() {
            self.kept.extend(bare('I'));
            return Ok(false);
        }
        let parts: Vec<_> = text.split("; ").collect();
        let mut told = false;
        for part in parts {
            self.check_transaction(part)?;
            if !told {
                // The record is of the whole text, so it runs as one here.
                self.ran.push((text.into(), text.into()));
                told = true;
            }
            if part.starts_with("COPY") {
                self.begin_copy(part, Copying::Simple)?;
                return Ok(true);
            }
            self.portals.remove("");
            if part.starts_with("SELECT") {
                self.kept.extend(row_description());
            }
            self.run(part)?;
        }
        Ok(false)
    }

    /// Runs one statement and tells its tag.
    fn run(&mut self, text: &str) -> Result<(), Failure> {
        let words: Vec<_> = text.split(' ').collect();
        let tag = match words.as_slice() {
            ["SELECT", "1/0"] => return Err(("22012", "division by zero")),
            ["SELECT", ..] => {
                self.kept.extend(data_row(text.as_bytes()));
                "SELECT 1"
            }
            ["DELETE", ..] => "DELETE 2",
            ["BEGIN"] => {
                self.transaction = 'T';
                "BEGIN"
            }
            ["COMMIT" | "ROLLBACK"] => {
                let failed = self.transaction == 'E';
                self.transaction = 'I';
                self.portals.clear();
                if failed || text == "ROLLBACK" {
                    "ROLLBACK"
                } else {
                    "COMMIT"
                }
            }
            ["PREPARE", name, "AS", rest @ ..] => {
                if self.statements.contains_key(*name) {
                    return Err(("42P05", "prepared statement already exists"));
                }
                self.statements.insert((*name).into(), rest.join(" "));
                "PREPARE"
            }
            ["DEALLOCATE", "ALL"] => {
                self.statements.retain(|name, _| name.is_empty());
                "DEALLOCATE ALL"
            }
            ["DEALLOCATE", name] => {
                self.statements
                    .remove(*name)
                    .ok_or(("26000", "no such statement"))?;
                "DEALLOCATE"
            }
            ["EXECUTE", name] => {
                let inner = self.statements.get(*name).cloned();
                let inner = inner.ok_or(("26000", "no such statement"))?;
                if !inner.starts_with("SELECT") && !inner.starts_with("DELETE") {
                    return Err(("0A000", "EXECUTE does not support this"));
                }
                if let Some(last) = self.ran.last_mut() {
                    last.1.clone_from(&inner);
                }
                return self.run(&inner);
            }
            _ => panic!("the model does not know {text:?}"),
        };
        self.kept.extend(complete(tag));
        Ok(())
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let texts = texts(body);
        let (name, text) = (&texts[0], &texts[1]);
        self.read(text)?;
        if name.is_empty() {
            self.statements.remove("");
        }
        if text.contains("; ") {
            return Err(("42601", "cannot insert multiple commands"));
        }
        self.check_transaction(text)?;
        if self.statements.contains_key(name) {
            return Err(("42P05", "prepared statement already exists"));
        }
        self.statements.insert(name.clone(), text.clone());
        self.kept.extend(bare('1'));
        Ok(())
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let texts = texts(body);
        let (portal, name) = (&texts[0], &texts[1]);
        let text = self
            .statements
            .get(name)
            .cloned()
            .ok_or(("26000", "no such statement"))?;
        self.check_transaction(&text)?;
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(("42P03", "portal already exists"));
        }
        self.portals.insert(portal.clone(), text);
        self.kept.extend(bare('2'));
        Ok(())
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = texts(&body[1..]).swap_remove(0);
        let text = if body[0] == b'S' {
            let text = self.statements.get(&name).cloned();
            text.ok_or(("26000", "no such statement"))?
        } else {
            self.portals
                .get(&name)
                .cloned()
                .ok_or(("34000", "no such portal"))?
        };
        if self.transaction == 'E' && text.starts_with("SELECT") {
            return Err(("25P02", "current transaction is aborted"));
        }
        if body[0] == b'S' {
            self.kept.extend(parameter_description(&[]));
        }
        let rows = text.starts_with("SELECT");
        self.kept
            .extend(if rows { row_description() } else { bare('n') });
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = texts(body).swap_remove(0);
        let text = self
            .portals
            .get(&name)
            .cloned()
            .ok_or(("34000", "no such portal"))?;
        if text.is_empty() {
            self.kept.extend(bare('I'));
            return Ok(());
        }
        self.check_transaction(&text)?;
        self.ran.push((text.clone(), text.clone()));
        if text.starts_with("COPY") {
            return self.begin_copy(&text, Copying::Extended);
        }
        self.run(&text)
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = texts(&body[1..]).swap_remove(0);
        if body[0] == b'S' {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        self.kept.extend(bare('3'));
        Ok(())
    }

    fn call(&mut self, body: &[u8]) {
        if self.transaction == 'E' {
            self.fail(("25P02", "current transaction is aborted"));
        } else if body.starts_with(&[0; 4]) {
            self.fail(("42883", "function with OID 0 does not exist"));
        } else {
            self.kept.extend(function_result(b"x"));
        }
        self.ready();
    }

    fn begin_copy(&mut self, text: &str, copying: Copying) -> Result<(), Failure> {
        self.kept.extend(copy_response('G'));
        self.flush();
        if text.contains("view") {
            return Err(("42809", "cannot copy to view"));
        }
        self.copying = Some(copying);
        Ok(())
    }

    fn copy(&mut self, copying: Copying, kind: u8, body: &[u8]) {
        let failure = match kind {
            b'S' | b'H' => return,
            b'd' if body != b"bad" => return,
            b'd' => ("22P02", "bad data"),
            b'f' => ("57014", "COPY from stdin failed"),
            b'c' => {
                self.copying = None;
                self.kept.extend(complete("COPY 1"));
                if copying == Copying::Simple {
                    self.end_query();
                }
                return;
            }
            _ => {
                self.dead = true;
                return;
            }
        };
        self.copying = None;
        self.fail(failure);
        match copying {
            Copying::Simple => self.end_query(),
            Copying::Extended => self.skipping = true,
        }
    }
}
