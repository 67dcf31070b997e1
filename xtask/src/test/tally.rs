//! How many passed, which failed, which could not run here.
use std::collections::BTreeMap;
use std::fmt;

/// The result of a step, and of all steps.
#[derive(Default)]
pub(crate) struct Tally {
    /// Tests and checks that held.
    pub(crate) passed: usize,
    /// Names of those that did not.
    pub(crate) failures: Vec<String>,
    /// What some of those said, by name. A long run's output may reach its reader only from the end.
    pub(crate) reasons: BTreeMap<String, String>,
    /// Names of those that this host cannot run, each with its reason.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// A step that is one check, and held.
    pub(crate) fn one() -> Tally {
        Tally {
            passed: 1,
            ..Tally::default()
        }
    }

    /// A step that did not get as far as counting.
    pub(crate) fn broken(step: &str, error: &anyhow::Error) -> Tally {
        eprintln!("{step}: {error:#}");
        let first = format!("{error:#}");
        let first = first.lines().next().unwrap_or_default();
        Tally {
            failures: vec![format!("{step}: {first}")],
            ..Tally::default()
        }
    }

    /// Takes in another.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.reasons.extend(other.reasons);
        self.skipped.extend(other.skipped);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, skipped) = (self.failures.len(), self.skipped.len());
        write!(
            f,
            "{} passed, {failed} failed, {skipped} skipped",
            self.passed
        )
    }
}
