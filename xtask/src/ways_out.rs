//! `cargo xtask ways-out`: every way out is tried, and the table says what came of it.
//!
//! What the table claims is the doctor's list (`gateway doctor --all`); whether it is so is tried
//! here, by the attempts of the harness and by the tests that prove a row.
mod table;

use crate::process;
use crate::project::Project;
use crate::setup::{self, Part};
use crate::{test, vm};
use anyhow::{Context, Result, ensure};
use gateway_tests::attacks::proofs::PROOFS;
use gateway_tests::attacks::{self, Field, Tried};
use gateway_tests::{place, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use table::{Claim, Line, Ran};

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let (flags, rows): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| *word == "--json");
    let rows = rows
        .into_iter()
        .map(|word| word.parse().with_context(|| format!("no row: {word}")));
    let rows = rows.collect::<Result<BTreeSet<u8>>>()?;
    ensure!(
        place::is_root(),
        "`cargo xtask ways-out` needs root, as the tests do"
    );
    // QEMU is the machine of row 40.
    setup::provide(project, &[Part::Build, Part::Peers, Part::Vm])?;
    test::build(project)?;
    let claims = attacks::doctor_rows()?
        .iter()
        .map(Claim::read)
        .collect::<Result<Vec<_>>>()?;
    for row in &rows {
        ensure!(
            claims.iter().any(|claim| claim.row == *row),
            "there is no row {row}"
        );
    }
    let chosen = |row: u8| rows.is_empty() || rows.contains(&row);
    let tried = try_all(chosen)?;
    let ran = run_tests(project, chosen)?;
    let lines = claims.iter().filter(|claim| chosen(claim.row));
    let mut lines: Vec<Line> = lines
        .map(|claim| Line::judge(claim, &tried, &ran))
        .collect();
    if tried.iter().any(|one| one.way.row == 0) {
        lines.insert(0, Line::judge(&Claim::plain(), &tried, &ran));
    }
    let skipped = try_sealed(project, chosen, &mut lines).err();
    // The same row in the next tier comes behind it.
    lines.sort_by_key(Line::row);
    if flags.is_empty() {
        print!("{}", table::shown(&lines));
    } else {
        for line in &lines {
            println!("{}", line.json());
        }
    }
    if let Some(error) = skipped {
        eprintln!("skipped: the tier seal was not tried: {error:#}");
    }
    let faults: Vec<&str> = lines.iter().flat_map(Line::faults).collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Makes the attempts, of plain connections too where all rows are tried.
fn try_all(chosen: impl Fn(u8) -> bool) -> Result<Vec<Tried>> {
    let mut field = Field::open()?;
    let mut all = Vec::new();
    for way in attacks::ways().filter(|way| chosen(way.row)) {
        let tried = field
            .attempt(way)
            .with_context(|| format!("row {}: {}", way.row, way.name))?;
        eprintln!("tried: {}", table::attempt(&tried));
        all.push(tried);
    }
    field.still_works()?;
    Ok(all)
}

/// Tries what BPF LSM closes, in a virtual machine: here it may not be active.
fn try_sealed(project: &Project, chosen: impl Fn(u8) -> bool, lines: &mut Vec<Line>) -> Result<()> {
    if !vm::seal::PROOFS.iter().any(|(row, _)| chosen(*row)) {
        return Ok(());
    }
    eprintln!("booting a kernel that has BPF LSM active");
    let (kernel, rows) = vm::sealed(project)?;
    let rows = rows.into_iter().filter(|sealed| chosen(sealed.row));
    lines.extend(rows.map(|sealed| Line::sealed(sealed, &kernel)));
    Ok(())
}

/// Runs the tests that prove something, and returns what each said.
fn run_tests(
    project: &Project,
    chosen: impl Fn(u8) -> bool,
) -> Result<BTreeMap<&'static str, Ran>> {
    let names = PROOFS
        .iter()
        .filter(|proof| chosen(proof.row))
        .map(|proof| proof.test);
    let names: BTreeSet<&str> = names.collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    eprintln!("running {} tests", names.len());
    let skips = project
        .target
        .join("gateway-tests")
        .join("ways-out-skipped.txt");
    fs::create_dir_all(skips.parent().context("the build directory")?)?;
    fs::write(&skips, "")?;
    let mut command = process::cargo();
    command
        .args([
            "test",
            "--locked",
            "-q",
            "-p",
            "gateway-tests",
            "--test",
            "integration",
            "--",
        ])
        .args(["--exact", "--format=pretty", "--test-threads=2"])
        .args(&names)
        .env(skip::SKIPS, &skips)
        .current_dir(&project.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().with_context(|| process::shown(&command))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        eprintln!("{said}");
    }
    let skipped = fs::read_to_string(&skips)?;
    Ok(names
        .into_iter()
        .map(|name| (name, Ran::read(name, &said, &skipped)))
        .collect())
}
