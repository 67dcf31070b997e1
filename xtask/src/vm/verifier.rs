//! How many instructions the verifier went through for each program, as `xtask/verifier.toml` keeps
//! it for each kernel. It gives up at a million, and on which kernel first is not known beforehand:
//! so a rise is noticed while it is small.
use super::kernels;
use crate::project::Project;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use toml::{Table, Value};

/// A higher count fails.
const PERCENT_MAX: u64 = 120;

const HEAD: &str = "\
# How many instructions the verifier of each kernel went through, by program.
# `cargo xtask vm --accept` writes this file; over 20 % more fails.
";

/// By program.
pub(super) type Counts = BTreeMap<String, u64>;

/// What is wrong with the counts of a kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Risen too far, or not counted any more.
    pub(super) failures: Vec<String>,
    /// Programs of which no count is kept, or one of another version of the kernel.
    pub(super) unknown: Vec<String>,
}

/// The file.
pub(super) struct Kept {
    path: PathBuf,
    kernels: Table,
}

impl Kept {
    pub(super) fn read(project: &Project) -> Result<Kept> {
        let path = project.root.join("xtask/verifier.toml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let kernels = text.parse().with_context(|| path.display().to_string())?;
        Ok(Kept { path, kernels })
    }

    /// These counts of one kernel, in no file.
    #[cfg(test)]
    pub(super) fn of(series: &str, release: &str, counts: Counts) -> Kept {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept {
            path: directory.path().join("verifier.toml"),
            kernels: Table::new(),
        };
        kept.accept(series, release, &counts).unwrap();
        kept
    }

    pub(super) fn judge(&self, series: &str, release: &str, counts: &Counts) -> Judgement {
        let mut judgement = judge(&self.counts(series), counts);
        let kept = self.release(series);
        // Debian has moved on, and a verifier that counts otherwise is nobody's fault here.
        if !kernels::same_version(kept, release) {
            let failures = std::mem::take(&mut judgement.failures);
            let other = |failure| format!("the counts are of {kept}: {failure}");
            judgement.unknown.extend(failures.into_iter().map(other));
        }
        judgement
    }

    fn release(&self, series: &str) -> &str {
        let release = self
            .kernels
            .get(series)
            .and_then(|kernel| kernel.get("release"));
        release.and_then(Value::as_str).unwrap_or_default()
    }

    fn counts(&self, series: &str) -> Counts {
        let programs = self
            .kernels
            .get(series)
            .and_then(|kernel| kernel.get("programs"))
            .and_then(Value::as_table);
        let number = |count: &Value| count.as_integer()?.try_into().ok();
        programs
            .into_iter()
            .flatten()
            .filter_map(|(name, count)| Some((name.clone(), number(count)?)))
            .collect()
    }

    /// These counts are those to compare with from now on.
    pub(super) fn accept(&mut self, series: &str, release: &str, counts: &Counts) -> Result<()> {
        let mut programs = Table::new();
        for (name, count) in counts {
            programs.insert(name.clone(), Value::Integer(i64::try_from(*count)?));
        }
        let mut kernel = Table::new();
        kernel.insert("release".to_owned(), release.into());
        kernel.insert("programs".to_owned(), programs.into());
        self.kernels.insert(series.to_owned(), kernel.into());
        let text = format!("{HEAD}\n{}", toml::to_string(&self.kernels)?);
        fs::write(&self.path, text).with_context(|| self.path.display().to_string())
    }
}

fn judge(kept: &Counts, counts: &Counts) -> Judgement {
    let mut judgement = Judgement::default();
    for (name, now) in counts {
        match kept.get(name) {
            Some(before) if now * 100 > before * PERCENT_MAX => judgement.failures.push(format!(
                "the verifier goes through {now} instructions of {name}, and {before} before; \
                 `cargo xtask vm --accept` where that has to be"
            )),
            Some(_) => {}
            None => judgement.unknown.push(format!(
                "no count of {name} is kept, {now} now: `cargo xtask vm --accept`"
            )),
        }
    }
    for name in kept.keys().filter(|name| !counts.contains_key(*name)) {
        let failure = format!(
            "the instructions of {name} were not counted; `cargo xtask vm --accept` where it is \
             gone"
        );
        judgement.failures.push(failure);
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        let all = all.iter();
        all.map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn a_rise_of_more_than_a_fifth_fails_with_both_numbers() {
        let kept = counts(&[("connect4", 1000), ("egress", 500)]);
        let judged = |all| judge(&kept, &counts(all));
        let same = judged(&[("connect4", 1200), ("egress", 10)]);
        assert_eq!(same, Judgement::default());
        let risen = judged(&[("connect4", 1201), ("egress", 500)]);
        assert_eq!(risen.failures.len(), 1, "{risen:?}");
        for word in ["connect4", "1201", "1000"] {
            assert!(risen.failures[0].contains(word), "{risen:?}");
        }
    }

    #[test]
    fn what_is_not_counted_any_more_fails_and_what_is_new_is_named() {
        let kept = counts(&[("connect4", 1000)]);
        assert_eq!(judge(&kept, &Counts::new()).failures.len(), 1);
        let new = judge(&kept, &counts(&[("connect4", 1000), ("fork", 30)]));
        assert_eq!(new.failures, [""; 0]);
        assert!(new.unknown[0].contains("fork"), "{new:?}");
    }

    #[test]
    fn counts_of_another_version_of_the_kernel_fail_nothing() {
        let kept = Kept::of("newest", "7.3.4+deb13", counts(&[("connect4", 1000)]));
        let risen = counts(&[("connect4", 2000)]);
        for (release, failures, unknown) in [("7.3.11+deb13", 1, 0), ("7.4.1+deb13", 0, 1)] {
            let judgement = kept.judge("newest", release, &risen);
            assert_eq!(judgement.failures.len(), failures, "{judgement:?}");
            assert_eq!(judgement.unknown.len(), unknown, "{judgement:?}");
        }
    }

    #[test]
    fn what_was_accepted_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("xtask")).unwrap();
        let project = Project {
            root: directory.path().to_owned(),
            target: PathBuf::new(),
        };
        fs::write(directory.path().join("xtask/verifier.toml"), HEAD).unwrap();
        let all = counts(&[("connect4", 1000), ("egress", 500)]);
        let mut kept = Kept::read(&project).unwrap();
        kept.accept("6.1", "6.1.0-56", &all).unwrap();
        let kept = Kept::read(&project).unwrap();
        assert_eq!(kept.counts("6.1"), all);
        assert_eq!(kept.counts("6.12"), Counts::new());
    }
}
