//! `gateway policy replay`: what a draft would change about what was recorded.
mod judging;
#[cfg(test)]
pub(crate) mod tests;

use super::history::{self, Holes};
use super::{choose, load, say, show_mistakes};
use crate::command::Replay;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::moment;
use crate::terminal::screen::{Screen, Tone, print, print_json};
use crate::terminal::table::{Cell, Column, Table, cut};
use crate::wiring::protocols;
use gateway_core::{Decision, Mode, SessionId, SessionOpened, Timestamp, VerbSet};
use gateway_policy::{Policy, PolicySet};
use gateway_recording::{OperationView, Query};
use judging::{Judged, Judging, Skip, stops};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// How much of a statement is shown in a table, in columns of the terminal.
const STATEMENT_MAX: usize = 200;
/// How much of a statement is in JSON, in bytes. All of it is in `gateway log`.
const STATEMENT_JSON_MAX: usize = 4096;
/// How many reasons to skip are told apart.
const SKIPS_MAX: usize = 64;

const COLUMNS: [Column; 8] = [
    column("TIME", 23),
    column("CHANGE", 12),
    column("VERB", 12),
    column("RESOURCE", 20),
    column("PRINCIPAL", 14),
    column("SESSION", 14),
    column("RULES", 32),
    Column {
        title: "STATEMENT",
        width_min: 9,
        width_max: STATEMENT_MAX,
    },
];

const fn column(title: &'static str, width: usize) -> Column {
    Column {
        title,
        width_min: width,
        width_max: width,
    }
}

/// An operation that the draft decides otherwise.
#[derive(Debug, Serialize)]
struct Change<'a> {
    time: String,
    id: String,
    session: SessionId,
    policy: &'a str,
    principal: &'a str,
    verb: &'static str,
    verbs: Vec<&'static str>,
    resource: &'a str,
    objects: Vec<&'a str>,
    statement: &'a str,
    /// `allow->deny`
    change: String,
    recorded: Said<'a>,
    draft: Said<'a>,
}

/// What one side says.
#[derive(Debug, Serialize)]
struct Said<'a> {
    verdict: &'static str,
    rule: Option<&'a str>,
    message: Option<&'a str>,
    mode: &'static str,
    resource: &'a str,
}

/// What came of all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Summary {
    judged: u64,
    changed: u64,
    /// By what was recorded and what the draft says.
    changes: BTreeMap<(&'static str, &'static str), u64>,
    /// The verdict is the same and stops nothing yet; under the draft it does, since that
    /// enforces.
    stopped_now: u64,
    /// And the other way round.
    passed_now: u64,
    skipped: BTreeMap<Skip, u64>,
    holes: Holes,
}

/// Exit 1 when the draft changes a verdict.
pub(crate) fn replay(config: &Config, asked: &Replay) -> Result<Exit, Failure> {
    let loaded = load(config, asked.path.as_deref())?;
    if !loaded.diagnostics.is_empty() {
        show_mistakes(&loaded.diagnostics, asked.json)?;
        return Ok(Exit::No);
    }
    let only = asked.policy.as_deref();
    let only = only
        .map(|name| choose(&loaded.set, Some(name)))
        .transpose()?;
    let judges = loaded
        .set
        .policies()
        .filter(|policy| only.is_none_or(|only| Arc::ptr_eq(only, policy)));
    for policy in judges.filter(|policy| policy.mode() == Mode::Observe) {
        let name = policy.name();
        eprintln!(
            "gateway: the draft's policy {name:?} is in mode observe, which allows everything"
        );
    }
    let table = Table::streaming(&COLUMNS, Screen::of_stdout());
    let mut headed = false;
    let mut gone = false;
    let summary = run(
        &config.journal_dir(),
        asked.since,
        (&loaded.set, only),
        &mut |change| {
            let more = if asked.json {
                print_json(change)?
            } else {
                if !std::mem::replace(&mut headed, true) && !print(&table.head())? {
                    gone = true;
                    return Ok(ControlFlow::Break(()));
                }
                print(&table.row(&row(change)))?
            };
            gone = !more;
            Ok(if more {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    if !gone && asked.json {
        print_json(&summary_json(&summary))?;
    } else if !gone {
        if headed {
            print("")?;
        }
        say(&lines(&summary).join("\n"))?;
    }
    Ok(if summary.changed == 0 {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Judges a journal, and hands over what changes. The draft: its policies, and the one that judges
/// everything where one does.
fn run(
    journal: &Path,
    since: Option<Timestamp>,
    (set, only): (&PolicySet, Option<&Arc<Policy>>),
    each: &mut dyn FnMut(&Change<'_>) -> Result<ControlFlow<()>, Failure>,
) -> Result<Summary, Failure> {
    let query = Query {
        since,
        ..Query::default()
    };
    let mut judging = Judging::new(set, only, protocols::names());
    let mut summary = Summary::default();
    summary.holes = history::read(journal, &query, &mut |view, session| match judging
        .judge(&view.operation, session)
    {
        Judged::Decided(decision) => {
            if !summary.count(view, decision) {
                return Ok(ControlFlow::Continue(()));
            }
            each(&change(view, session, decision))
        }
        Judged::Skipped(skip) => {
            summary.skip(skip);
            Ok(ControlFlow::Continue(()))
        }
    })?;
    Ok(summary)
}

impl Summary {
    /// Counts a decision; is it another one than was recorded?
    fn count(&mut self, view: &OperationView, decision: &Decision) -> bool {
        let recorded = &view.operation;
        self.judged += 1;
        if recorded.verdict != decision.verdict {
            self.changed += 1;
            let kind = (recorded.verdict.name(), decision.verdict.name());
            *self.changes.entry(kind).or_default() += 1;
            return true;
        }
        let before = stops(recorded.verdict, recorded.mode);
        let now = stops(decision.verdict, decision.mode);
        self.stopped_now += u64::from(now && !before);
        self.passed_now += u64::from(before && !now);
        false
    }

    fn skip(&mut self, skip: Skip) {
        // Names in a journal are as many as somebody likes.
        let full = self.skipped.len() >= SKIPS_MAX && !self.skipped.contains_key(&skip);
        let skip = match skip {
            Skip::NoPolicy(_) if full => Skip::NoPolicy("…".into()),
            Skip::Protocol(_) if full => Skip::Protocol("…".into()),
            skip => skip,
        };
        *self.skipped.entry(skip).or_default() += 1;
    }
}

fn change<'a>(
    view: &'a OperationView,
    session: &'a SessionOpened,
    decision: &'a Decision,
) -> Change<'a> {
    let operation = &view.operation;
    let verbs: VerbSet = operation.effects.iter().map(|effect| effect.verb).collect();
    let objects = operation.effects.iter().flat_map(|effect| &effect.objects);
    let end = operation.statement.floor_char_boundary(STATEMENT_JSON_MAX);
    Change {
        time: moment::rfc3339(operation.time),
        id: operation.id.to_string(),
        session: operation.id.session,
        policy: &session.policy,
        principal: &session.subject.principal.id,
        verb: operation.verb.name(),
        verbs: verbs.iter().map(gateway_core::Verb::name).collect(),
        resource: &operation.resource,
        objects: objects.map(gateway_core::Object::name).collect(),
        statement: operation.statement.get(..end).unwrap_or_default(),
        change: format!("{}->{}", operation.verdict, decision.verdict),
        recorded: Said {
            verdict: operation.verdict.name(),
            rule: operation.rule.as_deref(),
            message: operation.message.as_deref(),
            mode: operation.mode.name(),
            resource: &operation.resource,
        },
        draft: Said {
            verdict: decision.verdict.name(),
            rule: decision.rule.as_deref(),
            message: decision.message.as_deref(),
            mode: decision.mode.name(),
            resource: &decision.resource,
        },
    }
}

fn row(change: &Change<'_>) -> Vec<Cell> {
    let tone = match change.draft.verdict {
        "allow" => Tone::Good,
        _ => Tone::Bad,
    };
    let time = change.time.replacen('T', " ", 1);
    let rule = |said: &Said<'_>| said.rule.unwrap_or("no rule").to_owned();
    let mut statement = cut(change.statement, STATEMENT_MAX);
    if statement.is_empty() {
        statement = cut(&change.objects.join(" "), STATEMENT_MAX);
    }
    vec![
        Cell::new(time.trim_end_matches('Z')),
        Cell::toned(&change.change, tone),
        Cell::new(change.verb),
        Cell::new(change.resource),
        Cell::new(change.principal),
        Cell::new(change.session.to_string()),
        Cell::new(format!(
            "{} -> {}",
            rule(&change.recorded),
            rule(&change.draft)
        )),
        Cell::new(statement),
    ]
}

/// The last line in JSON.
fn summary_json(summary: &Summary) -> serde_json::Value {
    let changes = summary.changes.iter();
    let changes =
        changes.map(|((before, now), count)| (format!("{before}->{now}"), (*count).into()));
    let changes: serde_json::Map<String, serde_json::Value> = changes.collect();
    let skipped = summary.skipped.iter().map(|(skip, count)| match skip {
        Skip::NoPolicy(name) => {
            serde_json::json!({ "why": "no policy", "policy": name, "operations": count })
        }
        Skip::Barred => serde_json::json!({ "why": "barred", "operations": count }),
        Skip::Protocol(name) => {
            serde_json::json!({ "why": "protocol", "protocol": name, "operations": count })
        }
    });
    let mut skipped: Vec<serde_json::Value> = skipped.collect();
    if summary.holes.orphans > 0 {
        let orphans = summary.holes.orphans;
        skipped.push(serde_json::json!({ "why": "session lost", "operations": orphans }));
    }
    serde_json::json!({
        "summary": {
            "judged": summary.judged,
            "changed": summary.changed,
            "changes": changes,
            "stopped_now": summary.stopped_now,
            "passed_now": summary.passed_now,
            "skipped": skipped,
            "unreadable": summary.holes.parts,
        }
    })
}

fn lines(summary: &Summary) -> Vec<String> {
    let mut lines = vec![format!(
        "{} operations judged, {} would change",
        summary.judged, summary.changed
    )];
    for ((before, now), count) in &summary.changes {
        lines.push(format!("  {before} -> {now}: {count}"));
    }
    let mut more = |count: u64, what: String| {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    };
    let same = "with the verdict that was recorded would";
    more(
        summary.stopped_now,
        format!("{same} be stopped, since the draft enforces"),
    );
    more(
        summary.passed_now,
        format!("{same} pass, since the draft does not enforce"),
    );
    for (skip, count) in &summary.skipped {
        let why = match skip {
            Skip::NoPolicy(name) => format!("skipped: the draft has no policy {name:?}"),
            Skip::Barred => "skipped: somebody was offboarded or revoked".to_owned(),
            Skip::Protocol(name) => format!("skipped: the protocol {name:?} is not built"),
        };
        more(*count, why);
    }
    let lost = "skipped: the beginning of their session is lost".to_owned();
    more(summary.holes.orphans, lost);
    more(
        summary.holes.parts,
        "parts of the journal cannot be read".to_owned(),
    );
    lines
}
