//! What each event of a session looks like.
//!
//! Statements, values and texts are of those who are watched. What is the gateway's own word
//! begins in the first column, with a time or with two dashes and a space; nothing of theirs does,
//! so none of them can imitate it.
use super::super::fields::Fields;
use super::super::rows::{number, process, text, time};
use super::grid::Grid;
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone};
use serde_json::Value;

/// The columns before the text of a statement.
const MARGIN: &str = "            ";

/// Where a session is shown.
#[derive(Debug)]
pub(super) struct Stage {
    screen: Screen,
    /// The day that was said last.
    day: String,
    /// The operation whose answer is shown, and its result.
    answered: Option<u64>,
    grid: Option<Grid>,
    /// The end was shown.
    pub(super) over: bool,
}

impl Stage {
    pub(super) fn new(screen: Screen) -> Stage {
        Stage {
            screen,
            day: String::new(),
            answered: None,
            grid: None,
            over: false,
        }
    }

    /// The lines of one event.
    pub(super) fn lines(&mut self, event: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        let name = text(event, "/event");
        if name != "answer" {
            lines.extend(self.end_result());
            lines.extend(self.day(event));
        }
        match name {
            "opened" => lines.push(self.opened(event)),
            "operation" => self.operation(event, &mut lines),
            "resolution" => lines.push(self.resolution(event)),
            "answer" => self.answer(event, &mut lines),
            "outcome" => self.outcome(event, &mut lines),
            "closed" => lines.push(self.closed(event)),
            // Of a later version; `--json` has it.
            other => lines.push(self.own(event, &format!("[{other}]"))),
        }
        lines
    }

    /// What is said when there is no more, and the session has not ended.
    pub(super) fn open(&mut self) -> Vec<String> {
        let mut lines: Vec<_> = self.end_result().into_iter().collect();
        lines.push(self.screen.paint(Tone::Faint, "-- it is open"));
        lines
    }

    /// A line of the gateway's own: the time, the operation, a text that is escaped.
    fn own(&self, event: &Value, said: &str) -> String {
        self.toned(event, said, Tone::Plain)
    }

    fn toned(&self, event: &Value, said: &str, tone: Tone) -> String {
        let clock = match time(event, "/time").get(11..) {
            Some(clock) => escape::line(clock).into_owned(),
            None => "--".to_owned(),
        };
        let clock = self.screen.paint(Tone::Faint, &clock);
        let said = self.screen.paint(tone, &escape::line(said));
        match number(event, "/seq") {
            seq if seq.is_empty() => format!("{clock} {said}"),
            seq => format!("{clock} {seq}: {said}"),
        }
    }

    /// Says the day when it is another one.
    fn day(&mut self, event: &Value) -> Option<String> {
        let time = time(event, "/time");
        let day = time.get(..10)?;
        if day == self.day {
            return None;
        }
        day.clone_into(&mut self.day);
        let said = format!("-- {}", escape::line(day));
        Some(self.screen.paint(Tone::Faint, &said))
    }

    fn opened(&self, event: &Value) -> String {
        let destination = format!(
            "{}:{}",
            text(event, "/destination/ip"),
            number(event, "/destination/port")
        );
        let said = format!(
            "session {} of {} by {} to {destination}",
            text(event, "/session"),
            text(event, "/principal/id"),
            process(event),
        );
        self.own(event, &said)
    }

    fn operation(&mut self, event: &Value, lines: &mut Vec<String>) {
        self.answered = event.pointer("/seq").and_then(Value::as_u64);
        let statement = match text(event, "/statement") {
            "" => {
                let objects = event.pointer("/objects").and_then(Value::as_array);
                let names = objects.into_iter().flatten().filter_map(Value::as_str);
                let names = names.collect::<Vec<_>>().join(" ");
                format!("[{} {names}]", text(event, "/verb"))
            }
            statement => statement.to_owned(),
        };
        let mut written = statement.lines();
        let first = written.next().unwrap_or_default();
        lines.push(self.toned(event, first, Tone::Strong));
        for line in written {
            let line = self.screen.paint(Tone::Strong, &escape::line(line));
            lines.push(format!("{MARGIN} -> {line}"));
        }
        let parameters = event.pointer("/parameters").and_then(Value::as_array);
        for (parameter, place) in parameters.into_iter().flatten().zip(1..) {
            lines.push(format!("{MARGIN} ${place} = {}", bound(parameter)));
        }
        if let Some((said, tone)) = decided(event) {
            lines.push(self.toned(event, &said, tone));
        }
    }

    fn resolution(&self, event: &Value) -> String {
        let verdict = text(event, "/verdict");
        let mut said = verdict.to_owned();
        match text(event, "/approver") {
            "" => {}
            approver => said.push_str(&format!(" by {approver}")),
        }
        match text(event, "/reason") {
            "" => {}
            reason => said.push_str(&format!(": {reason}")),
        }
        let tone = if verdict == "approved" {
            Tone::Good
        } else {
            Tone::Bad
        };
        self.toned(event, &said, tone)
    }

    fn answer(&mut self, event: &Value, lines: &mut Vec<String>) {
        let of = event.pointer("/seq").and_then(Value::as_u64);
        if of != self.answered {
            lines.extend(self.end_result());
            lines.push(self.own(event, "answers:"));
            self.answered = of;
        }
        let array = |key| event.pointer(key).and_then(Value::as_array);
        if let Some(columns) = array("/columns") {
            lines.extend(self.end_result());
            self.grid = Some(Grid::new(columns, &self.screen));
        } else if let Some(rows) = array("/values") {
            let screen = self.screen;
            let grid = self.grid.get_or_insert_with(|| Grid::new(&[], &screen));
            lines.extend(grid.part(rows, &screen));
        } else if let Some(cut) = event.pointer("/cut") {
            let (rows, bytes) = (number(cut, "/rows"), number(cut, "/bytes"));
            lines.extend(self.end_result());
            let said = format!("-- not kept: {rows} rows, {bytes} bytes in all");
            lines.push(self.screen.paint(Tone::Notable, &said));
        } else {
            lines.extend(self.end_result());
            for line in text(event, "/text").lines() {
                lines.push(format!(" | {}", escape::line(line)));
            }
        }
    }

    fn outcome(&self, event: &Value, lines: &mut Vec<String>) {
        match (text(event, "/error"), number(event, "/rows")) {
            ("", rows) if rows.is_empty() => lines.push(self.own(event, "done")),
            ("", rows) => lines.push(self.own(event, &format!("done, {}", counted(&rows, "row")))),
            (error, _) => lines.push(self.toned(event, &format!("error: {error}"), Tone::Bad)),
        }
        let fields = Fields::of(event).lines(&self.screen).into_iter();
        lines.extend(fields.map(|line| format!("{MARGIN} {line}")));
    }

    fn closed(&mut self, event: &Value) -> String {
        self.over = true;
        let mut said = format!("end ({})", text(event, "/end"));
        match text(event, "/error") {
            "" => {}
            error => said.push_str(&format!(": {error}")),
        }
        if event.pointer("/operations").is_some() {
            said.push_str(&format!(
                "; {} asked, {} denied, {} held, {} masked",
                number(event, "/operations"),
                number(event, "/denied"),
                number(event, "/held"),
                counted(&number(event, "/masked"), "value"),
            ));
        }
        self.own(event, &said)
    }

    /// The last line of a result; with its head where there were no rows.
    fn end_result(&mut self) -> Vec<String> {
        let Some(mut grid) = self.grid.take() else {
            return Vec::new();
        };
        let mut lines = grid.head(&self.screen);
        lines.push(format!(" ({})", counted(&grid.rows.to_string(), "row")));
        lines
    }
}

/// `1 row`, `2 rows`.
fn counted(number: &str, unit: &str) -> String {
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// A bind value.
fn bound(parameter: &Value) -> String {
    let Some(value) = parameter.pointer("/value").and_then(Value::as_str) else {
        return "NULL".to_owned();
    };
    let value = escape::line(value);
    match number(parameter, "/cut_from") {
        whole if whole.is_empty() => format!("'{value}'"),
        whole => format!("'{value}'… (of {whole} bytes)"),
    }
}

/// What was decided, unless it was simply allowed.
fn decided(event: &Value) -> Option<(String, Tone)> {
    let mode = text(event, "/mode");
    let (verdict, tone) = match (text(event, "/verdict"), mode) {
        ("allow", _) => return None,
        ("hold", "enforce") => ("held for a human".to_owned(), Tone::Notable),
        ("deny", "enforce") => ("denied".to_owned(), Tone::Bad),
        (verdict, mode) => (format!("{verdict} (not enforced: {mode})"), Tone::Plain),
    };
    let rule = match text(event, "/rule") {
        "" => String::new(),
        rule => format!(" [rule: {rule}]"),
    };
    let message = match text(event, "/message") {
        "" => String::new(),
        message => format!(": {message}"),
    };
    Some((format!("{verdict}{rule}{message}"), tone))
}

#[cfg(test)]
mod tests;
