//! Rules about the text of the sources: an opening sentence, no loose ends, no god files.
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// A source file is one thing up to about here.
const LINES_MAX: usize = 600;

/// What is not left in the tree. Written in two halves, so that this file does not catch itself.
const LOOSE_ENDS: &[(&str, &str)] = &[
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("to", "do!("),
    ("unimple", "mented!("),
    ("db", "g!("),
    ("#[ign", "ore]"),
    ("assert!(tr", "ue"),
];

/// A file that git would commit.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// The sources that git knows or would add, without what it ignores.
pub(super) fn read(project: &Project) -> Result<Vec<Source>> {
    let listed = process::read(
        Command::new("git")
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
                "--",
            ])
            .args(["*.rs", "*.sh", "*.py", "*.toml", ".ci/run"])
            .current_dir(&project.root),
    )?;
    let mut sources = Vec::new();
    for path in listed.split_terminator('\0') {
        // Deleted, and not yet committed.
        if !project.root.join(path).exists() {
            continue;
        }
        let text = fs::read_to_string(project.root.join(path)).context(path.to_owned())?;
        sources.push(Source {
            path: path.to_owned(),
            text,
        });
    }
    Ok(sources)
}

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for Source { path, text } in sources {
        if path.ends_with(".rs") && !opens_with_a_sentence(text) {
            faults.push(format!("{path} does not open with a `//!` sentence"));
        }
        if path.ends_with("/mod.rs") {
            faults.push(format!("{path} is a mod.rs; use foo.rs and foo/"));
        }
        for (index, line) in text.lines().enumerate() {
            for (head, tail) in LOOSE_ENDS {
                let word = format!("{head}{tail}");
                if line.contains(&word) {
                    faults.push(format!("{path}:{} has `{word}`", index + 1));
                }
            }
        }
    }
    faults
}

pub(super) fn warnings(sources: &[Source]) -> Vec<String> {
    let long = |source: &&Source| source.path.ends_with(".rs");
    sources
        .iter()
        .filter(long)
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{} has {lines} lines; is it still one thing?", source.path))
        .collect()
}

/// Inner attributes may come first: a fuzz target begins with `#![no_main]`.
fn opens_with_a_sentence(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!["))
        .is_some_and(|line| {
            line.strip_prefix("//!")
                .is_some_and(|rest| !rest.trim().is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: usize) {
        let source = Source {
            path: path.into(),
            text: text.into(),
        };
        let found = faults(&[source]);
        assert_eq!(found.len(), expected, "{path}: {found:?}");
    }

    #[test]
    fn files_are_judged_by_their_text() {
        check("a.rs", "//! Does a.\nfn a() {}\n", 0);
        check("a.rs", "#![no_main]\n//! Does a.\n", 0);
        check("a.rs", "fn a() {}\n", 1);
        check("a.rs", "//!\nfn a() {}\n", 1);
        check("a.rs", "", 1);
        check("a/mod.rs", "//! Does a.\n", 1);
        check("a.toml", &format!("# TO{} later\n", "DO"), 1);
        check(
            "a.rs",
            &format!("//! Does a.\nfn a() {{ to{}) }}\n", "do!("),
            1,
        );
    }

    #[test]
    fn a_long_file_is_a_warning() {
        let text = "//! Long.\n".to_owned() + &"\n".repeat(LINES_MAX);
        assert_eq!(
            warnings(&[Source {
                path: "a.rs".into(),
                text
            }])
            .len(),
            1
        );
    }
}
