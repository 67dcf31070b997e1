//! Each fuzz target for a while, from the corpus that is kept with it.
//!
//! cargo-fuzz is not needed: the flags below are what it passes. What a run finds is kept in the
//! build directory for the next run; CONTRIBUTING.md says how a find gets into the corpus.
use super::tally::Tally;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::fs;
use std::path::Path;
use std::process::Command;
use toml::Table;

const SECONDS_EACH: u32 = 30;
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Coverage feedback for libFuzzer, and AddressSanitizer for the C code of the SQL parser.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg",
    "fuzzing",
];

pub(super) fn run(project: &Project) -> Result<Tally> {
    let directory = project.root.join("tests/fuzz");
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).context("tests/fuzz")?;
    let targets = targets(&manifest)?;
    let build = project.target.join("fuzz");
    let mut command = process::cargo();
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            HOST,
            "--target-dir",
        ])
        .arg(&build)
        .current_dir(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .env("RUSTC_BOOTSTRAP", "1");
    process::run(&mut command)?;
    let mut tally = Tally::default();
    for target in &targets {
        match fuzz(project, target) {
            Ok(()) => tally.passed += 1,
            Err(error) => tally.add(Tally::broken(target, &error)),
        }
    }
    Ok(tally)
}

fn targets(manifest: &str) -> Result<Vec<String>> {
    let table: Table = manifest.parse().context("tests/fuzz/Cargo.toml")?;
    let bins = table
        .get("bin")
        .and_then(toml::Value::as_array)
        .context("no fuzz target")?;
    let names = bins
        .iter()
        .map(|bin| Some(bin.get("name")?.as_str()?.to_owned()));
    let names = names
        .collect::<Option<Vec<_>>>()
        .context("a fuzz target without a name")?;
    ensure!(!names.is_empty(), "no fuzz target");
    Ok(names)
}

fn fuzz(project: &Project, target: &str) -> Result<()> {
    let build = project.target.join("fuzz");
    let seeds = project.root.join("tests/fuzz/corpus").join(target);
    ensure!(
        seeds.is_dir(),
        "{target} has no corpus in tests/fuzz/corpus"
    );
    let found = build.join("corpus").join(target);
    let artifacts = build.join("artifacts").join(target);
    fs::create_dir_all(&found)?;
    if artifacts.exists() {
        // Those of an earlier run are not what this one found.
        fs::remove_dir_all(&artifacts)?;
    }
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(build.join(HOST).join("release").join(target));
    command
        .arg(&found)
        .arg(&seeds)
        .arg(format!("-max_total_time={SECONDS_EACH}"))
        .args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=0",
            "-print_final_stats=1",
        ])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .env("ASAN_OPTIONS", "detect_leaks=0");
    println!("fuzz: {target}, {SECONDS_EACH} s");
    if let Err(error) = process::run(&mut command) {
        bail!("{error:#}; {}", finds(&artifacts)?);
    }
    Ok(())
}

/// The inputs that a run failed on, to be taken from a log where the build directory is gone:
/// `echo … | base64 -d`.
fn finds(artifacts: &Path) -> Result<String> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(artifacts)? {
        let path = entry?.path();
        let input = BASE64_STANDARD.encode(fs::read(&path)?);
        inputs.push(format!("{} in base64: {input}", path.display()));
    }
    Ok(inputs.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_find_can_be_taken_from_the_log() {
        let artifacts = tempfile::tempdir().unwrap();
        fs::write(artifacts.path().join("crash-1"), [0, 255]).unwrap();
        let finds = finds(artifacts.path()).unwrap();
        assert!(finds.ends_with("crash-1 in base64: AP8="), "{finds}");
    }

    #[test]
    fn targets_are_those_of_the_manifest() {
        let manifest = "[[bin]]\nname = \"codec\"\n[[bin]]\nname = \"session\"\n";
        assert_eq!(targets(manifest).unwrap(), ["codec", "session"]);
        assert!(targets("[package]\nname = \"fuzz\"\n").is_err());
    }
}
