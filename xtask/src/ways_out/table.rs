//! What is claimed of each row beside what came of trying it.
use crate::vm::seal::Sealed;
use anyhow::{Context, Result};
use gateway_tests::attacks::proofs::{PROOFS, Proof};
use gateway_tests::attacks::{Stage, Tried};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the doctor says of a row.
pub(super) struct Claim {
    pub(super) row: u8,
    way: String,
    tier: String,
    closed: bool,
    reason: String,
}

impl Claim {
    /// Reads one of the doctor's objects.
    pub(super) fn read(object: &Value) -> Result<Claim> {
        let text = |key: &str| {
            let text = object[key].as_str().map(str::to_owned);
            text.with_context(|| format!("{key} of {object}"))
        };
        let row = object["row"].as_u64().and_then(|row| row.try_into().ok());
        Ok(Claim {
            row: row.with_context(|| format!("row of {object}"))?,
            way: text("way")?,
            tier: text("tier")?,
            closed: text("result")? == "closed",
            reason: text("reason")?,
        })
    }

    /// What is no way of its own: ordinary traffic. Where that passes, nothing else matters.
    pub(super) fn plain() -> Claim {
        Claim {
            row: 0,
            way: "plain TCP and UDP, QUIC".to_owned(),
            tier: "attest".to_owned(),
            closed: true,
            reason: "through the gateway, or refused".to_owned(),
        }
    }
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Passed,
    Failed,
    Skipped,
}

impl Ran {
    /// Finds a test in what libtest wrote, and in what the tests said that they skipped.
    pub(super) fn read(name: &str, said: &str, skipped: &str) -> Ran {
        let noted = |line: &str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(": "))
        };
        let passed = format!("test {name} ... ok");
        if skipped.lines().any(noted) {
            Ran::Skipped
        } else if said.lines().any(|line| line == passed) {
            Ran::Passed
        } else {
            Ran::Failed
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Ran::Passed => "passed",
            Ran::Failed => "failed",
            Ran::Skipped => "skipped",
        }
    }
}

/// What is true of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// In its tier.
    Closed,
    /// What was tried is closed; the reason says what is not.
    InPart,
    /// And said to be so.
    Open,
    /// It should be closed, and is not.
    Broken,
    /// It should be closed, and nothing here shows that it is.
    Unproved,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Outcome::Closed => "closed",
            Outcome::InPart => "in part",
            Outcome::Open => "open",
            Outcome::Broken => "BROKEN",
            Outcome::Unproved => "UNPROVED",
        }
    }
}

/// A row of the table.
pub(super) struct Line {
    row: u8,
    way: String,
    tier: String,
    outcome: Outcome,
    reason: String,
    attempts: Vec<Tried>,
    tests: Vec<(Proof, Ran)>,
    /// Where it was tried, if that was not here, and by which checks.
    guest: Option<(String, Vec<&'static str>)>,
    faults: Vec<String>,
}

impl Line {
    pub(super) fn judge(claim: &Claim, tried: &[Tried], ran: &BTreeMap<&str, Ran>) -> Line {
        let attempts: Vec<Tried> = tried
            .iter()
            .filter(|one| one.way.row == claim.row)
            .cloned()
            .collect();
        let tests = PROOFS.iter().filter(|proof| proof.row == claim.row);
        let tests: Vec<(Proof, Ran)> = tests
            .filter_map(|proof| Some((*proof, *ran.get(proof.test)?)))
            .collect();
        let mut faults: Vec<String> = attempts.iter().filter_map(Tried::fault).collect();
        let failed = tests.iter().filter(|(_, ran)| *ran == Ran::Failed);
        faults.extend(failed.map(|(proof, _)| format!("row {}: {} failed", claim.row, proof.test)));
        let hardened = |one: &&Tried| one.way.stage == Stage::Hardened;
        let closed = attempts.iter().filter(|one| one.is_closed());
        let passed = tests.iter().filter(|(_, ran)| *ran == Ran::Passed);
        let proved = if claim.tier == "contain" {
            closed.filter(hardened).count() + passed.filter(|(proof, _)| proof.hardened).count()
        } else {
            closed.count() + passed.count()
        };
        let outcome = match (claim.closed, claim.tier.as_str()) {
            _ if !faults.is_empty() => Outcome::Broken,
            (true, _) if proved == 0 => Outcome::Unproved,
            (true, _) => Outcome::Closed,
            (false, "contain") if proved > 0 => Outcome::Closed,
            (false, _) if proved > 0 => Outcome::InPart,
            (false, _) => Outcome::Open,
        };
        if outcome == Outcome::Unproved {
            faults.push(format!(
                "row {}: nothing here shows that it is closed",
                claim.row
            ));
        }
        Line {
            row: claim.row,
            way: claim.way.clone(),
            tier: claim.tier.clone(),
            outcome,
            reason: claim.reason.clone(),
            attempts,
            tests,
            guest: None,
            faults,
        }
    }

    /// A row as the tier seal closes it, tried on this kernel in a virtual machine.
    pub(super) fn sealed(sealed: Sealed, kernel: &str) -> Line {
        let fault = sealed.fault();
        let outcome = match (&fault, sealed.closed) {
            (Some(_), _) => Outcome::Broken,
            (None, true) => Outcome::Closed,
            (None, false) => Outcome::Open,
        };
        let checks = sealed.checks.iter().map(|(check, _)| *check).collect();
        Line {
            row: sealed.row,
            way: sealed.way,
            tier: "seal".to_owned(),
            outcome,
            reason: sealed.reason,
            attempts: Vec::new(),
            tests: Vec::new(),
            guest: Some((kernel.to_owned(), checks)),
            faults: fault.into_iter().collect(),
        }
    }

    /// The row, by which lines are ordered.
    pub(super) fn row(&self) -> u8 {
        self.row
    }

    /// What is not as it should be.
    pub(super) fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().map(String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        let attempts = self.attempts.iter().map(|one| {
            json!({
                "attempt": one.way.name,
                "control": one.control,
                "arrived": one.arrived,
                "said": one.said[1],
            })
        });
        let tests = self
            .tests
            .iter()
            .map(|(proof, ran)| json!({"test": proof.test, "result": ran.name()}));
        let checks = self.guest.iter().flat_map(|(kernel, checks)| {
            checks
                .iter()
                .map(move |check| json!({"check": check, "kernel": kernel}))
        });
        json!({
            "row": self.row,
            "way": self.way,
            "tried": attempts.chain(tests).chain(checks).collect::<Vec<_>>(),
            "tier": self.tier,
            "result": self.outcome.name(),
            "reason": self.reason,
        })
    }

    /// How it was tried, in words.
    fn tried(&self) -> String {
        let attempts = self.attempts.iter().map(|one| {
            let doubt = if one.control { "" } else { " (not a way here)" };
            format!("{}{doubt}", one.way.name)
        });
        let tests = self.tests.iter().map(|(proof, ran)| {
            let doubt = if *ran == Ran::Skipped {
                " (skipped)"
            } else {
                ""
            };
            format!("test {}{doubt}", proof.test)
        });
        let checks = self.guest.iter().flat_map(|(kernel, checks)| {
            checks
                .iter()
                .map(move |check| format!("{check} (Linux {kernel} in QEMU)"))
        });
        let all: Vec<String> = attempts.chain(tests).chain(checks).collect();
        if all.is_empty() {
            return "-".to_owned();
        }
        all.join(", ")
    }
}

/// An attempt in a line.
pub(super) fn attempt(tried: &Tried) -> String {
    let outcome = match (tried.arrived, tried.control) {
        (true, _) => "GOT OUT",
        (false, true) => "closed",
        (false, false) => "not a way here",
    };
    format!("{:>2}  {:<30} {outcome}", tried.way.row, tried.way.name)
}

/// The table: a line for each row, and below it how it was tried and why it is so.
pub(super) fn shown(lines: &[Line]) -> String {
    let mut text = "ROW  TIER     RESULT    WAY, HOW IT WAS TRIED, REASON\n".to_owned();
    for line in lines {
        let outcome = line.outcome.name();
        let _ = writeln!(
            text,
            "{:>3}  {:<7}  {outcome:<8}  {}",
            line.row, line.tier, line.way
        );
        let _ = writeln!(text, "{:24}tried: {}", "", line.tried());
        let _ = writeln!(text, "{:24}{}", "", line.reason);
    }
    let count = |outcome: Outcome| lines.iter().filter(|line| line.outcome == outcome).count();
    let all = [
        Outcome::Closed,
        Outcome::InPart,
        Outcome::Open,
        Outcome::Broken,
        Outcome::Unproved,
    ];
    let counts = all.map(|outcome| format!("{} {}", count(outcome), outcome.name()));
    let _ = writeln!(text, "{} rows: {}", lines.len(), counts.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_tests::attacks::ways;

    fn claim(row: u8, tier: &str, closed: bool) -> Claim {
        Claim {
            tier: tier.to_owned(),
            closed,
            row,
            ..Claim::plain()
        }
    }

    fn tried(row: u8, control: bool, arrived: bool) -> Tried {
        Tried {
            way: ways().find(|way| way.row == row).unwrap(),
            control,
            arrived,
            said: Default::default(),
        }
    }

    fn outcome(claim: &Claim, tried: &[Tried], ran: &[(&'static str, Ran)]) -> Outcome {
        let ran = ran.iter().copied().collect();
        let line = Line::judge(claim, tried, &ran);
        let bad = matches!(line.outcome, Outcome::Broken | Outcome::Unproved);
        assert_eq!(line.faults().count() > 0, bad);
        line.outcome
    }

    #[test]
    fn what_is_claimed_has_to_be_shown() {
        let raw = claim(3, "attest", true);
        assert_eq!(
            outcome(&raw, &[tried(3, true, false)], &[]),
            Outcome::Closed
        );
        assert_eq!(outcome(&raw, &[tried(3, true, true)], &[]), Outcome::Broken);
        assert_eq!(outcome(&raw, &[], &[]), Outcome::Unproved);
        assert_eq!(
            outcome(&raw, &[tried(3, false, false)], &[]),
            Outcome::Broken,
            "no control"
        );
        assert_eq!(
            outcome(&raw, &[tried(1, true, false)], &[]),
            Outcome::Unproved,
            "of another row"
        );
    }

    #[test]
    fn a_test_proves_its_row_only_where_it_ran() {
        let storm = claim(49, "attest", true);
        let name = PROOFS.iter().find(|proof| proof.row == 49).unwrap().test;
        for (ran, expected) in [
            (Ran::Passed, Outcome::Closed),
            (Ran::Failed, Outcome::Broken),
            (Ran::Skipped, Outcome::Unproved),
        ] {
            assert_eq!(outcome(&storm, &[], &[(name, ran)]), expected);
        }
    }

    #[test]
    fn what_is_open_is_said_and_no_fault() {
        assert_eq!(outcome(&claim(29, "seal", false), &[], &[]), Outcome::Open);
        let nat64 = claim(18, "attest", false);
        assert_eq!(
            outcome(&nat64, &[tried(18, true, false)], &[]),
            Outcome::InPart
        );
        let packets = claim(5, "contain", false);
        assert_eq!(
            outcome(&packets, &[tried(5, true, false)], &[]),
            Outcome::Closed
        );
        assert_eq!(
            outcome(&packets, &[tried(5, true, true)], &[]),
            Outcome::Broken
        );
    }

    #[test]
    fn libtest_and_the_notes_are_read() {
        let said = "test a::b ... ok\ntest a::c ... FAILED\ntest a::bb ... ok\n";
        assert_eq!(Ran::read("a::b", said, ""), Ran::Passed);
        assert_eq!(Ran::read("a::c", said, ""), Ran::Failed);
        assert_eq!(
            Ran::read("a::d", said, ""),
            Ran::Failed,
            "it does not exist"
        );
        assert_eq!(Ran::read("a::b", said, "a::b: no way\n"), Ran::Skipped);
        assert_eq!(Ran::read("a::b", said, "a::bb: no way\n"), Ran::Passed);
    }
}
