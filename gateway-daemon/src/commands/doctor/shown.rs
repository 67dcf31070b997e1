//! The report: tables for people, or one JSON object in each line.
use super::check::{Check, Finding};
use super::kernel::Program;
use super::ways::{Row, State};
use super::{Report, Summary};
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column, Table};
use serde::Serialize;

const CHECKS: [Column; 3] = [
    Column::new("CHECK", 16, 16),
    Column::new("RESULT", 7, 7),
    Column::new("DETAIL", 6, 200),
];
const ROWS: [Column; 4] = [
    Column::new("ROW", 3, 3),
    Column::new("TIER", 7, 7),
    Column::new("RESULT", 6, 6),
    Column::new("WAY OUT", 7, 200),
];

/// A line of JSON. `kind` says which.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Line<'a> {
    Check(&'a Check),
    Program(&'a Program),
    Row(&'a Row),
    Summary(&'a Summary),
}

/// The whole report as JSON.
pub(super) fn objects(report: &Report) -> Vec<Line<'_>> {
    let checks = report.checks.iter().map(Line::Check);
    let rows = report.rows.iter().map(Line::Row);
    let programs = report.programs.iter().map(Line::Program);
    let mut lines: Vec<Line<'_>> = checks.chain(programs).chain(rows).collect();
    lines.push(Line::Summary(&report.summary));
    lines
}

/// The whole report for people. Nothing is cut: what a line says last is what helps.
pub(super) fn lines(report: &Report, screen: &Screen) -> Vec<String> {
    let screen = Screen {
        width: None,
        ..*screen
    };
    let mut lines = Vec::new();
    let table = Table::streaming(&CHECKS, screen);
    lines.push(table.head());
    for check in &report.checks {
        lines.push(table.row(&check_cells(check)));
        if let Some(remedy) = &check.remedy {
            lines.push(more("helps", remedy, &screen));
        }
    }
    let table = Table::streaming(&ROWS, screen);
    lines.push(String::new());
    lines.push(table.head());
    for row in &report.rows {
        lines.push(table.row(&row_cells(row)));
        let name = match row.result {
            State::Open => "why",
            State::Closed => "by",
        };
        lines.push(more(name, row.reason, &screen));
        if let Some(remedy) = row.remedy {
            lines.push(more("helps", remedy, &screen));
        }
    }
    lines.push(String::new());
    lines.push(sum(&report.summary, &screen));
    lines
}

fn more(name: &str, text: &str, screen: &Screen) -> String {
    let text = format!("     {name:<6} {}", escape::line(text));
    screen.paint(Tone::Faint, &text)
}

fn check_cells(check: &Check) -> [Cell; 3] {
    let tone = match check.result {
        Finding::Ok => Tone::Good,
        Finding::Missing => Tone::Bad,
        Finding::Unknown | Finding::Warning => Tone::Notable,
    };
    [
        Cell::new(check.name),
        Cell::toned(check.result.name(), tone),
        Cell::new(&check.detail),
    ]
}

fn row_cells(row: &Row) -> [Cell; 4] {
    let (tone, word) = match row.result {
        State::Closed => (Tone::Good, "closed"),
        State::Open => (Tone::Bad, "open"),
    };
    [
        Cell::new(format!("{:>3}", row.row)),
        Cell::new(row.tier.name()),
        Cell::toned(word, tone),
        Cell::new(row.way),
    ]
}

fn sum(summary: &Summary, screen: &Screen) -> String {
    let missing = match summary.missing {
        0 => "nothing is missing".to_owned(),
        1 => "1 thing is missing".to_owned(),
        count => format!("{count} things are missing"),
    };
    let tone = match summary.missing {
        0 => Tone::Strong,
        _ => Tone::Bad,
    };
    let text = format!(
        "tier {}; {} ways out are open; {missing}",
        summary.tier, summary.open
    );
    screen.paint(tone, &text)
}

#[cfg(test)]
mod tests {
    use super::super::ways::{Facts, Footing, rows};
    use super::*;

    fn report() -> Report {
        let checks = vec![
            Check::ok("kernel", "6.1.0"),
            Check::missing("policy", "a\u{1b}[2J", "repair it"),
        ];
        let rows = rows(Footing::Firm, &Facts::default());
        let programs = vec![Program {
            name: "redirect4".to_owned(),
            instructions: 833,
        }];
        Report {
            checks,
            programs,
            rows,
            summary: Summary {
                tier: "attest",
                open: 3,
                missing: 1,
            },
        }
    }

    #[test]
    fn each_object_has_its_kind_and_its_keys() {
        let report = report();
        let objects: Vec<_> = objects(&report)
            .iter()
            .map(|line| serde_json::to_value(line).unwrap())
            .collect();
        assert_eq!(
            objects[0],
            serde_json::json!({
                "kind": "check", "name": "kernel", "result": "ok", "detail": "6.1.0",
                "remedy": null
            })
        );
        assert_eq!(objects[1]["result"], "missing");
        assert_eq!(
            objects[2],
            serde_json::json!({ "kind": "program", "name": "redirect4", "instructions": 833 })
        );
        let row = &objects[3];
        for key in ["kind", "row", "way", "tier", "result", "reason", "remedy"] {
            assert!(row.get(key).is_some(), "{key} in {row}");
        }
        assert_eq!((&row["kind"], &row["row"]), (&"row".into(), &1.into()));
        assert_eq!(
            objects.last().unwrap(),
            &serde_json::json!({ "kind": "summary", "tier": "attest", "open": 3, "missing": 1 })
        );
    }

    #[test]
    fn people_see_everything_and_a_terminal_obeys_nothing() {
        let screen = Screen {
            width: Some(40),
            colours: false,
        };
        let text = lines(&report(), &screen).join("\n");
        for part in [
            "kernel            ok       6.1.0",
            "policy            missing  a\\e[2J",
            "     helps  repair it",
            "  5  contain  open    AF_PACKET",
            "tier attest; 3 ways out are open; 1 thing is missing",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
