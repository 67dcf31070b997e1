//! `cargo xtask test`: every check and every test, in the order in which they fail fastest.
mod fuzz;
mod suite;
mod tally;

use crate::project::Project;
use crate::setup::{self, Part};
use crate::{ebpf, process, tidy, vm};
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::place;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
pub(crate) use tally::Tally;

type Step = (&'static str, fn(&Project) -> Result<Tally>);

const STEPS: &[Step] = &[
    ("ebpf", |project| {
        ebpf::check(project).map(|()| Tally::one())
    }),
    ("tidy", |project| {
        tidy::check(project).map(|()| Tally::one())
    }),
    ("clippy", |project| {
        tidy::lint(project).map(|()| Tally::one())
    }),
    ("unit", suite::unit),
    ("build", build),
    ("policies", policies),
    ("integration", suite::integration),
    ("vm", vm::test),
    ("fuzz", fuzz::run),
];

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    for name in arguments {
        ensure!(
            STEPS.iter().any(|(step, _)| step == name),
            "there is no step `{name}`"
        );
    }
    if !place::is_root() {
        bail!(
            "the tests load BPF programs, make cgroups and network namespaces, and start \
             PostgreSQL as its own user: run `cargo xtask test` as root"
        );
    }
    setup::provide(project, &[Part::Build, Part::Peers])?;
    setup::offer_provider(project);
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    let builds = chosen("build") && place::given_gateway().is_none();
    let ahead = builds.then(|| Ahead::begin(project)).transpose()?;
    let mut total = Tally::default();
    let mut times = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| chosen(name)) {
        println!("\n== {name}");
        let start = Instant::now();
        let tally = step(project).unwrap_or_else(|error| Tally::broken(name, &error));
        times.push(format!(
            "  {name:<12} {:>6.1} s  {tally}",
            start.elapsed().as_secs_f32()
        ));
        total.add(tally);
    }
    drop(ahead);
    println!("\n== summary\n{}", times.join("\n"));
    for skipped in &total.skipped {
        println!("skipped: {skipped}");
    }
    for failure in &total.failures {
        println!("failed: {failure}");
        let reason = total.reasons.get(failure);
        reason.inspect(|reason| println!("{}", indented(reason)));
    }
    println!("{total}");
    ensure!(total.failures.is_empty(), "not all is well");
    Ok(())
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// The release binary, which users get, and which the integration tests drive.
/// `GATEWAY_BINARY` names another one, which then is not built here.
pub(crate) fn build(project: &Project) -> Result<Tally> {
    if let Some(binary) = place::given_gateway() {
        eprintln!("nothing is built: GATEWAY_BINARY is {}", binary.display());
        return Ok(Tally::one());
    }
    process::run(&mut release(project))?;
    Ok(Tally::one())
}

fn release(project: &Project) -> Command {
    let mut command = process::cargo();
    command
        .args(["build", "--release", "--locked", "-p", "gateway-daemon"])
        .current_dir(&project.root);
    command
}

/// The build of the release binary, begun beside the checks that do not need it: most of its time
/// is that of one thread, which links. The step that builds waits for it at cargo's lock, and says
/// what came of it.
struct Ahead(Child);

impl Ahead {
    fn begin(project: &Project) -> Result<Ahead> {
        let mut command = release(project);
        command
            .arg("--quiet")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("`{}`", process::shown(&command)))?;
        Ok(Ahead(child))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Over by now, unless the steps were left by an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shipped policies prove the cases that they carry.
fn policies(project: &Project) -> Result<Tally> {
    let directory = project.root.join("policies");
    let entries = fs::read_dir(&directory).context("policies/")?;
    let is_policy = |path: &std::path::Path| path.extension().is_some_and(|end| end == "toml");
    let count = entries
        .flatten()
        .filter(|entry| is_policy(&entry.path()))
        .count();
    ensure!(count > 0, "policies/ has no policy");
    process::run(
        Command::new(place::gateway()?)
            .args(["policy", "test"])
            .arg(&directory),
    )?;
    Ok(Tally::one())
}
